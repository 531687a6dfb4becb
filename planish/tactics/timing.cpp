#include "planish/tactics/timing.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <random>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace planish {
namespace {

/// Contents matter little for speed, but denormals and NaNs would: values are multiples of 1/64 in [-1, 1).
void fill(DType dtype, std::vector<uint8_t>& bytes) {
  std::minstd_rand random(1);
  const int size = std::max(dtype_bits(dtype) / 8, 1);
  const auto count = static_cast<int64_t>(bytes.size()) / size;
  if (!dtype_is_float(dtype) || dtype_bits(dtype) < 16) {
    std::memset(bytes.data(), 0, bytes.size());
    return;
  }
  // One period is generated and repeated: element conversion is slow for large tensors.
  constexpr int64_t kPeriod = 4093;
  const int64_t head = std::min(count, kPeriod);
  for (int64_t i = 0; i < head; ++i)
    store_element(dtype, bytes.data(), i, static_cast<double>(static_cast<int>(random() % 128) - 64) / 64.0);
  const auto unit = static_cast<size_t>(head * size);
  for (size_t at = unit; at < bytes.size(); at += unit)
    std::memcpy(bytes.data() + at, bytes.data(), std::min(unit, bytes.size() - at));
}

Result<DeviceBuffer> make_buffer(Device& device, Stream& stream, const TensorDesc& d, bool content) {
  DeviceBuffer buffer = PLANISH_TRY(DeviceBuffer::create(device, std::max<size_t>(d.bytes(), 64)));
  if (content) {
    // Piece by piece: a copy of the whole operand would be memory that no limit knows of.
    constexpr size_t kPiece = size_t{1} << 18;
    std::vector<uint8_t> bytes(std::min(d.bytes(), kPiece));
    fill(d.dtype, bytes);
    for (size_t at = 0; at < d.bytes(); at += bytes.size())
      PLANISH_TRY(
          device.copy_to_device(buffer.get() + at, bytes.data(), std::min(bytes.size(), d.bytes() - at), stream));
    PLANISH_TRY(stream.synchronize());
  }
  return buffer;
}

/// Activations that a run of this node alone holds: constants lie in the weights.
size_t operand_bytes(const NodeView& view) {
  size_t bytes = 0;
  for (size_t i = 0; i < view.inputs.size(); ++i)
    if (!view.is_constant(i)) bytes += view.inputs[i].bytes();
  for (const TensorDesc& d : view.outputs) bytes += d.bytes();
  return bytes;
}

/// Takes memory out of every cache.
void evict([[maybe_unused]] const Tensor& tensor) {
#ifdef __SSE2__
  constexpr size_t kLine = 64;
  const auto* bytes = static_cast<const char*>(tensor.raw());
  for (size_t at = 0; at < tensor.bytes(); at += kLine) _mm_clflush(bytes + at);
  _mm_mfence();
#endif
}

/// How often the system took a processor away from this process.
long preemptions() {
  rusage usage{};
  return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_nivcsw : 0;
}

/// Whether the shortest of `runs` runs tells that no further one will be shorter than `to_beat_ms`. Disturbances only
/// ever add, so that few runs have to be far off.
bool is_hopeless(double shortest_ms, int runs, double to_beat_ms) {
  constexpr double kMargins[] = {2.0, 1.4, 1.2};
  constexpr double kClockMs = 0.002;  // what the clock and a first look at the operands may cost
  return shortest_ms > to_beat_ms * kMargins[std::min(runs, 3) - 1] + kClockMs;
}

}  // namespace

