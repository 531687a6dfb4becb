#include "planish/runtime/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <limits>

#include "planish/runtime/adapted_kernel.h"
#include "planish/tactics/layout_choice.h"
#include "planish/tactics/type_choice.h"

namespace planish {
namespace {

/// Where a value begins within the storage of another one.
struct Alias {
  ValueId root = kNoValue;
  size_t offset = 0;
};

class Planner {
 public:
  Planner(const Executable& executable, Plan& plan)
      : executable_(executable), graph_(executable.graph()), plan_(plan), aliases_(graph_.values.size()) {
    for (size_t v = 0; v < aliases_.size(); ++v) aliases_[v].root = static_cast<ValueId>(v);
    last_reader_.resize(graph_.values.size(), -1);
    for (size_t n = 0; n < graph_.nodes.size(); ++n)
      for (const ValueId v : graph_.nodes[n].inputs)
        if (v != kNoValue) last_reader_[static_cast<size_t>(v)] = static_cast<int32_t>(n);
    for (const ValueId v : graph_.outputs) last_reader_[static_cast<size_t>(v)] = std::numeric_limits<int32_t>::max();
  }

  Status run(size_t memory_limit_bytes) {
    classify();
    for (size_t n = 0; n < graph_.nodes.size(); ++n) PLANISH_TRY(visit(n));
    return assign_memory(memory_limit_bytes);
  }

 private:
  Place& place(ValueId v) { return plan_.places[static_cast<size_t>(v)]; }
  bool known(ValueId v) const { return plan_.facts.values[static_cast<size_t>(v)].has_value(); }

  Alias find(ValueId v) {
    Alias a{v, 0};
    while (aliases_[static_cast<size_t>(a.root)].root != a.root) {
      const Alias& up = aliases_[static_cast<size_t>(a.root)];
      a = {up.root, a.offset + up.offset};
    }
    return a;
  }

  void classify() {
    plan_.places.resize(graph_.values.size());
    for (size_t v = 0; v < graph_.values.size(); ++v)
      if (graph_.values[v].is_constant()) plan_.places[v] = {Place::Kind::constant, static_cast<int32_t>(v), 0};
    for (size_t i = 0; i < graph_.inputs.size(); ++i)
      place(graph_.inputs[i]) = {Place::Kind::input, static_cast<int32_t>(i), 0};
    for (const Node& node : graph_.nodes) {
      const bool concrete = is_concrete(graph_, node, plan_.facts.shapes);
      for (const ValueId v : node.outputs)
        if (v != kNoValue) place(v) = {concrete ? Place::Kind::arena : Place::Kind::deferred, v, 0};
    }
    // The first mention of a value among the outputs owns the binding; the context copies to the others.
    for (size_t i = 0; i < graph_.outputs.size(); ++i) {
      Place& p = place(graph_.outputs[i]);
      if (p.kind == Place::Kind::arena) p = {Place::Kind::output, static_cast<int32_t>(i), 0};
    }
  }

  /// A value that shape arithmetic gave away needs no kernel, only memory if somebody reads it there.
  bool all_known(const Node& node) const {
    return std::ranges::all_of(node.outputs, [this](ValueId v) { return v == kNoValue || known(v); });
  }

  Status visit(size_t n) {
    const Node& node = graph_.nodes[n];
    if (all_known(node)) {
      for (const ValueId v : node.outputs)
        if (v != kNoValue && place(v).kind != Place::Kind::output) place(v).kind = Place::Kind::known;
      for (const ValueId v : node.outputs)
        if (v != kNoValue && place(v).kind == Place::Kind::output) PLANISH_TRY(copy_known_output(n, v));
      return {};
    }
    PlanStep step;
    step.node = static_cast<int32_t>(n);
    if (!is_concrete(graph_, node, plan_.facts.shapes)) {
      step.kind = PlanStep::Kind::deferred;
      plan_.has_deferred = true;
      plan_.steps.push_back(std::move(step));
      return {};
    }
    NodeView view = node_view(graph_, graph_.nodes[n], plan_.facts.dtypes, plan_.facts.shapes, plan_.facts.values);
    const bool empty =
        std::ranges::all_of(view.outputs, [](const TensorDesc& d) { return !d.present() || d.size() == 0; });
    if (empty) return {};
    if (const auto parts = contiguous_parts(view)) {
      step.kind = PlanStep::Kind::copies;
      for (const Part& part : *parts) share_or_copy(node, part, view, step);
      if (!step.copies.empty()) plan_.steps.push_back(std::move(step));
      return {};
    }
    const Tactic* tactic = executable_.layers()[n].tactic;
    const bool overwrites = tactic != nullptr && overwritable(*tactic, view);
    view.may_overwrite = overwrites && ends_with(n, static_cast<size_t>(tactic->overwrites));
    PLANISH_TRY(prepare_step(executable_, view, step));
    if (step.kernel->overwrites())
      aliases_[static_cast<size_t>(node.outputs[0])] = {find(node.inputs[static_cast<size_t>(tactic->overwrites)]).root,
                                                        0};
    plan_.steps.push_back(std::move(step));
    return {};
  }

