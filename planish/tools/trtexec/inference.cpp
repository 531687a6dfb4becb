#include "planish/tools/trtexec/inference.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <optional>
#include <thread>

#include "planish/tools/trtexec/input_files.h"
#include "planish/tools/trtexec/text.h"

namespace planish::tools {

namespace {

extern "C" void stop_measuring(int) {
  g_interrupted.store(true, std::memory_order_relaxed);
  // A second interrupt ends the program, in case a query hangs.
  std::signal(SIGINT, SIG_DFL);
}

/// While alive, the first Ctrl-C ends the measurement instead of the program, so that the report still comes.
class InterruptEndsMeasuring {
 public:
  InterruptEndsMeasuring() : previous_(std::signal(SIGINT, stop_measuring)) {
    if (previous_ == SIG_IGN) std::signal(SIGINT, SIG_IGN);  // nohup and background jobs of scripts mean it
  }
  ~InterruptEndsMeasuring() { std::signal(SIGINT, previous_); }
  InterruptEndsMeasuring(const InterruptEndsMeasuring&) = delete;
  InterruptEndsMeasuring& operator=(const InterruptEndsMeasuring&) = delete;

 private:
  void (*previous_)(int);
};

}  // namespace

std::atomic<bool> g_interrupted{false};

Clock Clock::monotonic() {
  return {[] {
            const auto now = std::chrono::steady_clock::now().time_since_epoch();
            return std::chrono::duration<double, std::milli>(now).count();
          },
          [](double ms) { std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(ms)); }};
}

Status Inference::fill_inputs(const PairList& files) {
  for (size_t i = 0; i < inputs_.size(); ++i) {
    HostTensor& input = inputs_[i];
    const auto file =
        std::find_if(files.rbegin(), files.rend(), [&](const auto& pair) { return pair.first == input.record.name; });
    input_is_random_[i] = file == files.rend();
    if (input_is_random_[i]) {
      // Values of a shape tensor are dimensions: random ones would ask for absurd outputs.
      input.data = input.record.holds_shape
                       ? constant_values(input.record, input.record.dims, 1)
                       : random_values(input.record, input.record.dims, options_.inference.random_seed);
    } else {
      input.data = PLANISH_TRY(read_tensor_file(file->second, input.record, input.record.dims));
    }
  }
  for (const auto& [name, path] : files) {
    const bool known = std::any_of(inputs_.begin(), inputs_.end(),
                                   [&, wanted = name](const HostTensor& t) { return t.record.name == wanted; });
    if (!known) log_.warn(fmt::format("--loadInputs: the engine has no input '{}', '{}' is not read", name, path));
  }
  return {};
}

Status Inference::bind_inputs() {
  for (auto& context : contexts_) {
    for (const HostTensor& input : inputs_) {
      PLANISH_TRY(context->set_input(input.record.name, input.record.dims, input.data));
    }
  }
  return {};
}

Status Inference::first_run() {
  Status status = contexts_.front()->run();
  // Random integers may be no valid indices (token types, positions); small constants usually are.
  for (const double value : {1.0, 0.0}) {
    if (status) break;
    bool changed = false;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      HostTensor& input = inputs_[i];
      if (!input_is_random_[i] || !dtype_is_integer(input.record.dtype)) continue;
      input.data = constant_values(input.record, input.record.dims, value);
      changed = true;
    }
    if (!changed) break;
    PLANISH_TRY(bind_inputs());
    if (!contexts_.front()->run()) continue;
    log_.warn(fmt::format("the model refuses random integers, its integer inputs are all {}: {}", number_text(value),
                          status.error().message()));
    status = ok_status();
  }
  return status;
}

Status Inference::prepare(const ShapeList& shapes) {
  const EngineRecord& engine = session_.engine();
  for (const TensorRecord& record : engine.inputs) {
    HostTensor tensor{.record = record, .is_input = true, .data = {}};
    const Dims* dims = find_shape(shapes, record.name);
    if (dims != nullptr) tensor.record.dims = *dims;
    inputs_.push_back(std::move(tensor));
  }
  input_is_random_.resize(inputs_.size());
  PLANISH_TRY(fill_inputs(options_.inference.input_files));
  const int streams = options_.inference.streams;
  int threads = options_.system.cpu_threads > 0 ? options_.system.cpu_threads : session_.device().cores;
  threads = std::max(1, threads / streams);
  for (int i = 0; i < streams; ++i) {
    contexts_.push_back(PLANISH_TRY(
        session_.create_context(options_.inference.profile_index, threads, options_.build.pools.workspace_bytes)));
  }
  PLANISH_TRY(bind_inputs());
  PLANISH_TRY(first_run());
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const HostTensor& input = inputs_[i];
    if (input_is_random_[i]) log_.info(fmt::format("Using random values for input {}", input.record.name));
    log_.info(fmt::format("Created input binding for {} with dimensions {}", input.record.name,
                          dims_text(input.record.dims)));
  }
  for (const TensorRecord& output : engine.outputs) {
    const OutputView view = PLANISH_TRY(contexts_.front()->output(output.name));
    log_.info(fmt::format("Created output binding for {} with dimensions {}", output.name, dims_text(view.dims)));
  }
  return {};
}

