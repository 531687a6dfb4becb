#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <set>

#include "planish/api/adaptive_weights.h"
#include "planish/api/model_impl.h"
#include "planish/api/observed_network.h"
#include "planish/api/quantize.h"
#include "planish/api/quantize_plan.h"
#include "planish/base/atomic_file.h"
#include "planish/quant/calibration_cache.h"
#include "planish/quant/histogram.h"
#include "planish/quant/placement.h"
#include "planish/quant/thresholds.h"

namespace planish::api {
namespace {

constexpr size_t kNamedSkips = 10;
/// Scale of a tensor that was zero in all data: one step is far above any rounding error and far below any signal.
constexpr float kZeroTensorScale = 1.0F / 127;

std::string list(const std::vector<std::string>& names) {
  const size_t shown = std::min<size_t>(names.size(), 5);
  std::string out = fmt::format("{}", fmt::join(names.begin(), names.begin() + static_cast<ptrdiff_t>(shown), ", "));
  if (shown < names.size()) out += fmt::format(" and {} more", names.size() - shown);
  return out;
}

/// The samples of a batch one by one; empty when it is one sample, or none of its axes counts samples.
std::deque<CalibrationBatch> samples_of(const CalibrationBatch& batch) {
  std::deque<CalibrationBatch> samples;
  if (batch.samples < 2 || batch.inputs.empty()) return samples;
  for (const auto& [name, tensor] : batch.inputs) {
    if (tensor.dims.empty() || tensor.dims[0] < batch.samples || tensor.dims[0] != batch.inputs[0].second.dims[0])
      return samples;
    if (tensor.data.size() % static_cast<size_t>(tensor.dims[0]) != 0) return samples;
  }
  for (int64_t r = 0; r < batch.samples; ++r) {
    CalibrationBatch& sample = samples.emplace_back();
    sample.samples = 1;
    const auto row = static_cast<size_t>(r);
    sample.origin = row < batch.sample_origins.size() ? batch.sample_origins[row]
                                                      : fmt::format("{}, sample {} of it", batch.origin, r);
    for (const auto& [name, tensor] : batch.inputs) {
      const size_t bytes = tensor.data.size() / static_cast<size_t>(tensor.dims[0]);
      HostTensor part{tensor.dtype, tensor.dims, tensor.data.subspan(row * bytes, bytes)};
      part.dims[0] = 1;
      sample.inputs.emplace_back(name, std::move(part));
    }
  }
  return samples;
}

/// Walks a source and keeps count of what could not be used. A batch that is refused comes again sample by sample, so
/// that a bad sample costs only itself.
class SampleWalk {
 public:
  SampleWalk(CalibrationSource& source, const CalibrationOptions& options, CalibrationStats& stats)
      : source_(source), options_(options), stats_(stats) {}

  /// The next batch that fits the network; nullopt at the end.
  Result<std::optional<CalibrationBatch>> next(const Graph& graph) {
    while (options_.max_samples < 0 || stats_.samples < options_.max_samples) {
      auto batch = next_or_part();
      if (!batch.ok()) {
        if (source_.fatal()) return std::move(batch).take_error();
        skip(std::move(batch).take_error().message(), 1);
        PLANISH_TRY(check_share(false));
        continue;
      }
      if (!batch->has_value()) return std::optional<CalibrationBatch>();
      if (const auto bad = check_batch(graph, **batch)) {
        PLANISH_TRY(refused(**batch, bad->message()));
        continue;
      }
      return batch;
    }
    return std::optional<CalibrationBatch>();
  }

  void used(const CalibrationBatch& batch) {
    stats_.samples += std::max<int64_t>(batch.samples, 0);
    if (options_.progress) {
      int64_t total = source_.size().value_or(0);
      if (options_.max_samples >= 0 && total > 0) total = std::min(total, options_.max_samples);
      options_.progress("calibration", static_cast<size_t>(stats_.samples), static_cast<size_t>(total));
    }
  }

