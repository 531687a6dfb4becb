#include "planish/builder/builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "planish/base/isa.h"
#include "planish/base/parallel.h"
#include "planish/builder/precision.h"
#include "planish/builder/profiles.h"
#include "planish/builder/selection.h"
#include "planish/builder/untune.h"
#include "planish/ops/infer_graph.h"
#include "planish/tactics/half_weights.h"

namespace planish {
namespace {

bool concrete(const Node& node, const ShapeFacts& facts) {
  const auto known = [&facts](ValueId v) {
    const auto k = static_cast<size_t>(v);
    return v == kNoValue || (facts.shapes[k] && is_static(*facts.shapes[k]) && facts.dtypes[k] != DType::undefined);
  };
  return std::ranges::all_of(node.inputs, known) && std::ranges::all_of(node.outputs, known);
}

NodeView view_of(const Graph& graph, const Node& node, const ShapeFacts& facts) {
  NodeView view;
  view.node = &node;
  const auto describe = [&](ValueId v) {
    if (v == kNoValue) return TensorDesc{};
    const auto k = static_cast<size_t>(v);
    return TensorDesc{facts.dtypes[k], *facts.shapes[k], graph.value(v).layout};
  };
  for (const ValueId v : node.inputs) {
    view.inputs.push_back(describe(v));
    const Tensor* constant = graph.constant_of(v);
    view.constant_inputs.push_back(constant != nullptr);
    if (constant == nullptr && v != kNoValue && facts.values[static_cast<size_t>(v)])
      constant = &*facts.values[static_cast<size_t>(v)];
    view.constants.push_back(constant);
  }
  for (const ValueId v : node.outputs) view.outputs.push_back(describe(v));
  return view;
}

/// Nodes whose results shape arithmetic knows at the tuned shapes are not executed there and need no timing.
bool all_known(const Node& node, const ShapeFacts& facts) {
  return std::ranges::all_of(
      node.outputs, [&](ValueId v) { return v == kNoValue || facts.values[static_cast<size_t>(v)].has_value(); });
}

std::vector<std::optional<NodeView>> tuned_views(const Graph& graph, const ShapeFacts& facts) {
  std::vector<std::optional<NodeView>> views(graph.nodes.size());
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    if (!concrete(node, facts) || all_known(node, facts)) continue;
    NodeView view = view_of(graph, node, facts);
    const bool empty =
        std::ranges::all_of(view.outputs, [](const TensorDesc& d) { return !d.present() || d.size() == 0; });
    if (!empty) views[n] = std::move(view);
  }
  return views;
}

/// Rewrites the graph so that every value has the layout its producer chose, with Reformat nodes where a consumer (or
/// the network's output) wants another one. `choices` grows in step with the nodes.
class ReformatInserter {
 public:
  ReformatInserter(const Graph& graph, const ShapeFacts& facts, std::vector<Choice> choices)
      : source_(graph), facts_(facts), choices_(std::move(choices)), out_(graph) {
    out_.nodes.clear();
  }

  void run(Graph& graph, std::vector<Choice>& choices) {
    const Uses uses(source_);
    for (size_t n = 0; n < source_.nodes.size(); ++n) {
      Node node = source_.nodes[n];
      const Choice& choice = choices_[n];
      for (ValueId& v : node.inputs)
        if (v != kNoValue && !source_.value(v).is_constant() && flexible(v)) v = in_layout(v, choice.in);
      std::vector<std::pair<ValueId, ValueId>> to_output;  // (as produced, as the network returns it)
      for (ValueId& v : node.outputs) {
        if (v == kNoValue || !flexible(v) || choice.out == Layout::row_major) continue;
        if (!uses.is_output[static_cast<size_t>(v)]) {
          out_.value(v).layout = choice.out;
          made_[{v, choice.out}] = v;
          as_produced_[v] = v;
          continue;
        }
        const ValueId produced = copy_value(v, choice.out);
        made_[{v, choice.out}] = produced;
        as_produced_[v] = produced;
        to_output.emplace_back(produced, v);
        v = produced;
      }
      out_.nodes.push_back(std::move(node));
      out_choices_.push_back(choice);
      for (const auto& [from, to] : to_output) add_reformat(from, to);
    }
    graph = std::move(out_);
    choices = std::move(out_choices_);
  }