Status Inference::run_with(const PairList& files) {
  PLANISH_TRY(fill_inputs(files));
  PLANISH_TRY(bind_inputs());
  return contexts_.front()->run();
}

Result<std::vector<QueryTrace>> Inference::run_stream(size_t stream, double origin_ms) {
  const InferenceOptions& o = options_.inference;
  RunContext& context = *contexts_[stream];
  std::vector<QueryTrace> trace;
  int timed = 0;
  const auto more = [&] {
    if (g_interrupted.load(std::memory_order_relaxed)) return false;
    const double elapsed_ms = clock_.now_ms() - origin_ms;
    return o.duration_s < 0 || timed < o.iterations || elapsed_ms < o.warm_up_ms + o.duration_s * 1000;
  };
  while (more()) {
    QueryTrace query;
    query.stream = static_cast<int>(stream);
    query.start_enqueue_ms = clock_.now_ms() - origin_ms;
    if (o.sleep_ms > 0) clock_.sleep_ms(o.sleep_ms);
    query.start_compute_ms = clock_.now_ms() - origin_ms;
    PLANISH_TRY(context.run());
    query.end_compute_ms = clock_.now_ms() - origin_ms;
    // The CPU computes in the calling thread on host memory: launching ends where computing starts, copies are empty.
    query.end_enqueue_ms = query.start_compute_ms;
    query.start_h2d_ms = query.end_h2d_ms = query.start_compute_ms;
    query.start_d2h_ms = query.end_d2h_ms = query.end_compute_ms;
    if (query.start_compute_ms >= o.warm_up_ms) ++timed;
    trace.push_back(query);
    if (o.idle_ms > 0) clock_.sleep_ms(o.idle_ms);
  }
  return trace;
}

Result<std::vector<QueryTrace>> Inference::run_timed() {
  const InterruptEndsMeasuring guard;
  const double origin_ms = clock_.now_ms();
  if (contexts_.size() == 1) return run_stream(0, origin_ms);
  std::vector<std::optional<Result<std::vector<QueryTrace>>>> results(contexts_.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < contexts_.size(); ++i) {
    threads.emplace_back([&, i] { results[i].emplace(run_stream(i, origin_ms)); });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<QueryTrace> trace;
  for (auto& result : results) {
    const std::vector<QueryTrace> part = PLANISH_TRY(std::move(*result));
    trace.insert(trace.end(), part.begin(), part.end());
  }
  std::sort(trace.begin(), trace.end(),
            [](const QueryTrace& a, const QueryTrace& b) { return a.start_compute_ms < b.start_compute_ms; });
  return trace;
}

Result<std::vector<std::vector<double>>> Inference::run_profiled() {
  constexpr double kEnoughMs = 1000;  // the table needs steady medians, not the whole --duration
  const InferenceOptions& o = options_.inference;
  RunContext& context = *contexts_.front();
  std::vector<double> layer_ms;
  PLANISH_TRY(context.run_profiled(layer_ms));
  std::vector<std::vector<double>> runs;
  const double start_ms = clock_.now_ms();
  const double enough_ms = std::clamp(o.duration_s * 1000, 0.0, kEnoughMs);
  const auto least = static_cast<size_t>(std::max(o.iterations, 1));
  while (!g_interrupted.load(std::memory_order_relaxed) &&
         (runs.size() < least || clock_.now_ms() - start_ms < enough_ms)) {
    PLANISH_TRY(context.run_profiled(layer_ms));
    runs.push_back(layer_ms);
  }
  return runs;
}

Result<std::vector<HostTensor>> Inference::fetch(const std::vector<TensorRecord>& records) const {
  std::vector<HostTensor> tensors;
  for (const TensorRecord& record : records) {
    const OutputView view = PLANISH_TRY(contexts_.front()->output(record.name));
    HostTensor tensor{.record = record, .is_input = false, .data = {view.data.begin(), view.data.end()}};
    tensor.record.dims = view.dims;
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

Result<std::vector<HostTensor>> Inference::tensors() const {
  std::vector<HostTensor> all = inputs_;
  for (HostTensor& output : PLANISH_TRY(fetch(session_.engine().outputs))) all.push_back(std::move(output));
  return all;
}

Result<std::vector<HostTensor>> Inference::debug_tensors() const { return fetch(session_.engine().debug_tensors); }

}  // namespace planish::tools
