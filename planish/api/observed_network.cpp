#include "planish/api/observed_network.h"

#include <algorithm>
#include <cstring>

#include "planish/base/isa.h"
#include "planish/builder/builder.h"
#include "planish/ops/op.h"
#include "planish/tactics/cpu/cpu_tactics.h"

namespace planish::api {
namespace {

/// Rows of a batch that run at once: enough to keep the cores busy, few enough for the memory of activations.
constexpr int64_t kMaxRows = 4;

/// Copies rows [first, first + count) of `t`; rows behind the end repeat the last one.
HostTensor rows_of(const HostTensor& t, int64_t first, int64_t count, std::vector<std::byte>& storage) {
  const size_t row = t.data.size() / static_cast<size_t>(t.dims[0]);
  HostTensor out{t.dtype, t.dims, {}};
  out.dims[0] = count;
  if (first + count <= t.dims[0]) {
    out.data = t.data.subspan(static_cast<size_t>(first) * row, static_cast<size_t>(count) * row);
    return out;
  }
  const size_t begin = storage.size();
  storage.resize(begin + static_cast<size_t>(count) * row);
  for (int64_t i = 0; i < count; ++i)
    std::memcpy(storage.data() + begin + static_cast<size_t>(i) * row,
                t.data.data() + static_cast<size_t>(std::min(first + i, t.dims[0] - 1)) * row, row);
  out.data = std::span<const std::byte>(storage).subspan(begin);
  return out;
}

std::set<std::string> computed_names(const Graph& graph) {
  std::set<std::string> names;
  for (const ValueId v : graph.inputs) names.insert(graph.value(v).name);
  for (const Node& node : graph.nodes)
    for (const ValueId v : node.outputs)
      if (v != kNoValue) names.insert(graph.value(v).name);
  return names;
}

/// True when the value of the network input decides shapes, so that it must be known before the run.
bool steers_shapes(const Graph& graph, ValueId input) {
  for (const Node& node : graph.nodes) {
    const OpDecl* op = find_op(node.domain, node.op);
    for (size_t k = 0; op != nullptr && k < node.inputs.size(); ++k)
      if (node.inputs[k] == input && ((op->shape_inputs >> k) & 1U) != 0) return true;
  }
  return false;
}

/// Marks the tensors that the passes would remove as outputs. What is fused changes with the outputs, so that it takes
/// more than one look.
Result<Graph> keep_tensors(Graph graph, const std::set<std::string>& needed) {
  for (bool added = !needed.empty(); added;) {
    added = false;
    const Graph fused = PLANISH_TRY(run_passes(graph));
    const std::set<std::string> left = computed_names(fused);
    for (const std::string& name : needed) {
      if (left.contains(name)) continue;
      const auto v = graph.find_value(name);
      if (!v || std::ranges::find(graph.outputs, *v) != graph.outputs.end()) continue;
      graph.outputs.push_back(*v);
      added = true;
    }
  }
  return graph;
}

}  // namespace

int64_t ObservedNetwork::rows_per_piece(const std::vector<HostTensor>& inputs) const {
  const int64_t rows = inputs.empty() || inputs[0].dims.empty() ? 0 : inputs[0].dims[0];
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].dims.empty() || inputs[i].dims[0] != rows || rows < 1) return 0;
  int64_t piece = kMaxRows;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Value& input = graph_.value(graph_.inputs[i]);
    if (input.shape && !input.shape->empty() && (*input.shape)[0] > 0) return (*input.shape)[0];
    if (const auto it = profile_.find(input.name); it != profile_.end() && !it->second.opt.empty())
      piece = std::max<int64_t>(1, it->second.opt[0]);
  }
  return std::min(piece, rows);
}

