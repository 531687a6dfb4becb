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
  /// Calls visit(element, slice) for all of `size` elements in order, without a division for each.
  template <typename F>
  void visit(int64_t size, F visit) const {
    for (int64_t i = 0; i < size;)
      for (size_t slice = 0; slice < static_cast<size_t>(count); ++slice)
        for (const int64_t end = i + stride; i < end; ++i) visit(i, slice);
  }
  /// Calls visit(element) for the elements beside `i`.
  template <typename F>
  void visit_neighbours(const WeightLimit& limit, int64_t i, F visit) const {
    const int64_t k = i / (stride * count) * stride + i % stride;
    for (const int64_t j : limit.neighbours[static_cast<size_t>(k)])
      if (j >= 0) visit(i + (j / stride - k / stride) * stride * count + j % stride - k % stride);
  }
};

}  // namespace

int WeightLimit::at(int64_t k, const int8_t* q, int64_t stride, bool positive) const {
  int most = largest;
  if (pair == 0 || neighbours.empty()) return most;
  for (const int64_t j : neighbours[static_cast<size_t>(k)]) {
    if (j < 0 || j >= k) continue;
    const int beside = q[j * stride];
    most = std::min(most, pair - std::max(positive ? beside : -beside, 0));
  }
  return most;
}

std::vector<std::array<int64_t, 2>> weight_neighbours(const Graph& graph, const QuantisedProduct& product) {
  const Node& node = graph.nodes[static_cast<size_t>(product.node)];
  const Shape& w = graph.constant_of(product.weights)->shape();
  const int64_t k = element_count(w) / std::max<int64_t>(1, w[static_cast<size_t>(product.channel_axis)]);
  std::vector<std::array<int64_t, 2>> out(static_cast<size_t>(k), {-1, -1});
  const bool conv = node.op == "Conv";
  const int64_t channels = conv ? w[1] : k;
  const int64_t width = conv ? w.back() : 1;
  const int64_t taps = k / std::max<int64_t>(1, channels);
  const bool grouped = conv && node.attr_int("group", 1) > 1;
  const bool lines = grouped && channels == 1;
  const auto dilations = node.attr_ints("dilations", {});
  const int64_t run = grouped || (!dilations.empty() && dilations.back() != 1) ? 1 : width;
  for (int64_t i = 0; i < k; ++i) {
    auto& beside = out[static_cast<size_t>(i)];
    if (lines) {
      beside = {i >= width ? i - width : -1, i + width < k ? i + width : -1};
      continue;
    }
    const int64_t tap = i % taps;
    const int64_t other = (tap % run * channels + i / taps) ^ 1;
    if (other < run * channels) beside[0] = other % channels * taps + tap / run * run + other / channels;
  }
  return out;
}

QuantisedWeights quantise_weights(const Tensor& weights, int64_t axis, bool per_channel, const WeightLimit& limit) {
  const auto largest = static_cast<float>(limit.largest);
  const Slices slices(weights.shape(), axis);
  const float* w = weights.data<float>();
  std::vector<float> scale(per_channel ? static_cast<size_t>(slices.count) : 1);
  const bool pairs = limit.pair > 0 && !limit.neighbours.empty();
  slices.visit(weights.size(), [&](int64_t i, size_t slice) {
    if (!std::isfinite(w[i])) return;
    float& s = scale[per_channel ? slice : 0];
    s = std::max(s, std::fabs(w[i]) / largest);
    if (!pairs) return;
    slices.visit_neighbours(limit, i, [&](int64_t j) {
      if (std::isfinite(w[j]) && w[i] * w[j] > 0)
        s = std::max(s, (std::fabs(w[i]) + std::fabs(w[j])) / static_cast<float>(limit.pair));
    });
  });
  QuantisedWeights out;
  out.q = Tensor(DType::i8, weights.shape());
  auto* q = out.q.data<int8_t>();
  for (float& s : scale) s = s > 0 ? std::max(s, 1e-30F) : 1.0F;
  slices.visit(weights.size(), [&](int64_t i, size_t slice) {
    const float scaled = w[i] / scale[per_channel ? slice : 0];
    const float finite = std::isnan(scaled) ? 0.0F : std::clamp(scaled, -largest, largest);
    q[i] = static_cast<int8_t>(std::nearbyint(finite));
  });
  // Two halves may both have been rounded up.
  for (int64_t i = 0; pairs && i < weights.size(); ++i)
    slices.visit_neighbours(limit, i, [&](int64_t j) {
      if (q[i] * q[j] > 0 && std::abs(q[i] + q[j]) > limit.pair) q[i] = static_cast<int8_t>(q[i] - (q[i] > 0 ? 1 : -1));
    });
  out.scale = per_channel ? Tensor::from_f32(scale) : Tensor::scalar_f32(scale[0]);
  return out;
}

Tensor dequantise(const QuantisedWeights& weights, int64_t axis) {
  const Slices slices(weights.q.shape(), axis);
  Tensor out(DType::f32, weights.q.shape());
  const bool per_channel = weights.scale.rank() == 1;
  const auto* q = weights.q.data<int8_t>();
  const auto* scale = weights.scale.data<float>();
  auto* values = out.data<float>();
  slices.visit(out.size(),
               [&](int64_t i, size_t slice) { values[i] = static_cast<float>(q[i]) * scale[per_channel ? slice : 0]; });
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
  const Tensor rounded = dequantise(weights, product.channel_axis);
  std::vector<double> shift(static_cast<size_t>(channel.outputs()), 0);
  if (static_cast<int64_t>(means.size()) != channel.inputs() || quantised_means.size() != means.size()) return shift;
  const auto* exact = w.data<float>();
  const auto* wq = std::as_const(rounded).data<float>();
  channel.visit(w.size(), [&](int64_t i, size_t output, size_t c) {
    shift[output] += static_cast<double>(exact[i]) * means[c] - static_cast<double>(wq[i]) * quantised_means[c];
  });
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
