#include "planish/api/engine.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <mutex>
#include <set>
#include <utility>

#include "planish/api/float_fallback.h"
#include "planish/api/half_check.h"
#include "planish/api/layer_info.h"
#include "planish/api/model_impl.h"
#include "planish/api/quantize.h"
#include "planish/api/quantize_plan.h"
#include "planish/base/atomic_file.h"
#include "planish/base/isa.h"
#include "planish/base/parallel.h"
#include "planish/base/thread_team.h"
#include "planish/builder/builder.h"
#include "planish/builder/refit.h"
#include "planish/onnx/export.h"
#include "planish/ops/infer_graph.h"
#include "planish/ops/op.h"
#include "planish/runtime/context.h"
#include "planish/tactics/cpu/cpu_tactics.h"

namespace planish::api {
namespace {

/// What an engine says of its calibration when nothing was calibrated.
constexpr const char* kInvented = "invented ranges";

std::vector<TensorInfo> tensors_of(const Graph& graph, const std::vector<ValueId>& ids) {
  std::vector<TensorInfo> out;
  for (const ValueId v : ids) out.push_back(tensor_info(graph, v, std::nullopt, std::nullopt));
  return out;
}

std::string isa_text(const CpuFeatures& f) {
  if (!f.avx512) return f.avx2 ? (f.avx_vnni ? "AVX2 VNNI" : "AVX2") : "x86-64";
  std::string out = "AVX-512";
  if (f.avx512_vnni) out += " VNNI";
  if (f.avx512_bf16) out += " BF16";
  if (f.avx512_fp16) out += " FP16";
  if (f.amx_bf16 || f.amx_int8) out += " AMX";
  return out;
}

}  // namespace

std::string_view version() { return "0.1.0"; }

DeviceInfo cpu_device() {
  const CpuFeatures& f = cpu_features();
  DeviceInfo info{.name = f.brand, .isa = isa_text(f), .cores = f.physical_cores};
  info.memory_bytes = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  return info;
}

// --- Model ------------------------------------------------------------------------------------------------------

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;

/// Checksum of a model's file, and of the files with its tensors where there are any; 0 when one cannot be read again.
static uint64_t checksum_of(const std::filesystem::path& file, std::span<const std::filesystem::path> external) {
  const auto model = file_checksum(file);
  if (!model.ok()) return 0;
  if (external.empty()) return *model;
  Checksum64 all;
  const auto add = [&all](uint64_t sum) { all.update({reinterpret_cast<const uint8_t*>(&sum), sizeof(sum)}); };
  add(*model);
  for (const auto& path : external) {
    const auto sum = file_checksum(path);
    if (!sum.ok()) return 0;
    add(*sum);
  }
  return all.value();
}

Result<Model> Model::read(const std::filesystem::path& onnx_file) {
  auto impl = std::make_unique<Impl>();
  impl->model = PLANISH_TRY(import_onnx(onnx_file));
  impl->file_name = onnx_file.filename().string();
  impl->source_hash = checksum_of(onnx_file, impl->model.external_files);
  Graph& graph = impl->model.graph;
  PLANISH_TRY(annotate_shapes(graph));
  impl->inputs = tensors_of(graph, graph.inputs);
  impl->outputs = tensors_of(graph, graph.outputs);
  for (size_t i = 0; i < graph.inputs.size(); ++i)
    for (const Node& node : graph.nodes) {
      const OpDecl* op = find_op(node.domain, node.op);
      for (size_t k = 0; op != nullptr && k < node.inputs.size(); ++k)
        if (node.inputs[k] == graph.inputs[i] && ((op->shape_inputs >> k) & 1U) != 0)
          impl->inputs[i].holds_shape = true;
    }
  return Model(std::move(impl));
}

Model Model::clone() const { return Model(std::make_unique<Impl>(*impl_)); }

Status Model::write(const std::filesystem::path& onnx_file) const {
  return export_onnx(impl_->model.graph, onnx_file,
                     {.opset = impl_->model.graph.opset, .producer_version = std::string(version())});
}

Model ModelAccess::with_graph(const Model& model, Graph graph) {
  auto impl = std::make_unique<Model::Impl>(*model.impl_);
  impl->model.graph = std::move(graph);
  return Model(std::move(impl));
}

const std::vector<TensorInfo>& Model::inputs() const { return impl_->inputs; }
const std::vector<TensorInfo>& Model::outputs() const { return impl_->outputs; }
int64_t Model::node_count() const { return static_cast<int64_t>(impl_->model.graph.nodes.size()); }
int64_t Model::opset() const { return impl_->model.graph.opset; }
std::string Model::producer() const {
  const ImportedModel& m = impl_->model;
  return m.producer_version.empty() ? m.producer_name : m.producer_name + " " + m.producer_version;
}
bool Model::has_quantize_nodes() const {
  return std::ranges::any_of(impl_->model.graph.nodes, [](const Node& n) {
    return n.op.find("QuantizeLinear") != std::string::npos || n.op.starts_with("QLinear") || n.op.ends_with("Integer");
  });
}
std::vector<std::string> Model::node_names() const {
  std::vector<std::string> names;
  std::set<std::string_view> seen;
  const auto add = [&](const std::string& name) {
    if (!name.empty() && seen.insert(name).second) names.push_back(name);
  };
  for (const Node& node : impl_->model.graph.nodes) {
    add(node.name);
    for (const std::string& origin : node.origins) add(origin);
  }
  return names;
}
const std::vector<std::string>& Model::warnings() const { return impl_->model.warnings; }

Result<std::vector<std::string>> Model::set_outputs(const std::vector<std::string>& names) {
  Graph& graph = impl_->model.graph;
  std::map<std::string, ValueId, std::less<>> computed;
  for (const Node& node : graph.nodes)
    for (const ValueId v : node.outputs)
      if (v != kNoValue) computed.emplace(graph.name_of(v), v);
  std::vector<ValueId> outputs;
  std::vector<std::string> missing;
  for (const std::string& name : names) {
    const auto it = computed.find(name);
    if (it == computed.end())
      missing.push_back(name);
    else
      outputs.push_back(it->second);
  }
  if (outputs.empty())
    return Error{.code = Code::not_found,
                 .file = impl_->file_name,
                 .what = "none of the tensors that were asked for is computed by the network",
                 .fix = "polygraphy inspect model --show layers lists them"};
  graph.outputs = std::move(outputs);
  impl_->outputs = tensors_of(graph, graph.outputs);
  return missing;
}

// --- Engine -----------------------------------------------------------------------------------------------------

struct Engine::Impl {
  std::shared_ptr<const planish::Engine> engine;
  std::shared_ptr<const Executable> executable;
  EngineSummary summary;
  std::vector<TensorInfo> inputs;
  std::vector<TensorInfo> outputs;
  std::vector<TensorInfo> debug_tensors;
  std::vector<ProfileRanges> profiles;

