// LpNormalization, MeanVarianceNormalization and LRN.
// https://onnx.ai/onnx/operators/onnx__LpNormalization.html and siblings

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "planish/ops/checks.h"
#include "planish/ops/float_view.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  ctx.set(0, ctx.dtype(0), ctx.shape(0));
  return {};
}

/// y = x / (sum |x|^p)^(1/p) along one axis; 0 where the norm is 0.
Status reference_lp(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  const int64_t axis = PLANISH_TRY(normalize_axis(ctx, ctx.node().attr_int("axis", -1), x.rank()));
  const int64_t p = ctx.node().attr_int("p", 2);
  if (p != 1 && p != 2) return ctx.error("p is " + std::to_string(p), "only 1 and 2 are defined");
  const int64_t length = x.dim(axis);
  const int64_t inner = element_count(std::span(x.shape()).subspan(static_cast<size_t>(axis) + 1));
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), x.shape()));
  if (x.size() == 0) return {};
  return in_float_arithmetic(x.dtype(), [&](auto zero) -> Status {
    using T = decltype(zero);
    const FloatInput<T> in(x);
    FloatOutput<T> out(*y);
    for (int64_t o = 0; o < x.size() / (length * inner); ++o)
      for (int64_t i = 0; i < inner; ++i) {
        const int64_t at = o * length * inner + i;
        double sum = 0;
        for (int64_t k = 0; k < length; ++k) {
          const auto v = static_cast<double>(in[at + k * inner]);
          sum += p == 1 ? std::abs(v) : v * v;
        }
        const double norm = p == 1 ? sum : std::sqrt(sum);
        for (int64_t k = 0; k < length; ++k) {
          const auto v = static_cast<double>(in[at + k * inner]);
          out[at + k * inner] = static_cast<T>(norm == 0 ? 0.0 : v / norm);
        }
      }
    out.finish();
    return {};
  });
}

/// y = (x - mean) / (standard deviation + 1e-9) over `axes`.
Status reference_mean_variance(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  std::vector<bool> reduced(static_cast<size_t>(x.rank()), false);
  for (const int64_t a : ctx.node().attr_ints("axes", {0, 2, 3}))
    reduced[static_cast<size_t>(PLANISH_TRY(normalize_axis(ctx, a, x.rank())))] = true;
  // Every element belongs to the cell that its coordinates on the kept axes name.
  std::vector<int64_t> cell_strides(reduced.size(), 0);
  int64_t cells = 1;
  for (size_t a = reduced.size(); a-- > 0;) {
    if (reduced[a]) continue;
    cell_strides[a] = cells;
    cells *= x.shape()[a];
  }
  const std::vector<int64_t> strides = row_major_strides(x.shape());
  const auto cell_of = [&](int64_t i) {
    int64_t cell = 0;
    for (size_t a = 0; a < strides.size(); ++a) cell += i / strides[a] % x.shape()[a] * cell_strides[a];
    return static_cast<size_t>(cell);
  };
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), x.shape()));
  if (x.size() == 0) return {};
  const double count = static_cast<double>(x.size()) / static_cast<double>(cells);
  const FloatInput<double> in(x);
  FloatOutput<double> out(*y);
  std::vector<double> mean(static_cast<size_t>(cells), 0.0);
  std::vector<double> variance(static_cast<size_t>(cells), 0.0);
  for (int64_t i = 0; i < x.size(); ++i) mean[cell_of(i)] += in[i] / count;
  for (int64_t i = 0; i < x.size(); ++i) {
    const double d = in[i] - mean[cell_of(i)];
    variance[cell_of(i)] += d * d / count;
  }
  constexpr double kEpsilon = 1e-9;  // as the function body of the operator has it
  for (int64_t i = 0; i < x.size(); ++i) {
    const size_t cell = cell_of(i);
    out[i] = (in[i] - mean[cell]) / (std::sqrt(variance[cell]) + kEpsilon);
  }
  out.finish();
  return {};
}

/// Local response normalisation across channels of x [N,C,...].
Status reference_lrn(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  const int64_t size = ctx.node().attr_int("size", 0);
  if (x.rank() < 2 || size < 1) return ctx.error("needs an input [N,C,...] and a size of at least 1");
  const auto alpha = static_cast<double>(ctx.node().attr_float("alpha", 1e-4F));
  const auto beta = static_cast<double>(ctx.node().attr_float("beta", 0.75F));
  const auto bias = static_cast<double>(ctx.node().attr_float("bias", 1.0F));
  const int64_t channels = x.dim(1);
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), x.shape()));
  if (x.size() == 0) return {};
  const int64_t plane = x.size() / (x.dim(0) * channels);
  return in_float_arithmetic(x.dtype(), [&](auto zero) -> Status {
    using T = decltype(zero);
    const FloatInput<T> in(x);
    FloatOutput<T> out(*y);
    std::vector<double> square(static_cast<size_t>(plane));
    for (int64_t n = 0; n < x.dim(0); ++n)
      for (int64_t c = 0; c < channels; ++c) {
        std::ranges::fill(square, 0.0);
        const int64_t last = std::min(channels - 1, c + size / 2);  // c + ceil((size - 1) / 2)
        for (int64_t k = std::max<int64_t>(0, c - (size - 1) / 2); k <= last; ++k)
          for (int64_t i = 0; i < plane; ++i) {
            const auto v = static_cast<double>(in[(n * channels + k) * plane + i]);
            square[static_cast<size_t>(i)] += v * v;
          }
        for (int64_t i = 0; i < plane; ++i) {
          const int64_t at = (n * channels + c) * plane + i;
          const double scale = bias + alpha / static_cast<double>(size) * square[static_cast<size_t>(i)];
          out[at] = static_cast<T>(static_cast<double>(in[at]) * std::pow(scale, -beta));
        }
      }
    out.finish();
    return {};
  });
}

constexpr std::array kOps{
    OpDecl{.name = "LRN", .since = 1, .infer = infer, .reference = reference_lrn},
    OpDecl{.name = "LpNormalization", .since = 1, .infer = infer, .reference = reference_lp},
    OpDecl{.name = "MeanVarianceNormalization", .since = 9, .infer = infer, .reference = reference_mean_variance},
};

}  // namespace

std::span<const OpDecl> lp_normalization_ops() { return kOps; }

}  // namespace planish
