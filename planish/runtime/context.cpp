#include "planish/runtime/context.h"

#include <fmt/format.h>

#include <algorithm>

#include "planish/base/subnormals.h"
#include "planish/ops/op.h"
#include "planish/runtime/plan.h"

namespace planish {
namespace {

/// Plans kept for shapes seen before; real uses alternate between few.
constexpr size_t kMaxPlans = 8;
/// Deferred results up to this size are kept on the host for shape inference behind them.
constexpr int64_t kMaxHostElements = 4096;

bool same_inputs(const Plan& plan, const std::vector<std::optional<Shape>>& shapes, const std::vector<Tensor>& values) {
  if (plan.input_shapes != shapes) return false;
  for (size_t i = 0; i < values.size(); ++i) {
    const Tensor& a = plan.input_values[i];
    if (a.defined() != values[i].defined() || (a.defined() && !bitwise_equal(a, values[i]))) return false;
  }
  return true;
}

double elapsed_ms(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - since).count();
}

/// Device addresses of values under a plan.
struct Resolver {
  const Executable& executable;
  const Plan& plan;
  DevicePtr arena;
  std::span<const DevicePtr> inputs;
  std::span<const DevicePtr> outputs;

  [[nodiscard]] DevicePtr operator()(ValueId v) const {
    if (v == kNoValue) return {};
    const Place& p = plan.places[static_cast<size_t>(v)];
    const auto i = static_cast<size_t>(p.index);
    switch (p.kind) {
      case Place::Kind::none: return {};
      case Place::Kind::constant:
        return executable.constant_address(p.index) ? executable.constant_address(p.index) + p.offset : DevicePtr{};
      case Place::Kind::known: return plan.known.size() > i ? plan.known[i].get() + p.offset : DevicePtr{};
      case Place::Kind::arena: return arena + p.offset;
      case Place::Kind::input: return inputs[i] ? inputs[i] + p.offset : DevicePtr{};
      case Place::Kind::output: return outputs[i] ? outputs[i] + p.offset : DevicePtr{};
      case Place::Kind::deferred: return plan.deferred[i].get() ? plan.deferred[i].get() + p.offset : DevicePtr{};
    }
    return {};
  }
};

void resolve_step(const Graph& graph, const Resolver& resolve, PlanStep& step) {
  const Node& node = graph.nodes[static_cast<size_t>(step.node)];
  step.inputs.resize(node.inputs.size());
  step.outputs.resize(node.outputs.size());
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const bool constant = i < step.constants.size() && step.constants[i];
    step.inputs[i] = constant ? step.constants[i] : resolve(node.inputs[i]);
  }
  for (size_t i = 0; i < node.outputs.size(); ++i) step.outputs[i] = resolve(node.outputs[i]);
}

/// Runs nodes whose output shapes only data can tell.
class DeferredRunner {
 public:
  DeferredRunner(const Executable& executable, Plan& plan, const Resolver& resolve, Stream& stream)
      : executable_(executable), graph_(executable.graph()), plan_(plan), resolve_(resolve), stream_(stream) {}

  Status run(PlanStep& step) {
    const auto n = static_cast<size_t>(step.node);
    const Node& node = graph_.nodes[n];
    const OpDecl* op = find_op(node.domain, node.op);
    if (op == nullptr) return Error{.code = Code::internal, .node = node.name, .what = "unknown operator"};
    // Only the result itself tells the shape of such an operator; inference could but guess (say, about a branch of If
    // that is not taken).
    if ((op->traits & kTraitDynamicShape) != 0) return run_on_host(node);
    PLANISH_TRY(infer(node, *op));
    if (!is_concrete(graph_, node, plan_.shapes)) return run_on_host(node);
    return run_kernel(step, n);
  }

