// Computes nodes whose inputs are constants, and integers that follow from the known
// dimensions of a shape (Shape -> Gather -> Concat and the like).
//
// Not folded: random operators; DequantizeLinear, so that quantised weights stay visible as Q/DQ; results that would
// make the model much larger (Expand, Tile, ConstantOfShape).

#include <algorithm>

#include "planish/ops/op.h"
#include "planish/passes/edit.h"
#include "planish/passes/pass.h"
#include "planish/passes/symbolic_shapes.h"

namespace planish {
namespace {

bool may_fold(const Node& node) {
  const OpDecl* op = find_op(node.domain, node.op);
  if (op == nullptr || op->reference == nullptr || (op->traits & kTraitRandom) != 0) return false;
  return !node.is("DequantizeLinear");
}

/// Integers that follow from known dimensions, though others of the same shape may be unknown.
std::optional<Tensor> known_integers(const Edit& edit, const SymbolicShapes& shapes, const Node& node) {
  if (node.outputs.size() != 1 || node.out(0) == kNoValue) return std::nullopt;
  const Dims* elements = shapes.elements(node.out(0));
  const Shape* shape = edit.shape(node.out(0));
  const DType dtype = edit.dtype(node.out(0));
  if (elements == nullptr || shape == nullptr || !is_static(*shape)) return std::nullopt;
  if (element_count(*shape) != static_cast<int64_t>(elements->size())) return std::nullopt;
  if (dtype != DType::i64 && dtype != DType::i32 && dtype != DType::boolean) return std::nullopt;
  if (!std::ranges::all_of(*elements, &Dim::known)) return std::nullopt;
  Tensor out(dtype, *shape);
  for (size_t i = 0; i < elements->size(); ++i) {
    const int64_t value = (*elements)[i].value;
    if (dtype == DType::i64)
      out.data<int64_t>()[i] = value;
    else
      out.set(static_cast<int64_t>(i), static_cast<double>(value));
  }
  return out;
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
  const SymbolicShapes shapes(graph);
  for (int32_t n = 0; n < edit.size(); ++n) {
    const Node& node = edit.node(n);
    if (auto integers = known_integers(edit, shapes, node)) {
      const ValueId out = node.out(0);
      edit.remove(n);
      edit.set_constant(out, std::move(*integers));
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