  /// Whether node `n` is the last to read the memory of its input `i`, reads it through that input alone, and can have
  /// all of it for its output. Views of that memory that later nodes take count as readers, since those nodes read it.
  bool ends_with(size_t n, size_t i) {
    const Node& node = graph_.nodes[n];
    const ValueId y = node.outputs[0];
    const Alias a = find(node.inputs[i]);
    if (place(y).kind != Place::Kind::arena || find(y).root != y) return false;
    if (place(a.root).kind != Place::Kind::arena || a.offset != 0 || storage_bytes(a.root) != storage_bytes(y))
      return false;
    const auto same_memory = [&](ValueId v) { return v != kNoValue && find(v).root == a.root; };
    if (std::ranges::count_if(node.inputs, same_memory) != 1) return false;
    for (size_t v = 0; v < last_reader_.size(); ++v)
      if (last_reader_[v] > static_cast<int32_t>(n) && same_memory(static_cast<ValueId>(v))) return false;
    return true;
  }

  /// A network output whose value is known while planning: uploaded once, copied on every run.
  Status copy_known_output(size_t n, ValueId v) {
    const Tensor& value = *plan_.facts.values[static_cast<size_t>(v)];
    DeviceBuffer buffer = PLANISH_TRY(upload(value));
    PlanStep step;
    step.node = static_cast<int32_t>(n);
    step.kind = PlanStep::Kind::copies;
    step.copies.push_back({kNoValue, v, 0, 0, value.bytes()});
    step.constants = {buffer.get()};
    step.repacked_memory.push_back(std::move(buffer));
    plan_.steps.push_back(std::move(step));
    return {};
  }

  void share_or_copy(const Node& node, const Part& part, const NodeView& view, PlanStep& step) {
    if (part.bytes == 0) return;
    if (part.whole_is_output != 0) {
      const ValueId from = node.inputs[part.index];
      const ValueId to = node.outputs[0];
      const Alias a = find(from);
      const bool whole_storage = a.offset == 0 && view.inputs[part.index].bytes() == storage_bytes(a.root);
      if (whole_storage && place(a.root).kind == Place::Kind::arena && a.root != find(to).root) {
        aliases_[static_cast<size_t>(a.root)] = {to, part.offset_bytes};
        return;
      }
      step.copies.push_back({from, to, 0, part.offset_bytes, part.bytes});
      return;
    }
    const ValueId from = node.inputs[0];
    const ValueId to = node.outputs[part.index];
    const Alias a = find(from);
    if (place(to).kind == Place::Kind::arena) {
      aliases_[static_cast<size_t>(to)] = {from, part.offset_bytes};
      return;
    }
    // A network output that is a view: let the producer write into the bound memory where it owns its storage alone.
    if (place(to).kind == Place::Kind::output && place(a.root).kind == Place::Kind::arena &&
        a.offset + part.offset_bytes == 0 && storage_bytes(a.root) == part.bytes) {
      aliases_[static_cast<size_t>(a.root)] = {to, 0};
      return;
    }
    step.copies.push_back({from, to, part.offset_bytes, 0, part.bytes});
  }

  size_t storage_bytes(ValueId v) const {
    const auto k = static_cast<size_t>(v);
    if (!plan_.facts.shapes[k]) return SIZE_MAX;
    return layout_bytes(plan_.facts.dtypes[k], *plan_.facts.shapes[k], graph_.values[k].layout);
  }