 private:
  Result<Tensor> download(ValueId v) {
    const auto k = static_cast<size_t>(v);
    if (const Tensor* c = graph_.constant_of(v); c != nullptr && c->raw() != nullptr) return *c;
    if (plan_.values[k]) return *plan_.values[k];
    if (!plan_.shapes[k])
      return Error{.code = Code::internal, .tensor = graph_.value(v).name, .what = "shape is not known"};
    Tensor t(plan_.facts.dtypes[k], *plan_.shapes[k]);
    if (t.bytes() != 0) PLANISH_TRY(executable_.device().copy_to_host(t.raw(), resolve_(v), t.bytes(), stream_));
    PLANISH_TRY(stream_.synchronize());
    return t;
  }

  Status infer(const Node& node, const OpDecl& op) {
    std::vector<InferContext::Known> known(node.inputs.size());
    std::vector<Tensor> values(node.inputs.size());
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId v = node.inputs[i];
      if (v == kNoValue) continue;
      const auto k = static_cast<size_t>(v);
      if (!plan_.shapes[k])
        return Error{
            .code = Code::internal, .node = node.name, .tensor = graph_.value(v).name, .what = "shape is not known"};
      known[i] = {plan_.facts.dtypes[k], plan_.shapes[k], nullptr};
      if (((op.shape_inputs >> i) & 1U) == 0) continue;
      values[i] = PLANISH_TRY(download(v));
      known[i].value = &values[i];
    }
    InferContext ctx(node, std::move(known));
    PLANISH_TRY(op.infer(ctx));
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (node.outputs[i] == kNoValue) continue;
      const auto k = static_cast<size_t>(node.outputs[i]);
      plan_.shapes[k] = ctx.outputs()[i].shape;
      if (ctx.outputs()[i].dtype != DType::undefined) plan_.facts.dtypes[k] = ctx.outputs()[i].dtype;
      plan_.values[k].reset();
    }
    return {};
  }

  Status reserve(ValueId v, size_t bytes) {
    DeviceBuffer& buffer = plan_.deferred[static_cast<size_t>(v)];
    if (buffer.get() && buffer.bytes() >= bytes) return {};
    buffer = PLANISH_TRY(DeviceBuffer::create(executable_.device(), std::max<size_t>(bytes, 64)));
    return {};
  }

  Status run_on_host(const Node& node) {
    std::vector<Tensor> in(node.inputs.size());
    std::vector<const Tensor*> in_ptrs(node.inputs.size(), nullptr);
    for (size_t i = 0; i < in.size(); ++i) {
      if (node.inputs[i] == kNoValue) continue;
      in[i] = PLANISH_TRY(download(node.inputs[i]));
      in_ptrs[i] = &in[i];
    }
    std::vector<Tensor> out(node.outputs.size());
    PLANISH_TRY(run_reference(node, in_ptrs, out));
    for (size_t i = 0; i < out.size(); ++i) {
      const ValueId v = node.outputs[i];
      if (v == kNoValue || !out[i].defined()) continue;
      const auto k = static_cast<size_t>(v);
      plan_.shapes[k] = out[i].shape();
      plan_.facts.dtypes[k] = out[i].dtype();
      PLANISH_TRY(reserve(v, out[i].bytes()));
      PLANISH_TRY(executable_.device().copy_to_device(resolve_(v), out[i].raw(), out[i].bytes(), stream_));
      plan_.values[k].reset();
      if (out[i].size() <= kMaxHostElements) plan_.values[k] = std::move(out[i]);
    }
    return stream_.synchronize();
  }

  Status run_kernel(PlanStep& step, size_t n) {
    const Node& node = graph_.nodes[n];
    const NodeView view = node_view(graph_, node, plan_.facts.dtypes, plan_.shapes, plan_.values);
    for (size_t i = 0; i < node.outputs.size(); ++i)
      if (node.outputs[i] != kNoValue &&
          plan_.places[static_cast<size_t>(node.outputs[i])].kind == Place::Kind::deferred)
        PLANISH_TRY(reserve(node.outputs[i], view.outputs[i].bytes()));
    if (std::ranges::all_of(view.outputs, [](const TensorDesc& d) { return !d.present() || d.size() == 0; })) return {};
    if (!still_fits(step, view) && !prepare_again(step, view)) {
      step.repacked.clear();
      step.repacked_memory.clear();
      PLANISH_TRY(prepare_step(executable_, view, step));
    }
    step.prepared_inputs = view.inputs;
    step.prepared_outputs = view.outputs;
    resolve_step(graph_, resolve_, step);
    DeviceBuffer workspace;
    if (step.kernel->workspace_bytes() != 0)
      workspace = PLANISH_TRY(DeviceBuffer::create(executable_.device(), step.kernel->workspace_bytes()));
    PLANISH_TRY(step.kernel->run({step.inputs, step.outputs, workspace.get(), &stream_}));
    return stream_.synchronize();
  }

  /// Whether the kernel of the last run can run again: the same shapes, and no operand whose value it may have read.
  bool still_fits(const PlanStep& step, const NodeView& view) const {
    if (!step.kernel || step.prepared_inputs != view.inputs || step.prepared_outputs != view.outputs) return false;
    for (size_t i = 0; i < view.constants.size(); ++i)
      if (view.constants[i] != nullptr && graph_.constant_of(view.node->inputs[i]) == nullptr) return false;
    return true;
  }

  /// Binds the tactic of the last run to other shapes, with the constants that it packed then: packing a large weight
  /// takes longer than multiplying by it.
  bool prepare_again(PlanStep& step, const NodeView& view) const {
    if (!step.kernel || step.repacked.empty() || step.tactic == nullptr || step.tactic->pack == nullptr) return false;
    if (step.tactic->supports(view, executable_.target())) return false;
    auto kernel = step.tactic->prepare(view, step.repacked, executable_.target());
    if (!kernel.ok()) return false;
    step.kernel = std::move(kernel).value();
    return true;
  }

  const Executable& executable_;
  const Graph& graph_;
  Plan& plan_;
  const Resolver& resolve_;
  Stream& stream_;
};

}  // namespace