 private:
  bool flexible(ValueId v) const {
    const auto k = static_cast<size_t>(v);
    return facts_.shapes[k] && is_static(*facts_.shapes[k]) &&
           has_layout_choice({facts_.dtypes[k], *facts_.shapes[k], Layout::row_major});
  }

  ValueId copy_value(ValueId v, Layout layout) {
    Value copy = source_.value(v);
    copy.name = out_.unique_name(fmt::format("{}@{}", copy.name, layout_name(layout)));
    copy.layout = layout;
    copy.constant.reset();
    return out_.add_value(std::move(copy));
  }

  void add_reformat(ValueId from, ValueId to) {
    Node node{.op = "Reformat",
              .domain = "planish",
              .name = fmt::format("Reformatting CopyNode for {}", source_name(from, to)),
              .inputs = {from},
              .outputs = {to},
              .attrs = {},
              .origins = {}};
    out_.nodes.push_back(std::move(node));
    out_choices_.push_back(Choice{nullptr, out_.value(from).layout, out_.value(to).layout, 0.0, {}});
  }

  std::string source_name(ValueId from, ValueId to) const {
    return fmt::format("{} ({} to {})", out_.value(to).name, layout_name(out_.value(from).layout),
                       layout_name(out_.value(to).layout));
  }

  ValueId in_layout(ValueId v, Layout layout) {
    if (const auto it = made_.find({v, layout}); it != made_.end()) return it->second;
    const ValueId available = current(v);
    if (out_.value(available).layout == layout) return available;
    const ValueId made = copy_value(v, layout);
    add_reformat(available, made);
    made_[{v, layout}] = made;
    return made;
  }

  /// The form of `v` that its producer wrote.
  ValueId current(ValueId v) const {
    if (const auto it = as_produced_.find(v); it != as_produced_.end()) return it->second;
    return v;
  }

  const Graph& source_;
  const ShapeFacts& facts_;
  std::vector<Choice> choices_;
  Graph out_;
  std::vector<Choice> out_choices_;
  std::map<std::pair<ValueId, Layout>, ValueId> made_;
  std::map<ValueId, ValueId> as_produced_;  ///< the form that the producer wrote
};

void drop_packed_constants(Engine& engine) {
  Graph& graph = engine.graph;
  std::vector<bool> needed(graph.values.size(), false);
  for (const ValueId v : graph.outputs) needed[static_cast<size_t>(v)] = true;
  for (size_t n = 0; n < graph.nodes.size(); ++n)
    for (size_t i = 0; i < graph.nodes[n].inputs.size(); ++i) {
      const auto& packed = engine.layers[n].packed;
      const bool is_packed =
          std::ranges::any_of(packed, [i](const PackedConstant& p) { return static_cast<size_t>(p.input) == i; });
      if (!is_packed && graph.nodes[n].inputs[i] != kNoValue)
        needed[static_cast<size_t>(graph.nodes[n].inputs[i])] = true;
    }
  for (size_t v = 0; v < needed.size(); ++v) {
    Value& value = graph.values[v];
    if (!needed[v] && value.constant && value.constant->size() != 0)
      value.constant = Tensor::share(value.constant->dtype(), value.constant->shape(), nullptr, nullptr);
  }
}

std::string precision_of(const NodeView& view) {
  if (view.inputs.empty()) return "fp32";
  switch (view.inputs[0].dtype) {
    case DType::f16: return "fp16";
    case DType::bf16: return "bf16";
    case DType::i8:
    case DType::u8: return "int8";
    case DType::f32: return "fp32";
    default: return std::string(dtype_name(view.inputs[0].dtype));
  }
}

std::string allowed_precisions(const BuildOptions& options) {
  std::string out = "FP32";
  if (options.fp16) out += "+FP16";
  if (options.bf16) out += "+BF16";
  return out;
}

/// Chooses layouts and tactics for a graph after the passes, inserts reformats and packs weights.
Result<Engine> tune(Graph graph, std::vector<Profile> profiles, const BuildOptions& options, const Target& target,
                    const TacticTable& table, BuildReport& done) {
  Engine engine;
  engine.profiles = std::move(profiles);
  std::vector<std::optional<Shape>> tuned;
  for (const ShapeRange& r : engine.profiles[0].inputs) tuned.emplace_back(r.opt);
  ShapeFacts facts = PLANISH_TRY(infer_shapes(graph, tuned));
  TacticTimer timer(options, target);
  std::vector<Choice> choices;
  {
    const auto views = tuned_views(graph, facts);
    choices = PLANISH_TRY(select_tactics(graph, views, options, target, table, timer));
    const Graph before = graph;
    ReformatInserter(before, facts, std::move(choices)).run(graph, choices);
  }
  timer.save();
  PLANISH_TRY(verify(graph));

  facts = PLANISH_TRY(infer_shapes(graph, tuned));
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
    layer.precision = precision_of(view);
    const Tactic* tactic = choices[n].tactic;
    layer.time_ms = static_cast<float>(choices[n].time_ms);
    layer.candidates = choices[n].candidates;
    if (view.node->is("Reformat", "planish")) {
      const auto possible = supporting_tactics(table, view, target);
      if (!possible.empty()) tactic = possible.front();
      if (auto ms =
              tactic != nullptr && options.optimization_level > 0 ? timer.time(view, *tactic) : Result<double>(0.0);
          ms.ok())
        layer.time_ms = static_cast<float>(*ms);
      done.reformat_ms += layer.time_ms;
    }
    done.total_ms += layer.time_ms;
    if (tactic == nullptr) continue;
    layer.tactic = std::string(tactic->id);
    if (tactic->pack != nullptr) layer.packed = PLANISH_TRY(tactic->pack(view, target));
    auto kernel = tactic->prepare(view, layer.packed, target);
    if (!kernel.ok()) return std::move(kernel).take_error().with_context("preparing the chosen tactic");
    layer.detail = (*kernel)->detail();
    apply_precision(view, options, layer, overflowed);
  }
  if (!overflowed.empty() && options.warn)
    options.warn(fmt::format("{} layer(s) have weights beyond the range of FP16 and keep a wider type: {}",
                             overflowed.size(), fmt::join(overflowed, ", ")));
  drop_packed_constants(engine);

