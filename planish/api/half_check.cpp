#include "planish/api/half_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <set>

#include "planish/base/isa.h"
#include "planish/base/temporary_folder.h"
#include "planish/ir/text.h"
#include "planish/runtime/context.h"
#include "planish/runtime/executable.h"
#include "planish/tactics/half_weights.h"

namespace planish::api {
namespace {

/// Largest index that the input may hold: of the tables that it indexes, else 1 (masks and token types).
int64_t index_bound(const Graph& graph, ValueId input) {
  int64_t bound = INT64_MAX;
  for (const Node& node : graph.nodes) {
    if (!node.is("Gather") || node.in(1) != input || !graph.value(node.in(0)).shape) continue;
    const Shape& table = *graph.value(node.in(0)).shape;
    const int64_t axis = node.attr_int("axis", 0);
    const auto a = static_cast<size_t>(axis < 0 ? axis + static_cast<int64_t>(table.size()) : axis);
    if (a < table.size() && table[a] > 0) bound = std::min(bound, table[a]);
  }
  return bound;
}

/// What floats of an input look like: independent values, or (for images) even areas with a little noise, as
/// photographs have them once mean and deviation are taken out. Means over an area, which many networks end with or
/// gate by, are near 0 for the first kind alone.
enum class Texture : uint8_t { noise, areas };

Tensor plausible_floats(DType type, const Shape& shape, uint64_t seed, Texture texture) {
  Tensor noise = seeded_tensor(type, shape, seed, -1, 1);
  if (texture == Texture::noise || shape.size() != 4) return noise;
  constexpr int64_t kAreas = 8;  // per axis
  constexpr double kNoise = 0.1;
  const int64_t h = shape[2];
  const int64_t w = shape[3];
  const Tensor areas = seeded_tensor(DType::f32, {shape[0] * shape[1], kAreas, kAreas}, seed + 1, -2, 2);
  for (int64_t i = 0; i < noise.size(); ++i) {
    const int64_t area = (i / (h * w) * kAreas + i / w % h * kAreas / h) * kAreas + i % w * kAreas / w;
    noise.set(i, areas.at(area) + kNoise * noise.at(i));
  }
  return noise;
}

/// Values that a network input could have: floats around 0, indices within their table, other integers 1.
Tensor plausible_input(const Graph& graph, ValueId input, const Shape& shape, uint64_t seed, Texture texture) {
  const DType type = graph.value(input).dtype;
  if (dtype_is_float(type)) return plausible_floats(type, shape, seed, texture);
  Tensor t(type, shape);
  const int64_t bound = index_bound(graph, input);
  uint64_t state = seed;
  for (int64_t i = 0; i < t.size(); ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    const auto random = static_cast<int64_t>(state >> 33);
    t.set(i, bound == INT64_MAX ? 1.0 : static_cast<double>(random % bound));
  }
  return t;
}

std::vector<Tensor> plausible_inputs(const planish::Engine& engine, Texture texture) {
  std::vector<Tensor> out;
  for (size_t i = 0; i < engine.graph.inputs.size(); ++i)
    out.push_back(
        plausible_input(engine.graph, engine.graph.inputs[i], engine.profiles[0].inputs[i].opt, 17 + i, texture));
  return out;
}

bool has_images(const planish::Engine& engine) {
  return std::ranges::any_of(engine.graph.inputs, [&](ValueId v) {
    const Value& value = engine.graph.value(v);
    return dtype_is_float(value.dtype) && value.shape && value.shape->size() == 4;
  });
}

struct Runner {
  std::shared_ptr<const planish::Engine> engine;
  std::unique_ptr<Context> context;
};

Result<Runner> runner(planish::Engine engine, Device& device, const TacticTable& table, int threads) {
  Runner r;
  r.engine = std::make_shared<const planish::Engine>(std::move(engine));
  auto executable = PLANISH_TRY(Executable::create(r.engine, device, table, threads));
  r.context = PLANISH_TRY(Context::create(std::move(executable)));
  return r;
}

double relative_l2(const Tensor& a, const Tensor& b) {
  double difference = 0;
  double norm = 0;
  for (int64_t i = 0; i < a.size(); ++i) {
    const double x = a.at(i);
    const double y = b.at(i);
    difference += (x - y) * (x - y);
    norm += y * y;
  }
  return difference == 0 ? 0 : std::sqrt(difference / std::max(norm, 1e-30));
}

/// The network in FP32 with its results for plausible inputs.
class Yardstick {
 public:
  static Result<Yardstick> create(Graph graph, BuildOptions options, Device& device, const TacticTable& table) {
    options.fp16 = options.bf16 = false;
    options.layer_precisions.clear();
    options.layer_output_types.clear();
    options.precision_constraints = PrecisionConstraints::none;
    options.only_f32 = true;
    options.optimization_level = 0;
    options.progress = nullptr;
    options.warn = nullptr;
    Yardstick y;
    planish::Engine engine = PLANISH_TRY(build_engine(std::move(graph), options, device, table));
    y.inputs_.push_back(plausible_inputs(engine, Texture::noise));
    if (has_images(engine)) y.inputs_.push_back(plausible_inputs(engine, Texture::areas));
    y.f32_ = PLANISH_TRY(runner(std::move(engine), device, table, options.threads));
    for (const auto& inputs : y.inputs_) y.expected_.push_back(PLANISH_TRY(y.f32_.context->run_host(inputs)));
    return y;
  }