  Result<DeviceBuffer> upload(const Tensor& value) {
    Device& device = executable_.device();
    DeviceBuffer buffer = PLANISH_TRY(DeviceBuffer::create(device, std::max<size_t>(value.bytes(), 1)));
    std::unique_ptr<Stream> stream = PLANISH_TRY(device.create_stream());
    PLANISH_TRY(device.copy_to_device(buffer.get(), value.raw(), value.bytes(), *stream));
    PLANISH_TRY(stream->synchronize());
    return buffer;
  }

  Status assign_memory(size_t memory_limit_bytes) {
    const auto count = graph_.values.size();
    std::vector<int32_t> block_of(count, -1);
    std::vector<MemoryBlock> blocks;
    const auto touch = [&](ValueId v, int32_t time) {
      const ValueId root = find(v).root;
      if (place(root).kind != Place::Kind::arena) return;
      int32_t& b = block_of[static_cast<size_t>(root)];
      if (b < 0) {
        b = static_cast<int32_t>(blocks.size());
        blocks.push_back({storage_bytes(root), time, time, 0});
      }
      auto& block = blocks[static_cast<size_t>(b)];
      block.first = std::min(block.first, time);
      block.last = std::max(block.last, time);
    };
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      const Node& node = graph_.nodes[n];
      if (all_known(node)) continue;
      for (const ValueId v : node.inputs)
        if (v != kNoValue) touch(v, static_cast<int32_t>(n));
      for (const ValueId v : node.outputs)
        if (v != kNoValue) touch(v, static_cast<int32_t>(n));
    }
    for (const ValueId v : graph_.outputs) touch(v, static_cast<int32_t>(graph_.nodes.size()));
    const size_t first_workspace = blocks.size();
    for (const PlanStep& step : plan_.steps)
      if (step.kernel && step.kernel->workspace_bytes() != 0)
        blocks.push_back({step.kernel->workspace_bytes(), step.node, step.node, 0});
    plan_.memory = plan_memory(blocks);
    if (plan_.memory.arena_bytes > memory_limit_bytes) return over_limit(memory_limit_bytes);

    for (size_t v = 0; v < count; ++v) {
      const Alias a = find(static_cast<ValueId>(v));
      if (static_cast<size_t>(a.root) != v) {
        plan_.places[v] = place(a.root);
        plan_.places[v].offset += a.offset;
      }
      if (plan_.places[v].kind == Place::Kind::arena && block_of[static_cast<size_t>(a.root)] >= 0)
        plan_.places[v].offset = blocks[static_cast<size_t>(block_of[static_cast<size_t>(a.root)])].offset + a.offset;
    }
    size_t w = first_workspace;
    for (PlanStep& step : plan_.steps)
      if (step.kernel && step.kernel->workspace_bytes() != 0) step.workspace_offset = blocks[w++].offset;
    return upload_known();
  }

  Status upload_known() {
    std::vector<bool> read(graph_.values.size(), false);
    for (const PlanStep& step : plan_.steps) {
      for (const ValueId v : graph_.nodes[static_cast<size_t>(step.node)].inputs)
        if (v != kNoValue) read[static_cast<size_t>(find(v).root)] = read[static_cast<size_t>(v)] = true;
    }
    for (size_t v = 0; v < read.size(); ++v) {
      if (!read[v] || plan_.places[v].kind != Place::Kind::known || !plan_.facts.values[v]) continue;
      plan_.places[v].index = static_cast<int32_t>(plan_.known.size());
      plan_.places[v].offset = 0;
      plan_.known.push_back(PLANISH_TRY(upload(*plan_.facts.values[v])));
    }
    // Parts and views too large for shape arithmetic lie within the known value that they come from.
    for (size_t v = 0; v < read.size(); ++v) {
      const Alias a = find(static_cast<ValueId>(v));
      if (plan_.places[v].kind == Place::Kind::known && static_cast<size_t>(a.root) != v && !plan_.facts.values[v])
        plan_.places[v] = {Place::Kind::known, place(a.root).index, a.offset};
    }
    return {};
  }

  Error over_limit(size_t limit) const {
    const auto n = std::min(static_cast<size_t>(plan_.memory.largest_live_step), graph_.nodes.size() - 1);
    return Error{.code = Code::out_of_memory,
                 .node = graph_.nodes[n].name,
                 .file = "--memPoolSize",
                 .what = fmt::format("activations need {} KiB, {} KiB of them at this layer; the limit is {} KiB",
                                     (plan_.memory.arena_bytes + 1023) >> 10,
                                     (plan_.memory.largest_live_bytes + 1023) >> 10, limit >> 10),
                 .fix = fmt::format("raise the limit to --memPoolSize=workspace:{}, or use a smaller batch or input",
                                    (plan_.memory.arena_bytes >> 20) + 1)};
  }

