#include "planish/api/float_fallback.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <optional>

#include "planish/api/precision_mix.h"
#include "planish/api/quantize.h"
#include "planish/base/temporary_folder.h"
#include "planish/ir/text.h"
#include "planish/quant/placement.h"

namespace planish::api {
namespace {

using Clock = std::chrono::steady_clock;

/// Whole runs of either form: for this long, and within these numbers.
constexpr double kRaceSeconds = 1.0;
constexpr size_t kFewestRuns = 5;
constexpr size_t kMostRuns = 400;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

/// A context with inputs that any network takes: floats in [-1, 1), everything else 1.
class Runner {
 public:
  static Result<Runner> create(const Engine& engine, int threads) {
    Runner runner;
    runner.context_ = PLANISH_TRY(engine.create_context(0, threads));
    for (const TensorInfo& input : engine.inputs()) {
      const auto range = engine.profiles()[0].find(input.name);
      const std::vector<int64_t>& dims = range == engine.profiles()[0].end() ? input.dims : range->second.opt;
      Tensor& value = runner.inputs_.emplace_back(
          dtype_is_float(input.dtype) ? seeded_tensor(input.dtype, dims, runner.inputs_.size() + 1, -1, 1)
                                      : Tensor(input.dtype, dims));
      if (!dtype_is_float(input.dtype))
        for (int64_t i = 0; i < value.size(); ++i) value.set(i, 1);
      PLANISH_TRY(
          runner.context_->set_input(input.name, dims, {static_cast<const std::byte*>(value.raw()), value.bytes()}));
    }
    return runner;
  }

  Result<double> run_ms() {
    const auto begin = Clock::now();
    PLANISH_TRY(context_->run());
    return seconds_since(begin) * 1e3;
  }

 private:
  std::unique_ptr<ExecutionContext> context_;
  std::deque<Tensor> inputs_;  ///< contexts keep their addresses
};

using Times = std::vector<double>;

/// Runs two engines in turns, so that what disturbs the machine disturbs both.
Result<std::pair<Times, Times>> race_engines(const Engine& first, const Engine& second, int threads) {
  Runner a = PLANISH_TRY(Runner::create(first, threads));
  Runner b = PLANISH_TRY(Runner::create(second, threads));
  for (int warm_up = 0; warm_up < 2; ++warm_up) {
    (void)PLANISH_TRY(a.run_ms());
    (void)PLANISH_TRY(b.run_ms());
  }
  std::pair<Times, Times> times;
  const auto begin = Clock::now();
  while (times.first.size() < kFewestRuns || (times.first.size() < kMostRuns && seconds_since(begin) < kRaceSeconds)) {
    const bool first_first = times.first.size() % 2 == 0;
    if (first_first) times.first.push_back(PLANISH_TRY(a.run_ms()));
    times.second.push_back(PLANISH_TRY(b.run_ms()));
    if (!first_first) times.first.push_back(PLANISH_TRY(a.run_ms()));
  }
  return times;
}

/// Builds forms of one model.
class Bench final : public MixBench {
 public:
  Bench(const Model& model, const BuildConfig& config) : model_(model), config_(config) {
    config_.float_fallback = false;
    config_.whole_runs = false;  // of each of the forms they would take longer than all else
    if (config_.use_timing_cache) return;
    // The forms share most of their layers: times of the first serve the others, and go with the build.
    folder_.emplace();
    if (folder_->path().empty()) return;
    config_.use_timing_cache = true;
    config_.timing_cache_file = folder_->path() / "timing";
  }

  struct Form {
    std::optional<Engine> engine;
    BuildStats stats;
  };

  /// The first form, with progress and warnings.
  Status build_int8() {
    Form& form = forms_.emplace_back();
    form.engine.emplace(PLANISH_TRY(Engine::build(model_.clone(), config_, &form.stats)));
    // What happens from here on would repeat them.
    config_.warn = nullptr;
    progress_ = std::move(config_.progress);
    config_.progress = nullptr;
    config_.dump_passes_to.clear();
    return {};
  }

  Result<LayerProfile> build_float() {
    step();
    BuildConfig config = config_;
    config.int8 = false;
    const Engine engine = PLANISH_TRY(Engine::build(model_.clone(), config, &in_float_));
    return tuned_profile(PLANISH_TRY(engine.layers()));
  }