  /// Relative L2 error of the worst float output of another form of the network.
  Result<double> error_of(const planish::Engine& engine, Device& device, const TacticTable& table, int threads) const {
    Runner r = PLANISH_TRY(runner(engine, device, table, threads));
    double worst = 0;
    for (size_t k = 0; k < inputs_.size(); ++k) {
      const std::vector<Tensor> got = PLANISH_TRY(r.context->run_host(inputs_[k]));
      for (size_t i = 0; i < got.size(); ++i)
        if (dtype_is_float(got[i].dtype()) && got[i].shape() == expected_[k][i].shape())
          worst = std::max(worst, relative_l2(got[i], expected_[k][i]));
    }
    return worst;
  }

  /// What error_of() may be.
  [[nodiscard]] double most_error() const {
    const Graph& graph = f32_.engine->graph;
    const bool reads_floats =
        std::ranges::any_of(graph.inputs, [&graph](ValueId v) { return dtype_is_float(graph.value(v).dtype); });
    return reads_floats ? kMaxHalfError : kMaxHalfErrorOfIndices;
  }

  /// Nodes that write or read values beyond the range of FP16, with the largest magnitude.
  Result<std::map<std::string, double>> beyond_fp16() {
    const Graph& graph = f32_.engine->graph;
    const Uses uses(graph);
    std::map<std::string, double> out;
    const auto note = [&](ValueId v, double most) {
      std::vector<int32_t> nodes = uses.consumers[static_cast<size_t>(v)];
      nodes.push_back(uses.producer[static_cast<size_t>(v)]);
      for (const int32_t n : nodes)
        if (n >= 0 && !graph.nodes[static_cast<size_t>(n)].is("Reformat", "planish"))
          out[graph.nodes[static_cast<size_t>(n)].name] = most;
    };
    const auto wanted = [&graph](ValueId v) { return graph.value(v).dtype == DType::f32; };
    const auto show = [&note](const Observation& o) -> Status {
      constexpr float kLargest = 65504.0F;
      const auto* x = static_cast<const float*>(o.data);
      float most = 0;
      for (size_t i = 0; i < o.desc.bytes() / sizeof(float); ++i) most = std::max(most, std::abs(x[i]));
      if (most > kLargest) note(o.value, static_cast<double>(most));
      return {};
    };
    PLANISH_TRY(f32_.context->run_observed(wanted, show));
    return out;
  }