  const Executable& executable_;
  const Graph& graph_;
  Plan& plan_;
  std::vector<Alias> aliases_;
  std::vector<int32_t> last_reader_;  ///< by value: number of the node
};

}  // namespace

bool is_concrete(const Graph&, const Node& node, const std::vector<std::optional<Shape>>& shapes) {
  const auto concrete = [&shapes](ValueId v) {
    return v == kNoValue || (shapes[static_cast<size_t>(v)] && is_static(*shapes[static_cast<size_t>(v)]));
  };
  return std::ranges::all_of(node.inputs, concrete) && std::ranges::all_of(node.outputs, concrete);
}

namespace {

/// The constants of a view in the graph's form again, as far as the engine's tactic packed them. Executable::create()
/// has seen to it that each of them is there or packed.
Status unpack_constants(const Executable& executable, size_t n, NodeView& view, std::vector<Tensor>& storage) {
  const Executable::Layer& layer = executable.layers()[n];
  storage.resize(layer.packed.size());
  for (size_t i = 0; i < layer.packed.size(); ++i) {
    const PackedConstant& p = layer.packed[i];
    const auto input = static_cast<size_t>(p.input);
    if (view.constants[input] != nullptr) continue;
    storage[i] = PLANISH_TRY(unpack_constant(executable.table(), view, p));
    view.constants[input] = &storage[i];
  }
  return {};
}

/// Uploads what a replacement packed and makes the step use it.
Status take_kernel(const Executable& executable, const Tactic* tactic, std::vector<PackedConstant> packed,
                   std::unique_ptr<Kernel> kernel, PlanStep& step) {
  std::unique_ptr<Stream> stream = PLANISH_TRY(executable.device().create_stream());
  for (const PackedConstant& p : packed) {
    DeviceBuffer buffer = PLANISH_TRY(DeviceBuffer::create(executable.device(), std::max<size_t>(p.data.bytes(), 1)));
    PLANISH_TRY(executable.device().copy_to_device(buffer.get(), p.data.raw(), p.data.bytes(), *stream));
    step.constants[static_cast<size_t>(p.input)] = buffer.get();
    step.repacked_memory.push_back(std::move(buffer));
  }
  PLANISH_TRY(stream->synchronize());
  step.repacked = std::move(packed);
  step.kernel = std::move(kernel);
  step.tactic = tactic;
  return {};
}

/// Binds the first tactic but `refused` that takes the view, whose constants are in the graph's form. Leaves
/// step.kernel empty when none does.
Status prepare_replacement(const Executable& executable, const NodeView& view, const Tactic* refused,
                           std::vector<Refusal>& refusals, PlanStep& step) {
  const Executable::Layer& layer = executable.layers()[static_cast<size_t>(step.node)];
  for (const Tactic* tactic : supporting_tactics(executable.table(), view, executable.target(), &refusals)) {
    if (tactic == refused) continue;
    std::vector<PackedConstant> packed;
    if (tactic->pack != nullptr) {
      auto result = tactic->pack(view, executable.target());
      if (!result.ok()) {
        refusals.push_back({std::string(tactic->id), result.error().message()});
        continue;
      }
      packed = std::move(result).value();
    }
    auto kernel = tactic->prepare(view, packed, executable.target());
    if (!kernel.ok()) {
      refusals.push_back({std::string(tactic->id), kernel.error().message()});
      continue;
    }
    // What the engine's tactic had packed and this one leaves alone is needed in the graph's form.
    for (const PackedConstant& p : layer.packed)
      if (std::ranges::none_of(packed, [&p](const PackedConstant& q) { return q.input == p.input; }))
        packed.push_back({p.input, "", *view.constants[static_cast<size_t>(p.input)]});
    return take_kernel(executable, tactic, std::move(packed), std::move(kernel).value(), step);
  }
  return {};
}

/// The node in other layouts than its values have, with copies around it: the layout that a fast tactic takes, else
/// row-major, which the reference takes.
Status prepare_in_other_layout(const Executable& executable, const NodeView& view, std::vector<Refusal>& refusals,
                               PlanStep& step) {
  std::vector<Layout> layouts = executable.table().layouts;
  layouts.push_back(Layout::row_major);
  for (size_t i = 0; i < layouts.size(); ++i) {
    const NodeView other = with_layouts(view, layouts[i], layouts[i]);
    const auto tactics = supporting_tactics(executable.table(), other, executable.target());
    const bool last = i + 1 == layouts.size();
    if (tactics.empty() || (tactics.front()->ops.empty() && !last)) continue;
    PLANISH_TRY(prepare_replacement(executable, other, nullptr, refusals, step));
    if (!step.kernel) continue;
    step.kernel = PLANISH_TRY(
        adapt_forms(std::move(step.kernel), other, view, step.repacked, executable.table(), executable.target()));
    return {};
  }
  return {};
}

/// The node in f32 with casts around it, for a layer that was tuned for a 16-bit type which nothing here computes but
/// the reference.
Status prepare_in_f32(const Executable& executable, const NodeView& view, std::vector<Refusal>& refusals,
                      PlanStep& step) {
  const auto half = [](const TensorDesc& d) { return is_half(d.dtype); };
  if (view.node->is("Cast") || view.node->is("Reformat", "planish")) return {};
  if (std::ranges::none_of(view.inputs, half) && std::ranges::none_of(view.outputs, half)) return {};
  const auto fast = [&executable](const NodeView& v) {
    const auto tactics = supporting_tactics(executable.table(), v, executable.target());
    return !tactics.empty() && !tactics.front()->ops.empty();
  };
  if (fast(view)) return {};
  Node node;
  std::deque<Tensor> wide;
  const NodeView f32 = in_f32(view, node, [&wide](const Tensor& constant, DType type) {
    wide.push_back(constant.cast(type));
    return &wide.back();
  });
  std::vector<NodeView> candidates{f32};
  for (const Layout layout : executable.table().layouts) candidates.push_back(with_layouts(f32, layout, layout));
  for (const NodeView& candidate : candidates) {
    if (!fast(candidate)) continue;
    PLANISH_TRY(prepare_replacement(executable, candidate, nullptr, refusals, step));
    if (!step.kernel) continue;
    step.kernel = PLANISH_TRY(
        adapt_forms(std::move(step.kernel), candidate, view, step.repacked, executable.table(), executable.target()));
    return {};
  }
  return {};
}

}  // namespace