Result<Timing> time_tactic(const NodeView& node_view, const Tactic& tactic, const Target& target,
                           const TimingEffort& effort, std::string* detail) {
  NodeView view = node_view;
  view.may_overwrite = overwritable(tactic, view);  // as it nearly always is in a network
  Device& device = *target.device;
  std::unique_ptr<Stream> stream = PLANISH_TRY(device.create_stream());
  std::vector<PackedConstant> packed;
  if (tactic.pack != nullptr) packed = PLANISH_TRY(tactic.pack(view, target));
  std::unique_ptr<Kernel> kernel = PLANISH_TRY(tactic.prepare(view, packed, target));
  if (detail != nullptr) *detail = kernel->detail();
  const size_t memory_bytes = operand_bytes(view) + kernel->workspace_bytes();
  if (memory_bytes > target.workspace_limit_bytes)
    return Error{.code = Code::out_of_memory,
                 .node = view.node->name,
                 .file = "--memPoolSize",
                 .what = fmt::format("needs {} KiB for operands and workspace, the limit is {} KiB",
                                     (memory_bytes + 1023) >> 10, target.workspace_limit_bytes >> 10),
                 .fix = fmt::format("raise the limit to --memPoolSize=workspace:{}, or use smaller shapes",
                                    (memory_bytes >> 20) + 1)};

  std::vector<const Tensor*> constants;  ///< that runs read in place
  std::vector<DeviceBuffer> memory;
  std::vector<DevicePtr> inputs(view.inputs.size());
  std::vector<DevicePtr> outputs(view.outputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!view.inputs[i].present()) continue;
    const auto it = std::ranges::find(packed, static_cast<int32_t>(i), &PackedConstant::input);
    // What shape arithmetic knows lies in row-major order, wherever the layer wants to read it.
    const bool as_viewed = view.is_constant(i) || view.inputs[i].layout == Layout::row_major;
    const Tensor* constant = it != packed.end() ? &it->data : as_viewed ? view.constants[i] : nullptr;
    if (constant != nullptr && constant->raw() != nullptr) {
      if (device.shares_host_memory()) {
        inputs[i] = DevicePtr{reinterpret_cast<uintptr_t>(constant->raw())};
        constants.push_back(constant);
        continue;
      }
      memory.push_back(PLANISH_TRY(DeviceBuffer::create(device, std::max<size_t>(constant->bytes(), 64))));
      PLANISH_TRY(device.copy_to_device(memory.back().get(), constant->raw(), constant->bytes(), *stream));
      PLANISH_TRY(stream->synchronize());
    } else {
      memory.push_back(PLANISH_TRY(make_buffer(device, *stream, view.inputs[i], true)));
    }
    inputs[i] = memory.back().get();
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!view.outputs[i].present()) continue;
    memory.push_back(PLANISH_TRY(make_buffer(device, *stream, view.outputs[i], false)));
    outputs[i] = memory.back().get();
  }
  if (kernel->overwrites()) outputs[0] = inputs[static_cast<size_t>(tactic.overwrites)];
  const DeviceBuffer workspace =
      PLANISH_TRY(DeviceBuffer::create(device, std::max<size_t>(kernel->workspace_bytes(), 64)));
  const Bindings bindings{inputs, outputs, workspace.get(), stream.get()};

  using Clock = std::chrono::steady_clock;
  const auto ms_since = [](Clock::time_point t) {
    return std::chrono::duration<double, std::milli>(Clock::now() - t).count();
  };
  PLANISH_TRY(kernel->run(bindings));  // warm-up: pages, caches, code generation
  PLANISH_TRY(stream->synchronize());
  constexpr double kPatience = 5;
  double best = std::numeric_limits<double>::max();
  double second = best;
  bool best_disturbed = false;
  bool given_up = false;
  const auto agree = [&] { return second <= best * 1.1 + 0.001; };
  const auto begin = Clock::now();
  for (int runs = 0; !given_up && (runs < effort.max_runs || !agree()); ++runs) {
    const double spent = ms_since(begin);
    if (runs >= effort.min_runs && spent > effort.budget_ms * (agree() ? 1.0 : kPatience)) break;
    if (effort.cold_constants)
      for (const Tensor* constant : constants) evict(*constant);
    const long preempted = preemptions();
    const auto start = Clock::now();
    PLANISH_TRY(kernel->run(bindings));
    PLANISH_TRY(stream->synchronize());
    const double ms = ms_since(start);
    if (ms < best) best_disturbed = preemptions() != preempted;
    second = std::min(second, std::max(best, ms));
    best = std::min(best, ms);
    given_up = !best_disturbed && is_hopeless(best, runs + 1, effort.to_beat_ms);
  }
  return Timing{.memory_bytes = memory_bytes, .ms = best, .given_up = given_up, .stable = agree() && !best_disturbed};
}

}  // namespace planish