 private:
  std::vector<std::vector<Tensor>> inputs_;    ///< one entry per run
  std::vector<std::vector<Tensor>> expected_;  ///< the same
  Runner f32_;
};

/// A timing cache for the builds of one check, where the user wants none that outlives them.
class TemporaryCache {
 public:
  explicit TemporaryCache(BuildOptions& options) {
    if (options.use_timing_cache) return;
    folder_.emplace();
    if (folder_->path().empty()) return;
    options.use_timing_cache = true;
    options.timing_cache_file = folder_->path() / "timing";
  }

 private:
  std::optional<TemporaryFolder> folder_;
};

bool computes_in(const planish::Engine& engine, std::string_view precision) {
  return std::ranges::any_of(engine.layers, [precision](const LayerPlan& l) { return l.precision == precision; });
}

/// Layers that compute in FP32 with weights stored in 16 bits, in the order of execution.
std::vector<std::string> half_stored(const planish::Engine& engine) {
  std::vector<std::string> names;
  for (size_t i = 0; i < engine.layers.size(); ++i)
    if (std::ranges::any_of(engine.layers[i].packed, is_half_stored)) names.push_back(engine.graph.nodes[i].name);
  return names;
}

using HalfLayers = std::vector<std::pair<std::string, double>>;

/// The layers that save the least, as long as all of them together save no more than `share` of everything.
std::vector<std::string> least_saving(HalfLayers layers, double share) {
  std::ranges::stable_sort(layers, {}, [](const auto& l) { return l.second; });
  double total = 0;
  for (const auto& l : layers) total += std::max(l.second, 0.0);
  std::vector<std::string> out;
  double given_up = 0;
  for (const auto& [name, saved] : layers) {
    given_up += std::max(saved, 0.0);
    if (given_up > share * total) break;
    out.push_back(name);
  }
  return out;
}

/// The first `share` of the layers in the order of execution: what they round passes through everything behind them.
std::vector<std::string> first_ones(const HalfLayers& layers, double share) {
  std::vector<std::string> out;
  for (size_t i = 0; i < layers.size() && static_cast<double>(i) < share * static_cast<double>(layers.size()); ++i)
    out.push_back(layers[i].first);
  return out;
}

/// A set of layers to keep in FP32, by one of the two rules.
struct Retreat {
  bool first = false;
  double share = 0;
};

/// From the cheapest to the dearest, as measured on networks that need one.
constexpr std::array kRetreats{
    Retreat{false, 0.05}, Retreat{true, 0.12}, Retreat{false, 0.15}, Retreat{true, 0.25}, Retreat{false, 0.3},
    Retreat{true, 0.4},   Retreat{true, 0.5},  Retreat{false, 0.5},  Retreat{true, 0.7},  Retreat{true, 1.0},
};

}  // namespace

Result<planish::Engine> build_checked(Graph graph, const BuildOptions& given, Device& device, const TacticTable& table,
                                      BuildReport* report) {
  BuildOptions options = given;
  const TemporaryCache cache(options);
  BuildReport first;
  planish::Engine engine = PLANISH_TRY(build_engine(graph, options, device, table, &first));
  const auto finish = [&](planish::Engine e, const BuildReport& r) {
    if (report != nullptr) *report = r;
    return e;
  };
  if (!computes_in(engine, "bf16") && !computes_in(engine, "fp16") && half_stored(engine).empty())
    return finish(std::move(engine), first);
  auto yardstick = Yardstick::create(graph, options, device, table);
  const int threads = threads_or_all(options.threads);
  auto error = yardstick.ok() ? yardstick->error_of(engine, device, table, threads)
                              : Result<double>(std::move(yardstick).take_error());
  if (!error.ok()) {
    if (options.warn) options.warn("The accuracy of the 16-bit layers was not checked: " + error.error().message());
    return finish(std::move(engine), first);
  }
  BuildReport last = first;
  if (computes_in(engine, "fp16")) {
    const auto beyond = PLANISH_TRY(yardstick->beyond_fp16());
    std::vector<std::string> names;
    for (const auto& [name, most] : beyond) {
      names.push_back(name);
      options.fp32_layers.try_emplace(name, fmt::format("its values reach {:.3g}, FP16 ends at 65504", most));
    }
    if (!beyond.empty()) {
      if (options.warn)
        options.warn(fmt::format("{} layer(s) have values beyond the range of FP16 and stay in FP32: {}", names.size(),
                                 fmt::join(names, ", ")));
      last = {};
      engine = PLANISH_TRY(build_engine(graph, options, device, table, &last));
      error = PLANISH_TRY(yardstick->error_of(engine, device, table, threads));
    }
  }
  const double whole = *error;
  const double most = yardstick->most_error();
  BuildOptions less = options;
  // Sums that pass through the whole network gather what each layer rounds; products in 16 bits read them as well.
  if (*error > most && *error <= 10 * most && !last.half_layers.empty()) {
    less.f32_sums = true;
    BuildReport wide;
    planish::Engine other = PLANISH_TRY(build_engine(graph, less, device, table, &wide));
    const double other_error = PLANISH_TRY(yardstick->error_of(other, device, table, threads));
    constexpr double kWorthIt = 0.9;
    if (other_error <= most || other_error <= kWorthIt * *error) {
      engine = std::move(other);
      last = std::move(wide);
      error = other_error;
    } else {
      less.f32_sums = false;
    }
  }
  const auto half_layers = last.half_layers;
  for (const Retreat& retreat : kRetreats) {
    if (*error <= most || half_layers.empty()) break;
    // Far beyond, the results change in kind (another order of detections, other token): only FP32 gives them.
    if (*error > 10 * most && retreat.share < 1) continue;
    less.fp32_layers = options.fp32_layers;
    for (const std::string& name :
         retreat.first ? first_ones(half_layers, retreat.share) : least_saving(half_layers, retreat.share))
      less.fp32_layers.try_emplace(
          name,
          fmt::format("with all layers in 16 bits the outputs would differ by {:.2g}, more than {:.2g}", whole, most));
    last = {};
    engine = PLANISH_TRY(build_engine(graph, less, device, table, &last));
    error = PLANISH_TRY(yardstick->error_of(engine, device, table, threads));
  }
  // Layers that were faster in FP32 beside 16-bit neighbours may have become 16-bit layers without them.
  while (*error > most && !last.half_layers.empty()) {
    const size_t before = less.fp32_layers.size();
    for (const auto& [name, saved] : last.half_layers)
      less.fp32_layers.try_emplace(
          name, fmt::format("in 16 bits the outputs would differ by {:.2g}, more than {:.2g}", *error, most));
    if (less.fp32_layers.size() == before) break;
    last = {};
    engine = PLANISH_TRY(build_engine(graph, less, device, table, &last));
    error = PLANISH_TRY(yardstick->error_of(engine, device, table, threads));
  }
  // What is left are weights: those of the first layers count most here as well.
  const std::vector<std::string> stored = half_stored(engine);
  const double of_weights = *error;
  for (const double share : {0.25, 0.5, 1.0}) {
    if (*error <= most || stored.empty()) break;
    if (*error > 10 * most && share < 1) continue;
    const auto count = static_cast<size_t>(std::ceil(share * static_cast<double>(stored.size())));
    for (size_t i = 0; i < count; ++i)
      less.fp32_layers.try_emplace(
          stored[i], fmt::format("with all weights in 16 bits the outputs would differ by {:.2g}, more than {:.2g}",
                                 of_weights, most));
    last = {};
    engine = PLANISH_TRY(build_engine(graph, less, device, table, &last));
    error = PLANISH_TRY(yardstick->error_of(engine, device, table, threads));
  }
  return finish(std::move(engine), last);
}

}  // namespace planish::api
