#include "planish/api/quantize.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "planish/api/adaptive_weights.h"
#include "planish/api/model_impl.h"
#include "planish/quant/equalization.h"
#include "planish/quant/placement.h"
#include "planish/quant/weights.h"

namespace planish::api {
namespace {

/// What stands in for a scale nobody measured: TensorRT's range of +-4 for layer outputs.
constexpr float kInventedScale = 4.0F / 127;

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
  o.unsigned_scale_of = [&table](const std::string& name) -> std::optional<float> {
    const auto it = table.ranges.find(name);
    if (it == table.ranges.end()) return std::nullopt;
    return it->second.unsigned_scale > 0 ? it->second.unsigned_scale : it->second.scale * (127.0F / 255);
  };
  return o;
}

std::string first_names(const std::vector<std::string>& names) {
  const size_t shown = std::min<size_t>(names.size(), 5);
  std::string out = fmt::format("{}", fmt::join(names.begin(), names.begin() + static_cast<ptrdiff_t>(shown), ", "));
  if (shown < names.size()) out += fmt::format(" and {} more", names.size() - shown);
  return out;
}

/// A table that shares no tensor with the model is for another model; one that lacks some leaves those layers in float.
Status check_names(const Graph& graph, const PlacementPlan& plan, const CalibrationTable& table,
                   const QuantizeOptions& options) {
  if (plan.without_scale.empty()) return {};
  if (plan.products.empty()) {
    std::vector<std::string> strangers;
    for (const auto& [name, range] : table.ranges)
      if (!graph.find_value(name)) strangers.push_back(name);
    return Error{.code = Code::invalid_argument,
                 .tensor = plan.without_scale.front(),
                 .file = table.description,
                 .what = fmt::format("the calibration knows none of the {} tensors that INT8 layers of this model read "
                                     "({}); {} of its {} names are not in the model ({})",
                                     plan.without_scale.size(), first_names(plan.without_scale), strangers.size(),
                                     table.ranges.size(), first_names(strangers)),
                 .fix = "it belongs to another model: calibrate again with data for this one"};
  }
  if (options.warn)
    options.warn(fmt::format("The calibration has no range for {} tensor(s), whose layers stay in float: {}",
                             plan.without_scale.size(), first_names(plan.without_scale)));
  return {};
}

void correct_biases(const Graph& graph, const PlacementPlan& plan, const CalibrationTable& table,
                    std::map<int32_t, QuantisedWeights>& weights) {
  for (const QuantisedProduct& product : plan.products) {
    const auto means = table.channel_means.find(graph.value(product.input).name);
    if (means == table.channel_means.end()) continue;
    QuantisedWeights& w = weights[product.node];
    correct_bias(graph, product, output_shift(graph, product, w, means->second, means->second), w);
  }
}

/// Equalises the graph, and scales the ranges of the tensors that change with it.
CalibrationTable equalised_table(Graph& graph, const CalibrationTable& table, const QuantizeOptions& options) {
  CalibrationTable out = table;
  const ChannelMaxima maxima = [&table](const std::string& name) -> const std::vector<float>* {
    const auto it = table.channel_maxima.find(name);
    return it == table.channel_maxima.end() ? nullptr : &it->second;
  };
  if (table.channel_maxima.empty() && options.warn)
    options.warn(
        "Equalisation is left out: it needs the ranges of channels, which a cache without its side file lacks");
  const Equalization done = equalise(graph, maxima);
  for (const auto& [name, divisors] : done.divisors) {
    const auto range = out.ranges.find(name);
    const auto old = table.channel_maxima.find(name);
    if (range == out.ranges.end()) continue;
    float before = 0;
    float after = 0;
    for (size_t c = 0; old != table.channel_maxima.end() && c < std::min(divisors.size(), old->second.size()); ++c) {
      before = std::max(before, old->second[c]);
      after = std::max(after, old->second[c] / divisors[c]);
      out.channel_maxima[name][c] /= divisors[c];
      if (auto& means = out.channel_means[name]; c < means.size()) means[c] /= divisors[c];
    }
    if (before <= 0) {
      out.ranges.erase(range);  // nobody measured its channels, so that its new range is not known
      continue;
    }
    range->second.scale *= after / before;
    range->second.unsigned_scale *= after / before;
  }
  return out;
}

/// Takes over the weights that calibrate() rounded, where they belong to the same scales.
void use_rounded(const Graph& graph, const PlacementPlan& plan, const CalibrationTable& table,
                 std::map<int32_t, QuantisedWeights>& weights) {
  for (const QuantisedProduct& p : plan.products) {
    const auto it = table.rounded_weights.find(graph.value(p.weights).name);
    QuantisedWeights& w = weights[p.node];
    if (it == table.rounded_weights.end() || it->second.size() != static_cast<size_t>(w.q.size())) continue;
    Tensor q(DType::i8, w.q.shape());
    std::ranges::copy(it->second, q.data<int8_t>());
    w.q = std::move(q);
  }
}

void fill_report(const Graph& graph, const PlacementPlan& plan, QuantizeReport* report) {
  if (report == nullptr) return;
  report->quantised_nodes = static_cast<int64_t>(plan.products.size());
  report->float_nodes.clear();
  for (const auto& [n, reason] : plan.float_nodes)
    report->float_nodes.push_back({graph.nodes[static_cast<size_t>(n)].name, reason});
}

}  // namespace

Result<Model> quantize(const Model& model, const CalibrationTable& measured, const QuantizeOptions& options,
                       QuantizeReport* report) {
  const auto& source = ModelAccess::impl(model);
  if (model.has_quantize_nodes())
    return Error{.code = Code::invalid_argument,
                 .file = source.file_name,
                 .what = "the model is quantised already (it has QuantizeLinear nodes)",
                 .fix = "give the FP32 model"};
  if (measured.model_hash != 0 && source.source_hash != 0 && measured.model_hash != source.source_hash && options.warn)
    options.warn(
        fmt::format("The calibration ({}) was made for a model with other weights than '{}': calibrate again "
                    "unless they differ in name only",
                    measured.description, source.file_name));
  Graph graph = PLANISH_TRY(tidy_for_quantisation(source.model.graph));
  const CalibrationTable table = options.equalization ? equalised_table(graph, measured, options) : measured;
  const PlacementPlan plan = plan_quantisation(graph, placement_options(table, options));
  PLANISH_TRY(check_names(graph, plan, table, options));
  std::map<int32_t, QuantisedWeights> weights;
  for (const QuantisedProduct& p : plan.products) {
    if (options.progress) options.progress("quantising", weights.size() + 1, plan.products.size());
    weights[p.node] = quantise_weights(*graph.constant_of(p.weights), p.channel_axis, options.per_channel);
  }
  const bool same_scales = options.per_channel && !options.equalization && measured.model_hash == source.source_hash;
  if (options.rounding == RoundingMethod::adaptive && options.data != nullptr)
    PLANISH_TRY(adapt_rounding(graph, plan, *options.data, options.progress, kMomentBytes, weights));
  else if (same_scales)
    use_rounded(graph, plan, table, weights);
  if (options.bias_correction) correct_biases(graph, plan, table, weights);
  fill_report(graph, plan, report);
  return ModelAccess::with_graph(model, PLANISH_TRY(place_qdq(graph, plan, weights)));
}

}  // namespace planish::api
