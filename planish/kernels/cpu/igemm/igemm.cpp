#include "planish/kernels/cpu/igemm/igemm.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include "planish/base/parallel.h"
#include "planish/base/simd/portable.h"
#include "planish/kernels/cpu/igemm/generic.h"
#include "planish/kernels/cpu/igemm/pair_magnitude.h"
#include "planish/kernels/cpu/igemm/variants.h"

namespace planish::kernels {
namespace {

struct Baseline {
  using Elem = int16_t;
  using Floats = simd::PortableFloats;
  static constexpr bool kFinishesBytes = false;
  static constexpr int kDepth = 1;
  static constexpr int kLanes = 8;
  static constexpr int kVectors = 1;
  static constexpr int rows(int) { return 4; }

  template <int R, int V>
  static void micro(const int16_t* const* rows, const int64_t* runs, int64_t run_count, int64_t steps,
                    const int8_t* weights, const int32_t* start, int32_t* sums) {
    int32_t acc[R][kLanes];
    for (int r = 0; r < R; ++r) std::memcpy(acc[r], start, sizeof(acc[r]));
    for (int64_t i = 0; i < run_count; ++i)
      for (int64_t k = 0; k < steps; ++k, weights += kLanes)
        for (int r = 0; r < R; ++r) {
          const int32_t x = rows[r][runs[i] + k];
          for (int c = 0; c < kLanes; ++c) acc[r][c] += x * weights[c];
        }
    std::memcpy(sums, acc, sizeof(acc));
  }
};

constexpr std::array kOrder{&kIgemmAmx, &kIgemmAvx512Vnni, &kIgemmAvxVnni, &kIgemmAvx2Bytes, &kIgemmAvx2Words};

/// Calls f(weight index, packed index) for every weight.
template <typename F>
void for_each_weight(const IgemmShape& s, const IgemmFormat& f, F visit) {
  const bool joined = s.joined_taps();
  const int64_t run_count = joined ? s.kernel_h : s.kernel_h * s.kernel_w;
  const int64_t run_taps = joined ? s.kernel_w : 1;
  const int64_t steps = (run_taps * s.channels + f.depth - 1) / f.depth;
  const int64_t columns = (s.outputs + f.lanes - 1) / f.lanes * f.lanes;
  const int64_t inner = run_count * steps * f.depth;
  const int64_t taps = s.kernel_h * s.kernel_w;
  for (int64_t g = 0; g < s.groups; ++g)
    for (int64_t n = 0; n < s.outputs; ++n) {
      const int64_t first = n / f.block * f.block;  // column of the block
      const int64_t width = std::min<int64_t>(f.block, columns - first);
      const int64_t block = (g * columns + first) * inner;
      const int64_t weight = (g * s.outputs + n) * s.channels * taps;
      for (int64_t run = 0; run < run_count; ++run)
        for (int64_t e = 0; e < run_taps * s.channels; ++e) {
          const int64_t tap = run * run_taps + e / s.channels;
          const int64_t step = run * steps + e / f.depth;
          visit(weight + e % s.channels * taps + tap, block + (step * width + n - first) * f.depth + e % f.depth);
        }
    }
}

size_t weight_bytes(const IgemmShape& s, const IgemmFormat& f) {
  const int64_t run_count = s.joined_taps() ? s.kernel_h : s.kernel_h * s.kernel_w;
  const int64_t run_taps = s.joined_taps() ? s.kernel_w : 1;
  const int64_t inner = run_count * ((run_taps * s.channels + f.depth - 1) / f.depth) * f.depth;
  const int64_t columns = (s.outputs + f.lanes - 1) / f.lanes * f.lanes;
  // A multiple of four: the sums that follow are 32-bit numbers.
  return static_cast<size_t>((s.groups * columns * inner + 3) / 4 * 4);
}

/// Without padding or stride a 1x1 convolution is one product over the pixels of all images.
IgemmShape flattened(const IgemmShape& s) {
  const bool flat = s.kernel_h == 1 && s.kernel_w == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 &&
                    s.pad_left == 0 && s.in_h == s.out_h && s.in_w == s.out_w;
  if (!flat) return s;
  IgemmShape f = s;
  f.images = f.in_w = f.out_w = 1;
  f.in_h = f.out_h = s.images * s.in_h * s.in_w;
  return f;
}

/// Pixels and blocks of columns are divided among threads so that the busiest has little work: multiply-adds (in
/// vectors), its share of copying input, and one pass over its weights.
void split_work(IgemmPlan& plan, int threads) {
  const IgemmShape& s = plan.shape;
  const IgemmFormat& f = plan.kernel->format;
  const int64_t pixels = s.images * s.out_h * s.out_w;
  const int64_t blocks = s.groups * ((s.outputs + f.block - 1) / f.block);
  const auto steps = static_cast<double>(static_cast<int64_t>(plan.runs.size()) * plan.run_steps);
  const double vectors = std::min<double>(f.block, static_cast<double>(s.outputs)) / f.lanes;
  const double copy =
      plan.in_place ? 0.0
                    : 3.0 * static_cast<double>(s.stride_h * s.stride_w * s.groups * s.channels) / (f.lanes * f.depth);
  const auto ceil_div = [](int64_t a, int64_t b) { return static_cast<double>((a + b - 1) / b); };
  double best = 0;
  for (int64_t by_block = 1; by_block <= std::min<int64_t>(threads, blocks); ++by_block) {
    const int64_t by_pixel = std::min<int64_t>(threads / by_block, pixels);
    const double rows = ceil_div(pixels, by_pixel);
    const double columns = ceil_div(blocks, by_block);
    const double cost = rows * columns * steps * vectors + rows * copy + columns * steps * vectors;
    if (by_block != 1 && cost >= best) continue;
    best = cost;
    plan.block_parts = by_block;
    plan.pixel_parts = by_pixel;
  }
}

}  // namespace

std::span<const IgemmKernel> igemm_kernels() {
  static const std::array kernels{
      *kOrder[0], *kOrder[1],
      *kOrder[2], *kOrder[3],
      *kOrder[4], IgemmKernel{"igemm_baseline", Isa::baseline, IgemmInput::i16, {1, 8, 8}, 0, Igemm<Baseline>::run},
  };
  return kernels;
}

bool igemm_is_exact(const IgemmKernel& kernel, int32_t max_input, int32_t max_pair) {
  return kernel.pair_limit == 0 || max_input * max_pair <= kernel.pair_limit;
}

bool igemm_takes(const IgemmKernel& kernel, const IgemmShape& shape) {
  return kernel.takes == nullptr || kernel.takes(shape);
}

int32_t igemm_max_pair(const IgemmShape& shape, const IgemmFormat& format, const int8_t* packed) {
  int32_t most = 0;
  const auto bytes = static_cast<int64_t>(weight_bytes(shape, format));
  for (int64_t i = 0; i + 1 < bytes; i += 2) most = std::max(most, pair_magnitude(packed[i], packed[i + 1]));
  return most;
}

int32_t igemm_max_input(const IgemmInputType& type) {
  if (!type.is_signed) return 255;
  return type.never_negative ? 127 : 127 - std::clamp(type.low, -128, 0);
}

const IgemmKernel& best_igemm_kernel(const IgemmShape& shape, int32_t max_input) {
  for (const IgemmKernel& k : igemm_kernels())
    if (cpu_features().has(k.isa) && igemm_takes(k, shape) && igemm_is_exact(k, max_input)) return k;
  return igemm_kernels().back();
}

size_t igemm_packed_bytes(const IgemmShape& shape, const IgemmFormat& format) {
  return weight_bytes(shape, format) + static_cast<size_t>(shape.groups * shape.outputs) * sizeof(int32_t);
}

void igemm_pack(const IgemmShape& shape, const IgemmFormat& format, const int8_t* weights, int8_t* packed) {
  const size_t bytes = weight_bytes(shape, format);
  std::memset(packed, 0, bytes);
  for_each_weight(shape, format, [&](int64_t from, int64_t to) { packed[to] = weights[from]; });
  const int64_t inner = shape.channels * shape.kernel_h * shape.kernel_w;
  for (int64_t n = 0; n < shape.groups * shape.outputs; ++n) {
    int32_t sum = 0;
    for (int64_t i = 0; i < inner; ++i) sum += weights[n * inner + i];
    std::memcpy(packed + bytes + static_cast<size_t>(n) * sizeof(sum), &sum, sizeof(sum));
  }
}

void igemm_unpack(const IgemmShape& shape, const IgemmFormat& format, const int8_t* packed, int8_t* weights) {
  for_each_weight(shape, format, [&](int64_t to, int64_t from) { weights[to] = packed[from]; });
}

IgemmPlan plan_igemm(const IgemmShape& shape, const IgemmKernel& kernel, const IgemmInputType& type,
                     const int8_t* packed, int threads) {
  IgemmPlan plan;
  plan.shape = flattened(shape);
  plan.kernel = &kernel;
  plan.type = type;
  const IgemmShape& s = plan.shape;
  const int64_t pixel = s.groups * s.channels;
  const int64_t extent_h = (s.kernel_h - 1) * s.dilation_h + 1;
  const int64_t extent_w = (s.kernel_w - 1) * s.dilation_w + 1;
  const int64_t needed_h = (s.out_h - 1) * s.stride_h + extent_h;
  const int64_t needed_w = (s.out_w - 1) * s.stride_w + extent_w;
  const int64_t run_length = (s.joined_taps() ? s.kernel_w : 1) * s.channels;
  plan.run_steps = (run_length + kernel.format.depth - 1) / kernel.format.depth;
  const bool is_i16 = kernel.input == IgemmInput::i16;
  const bool shifted = kernel.input == IgemmInput::u8 && type.is_signed && !type.never_negative && type.low < 0;
  plan.shift = shifted ? static_cast<uint8_t>(-std::clamp(type.low, -128, 0)) : 0;
  plan.in_place = !is_i16 && !shifted && s.pad_top == 0 && s.pad_left == 0 && needed_h <= s.in_h &&
                  needed_w <= s.in_w && run_length % kernel.format.depth == 0;
  plan.padded_w = plan.in_place ? s.in_w : needed_w;
  for (int64_t r = 0; r < s.kernel_h; ++r) {
    const int64_t line = r * s.dilation_h * plan.padded_w;
    for (int64_t t = 0; t < (s.joined_taps() ? 1 : s.kernel_w); ++t)
      plan.runs.push_back((line + t * s.dilation_w) * pixel);
  }
  const int64_t elem_bytes = is_i16 ? 2 : 1;
  const int64_t line_bytes = plan.padded_w * pixel * elem_bytes;
  const int64_t band_bytes = cpu_features().l2_bytes / 3;
  plan.band_lines = std::clamp<int64_t>(band_bytes / std::max<int64_t>(1, line_bytes * s.stride_h), 1, s.out_h);
  if (!plan.in_place) {
    const int64_t lines = (plan.band_lines - 1) * s.stride_h + extent_h;
    constexpr int64_t kSlack = 64;  // the last step of the last run may read behind it, against zero weights
    plan.part_scratch_bytes = static_cast<size_t>((lines * line_bytes + kSlack + 63) / 64 * 64);
  }
  plan.start.assign(static_cast<size_t>(s.groups * s.outputs) + kChannelPadding, 0);
  set_igemm_zero(plan, type.zero, packed);
  split_work(plan, std::max(1, threads));
  return plan;
}

void set_igemm_zero(IgemmPlan& plan, int32_t zero, const int8_t* packed) {
  plan.type.zero = zero;
  plan.fill = zero + plan.shift;
  const int8_t* sums = packed + weight_bytes(plan.shape, plan.kernel->format);
  for (int64_t n = 0; n < plan.shape.groups * plan.shape.outputs; ++n) {
    int32_t sum = 0;
    std::memcpy(&sum, sums + static_cast<size_t>(n) * sizeof(sum), sizeof(sum));
    plan.start[static_cast<size_t>(n)] = -plan.fill * sum;
  }
}

void run_igemm(const IgemmPlan& plan, const void* x, const int8_t* packed, const QuantizedEpilogue& epilogue,
               void* scratch) {
  const IgemmShape& s = plan.shape;
  const int64_t pixels = s.images * s.out_h * s.out_w;
  const int64_t blocks = s.groups * ((s.outputs + plan.kernel->format.block - 1) / plan.kernel->format.block);
  IgemmTask common;
  common.shape = s;
  common.runs = plan.runs.data();
  common.run_count = static_cast<int64_t>(plan.runs.size());
  common.run_steps = plan.run_steps;
  common.padded_w = plan.padded_w;
  common.in_place = plan.in_place;
  common.is_signed = plan.type.is_signed;
  common.shift = plan.shift;
  common.fill = plan.fill;
  common.band_lines = plan.band_lines;
  common.x = static_cast<const uint8_t*>(x);
  common.weights = packed;
  common.start = plan.start.data();
  common.epilogue = &epilogue;
  parallel_for(plan.pixel_parts * plan.block_parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      IgemmTask task = common;
      const int64_t by_pixel = part / plan.block_parts;
      const int64_t by_block = part % plan.block_parts;
      task.pixel_begin = pixels * by_pixel / plan.pixel_parts;
      task.pixel_end = pixels * (by_pixel + 1) / plan.pixel_parts;
      task.block_begin = blocks * by_block / plan.block_parts;
      task.block_end = blocks * (by_block + 1) / plan.block_parts;
      task.scratch = static_cast<char*>(scratch) + static_cast<size_t>(part) * plan.part_scratch_bytes;
      plan.kernel->run(task);
    }
  });
}

}  // namespace planish::kernels
