#include "planish/kernels/cpu/inverted_residual_int8/inverted_residual_int8.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "planish/base/parallel.h"
#include "planish/kernels/cpu/igemm/pair_magnitude.h"
#include "planish/kernels/cpu/inverted_residual_int8/variants.h"

namespace planish::kernels {
namespace {

constexpr int64_t kLines = 4;  ///< of the first image at a time
constexpr int64_t kAlignment = 64;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
size_t aligned(int64_t bytes) { return static_cast<size_t>(ceil_div(bytes, kAlignment) * kAlignment); }
int64_t vector_bytes(const InvertedResidualKernel& kernel) { return int64_t{kernel.lanes} * 4; }

/// Start values of sums: minus the zero point times the sum of the weights, which lies behind packed weights.
std::vector<int32_t> start_values(const IgemmShape& s, const IgemmFormat& f, const int8_t* packed, int32_t zero) {
  std::vector<int32_t> start(static_cast<size_t>(s.outputs + kChannelPadding), 0);
  const int8_t* sums = packed + igemm_packed_bytes(s, f) - static_cast<size_t>(s.outputs) * sizeof(int32_t);
  for (int64_t n = 0; n < s.outputs; ++n) {
    int32_t sum = 0;
    std::memcpy(&sum, sums + static_cast<size_t>(n) * sizeof(sum), sizeof(sum));
    start[static_cast<size_t>(n)] = -zero * sum;
  }
  return start;
}

bool has_negative(const IgemmInputType& x) { return x.is_signed && !x.never_negative && x.low < 0; }

/// True when the first convolution is exact for x moved up to u8.
bool is_exact_without_sign(const InvertedResidualKernel& kernel, const InvertedResidualShape& shape,
                           const InvertedResidualTypes& types, const InvertedResidualWeights& weights) {
  if (kernel.pair_limit == 0) return true;
  const int32_t max_pair = igemm_max_pair(shape.expand, kernel.expand_format, weights.expand);
  return igemm_max_input(types.x) * max_pair <= kernel.pair_limit;
}

/// The largest magnitude of two weights one above the other: which of them meet depends on the line of the image.
int32_t max_pair_of_lines(const DepthwiseShape& d, const int8_t* weights) {
  int32_t most = 0;
  for (int64_t i = 0; i < d.channels * d.kernel_h * d.kernel_w; ++i) {
    const bool has_line_above = i / d.kernel_w % d.kernel_h > 0;
    most = std::max(most, pair_magnitude(has_line_above ? weights[i - d.kernel_w] : int8_t{0}, weights[i]));
  }
  return most;
}

void pack_depthwise(InvertedResidualPlan& plan, const int8_t* weights, int32_t zero) {
  const DepthwiseShape& d = plan.shape.depthwise;
  const int64_t lanes = plan.kernel->lanes;
  const int64_t vector = vector_bytes(*plan.kernel);
  const int64_t column = 2 * vector;
  plan.depthwise_weights.assign(static_cast<size_t>(kLines * plan.vectors * d.kernel_w * column), 0);
  plan.depthwise_start.assign(static_cast<size_t>(d.channels + kChannelPadding), 0);
  for (int64_t c = 0; c < d.channels; ++c) {
    int32_t sum = 0;
    for (int64_t r = 0; r < d.kernel_h; ++r)
      for (int64_t k = 0; k < d.kernel_w; ++k) {
        const int8_t w = weights[(c * d.kernel_h + r) * d.kernel_w + k];
        sum += w;
        for (int64_t phase = 0; phase < kLines; ++phase) {
          const int64_t line = phase + r;
          const int64_t to = ((phase * plan.vectors + c / lanes) * d.kernel_w + k) * column + line / kLines * vector +
                             c % lanes * kLines + line % kLines;
          plan.depthwise_weights[static_cast<size_t>(to)] = w;
        }
      }
    plan.depthwise_start[static_cast<size_t>(c)] = -zero * sum;
  }
}

/// Lines of the first image that threads compute altogether when each takes a run of output lines.
int64_t lines_in_all(const DepthwiseShape& d, int64_t parts) {
  const int64_t lines = ceil_div(d.out_h, parts);
  return std::min((lines - 1) * d.stride_h + d.kernel_h, d.in_h) * parts;
}

void split_work(InvertedResidualPlan& plan, int threads, InvertedResidualSplit split) {
  const DepthwiseShape& d = plan.shape.depthwise;
  const int64_t blocks = ceil_div(d.channels, plan.kernel->expand_format.block);
  plan.line_parts = std::clamp<int64_t>(threads / std::max<int64_t>(1, d.images), 1, d.out_h);
  // Lines at the border of two parts are made twice; channels may not divide evenly, and the threads meet once more.
  const double by_line = static_cast<double>(lines_in_all(d, plan.line_parts)) / static_cast<double>(d.in_h);
  const double by_channel = static_cast<double>(ceil_div(blocks, threads) * threads) / static_cast<double>(blocks);
  constexpr double kMeeting = 0.1;
  plan.by_channel = d.images == 1 && threads > 1 &&
                    (split == InvertedResidualSplit::best ? by_channel + kMeeting < by_line
                                                          : split == InvertedResidualSplit::channels);
  plan.parts = std::min<int64_t>(threads, plan.by_channel ? blocks : d.images * plan.line_parts);
}

}  // namespace

std::span<const InvertedResidualKernel> inverted_residual_kernels() {
  static const std::array kernels{kInvertedResidualAvx512Vnni, kInvertedResidualAvxVnni, kInvertedResidualAvx2};
  return kernels;
}

bool inverted_residual_fits(const InvertedResidualShape& shape) {
  const DepthwiseShape& d = shape.depthwise;
  const IgemmShape& e = shape.expand;
  return e.groups == 1 && e.dilation_h == 1 && e.dilation_w == 1 && d.dilation_h == 1 && d.dilation_w == 1 &&
         d.kernel_h <= kLines + 1 && (d.kernel_w == 3 || d.kernel_w == 5) && (d.stride_w == 1 || d.stride_w == 2) &&
         d.stride_h <= 2 && d.in_h == e.out_h && d.in_w == e.out_w && d.channels == e.outputs && d.images == e.images;
}

bool inverted_residual_is_exact(const InvertedResidualKernel& kernel, const InvertedResidualShape& shape,
                                const InvertedResidualTypes& types, const InvertedResidualWeights& weights) {
  if (kernel.pair_limit == 0) return true;
  constexpr int32_t kMaxByte = 255;
  const auto fits = [&](int32_t max_input, int32_t max_pair) { return max_input * max_pair <= kernel.pair_limit; };
  if (!fits(kMaxByte, max_pair_of_lines(shape.depthwise, weights.depthwise)) ||
      !fits(kMaxByte, igemm_max_pair(project_shape(shape), kernel.project_format, weights.project)))
    return false;
  if (is_exact_without_sign(kernel, shape, types, weights)) return true;
  if (!has_negative(types.x) || !kernel.takes_signed) return false;
  // 128 * (127 + 127) is within 16 bits, but -128 has no counterpart.
  const size_t expand_bytes = igemm_packed_bytes(shape.expand, kernel.expand_format) -
                              static_cast<size_t>(shape.expand.outputs) * sizeof(int32_t);
  return std::find(weights.expand, weights.expand + expand_bytes, int8_t{-128}) == weights.expand + expand_bytes;
}

IgemmShape project_shape(const InvertedResidualShape& shape) {
  IgemmShape p;
  p.in_h = p.out_h = shape.depthwise.images * shape.depthwise.out_h * shape.depthwise.out_w;
  p.channels = shape.depthwise.channels;
  p.outputs = shape.outputs;
  return p;
}

InvertedResidualPlan plan_inverted_residual(const InvertedResidualShape& shape, const InvertedResidualKernel& kernel,
                                            const InvertedResidualTypes& types, const InvertedResidualWeights& weights,
                                            int threads, InvertedResidualSplit split) {
  constexpr int32_t kSignBit = 128;
  InvertedResidualPlan plan;
  plan.shape = shape;
  plan.kernel = &kernel;
  plan.types = types;
  const IgemmShape& e = shape.expand;
  const DepthwiseShape& d = shape.depthwise;
  const bool may_be_negative = has_negative(types.x);
  plan.x_signed = may_be_negative && kernel.takes_signed && !is_exact_without_sign(kernel, shape, types, weights);
  const bool shifted = may_be_negative && !plan.x_signed;
  plan.shift = shifted ? static_cast<uint8_t>(-std::clamp(types.x.low, -kSignBit, 0)) : 0;
  const int64_t run_length = e.kernel_w * e.channels;
  plan.run_steps = ceil_div(run_length, kernel.expand_format.depth);
  plan.padded_w = (e.out_w - 1) * e.stride_w + e.kernel_w;
  plan.in_place = plan.shift == 0 && e.kernel_h == 1 && e.pad_left == 0 && e.pad_top == 0 && e.in_w >= plan.padded_w &&
                  run_length % kernel.expand_format.depth == 0 && (e.out_h - 1) * e.stride_h < e.in_h;
  if (plan.in_place) plan.padded_w = e.in_w;
  for (int64_t r = 0; r < e.kernel_h; ++r) plan.runs.push_back(r * plan.padded_w * e.channels);
  plan.vectors = ceil_div(d.channels, kernel.lanes);
  plan.quads = ceil_div(d.out_w, kLines);
  plan.first_columns = std::max((plan.quads * kLines - 1) * d.stride_w + d.kernel_w, d.pad_left + d.in_w);
  const int32_t first_zero = types.first_zero + (types.first_signed ? kSignBit : 0);
  const int32_t second_zero = types.second_zero + (types.second_signed ? kSignBit : 0);
  plan.expand_start = start_values(e, kernel.expand_format, weights.expand, types.x.zero + plan.shift);
  plan.project_start = start_values(project_shape(shape), kernel.project_format, weights.project, second_zero);
  pack_depthwise(plan, weights.depthwise, first_zero);
  split_work(plan, std::max(1, threads), split);
  constexpr int64_t kSlack = 64;  // the last step of a run may read behind it, against zero weights
  const int64_t band_lines = (kLines - 1) * e.stride_h + e.kernel_h;
  plan.band_bytes = plan.in_place ? 0 : aligned(band_lines * plan.padded_w * e.channels + kSlack);
  plan.first_bytes = aligned(2 * plan.vectors * plan.first_columns * vector_bytes(kernel));
  const int64_t lines = plan.by_channel ? d.out_h : kLines;
  plan.second_bytes = aligned(lines * plan.quads * plan.vectors * vector_bytes(kernel));
  return plan;
}

namespace {

InvertedResidualTask common_task(const InvertedResidualPlan& plan, const void* x, const int8_t* expand,
                                 const int8_t* project, const InvertedResidualEpilogues& epilogues) {
  constexpr int32_t kSignBit = 128;
  InvertedResidualTask t;
  t.shape = plan.shape;
  t.epilogues = &epilogues;
  t.x = static_cast<const uint8_t*>(x);
  t.expand = expand;
  t.depthwise = plan.depthwise_weights.data();
  t.project = project;
  t.expand_start = plan.expand_start.data();
  t.depthwise_start = plan.depthwise_start.data();
  t.project_start = plan.project_start.data();
  t.runs = plan.runs.data();
  t.run_count = static_cast<int64_t>(plan.runs.size());
  t.run_steps = plan.run_steps;
  t.padded_w = plan.padded_w;
  t.vectors = plan.vectors;
  t.first_columns = plan.first_columns;
  t.quads = plan.quads;
  t.shift = plan.shift;
  t.x_fill = static_cast<uint8_t>(plan.types.x.zero + plan.shift);
  t.in_place = plan.in_place;
  t.x_signed = plan.x_signed;
  t.first_zero = plan.types.first_zero + (plan.types.first_signed ? kSignBit : 0);
  t.second_zero = plan.types.second_zero + (plan.types.second_signed ? kSignBit : 0);
  t.keeps_second = plan.by_channel;
  t.line_end = plan.shape.depthwise.out_h;
  t.block_end = ceil_div(plan.shape.depthwise.channels, plan.kernel->expand_format.block);
  return t;
}

}  // namespace

void run_inverted_residual(const InvertedResidualPlan& plan, const void* x, const int8_t* expand, const int8_t* project,
                           const InvertedResidualEpilogues& epilogues, void* scratch) {
  const InvertedResidualTask common = common_task(plan, x, expand, project, epilogues);
  const DepthwiseShape& d = plan.shape.depthwise;
  auto* bytes = static_cast<uint8_t*>(scratch);
  uint8_t* seconds = bytes + static_cast<size_t>(plan.parts) * (plan.band_bytes + plan.first_bytes);
  const auto task_of = [&](int64_t part) {
    InvertedResidualTask t = common;
    t.band = bytes + static_cast<size_t>(part) * (plan.band_bytes + plan.first_bytes);
    t.first = t.band + plan.band_bytes;
    t.second = seconds + (plan.by_channel ? 0 : static_cast<size_t>(part) * plan.second_bytes);
    return t;
  };
  // One range per thread: each has its own scratch memory.
  const auto on_all = [&](auto run_part) {
    parallel_for(plan.parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part) run_part(part, task_of(part));
    });
  };
  if (!plan.by_channel) {
    const int64_t items = d.images * plan.line_parts;
    on_all([&](int64_t part, InvertedResidualTask t) {
      for (int64_t i = items * part / plan.parts; i < items * (part + 1) / plan.parts; ++i) {
        t.image = i / plan.line_parts;
        t.line_begin = d.out_h * (i % plan.line_parts) / plan.line_parts;
        t.line_end = d.out_h * (i % plan.line_parts + 1) / plan.line_parts;
        plan.kernel->run(t);
      }
    });
    return;
  }
  const int64_t blocks = common.block_end;
  on_all([&](int64_t part, InvertedResidualTask t) {
    t.block_begin = blocks * part / plan.parts;
    t.block_end = blocks * (part + 1) / plan.parts;
    t.makes_output = false;
    plan.kernel->run(t);
  });
  const int64_t pixels = d.out_h * d.out_w;
  on_all([&](int64_t part, InvertedResidualTask t) {
    t.pixel_begin = pixels * part / plan.parts;
    t.pixel_end = pixels * (part + 1) / plan.parts;
    t.makes_second = false;
    plan.kernel->run(t);
  });
}

}  // namespace planish::kernels
