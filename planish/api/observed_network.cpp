#include "planish/api/observed_network.h"

#include <algorithm>
#include <cstring>

#include "planish/base/isa.h"
#include "planish/base/parallel.h"
#include "planish/builder/builder.h"
#include "planish/ops/op.h"
#include "planish/tactics/cpu/cpu_tactics.h"

namespace planish::api {
namespace {

/// Rows that run at once, in all pieces together: enough to keep the cores busy, few enough for the memory of
/// activations.
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

bool is_shown(DType dtype) { return dtype == DType::f32 || dtype == DType::u8 || dtype == DType::i8; }

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

ObservedNetwork::ObservedNetwork(const Graph& graph, std::set<std::string> needed, int threads, ProfileRanges profile,
                                 int effort, bool whole)
    : graph_(graph),
      needed_(std::move(needed)),
      threads_(threads_or_all(threads)),
      profile_(std::move(profile)),
      effort_(effort),
      whole_(whole) {}

int ObservedNetwork::most_workers() const { return static_cast<int>(std::min<int64_t>(threads_, kMaxRows)); }

int64_t ObservedNetwork::rows_per_piece(const std::vector<HostTensor>& inputs) const {
  const int64_t rows = inputs.empty() || inputs[0].dims.empty() ? 0 : inputs[0].dims[0];
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].dims.empty() || inputs[i].dims[0] != rows || rows < 1) return 0;
  int64_t piece = std::max<int64_t>(1, kMaxRows / threads_);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Value& input = graph_.value(graph_.inputs[i]);
    if (input.shape && !input.shape->empty() && (*input.shape)[0] > 0) return (*input.shape)[0];
    if (const auto it = profile_.find(input.name); it != profile_.end() && !it->second.opt.empty())
      piece = std::max<int64_t>(1, it->second.opt[0]);
  }
  return std::min(piece, rows);
}

std::vector<HostTensor> ObservedNetwork::inputs_of(const CalibrationBatch& batch) const {
  std::vector<HostTensor> inputs;
  for (const ValueId v : graph_.inputs)
    for (const auto& [name, tensor] : batch.inputs)
      if (name == graph_.value(v).name) {
        inputs.push_back(tensor);
        break;
      }
  return inputs;
}

std::vector<Piece> ObservedNetwork::pieces_of(const CalibrationBatch& batch) const {
  const std::vector<HostTensor> inputs = inputs_of(batch);
  const int64_t piece = whole_ ? 0 : rows_per_piece(inputs);
  if (piece == 0) return {{}};
  const bool fixed = graph_.value(graph_.inputs[0]).shape && (*graph_.value(graph_.inputs[0]).shape)[0] > 0;
  const int64_t rows = batch.samples > 0 ? std::min(inputs[0].dims[0], batch.samples) : inputs[0].dims[0];
  std::vector<Piece> pieces;
  for (int64_t first = 0; first < rows; first += piece) {
    const int64_t count = std::min(piece, rows - first);
    pieces.push_back({.number = pieces.size(), .first = first, .rows = count, .padded = fixed ? piece : count});
  }
  return pieces;
}

std::vector<ObservedNetwork::Job> ObservedNetwork::jobs_of(std::span<const CalibrationBatch> batches) const {
  std::vector<Job> jobs;
  for (size_t b = 0; b < batches.size(); ++b) {
    const std::vector<HostTensor> inputs = inputs_of(batches[b]);
    for (Piece piece : pieces_of(batches[b])) {
      piece.batch = b;
      Job job{piece, inputs, {}};
      for (const HostTensor& t : inputs) {
        job.shapes.push_back(t.dims);
        if (piece.rows > 0) job.shapes.back()[0] = piece.padded;
      }
      jobs.push_back(std::move(job));
    }
  }
  return jobs;
}

/// Of the piece alone.
std::vector<HostTensor> ObservedNetwork::inputs_of(const Job& job, std::vector<std::byte>& storage) const {
  const Piece& piece = job.piece;
  if (piece.rows == 0) return job.inputs;
  storage.clear();
  size_t bytes = 0;
  for (const HostTensor& t : job.inputs)
    bytes += t.data.size() / static_cast<size_t>(t.dims[0]) * static_cast<size_t>(piece.padded);
  storage.reserve(bytes);
  std::vector<HostTensor> inputs;
  for (HostTensor t : job.inputs) {
    const int64_t rows = piece.first + piece.rows;
    t.data = t.data.first(t.data.size() / static_cast<size_t>(t.dims[0]) * static_cast<size_t>(rows));
    t.dims[0] = rows;
    inputs.push_back(rows_of(t, piece.first, piece.padded, storage));
  }
  return inputs;
}

