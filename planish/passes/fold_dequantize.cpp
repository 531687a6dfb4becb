// DequantizeLinear of constants that no quantised layer took -> floating-point constants: weights of layers that
// compute in float, embeddings, biases. QuantizeLinear of constants (parts of a Concat) -> constant bytes.

#include "planish/ops/op.h"
#include "planish/passes/edit.h"
#include "planish/passes/pass.h"

namespace planish {
namespace {

/// The value of the node; nullopt when its inputs are not all constant, or wrong (the run will report that in full).
std::optional<Tensor> value_of(const Edit& edit, const Node& node) {
  std::vector<const Tensor*> in;
  for (const ValueId v : node.inputs) {
    in.push_back(edit.constant(v));
    if (v != kNoValue && in.back() == nullptr) return std::nullopt;
  }
  std::vector<Tensor> out(1);
  if (!run_reference(node, in, out).ok()) return std::nullopt;
  return std::move(out[0]);
}

}  // namespace

Result<Graph> fold_dequantize(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  for (int32_t n = 0; n < edit.size(); ++n) {
    const Node& node = edit.node(n);
    if ((!node.is("DequantizeLinear") && !node.is("QuantizeLinear")) || node.outputs.size() != 1) continue;
    auto value = value_of(edit, node);
    if (!value) continue;
    const ValueId out = node.out(0);
    edit.remove(n);
    edit.set_constant(out, std::move(*value));
  }
  return std::move(edit).finish();
}

}  // namespace planish
