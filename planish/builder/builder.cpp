#include "planish/builder/builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "planish/base/isa.h"
#include "planish/base/parallel.h"
#include "planish/builder/io_formats.h"
#include "planish/builder/packed_constants.h"
#include "planish/builder/plan_choice.h"
#include "planish/builder/precision.h"
#include "planish/builder/profiles.h"
#include "planish/builder/reformats.h"
#include "planish/builder/sparsity.h"
#include "planish/builder/untune.h"
#include "planish/ops/infer_graph.h"
#include "planish/tactics/half_weights.h"
#include "planish/tactics/node_view.h"
#include "planish/tactics/tactic_source.h"

namespace planish {
namespace {

std::string allowed_precisions(const BuildOptions& options) {
  std::string out = "FP32";
  if (options.fp16) out += "+FP16";
  if (options.bf16) out += "+BF16";
  return out;
}

/// A name that forbids nothing is a slip of the pen.
Status check_disabled_tactics(const BuildOptions& options, const TacticTable& table) {
  for (const std::string& pattern : options.disabled_tactics) {
    if (is_tactic_source(pattern)) continue;
    if (std::ranges::any_of(table.tactics, [&](const Tactic* t) { return tactic_matches(t->id, pattern); })) continue;
    std::vector<std::string_view> known;
    for (const Tactic* t : table.tactics) known.push_back(t->id);
    return Error{.code = Code::invalid_argument,
                 .what = fmt::format("no tactic's id begins with '{}'", pattern),
                 .fix = fmt::format("forbid onednn, planish, or the beginning of one of {}", fmt::join(known, ", "))};
  }
  return {};
}

/// Adds tensors to the network's outputs, so that no pass removes them and a run leaves them in memory.
Status mark_debug_tensors(Graph& graph, const std::vector<std::string>& names, EngineInfo& info) {
  for (const std::string& name : names) {
    const auto v = graph.find_value(name);
    if (!v || graph.value(*v).is_constant())
      return Error{.code = Code::not_found,
                   .tensor = name,
                   .file = "--markDebug",
                   .what = v ? "the tensor is a constant" : "the model has no such tensor",
                   .fix = "list its tensors with: polygraphy inspect model MODEL --show layers"};
    if (std::ranges::find(graph.outputs, *v) != graph.outputs.end()) continue;
    graph.outputs.push_back(*v);
    info.debug_tensors.push_back(name);
  }
  return {};
}

std::vector<std::string> tensors_after_passes(const Graph& graph) {
  std::vector<std::string> names;
  for (const Node& node : graph.nodes)
    for (const ValueId v : node.outputs)
      if (v != kNoValue && !graph.value(v).is_constant() && !graph.value(v).name.empty())
        names.push_back(graph.value(v).name);
  return names;
}

void look_at_sparsity(Graph& graph, const BuildOptions& options, BuildReport& done) {
  const SparsityCount count = options.prune_two_of_four ? prune_to_two_of_four(graph) : count_two_of_four(graph);
  done.sparse_layers = count.sparse;
  done.sparse_eligible = count.eligible;
}

/// Bytes of constants that a run reads; of a table of embeddings it reads rows only.
size_t weight_bytes(const Graph& graph) {
  std::vector<bool> counted(graph.values.size());
  size_t bytes = 0;
  for (const Node& node : graph.nodes)
    for (const ValueId v : node.inputs) {
      const Tensor* constant = v == kNoValue || node.is("Gather") ? nullptr : graph.constant_of(v);
      if (constant == nullptr || counted[static_cast<size_t>(v)]) continue;
      counted[static_cast<size_t>(v)] = true;
      bytes += constant->bytes();
    }
  return bytes;
}

/// Chooses layouts and tactics for a graph after the passes, inserts reformats and packs weights.
Result<Engine> tune(Graph graph, std::vector<Profile> profiles, const BuildOptions& options, const Target& target,
                    const TacticTable& table, BuildReport& done) {
  Engine engine;
  engine.profiles = std::move(profiles);
  std::vector<std::optional<Shape>> tuned;
  for (const ShapeRange& r : engine.profiles[0].inputs) tuned.emplace_back(r.opt);
  TacticTimer timer(options, target);
  timer.expect_weights(weight_bytes(graph));
  ChosenPlan plan = PLANISH_TRY(choose_plan(std::move(graph), engine.profiles, options, target, table, timer));
  std::vector<Choice> choices = std::move(plan.choices);
  graph = insert_reformats(*plan.graph, plan.views, choices, options.outputs_as_made);
  timer.save();
  PLANISH_TRY(verify(graph));

  const ShapeFacts facts = PLANISH_TRY(infer_shapes(graph, tuned));
  const auto views = tuned_views(graph, facts);
  engine.graph = std::move(graph);
  engine.layers.resize(engine.graph.nodes.size());
  std::vector<std::string> overflowed;
  for (size_t n = 0; n < engine.layers.size(); ++n) {
    LayerPlan& layer = engine.layers[n];
    if (options.progress) options.progress("packing", n + 1, engine.layers.size());
    if (!views[n]) continue;
    NodeView view = *views[n];
    view.node = &engine.graph.nodes[n];
    const Tactic* tactic = choices[n].tactic;
    layer.time_ms = static_cast<float>(choices[n].time_ms);
    if (choices[n].types != TypePair{}) done.half_layers.emplace_back(view.node->name, choices[n].saved_ms);
    layer.candidates = choices[n].candidates;
    if (view.node->is("Reformat", "planish")) {
      tactic = reformat_tactic(view, options, target, table);
      if (auto ms =
              tactic != nullptr && options.optimization_level > 0 ? timer.time(view, *tactic) : Result<double>(0.0);
          ms.ok())
        layer.time_ms = static_cast<float>(*ms);
      done.reformat_ms += layer.time_ms;
    }
    done.total_ms += layer.time_ms;
    if (tactic == nullptr) {
      PLANISH_TRY(apply_precision(view, nullptr, choices[n], options, layer, overflowed));
      continue;
    }
    layer.tactic = std::string(tactic->id);
    if (tactic->pack != nullptr) layer.packed = PLANISH_TRY(tactic->pack(view, target));
    auto kernel = tactic->prepare(view, layer.packed, target);
    if (!kernel.ok()) return std::move(kernel).take_error().with_context("preparing the chosen tactic");
    layer.detail = (*kernel)->detail();
    PLANISH_TRY(apply_precision(view, tactic, choices[n], options, layer, overflowed));
  }
  if (!overflowed.empty() && options.warn)
    options.warn(fmt::format("{} layer(s) have weights beyond the range of FP16 and keep a wider type: {}",
                             overflowed.size(), fmt::join(overflowed, ", ")));
  drop_packed_constants(engine);

  done.tuning_peak_bytes = timer.peak_bytes();
  done.tuning_peak_layer = timer.peak_layer();
  done.timed = timer.timed();
  done.from_cache = timer.from_cache();
  return engine;
}

bool has_weights_in(const Graph& graph, DType type) {
  return std::ranges::any_of(graph.values,
                             [type](const Value& v) { return v.constant && v.constant->dtype() == type; });
}

void describe_target(Engine& engine, const Target& target) {
  engine.info.device = target.device->name();
  engine.info.device_fingerprint = target.device->fingerprint();
  engine.info.threads = target.threads;
}

}  // namespace

Result<Engine> build_engine(Graph graph, const BuildOptions& options, Device& device, const TacticTable& table,
                            BuildReport* report) {
  const auto begin = std::chrono::steady_clock::now();
  PLANISH_TRY(check_disabled_tactics(options, table));
  BuildReport local;
  BuildReport& done = report != nullptr ? *report : local;
  const int threads = threads_or_all(options.threads);
  set_num_threads(threads);
  std::vector<Profile> profiles = PLANISH_TRY(resolve_profiles(graph, options));
  bind_profile_shapes(graph, profiles);
  look_at_sparsity(graph, options, done);
  PLANISH_TRY(apply_io_formats(graph, options));
  EngineInfo info = options.info;
  PLANISH_TRY(mark_debug_tensors(graph, options.debug_tensors, info));
  PipelineOptions passes = options.passes;
  if (options.progress && !passes.progress)
    passes.progress = [&options](std::string_view, size_t place, size_t count) {
      options.progress("passes", place, count);
    };
  // The types of the file are a permission too.
  BuildOptions allowed = options;
  if (!options.only_f32) {
    allowed.fp16 |= has_weights_in(graph, DType::f16);
    allowed.bf16 |= has_weights_in(graph, DType::bf16);
  }
  graph = PLANISH_TRY(run_passes(std::move(graph), passes, &done.passes));
  if (options.debug_unfused_tensors) PLANISH_TRY(mark_debug_tensors(graph, tensors_after_passes(graph), info));

  const Target target{.device = &device, .threads = threads, .workspace_limit_bytes = options.memory_limit_bytes};
  Engine engine = PLANISH_TRY(tune(std::move(graph), std::move(profiles), allowed, target, table, done));
  engine.info = std::move(info);
  engine.info.producer = "planish 0.1.0";
  describe_target(engine, target);
  engine.info.precision = allowed_precisions(allowed);
  engine.info.opset = engine.graph.opset;
  engine.info.build_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return engine;
}

Result<Engine> retune_engine(const Engine& engine, const BuildOptions& options, Device& device,
                             const TacticTable& table, BuildReport* report) {
  BuildReport local;
  BuildReport& done = report != nullptr ? *report : local;
  const int threads = threads_or_all(options.threads);
  set_num_threads(threads);
  const Target target{.device = &device, .threads = threads, .workspace_limit_bytes = options.memory_limit_bytes};
  Graph graph = PLANISH_TRY(untuned_graph(engine, table));
  // What the engine stores or computes in 16 bits may do so again, and FP32 layers stay that.
  BuildOptions kept = options;
  for (size_t n = 0; n < engine.layers.size(); ++n) {
    const LayerPlan& layer = engine.layers[n];
    kept.fp16 |= layer.precision == "fp16";
    kept.bf16 |= layer.precision == "bf16";
    for (const PackedConstant& p : layer.packed) {
      kept.fp16 |= stored_type(p) == DType::f16;
      kept.bf16 |= stored_type(p) == DType::bf16;
    }
    if (auto reason = fp32_reason(layer)) kept.fp32_layers.try_emplace(engine.graph.nodes[n].name, *reason);
  }
  Engine out = PLANISH_TRY(tune(std::move(graph), engine.profiles, kept, target, table, done));
  out.info = engine.info;
  describe_target(out, target);
  return out;
}

}  // namespace planish