Context::~Context() = default;

Result<std::unique_ptr<Context>> Context::create(std::shared_ptr<const Executable> executable,
                                                 const ContextOptions& options) {
  const auto& profiles = executable->engine().profiles;
  if (options.profile < 0 || static_cast<size_t>(options.profile) >= profiles.size())
    return Error{.code = Code::invalid_argument,
                 .file = "--useProfile",
                 .what = fmt::format("the engine has {} optimisation profile(s), number {} does not exist",
                                     profiles.size(), options.profile),
                 .fix = fmt::format("use 0 to {}", profiles.size() - 1)};
  std::unique_ptr<Context> c(new Context);
  const Graph& graph = executable->graph();
  c->stream_ = PLANISH_TRY(executable->device().create_stream());
  c->executable_ = std::move(executable);
  c->options_ = options;
  c->input_values_.resize(graph.inputs.size());
  c->input_bindings_.resize(graph.inputs.size());
  c->output_bindings_.resize(graph.outputs.size());
  c->output_addresses_.resize(graph.outputs.size());
  c->own_io_.resize(graph.inputs.size() + graph.outputs.size());
  for (const ShapeRange& range : profiles[static_cast<size_t>(options.profile)].inputs)
    c->input_shapes_.emplace_back(range.opt);
  return c;
}

Result<size_t> Context::input_index(std::string_view name) const {
  const Graph& graph = executable_->graph();
  for (size_t i = 0; i < graph.inputs.size(); ++i)
    if (graph.name_of(graph.inputs[i]) == name) return i;
  std::string names;
  for (const ValueId v : graph.inputs) names += fmt::format("{}'{}'", names.empty() ? "" : ", ", graph.name_of(v));
  return Error{.code = Code::not_found,
               .tensor = std::string(name),
               .what = "the network has no input of this name",
               .fix = fmt::format("its inputs are {}", names)};
}

Result<size_t> Context::output_index(std::string_view name) const {
  const Graph& graph = executable_->graph();
  for (size_t i = 0; i < graph.outputs.size(); ++i)
    if (graph.name_of(graph.outputs[i]) == name) return i;
  return Error{.code = Code::not_found,
               .tensor = std::string(name),
               .what = "the network has no output of this name",
               .fix = "list its tensors with: polygraphy inspect model"};
}