  Result<LayerProfile> build(const std::vector<std::string>& in_float) override {
    step();
    auto options = config_.quantization != nullptr ? *config_.quantization : QuantizeOptions{};
    options.keep_float.insert(options.keep_float.end(), in_float.begin(), in_float.end());
    options.warn = nullptr;
    options.progress = nullptr;
    BuildConfig config = config_;
    config.quantization = std::make_shared<const QuantizeOptions>(std::move(options));
    Form& form = forms_.emplace_back();
    form.engine.emplace(PLANISH_TRY(Engine::build(model_.clone(), config, &form.stats)));
    return tuned_profile(PLANISH_TRY(form.engine->layers()));
  }

  Result<std::pair<Times, Times>> race(size_t form) override {
    step();
    return race_engines(*forms_[0].engine, *forms_[form].engine, config_.threads);
  }

  Form& form(size_t i) { return forms_[i]; }
  [[nodiscard]] size_t timed() const {
    size_t all = in_float_.tactics_timed;
    for (const Form& form : forms_) all += form.stats.tactics_timed;
    return all;
  }

 private:
  void step() {
    constexpr size_t kSteps = 5;  // float, three mixes, runs
    steps_ = std::min(steps_ + 1, kSteps);
    if (progress_) progress_("comparing with float", steps_, kSteps);
  }

  const Model& model_;
  BuildConfig config_;
  std::optional<TemporaryFolder> folder_;
  std::deque<Form> forms_;
  BuildStats in_float_;
  size_t steps_ = 0;
  std::function<void(std::string_view stage, size_t done, size_t total)> progress_;
};

/// INT8 nodes that nobody asked to be in INT8.
std::vector<std::string> free_nodes(const std::vector<std::string>& nodes, const BuildConfig& config) {
  std::vector<std::string> forced;
  if (config.quantization != nullptr) forced = config.quantization->force_int8;
  if (config.precision_constraints != PrecisionConstraints::none)
    for (const auto& [pattern, type] : config.layer_precisions)
      if (type == DType::i8) forced.push_back(pattern);
  std::vector<std::string> free;
  for (const std::string& node : nodes)
    if (std::ranges::none_of(forced, [&node](const std::string& pattern) { return names_node(pattern, node); }))
      free.push_back(node);
  return free;
}

/// Says of the nodes that were put back why.
std::shared_ptr<const QuantizeReport> with_reasons(const QuantizeReport& report, const FloatFallback& fallback) {
  auto out = std::make_shared<QuantizeReport>(report);
  for (FloatNode& node : out->float_nodes) {
    const std::string first = node.node.substr(0, node.node.find(" + "));  // folding joins names
    if (std::ranges::find(fallback.in_float, first) != fallback.in_float.end()) node.reason = "float is faster";
  }
  return out;
}

}  // namespace

bool compares_with_float(const Model& model, const BuildConfig& config) {
  return config.float_fallback && config.int8 && config.optimization_level > 0 && !model.has_quantize_nodes() &&
         config.debug_tensors.empty() && !config.debug_unfused_tensors && config.stop_after_pass.empty();
}

Result<Engine> build_with_float_fallback(const Model& model, const BuildConfig& config, BuildStats* stats) {
  const auto begin = Clock::now();
  Bench bench(model, config);
  PLANISH_TRY(bench.build_int8());
  const auto finish = [&](size_t form, const FloatFallback& report) -> Result<Engine> {
    if (stats != nullptr) {
      *stats = bench.form(form).stats;
      stats->tactics_timed = bench.timed();
      stats->float_fallback = report;
      stats->seconds = seconds_since(begin);
      if (stats->quantization != nullptr) stats->quantization = with_reasons(*stats->quantization, report);
    }
    return std::move(*bench.form(form).engine);
  };
  const auto& quantised = bench.form(0).stats.quantization;
  if (quantised == nullptr || quantised->int8_nodes.empty()) return finish(0, {});
  const auto choice = [&]() -> Result<MixChoice> {
    const LayerProfile in_float = PLANISH_TRY(bench.build_float());
    const LayerProfile in_int8 = tuned_profile(PLANISH_TRY(bench.form(0).engine->layers()));
    return choose_mix(in_float, in_int8, free_nodes(quantised->int8_nodes, config), bench);
  }();
  if (!choice.ok()) {
    if (config.warn) config.warn("The INT8 layers were not compared with float: " + choice.error().message());
    return finish(0, {});
  }
  return finish(choice->form, choice->report);
}

}  // namespace planish::api
