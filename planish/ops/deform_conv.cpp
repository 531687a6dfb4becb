// DeformConv(X, W, offset, B?, mask?): a convolution whose taps are moved by `offset` and sampled linearly.
// https://onnx.ai/onnx/operators/onnx__DeformConv.html, Dai et al. 2017 and Zhu et al. 2018

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "planish/ops/checks.h"
#include "planish/ops/conv_geometry.h"
#include "planish/ops/float_view.h"
#include "planish/ops/gemm.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

enum Input : size_t { kX, kW, kOffset, kBias, kMask };

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  Shape y = ctx.shape(kOffset);
  if (y.size() < 3 || ctx.rank(kW) != ctx.rank(kOffset)) return ctx.error("X, W and offset must have the same rank");
  y[0] = ctx.shape(kX).empty() ? kUnknownDim : ctx.shape(kX)[0];
  y[1] = ctx.shape(kW)[0];
  ctx.set(0, ctx.dtype(kX), std::move(y));
  return {};
}

/// Linear interpolation in a plane of any rank at a fractional position; 0 outside.
template <typename T>
T sample(const T* plane, const std::vector<int64_t>& dims, const std::vector<double>& position) {
  const size_t axes = dims.size();
  T value{};
  for (size_t corner = 0; corner < (size_t{1} << axes); ++corner) {
    int64_t at = 0;
    double weight = 1;
    for (size_t a = 0; a < axes && weight != 0; ++a) {
      const double low = std::floor(position[a]);
      const bool upper = ((corner >> a) & 1U) != 0;
      const double coordinate = upper ? low + 1 : low;
      const double fraction = position[a] - low;
      weight *= upper ? fraction : 1 - fraction;
      // Also refuses NaN, and keeps the conversion to an integer in range.
      if (!(coordinate >= 0 && coordinate < static_cast<double>(dims[a]))) weight = 0;
      at = weight == 0 ? 0 : at * dims[a] + static_cast<int64_t>(coordinate);
    }
    if (weight != 0) value += static_cast<T>(weight) * plane[at];
  }
  return value;
}

struct DeformShape {
  ConvShape conv;
  int64_t offset_groups = 1;
};

Result<DeformShape> resolve(const RefContext& ctx) {
  DeformShape d{.conv = PLANISH_TRY(resolve_conv(ctx.node(), ctx.in(kX).shape(), ctx.in(kW).shape())),
                .offset_groups = ctx.node().attr_int("offset_group", 1)};
  const WindowGeometry& g = d.conv.window;
  if (d.offset_groups < 1 || d.conv.c % d.offset_groups != 0 || g.axes() > 8)
    return ctx.error(std::to_string(d.conv.c) + " channels do not divide into " + std::to_string(d.offset_groups) +
                     " offset groups");
  Shape offset{d.conv.n, d.offset_groups * g.taps() * static_cast<int64_t>(g.axes())};
  offset.insert(offset.end(), g.out.begin(), g.out.end());
  Shape mask = offset;
  mask[1] = d.offset_groups * g.taps();
  if (ctx.in(kOffset).shape() != offset)
    return ctx.error("offset has shape " + to_string(ctx.in(kOffset).shape()) + ", expected " + to_string(offset));
  if (ctx.has(kMask) && ctx.in(kMask).shape() != mask)
    return ctx.error("mask has shape " + to_string(ctx.in(kMask).shape()) + ", expected " + to_string(mask));
  if (ctx.has(kBias) && ctx.in(kBias).size() != d.conv.k) return ctx.error("the bias must have one element per output");
  return d;
}

/// patches[C, taps, out_size] of one image: what every moved tap samples.
template <typename T>
void gather(const DeformShape& d, const T* x, const T* offset, const T* mask, T* patches) {
  const WindowGeometry& g = d.conv.window;
  const auto axes = static_cast<int64_t>(g.axes());
  const int64_t in_size = element_count(g.in);
  const int64_t out_size = element_count(g.out);
  const std::vector<int64_t> tap_strides = row_major_strides(g.kernel);
  const std::vector<int64_t> out_strides = row_major_strides(g.out);
  const int64_t per_group = d.conv.c / d.offset_groups;
  std::vector<double> position(g.axes());
  for (int64_t group = 0; group < d.offset_groups; ++group)
    for (int64_t tap = 0; tap < g.taps(); ++tap)
      for (int64_t p = 0; p < out_size; ++p) {
        const int64_t moved = group * g.taps() + tap;
        for (size_t a = 0; a < g.axes(); ++a) {
          const int64_t r = tap / tap_strides[a] % g.kernel[a];
          const int64_t q = p / out_strides[a] % g.out[a];
          position[a] = static_cast<double>(q * g.strides[a] - g.pads_begin[a] + r * g.dilations[a]) +
                        static_cast<double>(offset[(moved * axes + static_cast<int64_t>(a)) * out_size + p]);
        }
        const T factor = mask == nullptr ? T{1} : mask[moved * out_size + p];
        for (int64_t c = group * per_group; c < (group + 1) * per_group; ++c)
          patches[(c * g.taps() + tap) * out_size + p] = factor * sample(x + c * in_size, g.in, position);
      }
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  PLANISH_TRY(require_real(ctx));
  const DeformShape d = PLANISH_TRY(resolve(ctx));
  const ConvShape& s = d.conv;
  Tensor* y = PLANISH_TRY(ctx.output(0, ctx.in(kX).dtype(), s.output()));
  return in_float_arithmetic(y->dtype(), [&](auto zero) -> Status {
    using T = decltype(zero);
    const FloatInput<T> x(ctx.in(kX));
    const FloatInput<T> w(ctx.in(kW));
    const FloatInput<T> offset(ctx.in(kOffset));
    const FloatInput<T> bias = ctx.has(kBias) ? FloatInput<T>(ctx.in(kBias)) : FloatInput<T>();
    const FloatInput<T> mask = ctx.has(kMask) ? FloatInput<T>(ctx.in(kMask)) : FloatInput<T>();
    FloatOutput<T> out(*y);
    const int64_t taps = s.window.taps();
    const int64_t in_size = element_count(s.window.in);
    const int64_t out_size = element_count(s.window.out);
    const int64_t k = s.k / s.groups;
    const int64_t depth = s.c / s.groups * taps;
    std::vector<T> patches(static_cast<size_t>(s.c * taps * out_size));
    for (int64_t n = 0; n < s.n; ++n) {
      const int64_t moved = d.offset_groups * taps * out_size;
      gather(d, x.data() + n * s.c * in_size, offset.data() + n * moved * static_cast<int64_t>(s.window.axes()),
             mask.data() == nullptr ? nullptr : mask.data() + n * moved, patches.data());
      for (int64_t o = 0; o < s.k; ++o)
        std::fill_n(out.data() + (n * s.k + o) * out_size, out_size, bias.data() == nullptr ? T{} : bias[o]);
      for (int64_t group = 0; group < s.groups; ++group)
        gemm<T>(k, out_size, depth, {w.data() + group * k * depth, depth, 1},
                {patches.data() + group * depth * out_size, out_size, 1}, out.data() + (n * s.k + group * k) * out_size,
                out_size);
    }
    out.finish();
    return {};
  });
}

constexpr std::array kOps{
    OpDecl{.name = "DeformConv", .since = 19, .one_type = 0b11111, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> deform_conv_ops() { return kOps; }

}  // namespace planish