Status ObservedNetwork::build(const Job& job) {
  seats_.clear();
  executable_.reset();
  Graph graph = PLANISH_TRY(keep_tensors(graph_, needed_));
  const int64_t rows = job.shapes.empty() || job.shapes[0].empty() ? 1 : std::max<int64_t>(1, job.shapes[0][0]);
  const int count = static_cast<int>(std::clamp<int64_t>(kMaxRows / rows, 1, threads_));
  if (!workers_ || workers_->count() != count) workers_ = std::make_unique<WorkerThreads>(count, threads_ / count);
  const ThreadsInScope of_worker(workers_->threads());  // the caller has all of them
  BuildOptions options;
  options.threads = workers_->threads();
  options.optimization_level = effort_;
  options.chains = false;
  options.in_place = false;
  options.only_f32 = true;
  options.outputs_as_made = !needed_.empty();  // they are outputs only to be looked at, in any layout
  options.use_timing_cache = effort_ > 0;      // reading the file would take as long as the rest
  for (const auto& [name, layout] : layouts_) options.io_formats[name].layout = layout;
  auto& ranges = options.profiles.emplace_back();
  for (size_t i = 0; i < job.shapes.size(); ++i) {
    const Value& input = graph.value(graph.inputs[i]);
    const Shape& shape = job.shapes[i];
    planish::ShapeRange range{shape, shape, shape};
    for (size_t d = 0; input.shape && d < shape.size(); ++d)
      if ((*input.shape)[d] < 0) range.min[d] = std::min<int64_t>(1, shape[d]);
    ranges[input.name] = std::move(range);
  }
  auto engine = std::make_shared<planish::Engine>(
      PLANISH_TRY(build_engine(std::move(graph), options, host_device(), cpu_tactics())));
  executable_ = PLANISH_TRY(Executable::create(std::move(engine), host_device(), cpu_tactics(), workers_->threads()));
  const Graph& built = executable_->engine().graph;
  const std::set<std::string> names = computed_names(graph_);
  is_of_graph_.assign(built.values.size(), false);
  for (size_t v = 0; v < built.values.size(); ++v) is_of_graph_[v] = names.contains(built.values[v].name);
  for (int i = 0; i < count; ++i) seats_.push_back({PLANISH_TRY(Context::create(executable_)), {}});
  return {};
}

Status ObservedNetwork::set_shapes(Context& context, const Job& job, std::span<const HostTensor> inputs) const {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const std::string& name = graph_.value(graph_.inputs[i]).name;
    if (!steers_shapes(graph_, graph_.inputs[i])) {
      PLANISH_TRY(context.set_input_shape(name, job.shapes[i]));
      continue;
    }
    PLANISH_TRY(context.set_input_value(
        name, Tensor::borrow(inputs[i].dtype, job.shapes[i], const_cast<std::byte*>(inputs[i].data.data()))));
  }
  return {};
}

Status ObservedNetwork::run(std::span<const CalibrationBatch> batches, Show show, const std::function<bool()>& beside) {
  std::vector<Job> jobs = jobs_of(batches);
  if (executable_ != nullptr) jobs = PLANISH_TRY(run_fitting(std::move(jobs), show, beside));
  while (!jobs.empty()) {
    PLANISH_TRY(build(jobs.front()));
    std::vector<std::byte> storage;
    PLANISH_TRY(set_shapes(*seats_[0].context, jobs.front(), inputs_of(jobs.front(), storage)));
    jobs = PLANISH_TRY(run_fitting(std::move(jobs), show, beside));
  }
  return {};
}

Result<std::vector<ObservedNetwork::Job>> ObservedNetwork::run_fitting(std::vector<Job> jobs, Show show,
                                                                       const std::function<bool()>& beside) {
  // Whoever has had least takes the next piece: the same shares every time. Who begins among equals changes, so that
  // what is done with one piece in two or four does not fall to the same worker each time.
  const size_t workers = seats_.size();
  std::vector<int64_t> rows(workers);
  for (size_t i = 0; i < jobs.size(); ++i) {
    const size_t turn = i / workers + i / workers / workers;
    size_t least = turn % workers;
    for (size_t w = 1; w < workers; ++w)
      if (const size_t other = (turn + w) % workers; rows[other] < rows[least]) least = other;
    jobs[i].piece.worker = static_cast<int>(least);
    rows[least] += std::max<int64_t>(1, jobs[i].piece.padded);
  }
  std::vector<uint8_t> fits(jobs.size(), 1);
  std::vector<Status> status(seats_.size());
  workers_->run([&](int worker) {
    const auto me = static_cast<size_t>(worker);
    for (size_t i = 0; i < jobs.size() && status[me].ok(); ++i) {
      if (jobs[i].piece.worker != worker) continue;
      Seat& seat = seats_[me];
      fits[i] = set_shapes(*seat.context, jobs[i], inputs_of(jobs[i], seat.padded)).ok() ? 1 : 0;
      if (fits[i] != 0) status[me] = run_job(seat, jobs[i], show);
    }
    while (beside && beside()) {
    }
  });
  for (Status& s : status) PLANISH_TRY(std::move(s));
  std::vector<Job> rest;
  for (size_t i = 0; i < jobs.size(); ++i)
    if (fits[i] == 0) rest.push_back(std::move(jobs[i]));
  return rest;
}

Status ObservedNetwork::run_job(Seat& seat, const Job& job, Show show) {
  const std::vector<HostTensor> inputs = inputs_of(job, seat.padded);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Value& input = graph_.value(graph_.inputs[i]);
    PLANISH_TRY(seat.context->bind(input.name, DevicePtr{reinterpret_cast<uintptr_t>(inputs[i].data.data())}));
    const auto layout = layouts_.find(input.name);
    if (is_shown(inputs[i].dtype))
      show(job.piece, input.name,
           {inputs[i].dtype, job.shapes[i], layout == layouts_.end() ? Layout::row_major : layout->second},
           inputs[i].data.data());
  }
  const auto wanted = [this](ValueId v) { return is_of_graph_[static_cast<size_t>(v)]; };
  return seat.context->run_observed(wanted, [&](const Observation& seen) -> Status {
    if (is_shown(seen.desc.dtype) && seen.desc.size() > 0) show(job.piece, seen.name, seen.desc, seen.data);
    return {};
  });
}

}  // namespace planish::api
