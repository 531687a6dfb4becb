#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <future>
#include <set>

#include "planish/api/adaptive_weights.h"
#include "planish/api/early_rows.h"
#include "planish/api/inner_tensors.h"
#include "planish/api/model_impl.h"
#include "planish/api/name_list.h"
#include "planish/api/observed_network.h"
#include "planish/api/quantize.h"
#include "planish/api/quantize_plan.h"
#include "planish/api/sample_walk.h"
#include "planish/base/atomic_file.h"
#include "planish/base/isa.h"
#include "planish/base/parallel.h"
#include "planish/quant/calibration_cache.h"
#include "planish/quant/equalization.h"
#include "planish/quant/histogram.h"
#include "planish/quant/placement.h"
#include "planish/quant/thresholds.h"

namespace planish::api {
namespace {

/// Scale of a tensor that was zero in all data: one step is far above any rounding error and far below any signal.
constexpr float kZeroTensorScale = 1.0F / 127;

/// What one worker saw of every tensor. A run that fails half way leaves no trace.
class Statistics {
 public:
  using Map = std::map<std::string, TensorStatistics, std::less<>>;

  void begin_run() { ++run_; }
  void add(std::string_view name, const TensorDesc& desc, const float* data, int64_t first_sample, int64_t samples,
           Interest interest) {
    auto it = seen_.find(name);
    if (it == seen_.end()) it = seen_.emplace(std::string(name), Seen{}).first;
    Seen& seen = it->second;
    if (seen.run != run_) seen.before = seen.now;
    seen.run = run_;
    seen.now.add(data, desc.shape, desc.layout, first_sample, samples, interest);
  }
  void undo_run() {
    for (auto& [name, seen] : seen_)
      if (seen.run == run_) std::swap(seen.now, seen.before);
    ++run_;
  }
  /// Takes everything out.
  Map take() {
    Map all;
    for (auto& [name, seen] : seen_) all.emplace_hint(all.end(), name, std::move(seen.now));
    seen_.clear();
    return all;
  }