  /// The network itself failed on a batch: counted like a bad sample.
  Status failed(const CalibrationBatch& batch, const Error& error) {
    return refused(batch, fmt::format("{}: the network fails on it: {}", batch.origin, error.message()));
  }
  /// Error when too many samples are bad. Before the end only when nothing good can change that any more.
  Status check_share(bool at_end) const {
    const int64_t seen = stats_.samples + stats_.skipped;
    const int64_t total = at_end ? seen : std::max(seen, source_.size().value_or(INT64_MAX / 2));
    if (at_end && stats_.samples == 0)
      return Error{.code = Code::invalid_argument,
                   .file = source_.description(),
                   .what = stats_.skipped == 0
                               ? std::string("the calibration data is empty: it yields no sample")
                               : fmt::format("none of the {} calibration samples can be used; the first: {}",
                                             stats_.skipped, stats_.skipped_names.front()),
                   .fix = "give images or arrays that fit the network's inputs"};
    if (static_cast<double>(stats_.skipped) <= options_.max_bad_share * static_cast<double>(total)) return {};
    return Error{.code = Code::invalid_argument,
                 .file = source_.description(),
                 .what = fmt::format("{} of {} calibration samples cannot be used, more than the allowed {:.0f} %: {}",
                                     stats_.skipped, seen, options_.max_bad_share * 100, list(stats_.skipped_names)),
                 .fix = "repair the data, or allow a larger share of bad samples"};
  }

 private:
  Result<std::optional<CalibrationBatch>> next_or_part() {
    if (parts_.empty()) return source_.next();
    std::optional<CalibrationBatch> part = std::move(parts_.front());
    parts_.pop_front();
    return part;
  }

  Status refused(const CalibrationBatch& batch, std::string why) {
    // A sample is whole: parts have no parts.
    if (auto parts = samples_of(batch); !parts.empty()) {
      parts_ = std::move(parts);
      return {};
    }
    skip(std::move(why), std::max<int64_t>(batch.samples, 1));
    return check_share(false);
  }

  void skip(std::string why, int64_t samples) {
    stats_.skipped += samples;
    if (options_.warn) options_.warn(fmt::format("Calibration sample skipped: {}", why));
    if (stats_.skipped_names.size() < kNamedSkips) stats_.skipped_names.push_back(std::move(why));
  }

  static std::optional<Error> check_batch(const Graph& graph, const CalibrationBatch& batch) {
    for (const ValueId v : graph.inputs) {
      const Value& input = graph.value(v);
      const auto it = std::ranges::find_if(batch.inputs, [&](const auto& p) { return p.first == input.name; });
      if (it == batch.inputs.end()) return missing_input(graph, input, batch);
      if (auto bad = check_tensor(input, it->second, batch)) return bad;
    }
    return std::nullopt;
  }

  static Error missing_input(const Graph& graph, const Value& input, const CalibrationBatch& batch) {
    std::string names;
    for (const ValueId v : graph.inputs) names += fmt::format("{}'{}'", names.empty() ? "" : ", ", graph.name_of(v));
    return Error{.code = Code::not_found,
                 .tensor = input.name,
                 .file = batch.origin,
                 .what = "the sample has no data for this input",
                 .fix = fmt::format("the network's inputs are {}", names)};
  }

  static std::optional<Error> check_tensor(const Value& input, const HostTensor& t, const CalibrationBatch& batch) {
    const auto bad = [&](std::string what, std::string fix) {
      return Error{.code = Code::shape_mismatch,
                   .tensor = input.name,
                   .file = batch.origin,
                   .what = std::move(what),
                   .fix = std::move(fix)};
    };
    if (t.dtype != input.dtype)
      return bad(
          fmt::format("the data is {}, the network wants {}", dtype_numpy_name(t.dtype), dtype_numpy_name(input.dtype)),
          "convert it");
    bool fits = !input.shape || input.shape->size() == t.dims.size();
    for (size_t d = 0; fits && input.shape && d < t.dims.size(); ++d)
      fits = t.dims[d] >= 0 && (d == 0 || (*input.shape)[d] < 0 || (*input.shape)[d] == t.dims[d]);
    if (!fits)
      return bad(
          fmt::format("the data has the shape {}, the network wants {}", to_string(t.dims), to_string(*input.shape)),
          "give data of the network's shape");
    if (t.data.size() != dtype_bytes(t.dtype, element_count(t.dims)) || t.data.empty())
      return bad(fmt::format("{} bytes do not fill the shape {}", t.data.size(), to_string(t.dims)), "check the file");
    if (t.dtype != DType::f32) return std::nullopt;
    const auto* x = reinterpret_cast<const float*>(t.data.data());
    const auto n = t.data.size() / sizeof(float);
    const auto wrong = std::find_if(x, x + n, [](float f) { return !std::isfinite(f); });
    if (wrong == x + n) return std::nullopt;
    return bad(fmt::format("the data holds {} at element {}", *wrong, wrong - x), "remove NaN and infinity");
  }

