#include "planish/kernels/cpu/depthwise_int8/depthwise_int8.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include "planish/base/parallel.h"
#include "planish/base/simd/portable.h"
#include "planish/kernels/cpu/depthwise_int8/generic.h"
#include "planish/kernels/cpu/depthwise_int8/variants.h"
#include "planish/kernels/cpu/igemm/pair_magnitude.h"

namespace planish::kernels {
namespace {

struct Baseline {
  using Elem = int16_t;
  using Floats = simd::PortableFloats;
  static constexpr int kDepth = 1;
  static constexpr int kLanes = 8;
  static constexpr int kVectors = 1;

  template <int L>
  static void interleave(const uint8_t* const* rows, int n, const DepthwiseTask& t, int16_t* to) {
    for (int c = 0; c < n; ++c)
      to[c] = t.is_signed ? static_cast<int16_t>(static_cast<int8_t>(rows[0][c])) : rows[0][c];
    for (int c = n; c < kLanes; ++c) to[c] = 0;
  }

  template <int N>
  static void taps(const int16_t* x, int64_t pixel_stride, const int64_t* offsets, const int8_t* weights,
                   const int32_t* start, int64_t pixels, int32_t* sums, int64_t sums_row) {
    for (int64_t p = 0; p < pixels; ++p) {
      int32_t* sum = sums + p * sums_row;
      if (start != nullptr) std::memcpy(sum, start, kLanes * sizeof(*sum));
      for (int i = 0; i < N; ++i)
        for (int c = 0; c < kLanes; ++c) sum[c] += x[offsets[i] + p * pixel_stride + c] * weights[i * kLanes + c];
    }
  }
};

int64_t line_groups(const DepthwiseShape& s, const DepthwiseFormat& f) { return (s.kernel_h + f.depth - 1) / f.depth; }
int64_t blocks_of(const DepthwiseShape& s, const DepthwiseFormat& f) { return (s.channels + f.block - 1) / f.block; }
size_t weight_bytes(const DepthwiseShape& s, const DepthwiseFormat& f) {
  const int64_t bytes = blocks_of(s, f) * s.kernel_w * line_groups(s, f) * f.block * f.depth;
  return static_cast<size_t>((bytes + 3) / 4 * 4);  // 32-bit numbers follow
}

/// Calls visit(weight index, packed index) for every weight.
template <typename F>
void for_each_weight(const DepthwiseShape& s, const DepthwiseFormat& f, F visit) {
  const int64_t groups = line_groups(s, f);
  for (int64_t c = 0; c < s.channels; ++c)
    for (int64_t r = 0; r < s.kernel_h; ++r)
      for (int64_t k = 0; k < s.kernel_w; ++k) {
        const int64_t group = (c / f.block * s.kernel_w + k) * groups + r / f.depth;
        visit((c * s.kernel_h + r) * s.kernel_w + k, (group * f.block + c % f.block) * f.depth + r % f.depth);
      }
}

/// Calls visit(packed index of the weight in line r, that of line r + 1) for every pair of lines of every group, the
/// empty ones below the window included; line -1 has none.
template <typename F>
void for_each_pair(const DepthwiseShape& s, const DepthwiseFormat& f, F visit) {
  const int64_t lines = line_groups(s, f) * f.depth;
  const auto at = [&](int64_t column, int64_t r, int64_t c) {
    return ((column * line_groups(s, f) + r / f.depth) * f.block + c) * f.depth + r % f.depth;
  };
  for (int64_t column = 0; column < blocks_of(s, f) * s.kernel_w; ++column)
    for (int64_t c = 0; c < f.block; ++c)
      for (int64_t r = lines - 1; r >= 0; --r) visit(r == 0 ? -1 : at(column, r - 1, c), at(column, r, c));
}

/// Output lines that one interleaving serves.
int64_t lines_per_pass(const DepthwiseShape& s, const DepthwiseFormat& f) {
  if (s.dilation_h != 1) return 1;
  const int64_t spare = line_groups(s, f) * f.depth - s.kernel_h;
  return std::clamp<int64_t>(spare / s.stride_h + 1, 1, s.out_h);
}

/// Weights for the lines of a pass after the first: those of the line before, moved down by the stride.
std::vector<int8_t> make_lower_weights(const DepthwiseShape& s, const DepthwiseFormat& f, const int8_t* packed) {
  const size_t bytes = weight_bytes(s, f);
  std::vector<int8_t> all;
  std::vector<int8_t> last(packed, packed + bytes);
  for (int64_t line = 1; line < lines_per_pass(s, f); ++line) {
    for (int64_t i = 0; i < s.stride_h; ++i)
      for_each_pair(s, f, [&](int64_t above, int64_t below) {
        last[static_cast<size_t>(below)] = above < 0 ? int8_t{0} : last[static_cast<size_t>(above)];
      });
    all.insert(all.end(), last.begin(), last.end());
  }
  return all;
}

/// Output pixels whose columns fit `bytes` of the interleaving buffer; less than 1 when not even one does.
int64_t pixels_in(const DepthwiseShape& s, const DepthwiseInt8Kernel& k, int64_t bytes) {
  const int64_t column = line_groups(s, k.format) * k.format.block * k.format.depth * k.elem_bytes;
  const int64_t room = bytes / column - ((s.kernel_w - 1) * s.dilation_w + 1);
  return room < 0 ? 0 : room / s.stride_w + 1;
}

}  // namespace

std::span<const DepthwiseInt8Kernel> depthwise_int8_kernels() {
  static const std::array kernels{
      kDepthwiseAvx512Vnni,
      kDepthwiseAvxVnni,
      kDepthwiseAvx2Bytes,
      kDepthwiseAvx2Words,
      DepthwiseInt8Kernel{"depthwise_baseline", Isa::baseline, {1, 8}, 2, 0, DepthwiseInt8<Baseline>::run},
  };
  return kernels;
}

bool depthwise_is_exact(const DepthwiseInt8Kernel& kernel, int32_t max_input, int32_t max_pair) {
  return kernel.pair_limit == 0 || max_input * max_pair <= kernel.pair_limit;
}

int32_t depthwise_max_pair(const DepthwiseShape& shape, const DepthwiseFormat& format, const int8_t* packed) {
  int32_t most = 0;
  for_each_pair(shape, format, [&](int64_t above, int64_t below) {
    most = std::max(most, pair_magnitude(above < 0 ? int8_t{0} : packed[above], packed[below]));
  });
  return most;
}

bool depthwise_fits(const DepthwiseShape& shape, const DepthwiseInt8Kernel& kernel) {
  constexpr int64_t kMaxLines = DepthwiseInt8<Baseline>::kMaxLines;
  return line_groups(shape, kernel.format) * kernel.format.depth <= kMaxLines &&
         pixels_in(shape, kernel, kDepthwiseBuffer) >= 1;
}

size_t depthwise_packed_bytes(const DepthwiseShape& shape, const DepthwiseFormat& format) {
  return weight_bytes(shape, format) + static_cast<size_t>(shape.channels) * sizeof(int32_t);
}

void depthwise_pack(const DepthwiseShape& shape, const DepthwiseFormat& format, const int8_t* weights, int8_t* packed) {
  const size_t bytes = weight_bytes(shape, format);
  std::memset(packed, 0, bytes);
  for_each_weight(shape, format, [&](int64_t from, int64_t to) { packed[to] = weights[from]; });
  const int64_t taps = shape.kernel_h * shape.kernel_w;
  for (int64_t c = 0; c < shape.channels; ++c) {
    int32_t sum = 0;
    for (int64_t i = 0; i < taps; ++i) sum += weights[c * taps + i];
    std::memcpy(packed + bytes + static_cast<size_t>(c) * sizeof(sum), &sum, sizeof(sum));
  }
}

void depthwise_unpack(const DepthwiseShape& shape, const DepthwiseFormat& format, const int8_t* packed,
                      int8_t* weights) {
  for_each_weight(shape, format, [&](int64_t to, int64_t from) { weights[to] = packed[from]; });
}

DepthwisePlan plan_depthwise_int8(const DepthwiseShape& shape, const DepthwiseInt8Kernel& kernel, bool is_signed,
                                  int32_t low, int32_t zero, const int8_t* packed) {
  DepthwisePlan plan;
  plan.shape = shape;
  plan.kernel = &kernel;
  plan.is_signed = is_signed;
  plan.shift = is_signed && kernel.elem_bytes == 1 ? static_cast<uint8_t>(-std::clamp(low, -128, 0)) : 0;
  plan.zero = zero;
  plan.groups = line_groups(shape, kernel.format);
  const int64_t most = std::clamp<int64_t>(pixels_in(shape, kernel, kDepthwiseBuffer), 1, kDepthwisePixels);
  const int64_t chunks = (shape.out_w + most - 1) / most;
  plan.chunk = (shape.out_w + chunks - 1) / chunks;
  const int64_t group = int64_t{kernel.format.block} * kernel.format.depth;
  for (int64_t k = 0; k < shape.kernel_w; ++k)
    for (int64_t g = 0; g < plan.groups; ++g) plan.taps.push_back((k * shape.dilation_w * plan.groups + g) * group);
  plan.pass_lines = lines_per_pass(shape, kernel.format);
  plan.lower_weights = make_lower_weights(shape, kernel.format, packed);
  plan.weight_bytes = static_cast<int64_t>(weight_bytes(shape, kernel.format));
  const int32_t fill = zero + plan.shift;
  plan.start.assign(static_cast<size_t>(shape.channels + kChannelPadding), 0);
  for (int64_t c = 0; c < shape.channels; ++c) {
    int32_t sum = 0;
    std::memcpy(&sum, packed + weight_bytes(shape, kernel.format) + static_cast<size_t>(c) * sizeof(sum), sizeof(sum));
    plan.start[static_cast<size_t>(c)] = -fill * sum;
  }
  return plan;
}

void run_depthwise_int8(const DepthwisePlan& plan, const void* x, const int8_t* packed,
                        const QuantizedEpilogue& epilogue) {
  DepthwiseTask common;
  common.x = static_cast<const uint8_t*>(x);
  common.weights = packed;
  common.epilogue = &epilogue;
  common.taps = plan.taps.data();
  common.tap_count = static_cast<int64_t>(plan.taps.size());
  common.start = plan.start.data();
  common.pass_lines = plan.pass_lines;
  common.lower_weights = plan.lower_weights.data();
  common.weight_bytes = plan.weight_bytes;
  common.shape = plan.shape;
  common.is_signed = plan.is_signed;
  common.shift = plan.shift;
  common.zero = plan.zero;
  common.groups = plan.groups;
  common.chunk = plan.chunk;
  const int64_t passes = (plan.shape.out_h + plan.pass_lines - 1) / plan.pass_lines;
  const int64_t items = plan.shape.images * passes * blocks_of(plan.shape, plan.kernel->format);
  // Below this many bytes of input a second thread costs more than it brings.
  constexpr int64_t kBytesPerThread = 8192;
  const int64_t bytes = plan.shape.in_w * (plan.shape.kernel_h + plan.pass_lines - 1) * plan.kernel->format.block;
  parallel_for(items, std::max<int64_t>(1, kBytesPerThread / std::max<int64_t>(1, bytes)),
               [&](int64_t begin, int64_t end) {
                 DepthwiseTask task = common;
                 task.begin = begin;
                 task.end = end;
                 plan.kernel->run(task);
               });
}

}  // namespace planish::kernels
