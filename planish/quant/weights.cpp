#include "planish/quant/weights.h"

#include <algorithm>
#include <cmath>

namespace planish {
namespace {

/// Slices of a tensor along one axis: element i belongs to slice i / stride % count.
struct Slices {
  int64_t count = 1;
  int64_t stride = 1;

  Slices(const Shape& shape, int64_t axis) : count(shape[static_cast<size_t>(axis)]) {
    for (size_t d = static_cast<size_t>(axis) + 1; d < shape.size(); ++d) stride *= shape[d];
  }
  [[nodiscard]] size_t of(int64_t i) const { return static_cast<size_t>(i / stride % count); }
};

}  // namespace

QuantisedWeights quantise_weights(const Tensor& weights, int64_t axis, bool per_channel, int largest) {
  const auto limit = static_cast<float>(largest);
  const Slices slices(weights.shape(), axis);
  const float* w = weights.data<float>();
  std::vector<float> amax(per_channel ? static_cast<size_t>(slices.count) : 1);
  for (int64_t i = 0; i < weights.size(); ++i) {
    float& a = amax[per_channel ? slices.of(i) : 0];
    if (std::isfinite(w[i])) a = std::max(a, std::fabs(w[i]));
  }
  QuantisedWeights out;
  out.q = Tensor(DType::i8, weights.shape());
  for (float& a : amax) a = a > 0 ? std::max(a / limit, 1e-30F) : 1.0F;
  for (int64_t i = 0; i < weights.size(); ++i) {
    const float scaled = w[i] / amax[per_channel ? slices.of(i) : 0];
    const float finite = std::isnan(scaled) ? 0.0F : std::clamp(scaled, -limit, limit);
    out.q.data<int8_t>()[i] = static_cast<int8_t>(std::nearbyint(finite));
  }
  out.scale = per_channel ? Tensor::from_f32(amax) : Tensor::scalar_f32(amax[0]);
  return out;
}

Tensor dequantise(const QuantisedWeights& weights, int64_t axis) {
  const Slices slices(weights.q.shape(), axis);
  Tensor out(DType::f32, weights.q.shape());
  const bool per_channel = weights.scale.rank() == 1;
  for (int64_t i = 0; i < out.size(); ++i)
    out.data<float>()[i] =
        static_cast<float>(weights.q.data<int8_t>()[i]) * weights.scale.data<float>()[per_channel ? slices.of(i) : 0];
  return out;
}

InputChannel::InputChannel(const Graph& graph, const QuantisedProduct& product) {
  const Node& node = graph.nodes[static_cast<size_t>(product.node)];
  const Shape& w = graph.constant_of(product.weights)->shape();
  const Slices out(w, product.channel_axis);
  outputs_ = out.count;
  out_stride_ = out.stride;
  const Slices in(w, product.channel_axis == 0 ? 1 : 0);
  in_stride_ = in.stride;
  inputs_per_group_ = in.count;
  outputs_per_group_ = outputs_ / std::max<int64_t>(1, node.op == "Conv" ? node.attr_int("group", 1) : 1);
}

std::vector<double> output_shift(const Graph& graph, const QuantisedProduct& product, const QuantisedWeights& weights,
                                 std::span<const float> means, std::span<const float> quantised_means) {
  const InputChannel channel(graph, product);
  const Tensor& w = *graph.constant_of(product.weights);
  const Tensor wq = dequantise(weights, product.channel_axis);
  std::vector<double> shift(static_cast<size_t>(channel.outputs()), 0);
  if (static_cast<int64_t>(means.size()) != channel.inputs() || quantised_means.size() != means.size()) return shift;
  for (int64_t i = 0; i < w.size(); ++i) {
    const auto c = static_cast<size_t>(channel.input(i));
    shift[static_cast<size_t>(channel.output(i))] += static_cast<double>(w.data<float>()[i]) * means[c] -
                                                     static_cast<double>(wq.data<float>()[i]) * quantised_means[c];
  }
  return shift;
}

void correct_bias(const Graph& graph, const QuantisedProduct& product, std::span<const double> shift,
                  QuantisedWeights& weights) {
  const Node& node = graph.nodes[static_cast<size_t>(product.node)];
  if (node.op == "MatMul") return;
  Tensor bias(DType::f32, {static_cast<int64_t>(shift.size())});
  const Tensor* old = weights.bias ? &*weights.bias : graph.constant_of(node.in(2));
  if (old == nullptr && node.in(2) != kNoValue) return;
  if (old != nullptr && old->size() != bias.size() && old->size() != 1) return;
  for (int64_t m = 0; m < bias.size(); ++m) {
    const double before = old == nullptr ? 0 : old->at(old->size() == 1 ? 0 : m);
    bias.data<float>()[m] = static_cast<float>(before + shift[static_cast<size_t>(m)]);
  }
  weights.bias = std::move(bias);
}

}  // namespace planish