Status ObservedNetwork::build(const std::vector<Shape>& shapes) {
  context_.reset();
  executable_.reset();
  Graph graph = PLANISH_TRY(keep_tensors(graph_, needed_));
  BuildOptions options;
  options.threads = threads_;
  options.optimization_level = effort_;
  options.chains = false;
  auto& ranges = options.profiles.emplace_back();
  for (size_t i = 0; i < shapes.size(); ++i) {
    const Value& input = graph.value(graph.inputs[i]);
    planish::ShapeRange range{shapes[i], shapes[i], shapes[i]};
    for (size_t d = 0; input.shape && d < shapes[i].size(); ++d)
      if ((*input.shape)[d] < 0) range.min[d] = std::min<int64_t>(1, shapes[i][d]);
    ranges[input.name] = std::move(range);
  }
  auto engine = std::make_shared<planish::Engine>(
      PLANISH_TRY(build_engine(std::move(graph), options, host_device(), cpu_tactics())));
  const int threads = threads_ > 0 ? threads_ : cpu_features().physical_cores;
  executable_ = PLANISH_TRY(Executable::create(std::move(engine), host_device(), cpu_tactics(), threads));
  context_ = PLANISH_TRY(Context::create(executable_));
  return {};
}

Status ObservedNetwork::run(const CalibrationBatch& batch, Show show) {
  std::vector<HostTensor> inputs;
  for (const ValueId v : graph_.inputs)
    for (const auto& [name, tensor] : batch.inputs)
      if (name == graph_.value(v).name) {
        inputs.push_back(tensor);
        break;
      }
  const int64_t piece = whole_ ? 0 : rows_per_piece(inputs);
  if (piece == 0) return run_piece(inputs, show);
  const int64_t rows = batch.samples > 0 ? std::min(inputs[0].dims[0], batch.samples) : inputs[0].dims[0];
  for (int64_t first = 0; first < rows; first += piece) {
    const bool fixed = graph_.value(graph_.inputs[0]).shape && (*graph_.value(graph_.inputs[0]).shape)[0] > 0;
    const int64_t count = fixed ? piece : std::min(piece, rows - first);
    padded_.clear();
    size_t padded_bytes = 0;
    for (const HostTensor& t : inputs)
      padded_bytes += t.data.size() / static_cast<size_t>(t.dims[0]) * static_cast<size_t>(count);
    padded_.reserve(padded_bytes);
    std::vector<HostTensor> part;
    for (HostTensor t : inputs) {
      t.data = t.data.first(t.data.size() / static_cast<size_t>(t.dims[0]) * static_cast<size_t>(rows));
      t.dims[0] = rows;
      part.push_back(rows_of(t, first, count, padded_));
    }
    PLANISH_TRY(run_piece(part, show));
  }
  return {};
}

Status ObservedNetwork::run_piece(const std::vector<HostTensor>& inputs, Show show) {
  std::vector<Shape> shapes;
  for (const HostTensor& t : inputs) shapes.push_back(t.dims);
  const auto set_shapes = [&]() -> Status {
    for (size_t i = 0; i < inputs.size(); ++i) {
      const std::string& name = graph_.value(graph_.inputs[i]).name;
      const Tensor value = Tensor::borrow(inputs[i].dtype, shapes[i], const_cast<std::byte*>(inputs[i].data.data()));
      if (steers_shapes(graph_, graph_.inputs[i]))
        PLANISH_TRY(context_->set_input_value(name, value));
      else
        PLANISH_TRY(context_->set_input_shape(name, shapes[i]));
    }
    return {};
  };
  if (context_ == nullptr || !set_shapes().ok()) {
    PLANISH_TRY(build(shapes));
    PLANISH_TRY(set_shapes());
  }
  set_num_threads(threads_ > 0 ? threads_ : cpu_features().physical_cores);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Value& input = graph_.value(graph_.inputs[i]);
    PLANISH_TRY(context_->bind(input.name, DevicePtr{reinterpret_cast<uintptr_t>(inputs[i].data.data())}));
    if (inputs[i].dtype == DType::f32)
      show(input.name, {DType::f32, shapes[i], Layout::row_major},
           reinterpret_cast<const float*>(inputs[i].data.data()));
  }
  const auto wanted = [](ValueId) { return true; };
  return context_->run_observed(wanted, [&](const Observation& seen) -> Status {
    if (seen.desc.dtype == DType::f32 && seen.desc.size() > 0)
      show(seen.name, seen.desc, static_cast<const float*>(seen.data));
    return {};
  });
}

}  // namespace planish::api
