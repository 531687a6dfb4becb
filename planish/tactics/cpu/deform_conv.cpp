// DeformConv in two dimensions: where a tile of output pixels samples is worked out once for all channels, the samples
// are written as packed weights of a matrix product, and the filters are its left factor.

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "planish/base/parallel.h"
#include "planish/kernels/cpu/gemm/gemm.h"
#include "planish/kernels/cpu/taps/taps.h"
#include "planish/ops/conv_geometry.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {
namespace {

enum Input : size_t { kX, kW, kOffset, kBias, kMask };
constexpr int64_t kCorners = 4;  // of the pixel that a tap falls into

struct DeformShape {
  ConvShape conv;
  int64_t offset_groups = 1;
};

Result<DeformShape> resolve(const NodeView& view) {
  return DeformShape{.conv = PLANISH_TRY(resolve_conv(*view.node, view.inputs[kX].shape, view.inputs[kW].shape)),
                     .offset_groups = view.node->attr_int("offset_group", 1)};
}

class DeformConvKernel final : public Kernel {
 public:
  DeformConvKernel(const NodeView& view, DeformShape shape)
      : s_(std::move(shape.conv)),
        offset_groups_(shape.offset_groups),
        taps_(s_.window.taps()),
        in_size_(s_.window.in[0] * s_.window.in[1]),
        out_size_(s_.window.out[0] * s_.window.out[1]),
        depth_(s_.c / s_.groups * taps_),
        has_bias_(view.has_input(kBias)),
        has_mask_(view.has_input(kMask)) {}

  Status run(const Bindings& b) override {
    const int64_t width = gemm_.panel;
    const int64_t tiles = (out_size_ + width - 1) / width;
    parallel_for(s_.n * tiles, 1, [&](int64_t begin, int64_t end) {
      thread_local Samples samples;
      samples.index.resize(static_cast<size_t>(offset_groups_ * taps_ * kCorners * width));
      samples.weight.resize(samples.index.size());
      samples.patches.resize(static_cast<size_t>(s_.c * taps_ * width));
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i % tiles * width;
        compute(b, i / tiles, first, std::min(width, out_size_ - first), samples);
      }
    });
    return {};
  }

  [[nodiscard]] std::string detail() const override {
    return fmt::format("{} {}", kernels::best_taps_kernel().name, gemm_.name);
  }

 private:
  /// What one thread needs for a tile.
  struct Samples {
    std::vector<int32_t> index;  ///< [offset group, tap, corner, pixel]
    std::vector<float> weight;   ///< the same
    std::vector<float> patches;  ///< [channel, tap, pixel]
  };

  void compute(const Bindings& b, int64_t image, int64_t first, int64_t count, Samples& samples) const {
    const int64_t width = gemm_.panel;
    const int64_t moved = offset_groups_ * taps_ * out_size_;
    place(host_ptr<const float>(b.inputs[kOffset]) + image * moved * 2,
          has_mask_ ? host_ptr<const float>(b.inputs[kMask]) + image * moved : nullptr, first, count, samples);
    const auto* x = host_ptr<const float>(b.inputs[kX]) + image * s_.c * in_size_;
    const auto sample = kernels::best_taps_kernel().fn;
    const int64_t per_group = s_.c / offset_groups_;
    for (int64_t c = 0; c < s_.c; ++c)
      for (int64_t tap = 0; tap < taps_; ++tap) {
        const int64_t at = (c / per_group * taps_ + tap) * kCorners * width;
        sample(count, kCorners, width, samples.index.data() + at, samples.weight.data() + at, x + c * in_size_, false,
               samples.patches.data() + (c * taps_ + tap) * width);
      }
    const int64_t filters = s_.k / s_.groups;
    auto* y = host_ptr<float>(b.outputs[0]) + image * s_.k * out_size_ + first;
    for (int64_t group = 0; group < s_.groups; ++group)
      multiply(host_ptr<const float>(b.inputs[kW]) + group * filters * depth_, filters,
               samples.patches.data() + group * depth_ * width, y + group * filters * out_size_, count);
    if (!has_bias_) return;
    const auto* bias = host_ptr<const float>(b.inputs[kBias]);
    for (int64_t k = 0; k < s_.k; ++k)
      for (int64_t p = 0; p < count; ++p) y[k * out_size_ + p] += bias[k];
  }

  void multiply(const float* w, int64_t filters, const float* patches, float* y, int64_t count) const {
    constexpr int64_t kMostDepth = 512;
    constexpr int64_t kMostRows = 96;
    kernels::GemmProblem p{.m = filters, .n = count, .k = depth_, .a = w, .a_row = depth_};
    p.weights = patches;
    p.c = y;
    p.c_row = out_size_;
    const kernels::GemmPart part{.row = 0,
                                 .rows = filters,
                                 .panel = 0,
                                 .panels = 1,
                                 .depth = std::min(depth_, kMostDepth),
                                 .chunk = std::min(filters + filters % 2, kMostRows),
                                 .scratch = nullptr};
    gemm_.run(p, part);
  }