Status Context::set_input_shape(std::string_view name, const Shape& shape) {
  const size_t i = PLANISH_TRY(input_index(name));
  const auto& range = executable_->engine().profiles[static_cast<size_t>(options_.profile)].inputs[i];
  const auto reject = [&](std::string what) {
    return Error{.code = Code::shape_mismatch,
                 .tensor = std::string(name),
                 .what = std::move(what),
                 .fix = fmt::format("give a shape between {} and {}, or build with wider --minShapes/--maxShapes",
                                    to_string(range.min), to_string(range.max))};
  };
  if (shape.size() != range.min.size())
    return reject(
        fmt::format("shape {} has {} dimensions, the input has {}", to_string(shape), shape.size(), range.min.size()));
  for (size_t d = 0; d < shape.size(); ++d)
    if (shape[d] < range.min[d] || shape[d] > range.max[d])
      return reject(fmt::format("dimension {} of shape {} is {}, the engine allows {} to {}", d, to_string(shape),
                                shape[d], range.min[d], range.max[d]));
  if (input_shapes_[i] == shape) return {};
  input_shapes_[i] = shape;
  stale_ = true;
  return {};
}

Status Context::set_input_value(std::string_view name, const Tensor& value) {
  const size_t i = PLANISH_TRY(input_index(name));
  input_values_[i] = value.clone();
  stale_ = true;
  return set_input_shape(name, value.shape());
}

Status Context::bind(std::string_view name, DevicePtr address) {
  if (auto i = input_index(name); i.ok()) {
    bindings_changed_ |= !(input_bindings_[*i] == address);
    input_bindings_[*i] = address;
    return {};
  }
  const size_t o = PLANISH_TRY(output_index(name));
  bindings_changed_ |= !(output_bindings_[o] == address);
  output_bindings_[o] = address;
  return {};
}

Status Context::plan() {
  if (!stale_) return {};
  const auto it =
      std::ranges::find_if(plans_, [this](const auto& p) { return same_inputs(*p, input_shapes_, input_values_); });
  if (it != plans_.end()) {
    std::rotate(plans_.begin(), it, it + 1);
  } else {
    auto fresh = make_plan(*executable_, input_shapes_, input_values_, options_.memory_limit_bytes);
    if (!fresh.ok()) return std::move(fresh).take_error();
    plans_.insert(plans_.begin(), std::move(fresh).value());
    if (const auto release = executable_->hooks().release_makers; release != nullptr && plans_.size() == 1) release();
    if (plans_.size() > kMaxPlans) plans_.pop_back();
  }
  const size_t bytes = plans_.front()->memory.arena_bytes;
  if (arena_.bytes() < bytes) {
    arena_ = DeviceBuffer();  // the old one first, so that never both are alive
    auto grown = DeviceBuffer::create(executable_->device(), bytes);
    if (!grown.ok()) return std::move(grown).take_error();
    arena_ = std::move(*grown);
  }
  stale_ = false;
  bindings_changed_ = true;
  return {};
}

Status Context::run_step(size_t s, std::vector<LayerTime>* times) {
  Plan& plan = *plans_.front();
  PlanStep& step = plan.steps[s];
  const Resolver resolve{*executable_, plan, arena_.get(), input_bindings_, output_addresses_};
  const auto start = times != nullptr ? std::chrono::steady_clock::now() : std::chrono::steady_clock::time_point{};
  if (step.kind == PlanStep::Kind::kernel) {
    // Deferred producers move their memory during the run.
    if (plan.has_deferred) resolve_step(executable_->graph(), resolve, step);
    PLANISH_TRY(step.kernel->run({step.inputs, step.outputs, arena_.get() + step.workspace_offset, stream_.get()}));
  } else if (step.kind == PlanStep::Kind::copies) {
    for (const PlanStep::Copy& c : step.copies) {
      const DevicePtr from = c.from == kNoValue ? step.constants[0] : resolve(c.from);
      PLANISH_TRY(
          executable_->device().copy_on_device(resolve(c.to) + c.to_offset, from + c.from_offset, c.bytes, *stream_));
    }
  } else {
    PLANISH_TRY(DeferredRunner(*executable_, plan, resolve, *stream_).run(step));
  }
  if (times != nullptr) {
    PLANISH_TRY(stream_->synchronize());
    times->push_back({step.node, elapsed_ms(start)});
  }
  return {};
}

