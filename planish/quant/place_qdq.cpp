#include <array>
#include <utility>

#include "planish/passes/edit.h"
#include "planish/quant/weights.h"

namespace planish {
namespace {

Tensor zero_points(const Tensor& scale) { return {DType::i8, scale.shape()}; }

/// DequantizeLinear of constant weights, in front of `anchor`.
ValueId dequantised_weights(Edit& edit, const QuantisedProduct& product, const QuantisedWeights& weights) {
  const std::string stem = edit.value(product.weights).name;
  Node dq{.op = "DequantizeLinear", .name = edit.node(product.node).name + "/weights/DequantizeLinear"};
  dq.inputs = {edit.new_constant(stem + "_quantized", weights.q), edit.new_constant(stem + "_scale", weights.scale),
               edit.new_constant(stem + "_zero_point", zero_points(weights.scale))};
  dq.outputs = {edit.new_value(stem + "_dequantized", DType::f32, weights.q.shape())};
  if (weights.scale.rank() == 1) dq.attrs["axis"] = product.channel_axis;
  const ValueId out = dq.outputs[0];
  edit.insert(product.node, std::move(dq));
  return out;
}

/// x -> QuantizeLinear -> DequantizeLinear, in front of `anchor`; returns the last value.
ValueId quantised_tensor(Edit& edit, ValueId x, const TensorQuantization& quantiser, int32_t anchor) {
  const std::string stem = edit.value(x).name;
  const auto shape = edit.value(x).shape;
  Tensor zero(quantiser.type, {});
  zero.set(0, static_cast<double>(quantiser.zero));
  const ValueId scale_id = edit.new_constant(stem + "_scale", Tensor::scalar_f32(quantiser.scale));
  const ValueId zero_id = edit.new_constant(stem + "_zero_point", std::move(zero));
  Node q{.op = "QuantizeLinear", .name = stem + "/QuantizeLinear"};
  q.inputs = {x, scale_id, zero_id};
  q.outputs = {edit.new_value(stem + "_quantized", quantiser.type, shape)};
  Node dq{.op = "DequantizeLinear", .name = stem + "/DequantizeLinear"};
  dq.inputs = {q.outputs[0], scale_id, zero_id};
  dq.outputs = {edit.new_value(stem + "_dequantized", DType::f32, shape)};
  const ValueId out = dq.outputs[0];
  edit.insert(anchor, std::move(q));
  edit.insert(anchor, std::move(dq));
  return out;
}

}  // namespace

Result<Graph> place_qdq(const Graph& graph, const PlacementPlan& plan,
                        const std::map<int32_t, QuantisedWeights>& weights) {
  Edit edit(graph);
  for (const QuantisedProduct& product : plan.products) {
    const auto it = weights.find(product.node);
    if (it == weights.end())
      return Error{.code = Code::internal,
                   .node = graph.nodes[static_cast<size_t>(product.node)].name,
                   .what = "the layer has no quantised weights"};
    edit.set_input(product.node, 1, dequantised_weights(edit, product, it->second));
    if (!it->second.bias) continue;
    const ValueId bias =
        edit.new_constant(edit.value(product.weights).name + "_corrected_bias", it->second.bias->clone());
    std::vector<ValueId> inputs = edit.node(product.node).inputs;
    inputs.resize(3, kNoValue);
    inputs[2] = bias;
    edit.set_inputs(product.node, std::move(inputs));
  }
  for (const auto& [value, readers] : plan.tensors) {
    const auto quantiser = plan.quantisers.find(value);
    if (quantiser == plan.quantisers.end() || readers.empty()) continue;
    int32_t first = readers.front().node;
    for (const QuantisedUse& use : readers) first = std::min(first, use.node);
    const ValueId quantised = quantised_tensor(edit, value, quantiser->second, first);
    for (const QuantisedUse& use : readers) edit.set_input(use.node, use.slot, quantised);
  }
  return std::move(edit).finish();
}

}  // namespace planish