  static Result<std::shared_ptr<const Impl>> create(planish::Engine built);
};

Result<std::shared_ptr<const Engine::Impl>> Engine::Impl::create(planish::Engine built) {
  auto impl = std::make_shared<Impl>();
  impl->engine = std::make_shared<const planish::Engine>(std::move(built));
  const Graph& graph = impl->engine->graph;
  const int threads = std::min(threads_or_all(impl->engine->info.threads), threads_or_all(0));
  const EngineInfo& info = impl->engine->info;
  // Without weights there is nothing to run; what it would run can still be looked at and refitted.
  if (!info.weights_stripped)
    impl->executable =
        PLANISH_TRY(Executable::create(impl->engine, host_device(), cpu_tactics(), threads,
                                       {.release_makers = release_cpu_kernel_makers, .widen = widen_half}));
  impl->inputs = tensors_of(graph, graph.inputs);
  for (TensorInfo& tensor : tensors_of(graph, graph.outputs)) {
    const bool debug = std::ranges::find(info.debug_tensors, tensor.name) != info.debug_tensors.end();
    (debug ? impl->debug_tensors : impl->outputs).push_back(std::move(tensor));
  }
  for (const Profile& p : impl->engine->profiles) {
    ProfileRanges ranges;
    for (size_t i = 0; i < graph.inputs.size(); ++i)
      ranges[graph.value(graph.inputs[i]).name] = ShapeRange{p.inputs[i].min, p.inputs[i].opt, p.inputs[i].max};
    impl->profiles.push_back(std::move(ranges));
  }
  impl->summary = {.name = info.name,
                   .producer = info.producer,
                   .source = info.source,
                   .device = info.device,
                   .device_fingerprint = info.device_fingerprint,
                   .precision = info.precision,
                   .calibration = info.calibration,
                   .build_options = info.build_options,
                   .profiling_verbosity = info.profiling_verbosity,
                   .threads = info.threads,
                   .opset = info.opset,
                   .refittable = info.refittable,
                   .weights_stripped = info.weights_stripped,
                   .build_seconds = info.build_seconds,
                   .weight_bytes = impl->executable ? static_cast<int64_t>(impl->executable->weight_bytes()) : 0};
  return std::shared_ptr<const Impl>(std::move(impl));
}

Engine::Engine(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

namespace {

Layout layout_named(std::string_view name) {
  for (const Layout l : {Layout::channels_last, Layout::blocked8, Layout::blocked16})
    if (layout_name(l) == name) return l;
  return Layout::row_major;
}

BuildOptions options_of(const BuildConfig& config) {
  BuildOptions o;
  for (const ProfileRanges& profile : config.profiles) {
    auto& ranges = o.profiles.emplace_back();
    for (const auto& [name, r] : profile) ranges[name] = planish::ShapeRange{r.min, r.opt, r.max};
  }
  o.fp16 = config.fp16;
  o.bf16 = config.bf16;
  o.precision_constraints = static_cast<planish::PrecisionConstraints>(config.precision_constraints);
  o.layer_precisions = config.layer_precisions;
  o.layer_output_types = config.layer_output_types;
  o.optimization_level = config.optimization_level;
  // Quantised networks gained nothing from whole runs, and a build in 16 bits may build ten engines until its error is
  // small enough.
  const bool only_float = !config.int8 && !config.fp16 && !config.bf16;
  o.in_place = o.is_exhaustive() || (config.whole_runs && only_float);
  o.avg_timing = config.avg_timing;
  o.max_tactics = config.max_tactics;
  o.threads = config.threads;
  o.memory_limit_bytes = config.memory_limit_bytes;
  o.disabled_tactics = config.disabled_tactics;
  for (const auto& [name, format] : config.io_formats)
    o.io_formats[name] = planish::IoFormat{.dtype = format.dtype, .layout = layout_named(format.layout)};
  o.prune_two_of_four = config.prune_two_of_four;
  o.debug_tensors = config.debug_tensors;
  o.debug_unfused_tensors = config.debug_unfused_tensors;
  o.passes.disabled = config.disabled_passes;
  o.passes.stop_after = config.stop_after_pass;
  o.passes.dump_folder = config.dump_passes_to;
  o.use_timing_cache = config.use_timing_cache;
  o.timing_cache_file = config.timing_cache_file;
  o.error_on_timing_cache_miss = config.error_on_timing_cache_miss;
  o.progress = config.progress;
  o.warn = config.warn;
  return o;
}

/// The cap holds for what the engine will need at run time too: plans every profile at its largest shapes.
Status check_memory(const std::shared_ptr<const Executable>& executable, size_t limit_bytes) {
  const auto& profiles = executable->engine().profiles;
  const Graph& graph = executable->graph();
  for (size_t p = 0; p < profiles.size(); ++p) {
    auto context = PLANISH_TRY(
        Context::create(executable, {.profile = static_cast<int32_t>(p), .memory_limit_bytes = limit_bytes}));
    for (size_t i = 0; i < graph.inputs.size(); ++i)
      PLANISH_TRY(context->set_input_shape(graph.name_of(graph.inputs[i]), profiles[p].inputs[i].max));
    PLANISH_TRY(context->plan());
  }
  return {};
}

void fill_stats(const BuildReport& report, double seconds, BuildStats* stats) {
  if (stats == nullptr) return;
  for (const PassReport& p : report.passes)
    stats->passes.push_back({std::string(p.name), p.time_ms, p.nodes_before, p.nodes_after});
  stats->tactics_timed = report.timed;
  stats->tactics_from_cache = report.from_cache;
  stats->tuned_total_ms = report.total_ms;
  stats->tuned_reformat_ms = report.reformat_ms;
  stats->seconds = seconds;
  stats->sparse_layers = report.sparse_layers;
  stats->sparse_eligible = report.sparse_eligible;
  stats->tuning_peak_bytes = report.tuning_peak_bytes;
  stats->tuning_peak_layer = report.tuning_peak_layer;
}

}  // namespace

namespace {

/// The network with Q/DQ where --int8 asks for it and the model brings none; the calibration state goes to `info`.
Result<Model> with_int8(Model model, const BuildConfig& config, EngineInfo& info, BuildStats* stats) {
  if (!config.int8) return model;
  if (model.has_quantize_nodes()) {
    info.calibration = "none (the model is quantised)";
    return model;
  }
  const bool invented = config.calibration == nullptr;
  const CalibrationTable table = invented ? CalibrationTable::invented() : *config.calibration;
  info.calibration = invented ? kInvented : table.description;
  if (invented && config.warn)
    config.warn(
        "Ranges are invented, because INT8 was asked for without calibration: the speed is real, the results are "
        "meaningless. Give data or a cache with --calib=FOLDER|FILE");
  QuantizeOptions options = config.quantization != nullptr ? *config.quantization : QuantizeOptions{};
  set_build_defaults(options);
  if (!options.warn) options.warn = config.warn;
  if (!options.progress) options.progress = config.progress;
  if (config.precision_constraints != PrecisionConstraints::none)
    for (const auto& [pattern, dtype] : config.layer_precisions)
      (dtype == DType::i8 ? options.force_int8 : options.keep_float).push_back(pattern);
  QuantizeReport report;
  Model quantised = PLANISH_TRY(quantize(model, table, options, &report));
  if (stats != nullptr) stats->quantization = std::make_shared<const QuantizeReport>(std::move(report));
  return quantised;
}

}  // namespace

Result<Engine> Engine::build(Model model, const BuildConfig& config, BuildStats* stats) {
  if (compares_with_float(model, config)) return build_with_float_fallback(model, config, stats);
  BuildOptions o = options_of(config);
  model = PLANISH_TRY(with_int8(std::move(model), config, o.info, stats));
  ImportedModel& imported = model.impl_->model;
  o.info.name = imported.graph.name;
  o.info.source = model.impl_->file_name;
  o.info.source_hash = model.impl_->source_hash;
  o.info.profiling_verbosity = config.profiling_verbosity;
  o.info.build_options = config.options_json;
  o.info.refittable = config.refittable;
  BuildReport report;
  planish::Engine engine =
      PLANISH_TRY(build_checked(std::move(imported.graph), o, host_device(), cpu_tactics(), &report));
  if (config.int8) engine.info.precision += "+INT8";
  fill_stats(report, engine.info.build_seconds, stats);
  auto impl = PLANISH_TRY(Impl::create(std::move(engine)));
  if (config.memory_limit_bytes != SIZE_MAX) PLANISH_TRY(check_memory(impl->executable, config.memory_limit_bytes));
  return Engine(std::move(impl));
}

Result<Engine> Engine::retuned(const BuildConfig& config, BuildStats* stats) const {
  const auto begin = std::chrono::steady_clock::now();
  BuildReport report;
  planish::Engine engine =
      PLANISH_TRY(retune_engine(*impl_->engine, options_of(config), host_device(), cpu_tactics(), &report));
  fill_stats(report, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), stats);
  return Engine(PLANISH_TRY(Impl::create(std::move(engine))));
}

Result<Engine> Engine::refitted(Model model, const BuildConfig& config) const {
  planish::Engine engine = PLANISH_TRY(refit_engine(*impl_->engine, std::move(model.impl_->model.graph),
                                                    options_of(config), host_device(), cpu_tactics()));
  engine.info.source = model.impl_->file_name;
  engine.info.source_hash = model.impl_->source_hash;
  return Engine(PLANISH_TRY(Impl::create(std::move(engine))));
}

Result<Engine> Engine::stripped() const {
  planish::Engine engine = *impl_->engine;
  strip_weights(engine);
  return Engine(PLANISH_TRY(Impl::create(std::move(engine))));
}

std::vector<RefittableWeight> Engine::refittable_weights() const {
  std::vector<RefittableWeight> out;
  if (!impl_->summary.refittable && !impl_->summary.weights_stripped) return out;
  for (const planish::RefittableWeight& w : planish::refittable_weights(*impl_->engine))
    out.push_back({w.layer, w.role, w.dtype, w.shape});
  return out;
}

std::vector<TensorInfo> Engine::debug_tensors() const { return impl_->debug_tensors; }

Result<Engine> Engine::load(const std::filesystem::path& file) {
  planish::Engine engine = PLANISH_TRY(load_engine(file));
  return Engine(PLANISH_TRY(Impl::create(std::move(engine))));
}

Result<uint64_t> Engine::save(const std::filesystem::path& file) const { return save_engine(*impl_->engine, file); }

const EngineSummary& Engine::summary() const { return impl_->summary; }
const std::vector<TensorInfo>& Engine::inputs() const { return impl_->inputs; }
const std::vector<TensorInfo>& Engine::outputs() const { return impl_->outputs; }
const std::vector<ProfileRanges>& Engine::profiles() const { return impl_->profiles; }
std::vector<std::string> Engine::warnings() const {
  std::vector<std::string> all = impl_->executable ? impl_->executable->warnings() : std::vector<std::string>{};
  const std::string& calibration = impl_->engine->info.calibration;
  if (calibration == kInvented || calibration.starts_with("random"))
    all.push_back(
        fmt::format("the INT8 ranges of this engine are no real ones (calibration: {}): its speed is real, its "
                    "results are meaningless. Build it again with --calib=FOLDER|FILE",
                    calibration));
  return all;
}

Result<std::vector<LayerInfo>> Engine::layers(int profile) const {
  auto context = PLANISH_TRY(create_context(profile));
  return context->layers();
}

// --- ExecutionContext -------------------------------------------------------------------------------------------

struct ExecutionContext::Impl {
  std::shared_ptr<const Engine::Impl> engine;
  std::unique_ptr<Context> context;
  int threads = 0;
  int first_core = -1;  // to be pinned to by the next run
  std::map<std::string, std::pair<std::byte*, size_t>, std::less<>> given_outputs;