  done.timed = timer.timed();
  done.from_cache = timer.from_cache();
  return engine;
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
  BuildReport local;
  BuildReport& done = report != nullptr ? *report : local;
  const int threads = options.threads > 0 ? options.threads : cpu_features().physical_cores;
  set_num_threads(threads);
  std::vector<Profile> profiles = PLANISH_TRY(resolve_profiles(graph, options));
  bind_profile_shapes(graph, profiles);
  PipelineOptions passes = options.passes;
  if (options.progress && !passes.progress)
    passes.progress = [&options](std::string_view, size_t place, size_t count) {
      options.progress("passes", place, count);
    };
  graph = PLANISH_TRY(run_passes(std::move(graph), passes, &done.passes));

  const Target target{.device = &device, .threads = threads, .workspace_limit_bytes = options.memory_limit_bytes};
  Engine engine = PLANISH_TRY(tune(std::move(graph), std::move(profiles), options, target, table, done));
  engine.info = options.info;
  engine.info.producer = "planish 0.1.0";
  describe_target(engine, target);
  engine.info.precision = allowed_precisions(options);
  engine.info.opset = engine.graph.opset;
  engine.info.build_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return engine;
}

Result<Engine> retune_engine(const Engine& engine, const BuildOptions& options, Device& device,
                             const TacticTable& table, BuildReport* report) {
  BuildReport local;
  BuildReport& done = report != nullptr ? *report : local;
  const int threads = options.threads > 0 ? options.threads : cpu_features().physical_cores;
  set_num_threads(threads);
  const Target target{.device = &device, .threads = threads, .workspace_limit_bytes = options.memory_limit_bytes};
  Graph graph = PLANISH_TRY(untuned_graph(engine, table));
  // Weights that the engine stores in 16 bits stay that way.
  BuildOptions kept = options;
  for (const LayerPlan& layer : engine.layers)
    for (const PackedConstant& p : layer.packed) {
      kept.fp16 |= stored_type(p) == DType::f16;
      kept.bf16 |= stored_type(p) == DType::bf16;
    }
  Engine out = PLANISH_TRY(tune(std::move(graph), engine.profiles, kept, target, table, done));
  out.info = engine.info;
  describe_target(out, target);
  return out;
}

}  // namespace planish
