// Split of a merged projection -> Attention on its parts  =>  planish.MergedAttention, which reads queries, keys and
// values where the projection leaves them.

#include "planish/passes/edit.h"
#include "planish/passes/pass.h"

namespace planish {
namespace {

/// The Split whose outputs are the queries, keys and values of attention node `n`, in that order and for nobody else.
const Node* common_split(const Edit& edit, int32_t n) {
  const Node& node = edit.node(n);
  const Node* split = edit.made_by(node.in(0), "Split");
  if (split == nullptr || split->outputs.size() != 3) return nullptr;
  for (size_t i = 0; i < 3; ++i)
    if (split->out(i) != node.in(i) || edit.single_consumer(node.in(i)) != n) return nullptr;
  const int64_t axis = split->attr_int("axis", 0);
  return axis == -1 || axis == 2 ? split : nullptr;
}

bool merge(Edit& edit, int32_t n) {
  const Node node = edit.node(n);
  if (!node.is("Attention") || node.inputs.size() < 3 || node.outputs.size() != 1) return false;
  for (size_t i = 4; i < node.inputs.size(); ++i)
    if (node.in(i) != kNoValue) return false;
  const int64_t q_heads = node.attr_int("q_num_heads", 0);
  const int64_t kv_heads = node.attr_int("kv_num_heads", 0);
  const Node* split = common_split(edit, n);
  if (split == nullptr || q_heads < 1 || kv_heads < 1) return false;
  int64_t widths[3];
  for (size_t i = 0; i < 3; ++i) {
    const Shape* shape = edit.shape(node.in(i));
    if (shape == nullptr || shape->size() != 3 || (*shape)[2] < 1) return false;
    widths[i] = (*shape)[2];
  }
  if (widths[1] != widths[2] || widths[0] % q_heads != 0 || widths[1] % kv_heads != 0) return false;
  if (widths[0] / q_heads != widths[1] / kv_heads) return false;
  Node whole = fused_node("MergedAttention", "planish", {split, &node});
  whole.attrs = node.attrs;
  whole.inputs = {split->in(0)};
  if (node.in(3) != kNoValue) whole.inputs.push_back(node.in(3));
  whole.outputs = node.outputs;
  edit.replace_pattern(n, std::move(whole));
  return true;
}

}  // namespace

Result<Graph> merge_attention(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  const int32_t count = edit.size();
  for (int32_t n = 0; n < count; ++n)
    if (edit.alive(n)) merge(edit, n);
  return std::move(edit).finish();
}

}  // namespace planish
