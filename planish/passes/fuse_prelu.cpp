// PRelu with one slope for all elements -> LeakyRelu, which products take as their activation; Log(Exp(x) + 1) ->
// Softplus.

#include "planish/passes/match.h"
#include "planish/passes/pass.h"

namespace planish {
namespace {

bool fuse_leaky(Edit& edit, int32_t n) {
  const Node node = edit.node(n);
  if (!node.is("PRelu") || !dtype_is_float(edit.dtype(node.in(0)))) return false;
  const Tensor* slope = edit.constant(node.in(1));
  if (slope == nullptr || slope->size() == 0 || edit.rank(node.in(0)) < slope->rank()) return false;
  for (int64_t i = 1; i < slope->size(); ++i)
    if (slope->at(i) != slope->at(0)) return false;
  Node leaky = node;
  leaky.op = "LeakyRelu";
  leaky.attrs = {{"alpha", static_cast<float>(slope->at(0))}};
  leaky.inputs = {node.in(0)};
  edit.replace(n, std::move(leaky));
  return true;
}

bool fuse_softplus(Edit& edit, int32_t n) {
  const Node& log = edit.node(n);
  if (!log.is("Log")) return false;
  const auto sum = with_scalar(edit, log.in(0), "Add");
  const Node* exp = sum && sum->scalar == 1 ? edit.made_by(sum->x, "Exp") : nullptr;
  if (exp == nullptr) return false;
  Node softplus = fused_node("Softplus", "", parts(edit, {edit.producer(sum->x), edit.producer(log.in(0)), n}));
  softplus.inputs = {exp->in(0)};
  edit.replace_pattern(n, std::move(softplus));
  return true;
}

}  // namespace

Result<Graph> fuse_prelu(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  for (int32_t n = 0; n < edit.size(); ++n)
    if (edit.alive(n) && !fuse_leaky(edit, n)) fuse_softplus(edit, n);
  return std::move(edit).finish();
}

}  // namespace planish
