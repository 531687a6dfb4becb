#include "planish/api/quantize.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "planish/api/model_impl.h"
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

void fill_report(const Graph& graph, const PlacementPlan& plan, QuantizeReport* report) {
  if (report == nullptr) return;
  report->quantised_nodes = static_cast<int64_t>(plan.products.size());
  report->float_nodes.clear();
  for (const auto& [n, reason] : plan.float_nodes)
    report->float_nodes.push_back({graph.nodes[static_cast<size_t>(n)].name, reason});
}

}  // namespace

Result<Model> quantize(const Model& model, const CalibrationTable& table, const QuantizeOptions& options,
                       QuantizeReport* report) {
  const auto& source = ModelAccess::impl(model);
  if (model.has_quantize_nodes())
    return Error{.code = Code::invalid_argument,
                 .file = source.file_name,
                 .what = "the model is quantised already (it has QuantizeLinear nodes)",
                 .fix = "give the FP32 model"};
  if (table.model_hash != 0 && source.source_hash != 0 && table.model_hash != source.source_hash && options.warn)
    options.warn(
        fmt::format("The calibration ({}) was made for a model with other weights than '{}': calibrate again "
                    "unless they differ in name only",
                    table.description, source.file_name));
  const Graph graph = PLANISH_TRY(tidy_for_quantisation(source.model.graph));
  const PlacementPlan plan = plan_quantisation(graph, placement_options(table, options));
  PLANISH_TRY(check_names(graph, plan, table, options));
  std::map<int32_t, QuantisedWeights> weights;
  for (const QuantisedProduct& p : plan.products) {
    if (options.progress) options.progress("quantising", weights.size() + 1, plan.products.size());
    weights[p.node] = quantise_weights(*graph.constant_of(p.weights), p.channel_axis, options.per_channel);
  }
  if (options.bias_correction) correct_biases(graph, plan, table, weights);
  fill_report(graph, plan, report);
  return ModelAccess::with_graph(model, PLANISH_TRY(place_qdq(graph, plan, weights)));
}

}  // namespace planish::api
