// Computes nodes whose inputs are constants, and Shape and Size of what is known of a tensor's shape.
//
// Not folded: random operators; DequantizeLinear, so that quantised weights stay visible as Q/DQ; results that would
// make the model much larger (Expand, Tile, ConstantOfShape).

#include <algorithm>

#include "planish/ops/op.h"
#include "planish/passes/edit.h"
#include "planish/passes/pass.h"

namespace planish {
namespace {

bool may_fold(const Node& node) {
  const OpDecl* op = find_op(node.domain, node.op);
  if (op == nullptr || op->reference == nullptr || (op->traits & kTraitRandom) != 0) return false;
  return !node.is("DequantizeLinear");
}

/// Shape(x) where the asked dimensions are known even though others may not be.
std::optional<Tensor> known_shape(const Edit& edit, const Node& node) {
  const Shape* shape = node.inputs.size() == 1 ? edit.shape(node.in(0)) : nullptr;
  if (shape == nullptr) return std::nullopt;
  if (node.is("Size"))
    return is_static(*shape) ? std::optional(Tensor::scalar_i64(element_count(*shape))) : std::nullopt;
  if (!node.is("Shape")) return std::nullopt;
  const auto rank = static_cast<int64_t>(shape->size());
  const auto bound = [rank](int64_t i) { return std::clamp<int64_t>(i < 0 ? i + rank : i, 0, rank); };
  const int64_t begin = bound(node.attr_int("start", 0));
  const int64_t end = std::max(begin, bound(node.attr_int("end", rank)));
  const std::span<const int64_t> asked(shape->data() + begin, static_cast<size_t>(end - begin));
  return is_static(asked) ? std::optional(Tensor::from_i64(asked)) : std::nullopt;
}

/// Upper bound for the result: the inputs' bytes, or the cap.
bool too_large(const Edit& edit, const Node& node, const PassOptions& options) {
  size_t in = 0;
  for (const ValueId v : node.inputs)
    if (const Tensor* t = edit.constant(v)) in += t->bytes();
  size_t out = 0;
  for (const ValueId v : node.outputs) {
    const Shape* shape = edit.shape(v);
    if (shape != nullptr && is_static(*shape)) out += dtype_bytes(edit.dtype(v), element_count(*shape));
  }
  return out > options.max_folded_bytes && out > in;
}

/// Computes the node; an error of the reference operator leaves it for the run, where it is reported in full.
std::optional<std::vector<Tensor>> evaluate(const Edit& edit, const Node& node) {
  std::vector<const Tensor*> in;
  for (const ValueId v : node.inputs) in.push_back(edit.constant(v));
  std::vector<Tensor> out(node.outputs.size());
  if (!run_reference(node, in, out).ok()) return std::nullopt;
  for (size_t i = 0; i < out.size(); ++i)
    if (node.outputs[i] != kNoValue && !out[i].defined()) return std::nullopt;
  return out;
}

}  // namespace

Result<Graph> fold_constants(const Graph& graph, const PassOptions& options) {
  Edit edit(graph);
  for (int32_t n = 0; n < edit.size(); ++n) {
    const Node& node = edit.node(n);
    if (auto shape = known_shape(edit, node); shape && node.out(0) != kNoValue) {
      const ValueId out = node.out(0);
      edit.remove(n);
      edit.set_constant(out, std::move(*shape));
      continue;
    }
    const auto constant = [&edit](ValueId v) { return v == kNoValue || edit.constant(v) != nullptr; };
    if (!std::ranges::all_of(node.inputs, constant) || !may_fold(node) || too_large(edit, node, options)) continue;
    auto results = evaluate(edit, node);
    if (!results) continue;
    const std::vector<ValueId> outputs = node.outputs;
    edit.remove(n);
    for (size_t i = 0; i < outputs.size(); ++i)
      if (outputs[i] != kNoValue) edit.set_constant(outputs[i], std::move((*results)[i]));
  }
  return std::move(edit).finish();
}

}  // namespace planish