  CalibrationSource& source_;
  const CalibrationOptions& options_;
  CalibrationStats& stats_;
  std::deque<CalibrationBatch> parts_;  ///< of the batch that was refused last; they point to its data
};

/// What was seen of every tensor. A run that fails half way leaves no trace.
class Statistics {
 public:
  using Map = std::map<std::string, TensorStatistics, std::less<>>;

  void begin_run() { touched_.clear(); }
  void add(std::string_view name, const TensorDesc& desc, const float* data) {
    auto it = seen_.find(name);
    if (it == seen_.end()) it = seen_.emplace(std::string(name), TensorStatistics{}).first;
    if (touched_.insert(it->first).second) before_[it->first] = it->second;
    it->second.add(data, desc.shape, desc.layout);
  }
  void undo_run() {
    for (const std::string_view name : touched_) seen_.find(name)->second = before_.find(name)->second;
    touched_.clear();
  }
  [[nodiscard]] const Map& all() const { return seen_; }

 private:
  Map seen_;
  Map before_;  ///< of the tensors in touched_: as they were before the run; kept for their memory
  std::set<std::string_view> touched_;
};

uint64_t hash_of(const std::string& text) {
  return checksum64({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

RangeHistogram histogram_of(const std::string& name, const AbsHistogram& h) {
  return {name, h.bin_width(), std::vector<int64_t>(h.counts().begin(), h.counts().end())};
}

void warn_of(const CalibrationOptions& options, const std::vector<std::string>& names, std::string_view what) {
  if (!names.empty() && options.warn)
    options.warn(fmt::format("{} in {} tensor(s): {}", what, names.size(), list(names)));
}

/// Statistics to ranges, in the order of the graph.
void fill_table(const Graph& graph, const Statistics::Map& statistics, const std::set<std::string>& read_by_products,
                const CalibrationOptions& options, CalibrationTable& table) {
  std::vector<std::string> zero;
  std::vector<std::string> constant;
  std::vector<std::string> not_finite;
  const auto add = [&](ValueId v) {
    const std::string& name = graph.value(v).name;
    const auto it = statistics.find(name);
    if (it == statistics.end() || it->second.count == 0 || table.ranges.contains(name)) return;
    const TensorStatistics& s = it->second;
    if (!s.finite()) not_finite.push_back(name);
    const double threshold = choose_threshold(s, static_cast<ThresholdMethod>(options.method), options.percentile);
    if (threshold <= 0) zero.push_back(name);
    if (threshold > 0 && s.min == s.max) constant.push_back(name);
    const float scale = threshold > 0 ? std::max(static_cast<float>(threshold / 127), 1e-30F) : kZeroTensorScale;
    TensorRange& range = table.ranges[name] = {scale, s.min, s.max};
    if (const auto u = choose_unsigned(s, static_cast<ThresholdMethod>(options.method), options.percentile)) {
      range.unsigned_scale = u->scale;
      range.unsigned_zero = static_cast<int32_t>(u->zero);
    }
    table.order.push_back(name);
    table.histograms.push_back(histogram_of(name, s.histogram));
    if (!read_by_products.contains(name)) return;
    table.channel_means[name] = s.channel_means();
    table.channel_maxima[name] = s.channel_amax;
  };
  for (const ValueId v : graph.inputs) add(v);
  for (const Node& node : graph.nodes)
    for (const ValueId v : node.outputs)
      if (v != kNoValue) add(v);
  warn_of(options, zero, "Nothing but zeros was seen");
  warn_of(options, constant, "The same value everywhere was seen");
  warn_of(options, not_finite, "NaN or infinity was computed (and left out)");
}

/// Adapts the weights of the layers that are worth it by default, while the samples are at hand.
Status adapt(const Graph& graph, const KeptSamples& samples, const CalibrationOptions& options,
             CalibrationTable& table) {
  QuantizeOptions numbers;
  numbers.full_range = options.full_range;
  numbers.narrow_weights = options.narrow_weights;
  set_build_defaults(numbers);
  const AdaptiveOptions adaptive{
      .threads = options.threads, .profile = options.calibration_profile, .progress = options.progress};
  if (options.method == CalibrationMethod::automatic) {
    const PlacementPlan first = plan_quantisation(graph, placement_options(table, numbers));
    PLANISH_TRY(refine_ranges(graph, first, samples, adaptive, table));
  }
  const PlacementPlan plan = plan_quantisation(graph, placement_options(table, numbers));
  std::map<int32_t, QuantisedWeights> weights = nearest_weights(graph, plan, table, numbers);
  const std::map<int32_t, int> largest = largest_weights(plan, numbers);
  const auto done = PLANISH_TRY(adapt_weights(graph, plan, samples, adaptive, largest, weights));
  for (const QuantisedProduct& p : plan.products)
    if (done.contains(p.node))
      table.adapted_weights[adapted_name(graph, p)] = to_adapted(plan, p, weights.at(p.node), largest.at(p.node));
  return {};
}

}  // namespace

Result<CalibrationTable> calibrate(const Model& model, CalibrationSource& source, const CalibrationOptions& options,
                                   CalibrationStats* stats) {
  const auto begin = std::chrono::steady_clock::now();
  const auto& impl = ModelAccess::impl(model);
  if (model.has_quantize_nodes())
    return Error{.code = Code::invalid_argument,
                 .file = impl.file_name,
                 .what = "the model is quantised already; its own scales are used and there is nothing to calibrate",
                 .fix = "leave the calibration out, or give the FP32 model"};
  CalibrationStats local;
  CalibrationStats& done = stats != nullptr ? *stats : local;
  done = {};
  const Graph graph = PLANISH_TRY(tidy_for_quantisation(impl.model.graph));
  // The style that quantises most, so that the ranges serve every style.
  const PlacementPlan plan = plan_quantisation(graph, {.style = QdqStyle::onnxruntime});
  std::set<std::string> needed;
  for (const auto& [v, readers] : plan.tensors) needed.insert(graph.value(v).name);

  PLANISH_TRY(source.rewind());
  SampleWalk walk(source, options, done);
  ObservedNetwork network(graph, needed, options.threads, options.calibration_profile);
  KeptSamples kept;
  Statistics statistics;
  const auto show = [&](std::string_view name, const TensorDesc& desc, const float* data) {
    statistics.add(name, desc, data);
  };
  for (;;) {
    const auto batch = PLANISH_TRY(walk.next(graph));
    if (!batch) break;
    statistics.begin_run();
    if (const Status run = network.run(*batch, show); !run.ok()) {
      statistics.undo_run();
      PLANISH_TRY(walk.failed(*batch, run.error()));
      continue;
    }
    kept.add(*batch);
    walk.used(*batch);
  }
  PLANISH_TRY(walk.check_share(true));

  CalibrationTable table;
  table.header = kCalibrationCacheHeader;
  table.samples = done.samples;
  table.description = source.description();
  if (done.skipped > 0) table.description += fmt::format(", {} samples skipped", done.skipped);
  table.random = table.description.starts_with("random");
  table.model_hash = impl.source_hash;
  table.data_hash = hash_of(source.identity());
  fill_table(graph, statistics.all(), needed, options, table);
  statistics = {};
  if (options.adapt_weights)
    if (auto adapted = adapt(graph, kept, options, table); !adapted.ok() && options.warn)
      options.warn(fmt::format("Weights are rounded to nearest: {}", adapted.error().message()));
  done.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return table;
}

}  // namespace planish::api