Status Context::resolve_bindings() {
  Plan& plan = *plans_.front();
  const Graph& graph = executable_->graph();
  for (size_t i = 0; i < input_bindings_.size(); ++i)
    if (!input_bindings_[i] && plan.shapes[static_cast<size_t>(graph.inputs[i])] &&
        element_count(*plan.shapes[static_cast<size_t>(graph.inputs[i])]) != 0)
      return Error{.code = Code::invalid_argument,
                   .tensor = graph.value(graph.inputs[i]).name,
                   .what = "no memory is bound to this input",
                   .fix = "call bind() before run()"};
  for (size_t i = 0; i < output_bindings_.size(); ++i) {
    const auto v = static_cast<size_t>(graph.outputs[i]);
    output_addresses_[i] = output_bindings_[i];
    if (output_bindings_[i] || plan.places[v].kind != Place::Kind::output) continue;
    DeviceBuffer& own = own_io_[graph.inputs.size() + i];
    const size_t bytes = layout_bytes(plan.facts.dtypes[v], *plan.shapes[v], graph.values[v].layout);
    if (own.bytes() < bytes || !own.get())
      own = PLANISH_TRY(DeviceBuffer::create(executable_->device(), std::max<size_t>(bytes, 64)));
    output_addresses_[i] = own.get();
  }
  const Resolver resolve{*executable_, plan, arena_.get(), input_bindings_, output_addresses_};
  for (PlanStep& step : plan.steps) resolve_step(graph, resolve, step);
  bindings_changed_ = false;
  return {};
}

/// Outputs that are a network input, a constant or the same value as another output, where memory is bound to them.
Status Context::copy_outputs_elsewhere() {
  const Plan& plan = *plans_.front();
  const Graph& graph = executable_->graph();
  const Resolver resolve{*executable_, plan, arena_.get(), input_bindings_, output_addresses_};
  for (size_t o = 0; o < output_bindings_.size(); ++o) {
    const auto v = static_cast<size_t>(graph.outputs[o]);
    if (!output_bindings_[o] || plan.places[v].kind == Place::Kind::deferred) continue;
    const DevicePtr from = resolve(graph.outputs[o]);
    const size_t bytes = dtype_bytes(plan.facts.dtypes[v], element_count(*plan.shapes[v]));
    if (!from || from == output_bindings_[o] || bytes == 0) continue;
    PLANISH_TRY(executable_->device().copy_on_device(output_bindings_[o], from, bytes, *stream_));
  }
  return {};
}

Status Context::run_step_named(size_t step, std::vector<LayerTime>* times) {
  Status status = run_step(step, times);
  if (status.ok()) return status;
  const auto node = static_cast<size_t>(plans_.front()->steps[step].node);
  return std::move(status).take_error().with_context(
      fmt::format("running layer '{}'", executable_->graph().nodes[node].name));
}

DevicePtr Context::address_of(ValueId v) const {
  return Resolver{*executable_, *plans_.front(), arena_.get(), input_bindings_, output_addresses_}(v);
}

Status Context::run(std::vector<LayerTime>* times) {
  PLANISH_TRY(plan());
  if (bindings_changed_) PLANISH_TRY(resolve_bindings());
  const FlushSubnormals flush(!executable_->keeps_subnormals());
  for (size_t s = 0; s < plans_.front()->steps.size(); ++s) PLANISH_TRY(run_step_named(s, times));
  return copy_outputs_elsewhere();
}

Result<Shape> Context::output_shape(std::string_view name) const {
  const size_t o = PLANISH_TRY(output_index(name));
  const ValueId v = executable_->graph().outputs[o];
  if (plans_.empty() || !plans_.front()->shapes[static_cast<size_t>(v)])
    return Error{.code = Code::invalid_argument,
                 .tensor = std::string(name),
                 .what = "the shape depends on data and is known after a run",
                 .fix = "call run() first"};
  return *plans_.front()->shapes[static_cast<size_t>(v)];
}

