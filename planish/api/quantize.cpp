#include "planish/api/quantize.h"

#include <fmt/format.h>

#include <algorithm>

#include "planish/api/adaptive_weights.h"
#include "planish/api/model_impl.h"
#include "planish/api/name_list.h"
#include "planish/api/quantize_plan.h"
#include "planish/api/sample_walk.h"
#include "planish/quant/equalization.h"
#include "planish/quant/placement.h"
#include "planish/quant/weights.h"

namespace planish::api {
namespace {

/// A table that shares no tensor with the model is for another model; one that lacks some leaves those layers in float.
Status check_names(const Graph& graph, const PlacementPlan& plan, const CalibrationTable& table,
                   const QuantizeOptions& options) {
  if (plan.without_scale.empty()) return {};
  if (plan.products.empty() && table.ranges.empty())
    return Error{.code = Code::invalid_argument,
                 .file = table.description,
                 .what = "the calibration holds no ranges at all",
                 .fix = "calibrate again"};
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

/// Equalises the graph, and scales the ranges of the tensors that change with it.
CalibrationTable equalised_table(Graph& graph, const CalibrationTable& table, const QuantizeOptions& options) {
  CalibrationTable out = table;
  if (table.channel_maxima.empty() && options.warn)
    options.warn(
        "Equalisation is left out: it needs the ranges of channels, which a cache without its side file lacks");
  const Equalization done = equalise(graph, channel_maxima_of(table));
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

/// The table of the equalised graph: measured, else as far as it follows from that of the graph as it is.
CalibrationTable table_for(Graph& graph, const CalibrationTable& measured, const QuantizeOptions& options) {
  if (!options.equalization) return measured;
  if (measured.equalised == nullptr) return equalised_table(graph, measured, options);
  (void)equalise(graph, channel_maxima_of(measured));
  return *measured.equalised;
}

/// Samples spread over all of `source`, without those that do not fit or that the network fails on: calibration has
/// named them.
Result<KeptSamples> keep_samples(const Graph& graph, CalibrationSource& source, const QuantizeOptions& options) {
  PLANISH_TRY(source.rewind());
  const CalibrationOptions all{.max_bad_share = 1};
  CalibrationStats stats;
  SampleWalk walk(source, all, stats);
  KeptSamples kept;
  while (const auto batch = PLANISH_TRY(walk.next(graph))) kept.add(*batch);
  const int64_t before = kept.samples();
  std::string why;
  kept = working_samples(graph, kept, &why);
  if (kept.samples() < before && options.warn)
    options.warn(fmt::format("{} of {} samples are left out of rounding, because the network fails on them: {}",
                             before - kept.samples(), before, why));
  return kept;
}

/// ONNX Runtime makes UINT8 around 128 of symmetric INT8 itself, for its kernels, but cannot do so where it has put
/// reshapes between quantisers first (MatMul with a bias as Gemm). The values are the same.
PlacementPlan unsigned_quantisers(PlacementPlan plan) {
  for (auto& [value, quantiser] : plan.quantisers) {
    if (quantiser.type != DType::i8) continue;
    quantiser.type = DType::u8;
    quantiser.zero += 128;
  }
  return plan;
}

void fill_report(const Graph& graph, const PlacementPlan& plan, QuantizeReport* report) {
  if (report == nullptr) return;
  report->quantised_nodes = static_cast<int64_t>(plan.products.size());
  report->int8_nodes.clear();
  for (const QuantisedProduct& p : plan.products) {
    const Node& node = graph.nodes[static_cast<size_t>(p.node)];
    report->int8_nodes.push_back(node.origins.empty() ? node.name : node.origins.front());
  }
  report->float_nodes.clear();
  for (const auto& [n, reason] : plan.float_nodes)
    report->float_nodes.push_back({graph.nodes[static_cast<size_t>(n)].name, reason});
}

}  // namespace

QuantizeOptions int8_build_options() {
  QuantizeOptions options;
  set_build_defaults(options);
  return options;
}

Result<bool> can_equalise(const Model& model) {
  return planish::can_equalise(PLANISH_TRY(tidy_for_quantisation(ModelAccess::impl(model).model.graph)));
}

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
  const CalibrationTable table = table_for(graph, measured, options);
  const PlacementPlan plan = plan_quantisation(graph, placement_options(table, options));
  PLANISH_TRY(check_names(graph, plan, table, options));
  std::map<int32_t, QuantisedWeights> weights = nearest_weights(graph, plan, table, options);
  const std::map<int32_t, WeightLimit> limits = weight_limits(graph, plan, options);
  const bool adaptable = options.per_channel && options.bias_correction;
  if (options.rounding == RoundingMethod::adaptive && options.data != nullptr && adaptable) {
    const AdaptiveOptions adaptive{.work = kPatientWork, .progress = options.progress};
    const KeptSamples samples = PLANISH_TRY(keep_samples(graph, *options.data, options));
    (void)PLANISH_TRY(adapt_weights(graph, plan, samples, adaptive, limits, {}, weights));
  } else if (adaptable && (measured.equalised != nullptr || !options.equalization) &&
             measured.model_hash == source.source_hash) {
    const int64_t others = use_adapted(graph, plan, table, limits, weights);
    if (others > 0 && options.warn)
      options.warn(
          fmt::format("The calibration adapted the weights of {} layer(s) to other numbers (INT8 or UINT8, or "
                      "another scale): they are rounded to nearest; calibrate again for the best accuracy",
                      others));
  }
  fill_report(graph, plan, report);
  const bool for_ort = options.style == QuantizeStyle::onnxruntime && options.full_range.value_or(false);
  return ModelAccess::with_graph(model,
                                 PLANISH_TRY(place_qdq(graph, for_ort ? unsigned_quantisers(plan) : plan, weights)));
}

}  // namespace planish::api