Status prepare_step(const Executable& executable, const NodeView& view, PlanStep& step) {
  const auto n = static_cast<size_t>(step.node);
  const Executable::Layer& layer = executable.layers()[n];
  step.constants = layer.constants;
  step.kernel.reset();
  std::vector<Refusal> refusals;
  if (layer.tactic != nullptr) {
    WhyNot why = layer.tactic->supports(view, executable.target());
    if (!why) {
      auto kernel = layer.tactic->prepare(view, layer.packed, executable.target());
      if (kernel.ok()) {
        step.kernel = std::move(kernel).value();
        step.tactic = layer.tactic;
        return {};
      }
      why = kernel.error().message();
    }
    refusals.push_back({std::string(layer.tactic->id), *why});
  }
  NodeView plain = view;
  plain.may_overwrite = false;  // is said to the engine's tactic alone
  std::vector<Tensor> storage;
  PLANISH_TRY(unpack_constants(executable, n, plain, storage));
  PLANISH_TRY(prepare_in_f32(executable, plain, refusals, step));
  if (!step.kernel) PLANISH_TRY(prepare_replacement(executable, plain, layer.tactic, refusals, step));
  if (!step.kernel) PLANISH_TRY(prepare_in_other_layout(executable, plain, refusals, step));
  return step.kernel ? Status{} : Status{no_tactic_error(plain, refusals)};
}

Result<std::unique_ptr<Plan>> make_plan(const Executable& executable,
                                        const std::vector<std::optional<Shape>>& input_shapes,
                                        const std::vector<Tensor>& input_values, size_t memory_limit_bytes) {
  auto plan = std::make_unique<Plan>();
  plan->input_shapes = input_shapes;
  plan->input_values = input_values;
  plan->facts = PLANISH_TRY(infer_shapes(executable.graph(), input_shapes, input_values));
  PLANISH_TRY(Planner(executable, *plan).run(memory_limit_bytes));
  plan->shapes = plan->facts.shapes;
  plan->deferred.resize(executable.graph().values.size());
  plan->values = plan->facts.values;
  return plan;
}

}  // namespace planish