Result<DevicePtr> Context::output_address(std::string_view name) const {
  const size_t o = PLANISH_TRY(output_index(name));
  if (plans_.empty())
    return Error{.code = Code::invalid_argument,
                 .tensor = std::string(name),
                 .what = "nothing was run yet",
                 .fix = "call run() first"};
  return Resolver{*executable_, *plans_.front(), arena_.get(), input_bindings_,
                  output_addresses_}(executable_->graph().outputs[o]);
}

Result<std::vector<Tensor>> Context::run_host(std::span<const Tensor> inputs) {
  const Graph& graph = executable_->graph();
  Device& device = executable_->device();
  if (inputs.size() != graph.inputs.size())
    return Error{.code = Code::invalid_argument,
                 .what = fmt::format("{} inputs were given, the network has {}", inputs.size(), graph.inputs.size()),
                 .fix = "give one tensor per network input"};
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Value& declared = graph.value(graph.inputs[i]);
    if (inputs[i].dtype() != declared.dtype)
      return Error{.code = Code::invalid_argument,
                   .tensor = declared.name,
                   .what = fmt::format("the tensor is {}, the network wants {}", dtype_name(inputs[i].dtype()),
                                       dtype_name(declared.dtype)),
                   .fix = "convert the data"};
    if (input_values_[i].defined())
      PLANISH_TRY(set_input_value(declared.name, inputs[i]));
    else
      PLANISH_TRY(set_input_shape(declared.name, inputs[i].shape()));
    DeviceBuffer& own = own_io_[i];
    if (own.bytes() < inputs[i].bytes() || !own.get())
      own = PLANISH_TRY(DeviceBuffer::create(device, std::max<size_t>(inputs[i].bytes(), 64)));
    PLANISH_TRY(device.copy_to_device(own.get(), inputs[i].raw(), inputs[i].bytes(), *stream_));
    PLANISH_TRY(bind(declared.name, own.get()));
  }
  for (size_t o = 0; o < graph.outputs.size(); ++o) output_bindings_[o] = {};
  bindings_changed_ = true;
  PLANISH_TRY(run());
  std::vector<Tensor> out;
  for (const ValueId v : graph.outputs) {
    const auto k = static_cast<size_t>(v);
    const std::string& name = graph.value(v).name;
    const Shape shape = PLANISH_TRY(output_shape(name));
    Tensor t(plans_.front()->facts.dtypes[k], shape);
    const DevicePtr from = PLANISH_TRY(output_address(name));
    if (t.bytes() != 0) PLANISH_TRY(device.copy_to_host(t.raw(), from, t.bytes(), *stream_));
    out.push_back(std::move(t));
  }
  PLANISH_TRY(stream_->synchronize());
  return out;
}

size_t Context::arena_bytes() const { return plans_.empty() ? 0 : plans_.front()->memory.arena_bytes; }
size_t Context::largest_live_bytes() const { return plans_.empty() ? 0 : plans_.front()->memory.largest_live_bytes; }
int32_t Context::largest_live_node() const { return plans_.empty() ? 0 : plans_.front()->memory.largest_live_step; }
std::vector<StepInfo> Context::steps() const {
  std::vector<StepInfo> out;
  if (plans_.empty()) return out;
  for (const PlanStep& step : plans_.front()->steps) {
    StepInfo info{.node = step.node};
    info.copies_only = step.kind == PlanStep::Kind::copies;
    info.deferred = step.kind == PlanStep::Kind::deferred;
    if (step.kernel) {
      info.tactic = std::string(step.tactic->id);
      info.detail = step.kernel->detail();
      info.workspace_bytes = step.kernel->workspace_bytes();
    }
    out.push_back(std::move(info));
  }
  return out;
}

const std::vector<std::optional<Shape>>& Context::shapes() const {
  static const std::vector<std::optional<Shape>> none;
  return plans_.empty() ? none : plans_.front()->shapes;
}

}  // namespace planish