 private:
  struct Seen {
    TensorStatistics now;
    TensorStatistics before;  ///< the last run that showed the tensor
    int64_t run = 0;          ///< its number
  };
  std::map<std::string, Seen, std::less<>> seen_;
  int64_t run_ = 0;
};

uint64_t hash_of(const std::string& text) {
  return checksum64({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

RangeHistogram histogram_of(const std::string& name, const AbsHistogram& h) {
  return {name, h.bin_width(), std::vector<int64_t>(h.counts().begin(), h.counts().end())};
}

void warn_of(const CalibrationOptions& options, const std::vector<std::string>& names, std::string_view what,
             std::string_view remedy) {
  if (!names.empty() && options.warn)
    options.warn(fmt::format("{} in {} tensor(s): {}; {}", what, names.size(), first_names(names), remedy));
}

struct Thresholds {
  double symmetric = 0;
  std::optional<TensorQuantization> in_bytes;  ///< as UINT8, where that is finer
};

/// By tensor; several threads try what is best for one each.
std::map<std::string_view, Thresholds> all_thresholds(const Statistics::Map& statistics,
                                                      const CalibrationOptions& options) {
  std::vector<std::pair<std::string_view, const TensorStatistics*>> tensors;
  for (const auto& [name, s] : statistics) tensors.emplace_back(name, &s);
  std::vector<Thresholds> found(tensors.size());
  parallel_for(static_cast<int64_t>(tensors.size()), 1, [&](int64_t begin, int64_t end) {
    const auto method = static_cast<ThresholdMethod>(options.method);
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      const TensorStatistics& s = *tensors[i].second;
      if (s.count > 0)
        found[i] = {choose_threshold(s, method, options.percentile), choose_unsigned(s, method, options.percentile)};
    }
  });
  std::map<std::string_view, Thresholds> by_name;
  for (size_t i = 0; i < tensors.size(); ++i) by_name[tensors[i].first] = found[i];
  return by_name;
}

/// Statistics to ranges, in the order of the graph.
void fill_table(const Graph& graph, const Statistics::Map& statistics, const std::set<std::string>& read_by_products,
                const CalibrationOptions& options, CalibrationTable& table) {
  std::vector<std::string> zero;
  std::vector<std::string> constant;
  std::vector<std::string> not_finite;
  const std::map<std::string_view, Thresholds> thresholds = all_thresholds(statistics, options);
  const auto add = [&](ValueId v) {
    const std::string& name = graph.value(v).name;
    const auto it = statistics.find(name);
    if (it == statistics.end() || it->second.count == 0 || table.ranges.contains(name)) return;
    const TensorStatistics& s = it->second;
    if (!s.finite()) not_finite.push_back(name);
    const auto& [threshold, in_bytes] = thresholds.at(name);
    if (threshold <= 0) zero.push_back(name);
    if (threshold > 0 && s.min == s.max) constant.push_back(name);
    const float scale = threshold > 0 ? std::max(static_cast<float>(threshold / 127), 1e-30F) : kZeroTensorScale;
    TensorRange& range = table.ranges[name] = {scale, s.min, s.max};
    if (in_bytes) {
      range.unsigned_scale = in_bytes->scale;
      range.unsigned_zero = static_cast<int32_t>(in_bytes->zero);
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
  constexpr std::string_view kReach = "calibrate on data that reaches them, unless they never hold anything else";
  warn_of(options, zero, "Nothing but zeros was seen", kReach);
  warn_of(options, constant, "The same value everywhere was seen", kReach);
  warn_of(options, not_finite, "NaN or infinity was computed (and left out)",
          "check the data, and the model in FP32 (polygraphy run MODEL --trt --validate)");
}

/// The numbers that weights are adapted to.
QuantizeOptions numbers_of(const CalibrationOptions& options) {
  QuantizeOptions numbers;
  numbers.full_range = options.full_range;
  numbers.weight_range = options.weight_range;
  set_build_defaults(numbers);
  return numbers;
}

/// Adapts the weights of the layers that are worth it by default, while the samples are at hand.
Status adapt(const Graph& graph, ObservedNetwork& network, const KeptSamples& samples, RowsByNode seen, double work,
             const CalibrationOptions& options, CalibrationTable& table) {
  const QuantizeOptions numbers = numbers_of(options);
  const AdaptiveOptions adaptive{.work = work,
                                 .threads = options.threads,
                                 .profile = options.calibration_profile,
                                 .progress = options.progress,
                                 .network = &network};
  RowsByNode rows = options.method == CalibrationMethod::automatic ? RowsByNode{} : std::move(seen);
  if (options.method == CalibrationMethod::automatic) {
    const PlacementPlan first = plan_quantisation(graph, placement_options(table, numbers));
    rows = PLANISH_TRY(refine_ranges(graph, first, samples, adaptive, std::move(seen), table));
  }
  const PlacementPlan plan = plan_quantisation(graph, placement_options(table, numbers));
  std::map<int32_t, QuantisedWeights> weights = nearest_weights(graph, plan, table, numbers);
  const std::map<int32_t, WeightLimit> limits = weight_limits(graph, plan, numbers);
  const auto done = PLANISH_TRY(adapt_weights(graph, plan, samples, adaptive, limits, std::move(rows), weights));
  for (const QuantisedProduct& p : plan.products)
    if (done.contains(p.node))
      table.adapted_weights[adapted_name(graph, p)] = to_adapted(plan, p, weights.at(p.node), limits.at(p.node));
  return {};
}

/// Looks for the ranges that only a cache for TensorRT needs, on one thread beside the adaptation of weights, which
/// leaves cores waiting. All must outlive the result.
std::future<Result<RangesByName>> begin_inner_ranges(const Graph& graph, const KeptSamples& samples,
                                                     const ProfileRanges& profile, const CalibrationTable& table) {
  std::set<std::string> known;
  for (const auto& [name, range] : table.ranges) known.insert(name);
  return std::async(std::launch::async, [&graph, &samples, &profile, known = std::move(known)] {
    return inner_ranges(graph, samples, 1, profile, known);
  });
}

/// How many samples there will be.
std::optional<int64_t> sample_count(const CalibrationSource& source, const CalibrationOptions& options) {
  const std::optional<int64_t> all = source.size();
  return all && options.max_samples >= 0 ? std::min(*all, options.max_samples) : all;
}

/// A batch whose data stays.
struct OwnBatch {
  std::vector<std::vector<std::byte>> tensors;
  CalibrationBatch batch;

  explicit OwnBatch(const CalibrationBatch& of) : batch(of) {
    if (batch.owner != nullptr) return;
    for (auto& [name, given] : batch.inputs) given.data = tensors.emplace_back(given.data.begin(), given.data.end());
  }
};

/// The walk through the data: the network runs over it, and is looked at by statistics and for rows.
class Collector {
 public:
  /// `needed`: tensors that an INT8 layer may read.
  Collector(const Graph& graph, const std::set<std::string>& needed, ObservedNetwork& network, SampleWalk& walk,
            KeptSamples& kept, EarlyRows* early, std::optional<int64_t> total)
      : graph_(graph),
        needed_(needed.begin(), needed.end()),
        network_(network),
        walk_(walk),
        kept_(kept),
        early_(early),
        total_(total),
        statistics_(static_cast<size_t>(network.most_workers())) {}

  Status run() {
    while (PLANISH_TRY(gather())) {
      if (const Status ran = run_round(round_); ran.ok()) continue;
      // Batch by batch, to see which of them it is.
      for (const CalibrationBatch& batch : std::vector(round_))
        if (const Status ran = run_round({&batch, 1}); !ran.ok()) PLANISH_TRY(walk_.failed(batch, ran.error()));
      if (walk_.has_parts())
        for (OwnBatch& own : own_) parts_of_.push_back(std::move(own));
    }
    return walk_.check_share(true);
  }

  Statistics::Map statistics() {
    Statistics::Map all = statistics_.front().take();
    for (size_t w = 1; w < statistics_.size(); ++w)
      for (auto& [name, s] : statistics_[w].take()) all[name].merge(s);
    return all;
  }

 private:
  /// Takes so many batches that every worker has some pieces; false at the end of the data.
  Result<bool> gather() {
    if (!walk_.has_parts()) parts_of_.clear();
    round_.clear();
    own_.clear();
    size_t pieces = 0;
    size_t bytes = 0;
    const auto enough = [&] {
      const size_t of_worker = pieces / static_cast<size_t>(network_.most_workers());
      return of_worker >= (bytes < kBytesOfRound ? kPiecesOfWorker : kFewestPieces);
    };
    while (!enough()) {
      const auto batch = PLANISH_TRY(walk_.next(graph_));
      if (!batch) break;
      pieces += network_.pieces_of(*batch).size();
      for (const auto& [name, tensor] : batch->inputs) bytes += tensor.data.size();
      if (enough() && round_.empty()) {
        round_.push_back(*batch);  // nobody asks for another one while it runs
        break;
      }
      own_.emplace_back(*batch);
      round_.push_back(own_.back().batch);
    }
    return !round_.empty();
  }

  Status run_round(std::span<const CalibrationBatch> batches) {
    std::vector<int64_t> first_sample;
    int64_t samples = samples_;
    for (const CalibrationBatch& batch : batches) {
      first_sample.push_back(samples);
      samples += std::max<int64_t>(batch.samples, 1);
    }
    for (Statistics& s : statistics_) s.begin_run();
    if (early_ != nullptr) early_->begin(batches, network_, total_, kept_);
    const auto show = [&](const Piece& piece, std::string_view name, const TensorDesc& desc, const void* shown) {
      if (desc.dtype != DType::f32) return;
      const auto* data = static_cast<const float*>(shown);
      if (early_ != nullptr) early_->show(piece, name, desc, data);
      statistics_[static_cast<size_t>(piece.worker)].add(
          name, desc, data, first_sample[piece.batch] + piece.first, std::max<int64_t>(piece.rows, 1),
          piece.rows == 0 || needed_.contains(name) ? Interest::high : Interest::low);
    };
    // Who is done with its share of the round prepares the next one.
    if (Status ran = network_.run(batches, show, [this] { return walk_.prepare(); }); !ran.ok()) {
      for (Statistics& s : statistics_) s.undo_run();
      if (early_ != nullptr) early_->failed();
      return ran;
    }
    samples_ = samples;
    for (const CalibrationBatch& batch : batches) {
      kept_.add(batch);
      walk_.used(batch);
    }
    return {};
  }

  /// At the end of a round somebody waits. The fewest of large samples, whose memory matters more.
  static constexpr size_t kPiecesOfWorker = 8;
  static constexpr size_t kFewestPieces = 4;
  static constexpr size_t kBytesOfRound = size_t{16} << 20;

  const Graph& graph_;
  std::set<std::string, std::less<>> needed_;
  ObservedNetwork& network_;
  SampleWalk& walk_;
  KeptSamples& kept_;
  EarlyRows* early_;
  std::optional<int64_t> total_;
  std::vector<Statistics> statistics_;  ///< by worker
  std::vector<CalibrationBatch> round_;
  std::deque<OwnBatch> own_;       ///< what the round points to
  std::deque<OwnBatch> parts_of_;  ///< what parts of failed batches point to
  int64_t samples_ = 0;
};

/// calibrate() for a network as it is.
Result<CalibrationTable> calibrate_as_is(const Model& model, CalibrationSource& source,
                                         const CalibrationOptions& options, CalibrationStats& done) {
  const auto& impl = ModelAccess::impl(model);
  if (model.has_quantize_nodes())
    return Error{.code = Code::invalid_argument,
                 .file = impl.file_name,
                 .what = "the model is quantised already; its own scales are used and there is nothing to calibrate",
                 .fix = "leave the calibration out, or give the FP32 model"};
  const Graph graph = PLANISH_TRY(tidy_for_quantisation(impl.model.graph));
  // The style that quantises most, so that the ranges serve every style.
  const PlacementPlan plan = plan_quantisation(graph, {.style = QdqStyle::onnxruntime});
  std::set<std::string> needed;
  for (const auto& [v, readers] : plan.tensors) needed.insert(graph.value(v).name);

  PLANISH_TRY(source.rewind());
  SampleWalk walk(source, options, done);
  ObservedNetwork network(graph, needed, options.threads, options.calibration_profile);
  const AdaptationEffort effort = adaptation_effort(plan, options.adapt_work);
  KeptSamples kept(effort.samples);
  std::optional<EarlyRows> early;
  const CalibrationTable every_range = CalibrationTable::invented();
  if (options.adapt_weights)
    early.emplace(graph, plan_quantisation(graph, placement_options(every_range, numbers_of(options))), effort.work);
  Statistics::Map statistics;
  {
    Collector collector(graph, needed, network, walk, kept, early ? &*early : nullptr, sample_count(source, options));
    PLANISH_TRY(collector.run());
    statistics = collector.statistics();
  }

  CalibrationTable table;
  table.header = kCalibrationCacheHeader;
  table.samples = done.samples;
  table.description = source.description();
  if (done.skipped > 0) table.description += fmt::format(", {} samples skipped", done.skipped);
  table.random = table.description.starts_with("random");
  table.model_hash = impl.source_hash;
  table.data_hash = hash_of(source.identity());
  fill_table(graph, statistics, needed, options, table);
  statistics.clear();
  std::future<Result<RangesByName>> inner;
  if (options.inner_tensors) inner = begin_inner_ranges(impl.model.graph, kept, options.calibration_profile, table);
  if (early) {
    auto adapted = adapt(graph, network, kept, early->take(kept).value_or(RowsByNode{}), effort.work, options, table);
    if (!adapted.ok() && options.warn)
      options.warn(fmt::format("Weights are rounded to nearest: {}", adapted.error().message()));
  }
  if (inner.valid()) {
    auto ranges = inner.get();
    if (ranges.ok())
      add_ranges(impl.model.graph, std::move(ranges).take_value(), table);
    else if (options.warn)
      options.warn(fmt::format("Tensors inside fused layers have no range: {}", ranges.error().message()));
  }
  return table;
}

/// Table of the network with its channels evened out.
Result<CalibrationTable> calibrate_equalised(const Model& model, CalibrationSource& source,
                                             const CalibrationTable& table, CalibrationOptions options) {
  Graph graph = PLANISH_TRY(tidy_for_quantisation(ModelAccess::impl(model).model.graph));
  (void)equalise(graph, channel_maxima_of(table));
  options.max_bad_share = 1;  // was judged, and bad samples named, when the data was walked first
  options.warn = nullptr;
  options.inner_tensors = false;
  CalibrationStats again;
  return calibrate_as_is(ModelAccess::with_graph(model, std::move(graph)), source, options, again);
}

}  // namespace

Result<CalibrationTable> calibrate(const Model& model, CalibrationSource& source, const CalibrationOptions& options,
                                   CalibrationStats* stats) {
  const auto begin = std::chrono::steady_clock::now();
  const ThreadsInScope threads(threads_or_all(options.threads));
  CalibrationStats local;
  CalibrationStats& done = stats != nullptr ? *stats : local;
  done = {};
  CalibrationOptions first = options;
  first.adapt_weights = options.adapt_weights && !options.equalization;
  CalibrationTable table = PLANISH_TRY(calibrate_as_is(model, source, first, done));
  if (options.equalization)
    table.equalised =
        std::make_shared<const CalibrationTable>(PLANISH_TRY(calibrate_equalised(model, source, table, options)));
  done.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return table;
}

}  // namespace planish::api
