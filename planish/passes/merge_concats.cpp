// Concat of a Concat along the same axis -> one Concat, where nobody else reads the inner one.

#include "planish/passes/edit.h"
#include "planish/passes/pass.h"

namespace planish {
namespace {

std::optional<int64_t> axis_of(const Edit& edit, const Node& node) {
  const int64_t rank = edit.rank(node.out(0));
  const int64_t axis = node.attr_int("axis", 0);
  if (!node.is("Concat") || (axis < 0 && rank < 0)) return std::nullopt;
  return axis < 0 ? axis + rank : axis;
}

bool merge(Edit& edit, int32_t n) {
  const auto axis = axis_of(edit, edit.node(n));
  if (!axis) return false;
  for (size_t i = 0; i < edit.node(n).inputs.size(); ++i) {
    const ValueId v = edit.node(n).in(i);
    const int32_t maker = edit.producer(v);
    if (maker < 0 || edit.single_consumer(v) != n || axis_of(edit, edit.node(maker)) != axis) continue;
    const Node inner = edit.node(maker);
    Node whole = edit.node(n);
    whole.inputs.erase(whole.inputs.begin() + static_cast<std::ptrdiff_t>(i));
    whole.inputs.insert(whole.inputs.begin() + static_cast<std::ptrdiff_t>(i), inner.inputs.begin(),
                        inner.inputs.end());
    whole.name = joined_name(inner.name, whole.name);
    add_origins(whole, inner, true);
    edit.replace(n, std::move(whole));
    edit.remove(maker);
    return true;
  }
  return false;
}

}  // namespace

Result<Graph> merge_concats(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  for (int32_t n = 0; n < edit.size(); ++n)
    while (edit.alive(n) && merge(edit, n)) {
    }
  return std::move(edit).finish();
}

}  // namespace planish