  [[nodiscard]] const Graph& graph() const { return engine->engine->graph; }
};

ExecutionContext::ExecutionContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ExecutionContext::~ExecutionContext() = default;

Result<std::unique_ptr<ExecutionContext>> Engine::create_context(int profile, int threads,
                                                                 size_t memory_limit_bytes) const {
  if (!impl_->executable)
    return Error{.code = Code::unsupported,
                 .file = impl_->summary.name,
                 .what = "the engine was written without weights",
                 .fix = "give them back first: trtexec --loadEngine=ENGINE --refitFromOnnx --onnx=MODEL"};
  auto impl = std::make_unique<ExecutionContext::Impl>();
  impl->engine = impl_;
  impl->threads = threads_or_all(threads);
  impl->context =
      PLANISH_TRY(Context::create(impl_->executable, {.profile = profile, .memory_limit_bytes = memory_limit_bytes}));
  return std::unique_ptr<ExecutionContext>(new ExecutionContext(std::move(impl)));
}

Result<std::pair<int64_t, std::string>> Engine::activation_bytes(int profile) const {
  auto context = PLANISH_TRY(create_context(profile));
  Context& c = *context->impl_->context;
  PLANISH_TRY(c.plan());
  const auto& nodes = impl_->engine->graph.nodes;
  const auto n = static_cast<size_t>(c.largest_live_node());
  return std::pair{static_cast<int64_t>(c.arena_bytes()), n < nodes.size() ? nodes[n].name : std::string()};
}

Status ExecutionContext::set_input(std::string_view name, std::span<const int64_t> dims,
                                   std::span<const std::byte> data) {
  const Graph& graph = impl_->graph();
  const Shape shape(dims.begin(), dims.end());
  const auto it = std::ranges::find_if(graph.inputs, [&](ValueId v) { return graph.name_of(v) == name; });
  if (it == graph.inputs.end()) return impl_->context->set_input_shape(name, shape);
  const Value& input = graph.value(*it);
  if (std::ranges::any_of(shape, [](int64_t d) { return d < 0; }))
    return Error{.code = Code::shape_mismatch,
                 .tensor = input.name,
                 .what = "the shape has a negative dimension",
                 .fix = "give sizes"};
  const size_t wanted = dtype_bytes(input.dtype, element_count(shape));
  if (data.size() != wanted)
    return Error{.code = Code::shape_mismatch,
                 .tensor = input.name,
                 .what = fmt::format("{} bytes were given, {} {} takes {}", data.size(), dtype_numpy_name(input.dtype),
                                     to_string(shape), wanted),
                 .fix = "pass data of the input's type and shape"};
  const auto k = static_cast<size_t>(it - graph.inputs.begin());
  if (impl_->engine->inputs[k].holds_shape || !dtype_is_float(input.dtype)) {
    // Integer inputs may steer shapes; small ones are shown to the planner so that memory is planned before the run.
    if (element_count(shape) <= 64 && !dtype_is_float(input.dtype) && impl_->engine->inputs[k].holds_shape)
      PLANISH_TRY(impl_->context->set_input_value(
          name, Tensor::borrow(input.dtype, shape, const_cast<std::byte*>(data.data()))));
  }
  PLANISH_TRY(impl_->context->set_input_shape(name, shape));
  return impl_->context->bind(name, DevicePtr{reinterpret_cast<uintptr_t>(data.data())});
}

Status ExecutionContext::set_output(std::string_view name, std::span<std::byte> data) {
  impl_->given_outputs[std::string(name)] = {data.data(), data.size()};
  PLANISH_TRY(impl_->context->plan());
  if (auto shape = impl_->context->output_shape(name); shape.ok()) {
    const Graph& graph = impl_->graph();
    const auto it = std::ranges::find_if(graph.outputs, [&](ValueId v) { return graph.name_of(v) == name; });
    const size_t wanted = dtype_bytes(graph.value(*it).dtype, element_count(*shape));
    if (data.size() < wanted)
      return Error{.code = Code::shape_mismatch,
                   .tensor = std::string(name),
                   .what = fmt::format("{} bytes were given, the output takes {}", data.size(), wanted),
                   .fix = "give more memory"};
  }
  return impl_->context->bind(name, DevicePtr{reinterpret_cast<uintptr_t>(data.data())});
}

void ExecutionContext::pin(int first) { impl_->first_core = first; }

Status ExecutionContext::run() {
  if (impl_->first_core >= 0) pin_team(std::exchange(impl_->first_core, -1));
  set_num_threads(impl_->threads);
  return impl_->context->run();
}

Status ExecutionContext::run_profiled(std::vector<double>& layer_ms) {
  set_num_threads(impl_->threads);
  std::vector<LayerTime> times;
  PLANISH_TRY(impl_->context->run(&times));
  layer_ms.clear();
  for (const LayerTime& t : times) layer_ms.push_back(t.ms);
  return {};
}

Result<HostTensor> ExecutionContext::output(std::string_view name) const {
  const Graph& graph = impl_->graph();
  const Shape shape = PLANISH_TRY(impl_->context->output_shape(name));
  const auto it = std::ranges::find_if(graph.outputs, [&](ValueId v) { return graph.name_of(v) == name; });
  const DType dtype = graph.value(*it).dtype;
  HostTensor t{.dtype = dtype, .dims = shape};
  const DevicePtr p = PLANISH_TRY(impl_->context->output_address(name));
  if (p) t.data = {host_ptr<const std::byte>(p), dtype_bytes(dtype, element_count(shape))};
  return t;
}

Result<std::vector<LayerInfo>> ExecutionContext::layers() {
  set_num_threads(impl_->threads);
  PLANISH_TRY(impl_->context->plan());
  std::vector<LayerInfo> out;
  for (const StepInfo& step : impl_->context->steps())
    out.push_back(layer_info(*impl_->engine->engine, step, impl_->context->shapes()));
  return out;
}

size_t ExecutionContext::activation_bytes() const { return impl_->context->arena_bytes(); }

}  // namespace planish::api