  /// Corners and their weights for `count` pixels from `first` on.
  void place(const float* offset, const float* mask, int64_t first, int64_t count, Samples& samples) const {
    const WindowGeometry& g = s_.window;
    for (int64_t m = 0; m < offset_groups_ * taps_; ++m) {
      const int64_t r = m % taps_ / g.kernel[1] * g.dilations[0] - g.pads_begin[0];
      const int64_t s = m % taps_ % g.kernel[1] * g.dilations[1] - g.pads_begin[1];
      const float* dy = offset + 2 * m * out_size_ + first;
      const float* dx = dy + out_size_;
      for (int64_t i = 0; i < count; ++i) {
        const int64_t p = (first + i) / g.out[1];
        const int64_t q = (first + i) % g.out[1];
        place_one(static_cast<double>(p * g.strides[0] + r) + static_cast<double>(dy[i]),
                  static_cast<double>(q * g.strides[1] + s) + static_cast<double>(dx[i]),
                  mask == nullptr ? 1.0 : static_cast<double>(mask[m * out_size_ + first + i]),
                  m * kCorners * gemm_.panel + i, samples);
      }
    }
  }

  void place_one(double y, double x, double factor, int64_t at, Samples& samples) const {
    const double top = std::floor(y);
    const double left = std::floor(x);
    for (int64_t corner = 0; corner < kCorners; ++corner) {
      const double row = top + static_cast<double>(corner / 2);
      const double column = left + static_cast<double>(corner % 2);
      const double weight = (corner / 2 == 1 ? y - top : 1 - (y - top)) * (corner % 2 == 1 ? x - left : 1 - (x - left));
      // Also refuses NaN, and keeps the conversion to an integer in range.
      const bool inside = row >= 0 && row < static_cast<double>(s_.window.in[0]) && column >= 0 &&
                          column < static_cast<double>(s_.window.in[1]);
      const auto slot = static_cast<size_t>(at + corner * gemm_.panel);
      samples.index[slot] =
          inside ? static_cast<int32_t>(static_cast<int64_t>(row) * s_.window.in[1] + static_cast<int64_t>(column))
                 : -1;
      samples.weight[slot] = inside ? static_cast<float>(weight * factor) : 0.0F;
    }
  }

  const kernels::GemmKernel& gemm_ = kernels::best_gemm_kernel(1);
  ConvShape s_;
  int64_t offset_groups_;
  int64_t taps_;
  int64_t in_size_;
  int64_t out_size_;
  int64_t depth_;  ///< of a group's matrix product
  bool has_bias_;
  bool has_mask_;
};

WhyNot supports(const NodeView& view, const Target&) {
  for (const TensorDesc& d : view.inputs) {
    if (d.present() && d.dtype != DType::f32) return fmt::format("computes in f32, got {}", dtype_name(d.dtype));
    if (d.layout != Layout::row_major) return "takes row-major tensors only";
  }
  if (view.outputs[0].layout != Layout::row_major) return "writes row-major tensors only";
  if (view.inputs[kX].rank() != 4) return "deforms two dimensions only";
  if (view.inputs[kX].size() == 0 || view.outputs[0].size() == 0) return "a tensor is empty";
  const auto resolved = resolve(view);
  if (!resolved.ok()) return resolved.error().what;
  const ConvShape& s = resolved->conv;
  const int64_t groups = resolved->offset_groups;
  const int64_t taps = s.window.taps();
  if (s.window.in[0] * s.window.in[1] > INT32_MAX) return "the image is too large for 32-bit indices";
  if (groups < 1 || s.c % groups != 0) return "the channels do not divide into the offset groups";
  const auto fits = [&](size_t input, int64_t channels) {
    return !view.has_input(input) || view.inputs[input].shape == Shape{s.n, channels, s.window.out[0], s.window.out[1]};
  };
  if (!fits(kOffset, groups * taps * 2) || !fits(kMask, groups * taps)) return "offset or mask do not fit";
  if (view.has_input(kBias) && view.inputs[kBias].size() != s.k) return "the bias does not fit";
  return std::nullopt;
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant>, const Target&) {
  return std::unique_ptr<Kernel>(new DeformConvKernel(view, PLANISH_TRY(resolve(view))));
}

constexpr std::array<std::string_view, 1> kOps{"DeformConv"};

}  // namespace

constinit const Tactic kCpuDeformConv{.id = "cpu.deform_conv",
                                      .ops = kOps,
                                      .supports = supports,
                                      .pack = nullptr,
                                      .prepare = prepare,
                                      .unpack = nullptr,
                                      .version = 3};

}  // namespace planish
