#include "planish/api/quantize_plan.h"

#include <algorithm>

#include "planish/base/isa.h"
#include "planish/base/parallel.h"

namespace planish::api {
namespace {

/// What stands in for a scale nobody measured: TensorRT's range of +-4 for layer outputs.
constexpr float kInventedScale = 4.0F / 127;

void correct_biases(const Graph& graph, const PlacementPlan& plan, const CalibrationTable& table,
                    std::map<int32_t, QuantisedWeights>& weights) {
  parallel_for(static_cast<int64_t>(plan.products.size()), 1, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      const QuantisedProduct& product = plan.products[i];
      const auto means = table.channel_means.find(graph.value(product.input).name);
      if (means == table.channel_means.end()) continue;
      QuantisedWeights& w = weights.at(product.node);
      correct_bias(graph, product, output_shift(graph, product, w, means->second, means->second), w);
    }
  });
}

}  // namespace

void set_build_defaults(QuantizeOptions& options) {
  const bool vnni = cpu_features().avx512_vnni || cpu_features().avx_vnni;
  if (!options.full_range) options.full_range = true;
  if (!options.weight_range) options.weight_range = vnni ? WeightRange::full : WeightRange::pairs;
}

PlacementOptions placement_options(const CalibrationTable& table, const QuantizeOptions& options) {
  PlacementOptions o;
  o.style = static_cast<QdqStyle>(options.style);
  o.keep_float = options.keep_float;
  o.force_int8 = options.force_int8;
  o.scale_of = [&table](const std::string& name) -> std::optional<float> {
    if (table.is_invented()) return kInventedScale;
    const auto it = table.ranges.find(name);
    if (it == table.ranges.end() || !(it->second.scale > 0)) return std::nullopt;
    return it->second.scale;
  };
  if (!options.full_range.value_or(false)) return o;
  o.unsigned_of = [&table](const std::string& name, bool never_negative) -> std::optional<TensorQuantization> {
    const auto it = table.ranges.find(name);
    if (it == table.ranges.end()) return std::nullopt;
    const TensorRange& range = it->second;
    if (range.unsigned_scale > 0)
      return TensorQuantization{.scale = range.unsigned_scale, .zero = range.unsigned_zero, .type = DType::u8};
    // A cache without its side file: the threshold of INT8 in finer steps.
    if (!never_negative) return std::nullopt;
    return TensorQuantization{.scale = range.scale * (127.0F / 255), .zero = 0, .type = DType::u8};
  };
  return o;
}

std::map<int32_t, WeightLimit> weight_limits(const Graph& graph, const PlacementPlan& plan,
                                             const QuantizeOptions& options) {
  std::map<int32_t, WeightLimit> limits;
  const WeightRange range = options.weight_range.value_or(WeightRange::full);
  for (const QuantisedProduct& p : plan.products) {
    const auto q = plan.quantisers.find(p.input);
    const bool meets_unsigned = q != plan.quantisers.end() && q->second.type == DType::u8;
    WeightLimit& limit = limits[p.node];
    // Our kernels move INT8 up to UINT8, others have products of two signed bytes.
    if (range == WeightRange::seven_bits && meets_unsigned) limit.largest = kNarrowWeight;
    if (range == WeightRange::pairs) limit = {kLargestWeight, kPairOfWeights, weight_neighbours(graph, p)};
  }
  return limits;
}

std::map<int32_t, QuantisedWeights> nearest_weights(const Graph& graph, const PlacementPlan& plan,
                                                    const CalibrationTable& table, const QuantizeOptions& options) {
  std::map<int32_t, QuantisedWeights> weights;
  const auto limits = weight_limits(graph, plan, options);
  for (const QuantisedProduct& p : plan.products) {
    if (options.progress) options.progress("quantising", weights.size() + 1, plan.products.size());
    weights.try_emplace(p.node);
  }
  parallel_for(static_cast<int64_t>(plan.products.size()), 1, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      const QuantisedProduct& p = plan.products[i];
      weights.at(p.node) =
          quantise_weights(*graph.constant_of(p.weights), p.channel_axis, options.per_channel, limits.at(p.node));
    }
  });
  if (options.bias_correction) correct_biases(graph, plan, table, weights);
  return weights;
}

ChannelMaxima channel_maxima_of(const CalibrationTable& table) {
  return [&table](const std::string& name) -> const std::vector<float>* {
    const auto it = table.channel_maxima.find(name);
    return it == table.channel_maxima.end() ? nullptr : &it->second;
  };
}

std::string adapted_name(const Graph& graph, const QuantisedProduct& product) {
  return std::string(graph.name_of(graph.nodes[static_cast<size_t>(product.node)].out(0)));
}

AdaptedWeights to_adapted(const PlacementPlan& plan, const QuantisedProduct& product, const QuantisedWeights& weights,
                          const WeightLimit& limit) {
  const TensorQuantization& input = plan.quantisers.at(product.input);
  AdaptedWeights out{.input_scale = input.scale,
                     .input_zero = static_cast<int32_t>(input.zero),
                     .input_unsigned = input.type == DType::u8,
                     .largest = limit.largest,
                     .pair = limit.pair};
  const auto q = weights.q.span<int8_t>();
  out.q.assign(q.begin(), q.end());
  if (weights.bias) out.bias.assign(weights.bias->span<float>().begin(), weights.bias->span<float>().end());
  return out;
}

int64_t use_adapted(const Graph& graph, const PlacementPlan& plan, const CalibrationTable& table,
                    const std::map<int32_t, WeightLimit>& limits, std::map<int32_t, QuantisedWeights>& weights) {
  int64_t others = 0;
  for (const QuantisedProduct& p : plan.products) {
    const auto it = table.adapted_weights.find(adapted_name(graph, p));
    QuantisedWeights& w = weights.at(p.node);
    const auto input = plan.quantisers.find(p.input);
    if (it == table.adapted_weights.end() || input == plan.quantisers.end()) continue;
    const AdaptedWeights& adapted = it->second;
    const auto outputs = graph.constant_of(p.weights)->shape()[static_cast<size_t>(p.channel_axis)];
    const bool fits = adapted.q.size() == static_cast<size_t>(w.q.size()) &&
                      (adapted.bias.empty() || adapted.bias.size() == static_cast<size_t>(outputs));
    if (!fits || adapted.input_scale != input->second.scale || adapted.input_zero != input->second.zero ||
        adapted.input_unsigned != (input->second.type == DType::u8) || adapted.largest != limits.at(p.node).largest ||
        adapted.pair != limits.at(p.node).pair) {
      ++others;
      continue;
    }
    Tensor q(DType::i8, w.q.shape());
    std::ranges::copy(adapted.q, q.data<int8_t>());
    w.q = std::move(q);
    w.bias.reset();
    if (!adapted.bias.empty()) w.bias = Tensor::from_f32(adapted.bias);
  }
  return others;
}

}  // namespace planish::api
