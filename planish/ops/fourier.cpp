// DFT and STFT. https://onnx.ai/onnx/operators/onnx__DFT.html, onnx__STFT.html

#include "planish/ops/fourier.h"

#include <algorithm>
#include <array>
#include <numbers>
#include <optional>

#include "planish/ops/checks.h"
#include "planish/ops/float_view.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

using Complex = std::complex<double>;

int64_t smallest_factor(int64_t n) {
  for (int64_t f = 2; f * f <= n; ++f)
    if (n % f == 0) return f;
  return n;
}

/// Transforms n elements of `x`, `stride` apart, into `y`. `root[i]` = exp(-+2 pi i / N) for the whole length N, and
/// `turn` = N / n. The recursion is as deep as N has prime factors.
void transform(const Complex* x, int64_t n, int64_t stride, const std::vector<Complex>& root, int64_t turn,
               Complex* y) {
  if (n == 1) {
    *y = *x;
    return;
  }
  const int64_t radix = smallest_factor(n);
  const int64_t part = n / radix;
  for (int64_t r = 0; r < radix; ++r) transform(x + r * stride, part, stride * radix, root, turn * radix, y + r * part);
  std::vector<Complex> column(static_cast<size_t>(radix));
  for (int64_t k = 0; k < part; ++k) {
    for (int64_t r = 0; r < radix; ++r) column[static_cast<size_t>(r)] = y[r * part + k];
    for (int64_t q = 0; q < radix; ++q) {
      Complex sum = 0;
      for (int64_t r = 0; r < radix; ++r)
        sum += column[static_cast<size_t>(r)] * root[static_cast<size_t>(r * (k + q * part) % n * turn)];
      y[q * part + k] = sum;
    }
  }
}

}  // namespace

void fourier_transform(std::vector<Complex>& x, bool inverse) {
  const auto n = static_cast<int64_t>(x.size());
  if (n < 2) return;
  std::vector<Complex> root(x.size());
  const double step = (inverse ? 2.0 : -2.0) * std::numbers::pi / static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i) root[static_cast<size_t>(i)] = std::polar(1.0, step * static_cast<double>(i));
  std::vector<Complex> y(x.size());
  transform(x.data(), n, 1, root, 1, y.data());
  if (inverse)
    for (Complex& v : y) v /= static_cast<double>(n);
  x = std::move(y);
}

namespace {

struct DftPlan {
  int64_t axis = 0;
  int64_t length = 0;  ///< of the transform; -1 unknown
  bool inverse = false;
  bool onesided = false;
  Shape y;
};

/// The length that the input gives; `absent` where it gives none.
struct GivenLength {
  bool absent = true;
  int64_t value = kUnknownDim;
};

/// `length` and `axis` are the values of the inputs, where present and known.
template <typename Context>
Result<DftPlan> plan_dft(const Context& ctx, const Shape& x, GivenLength length, int64_t axis) {
  DftPlan p;
  const auto rank = static_cast<int64_t>(x.size());
  if (rank < 2 || (x.back() >= 0 && x.back() != 1 && x.back() != 2))
    return ctx.error("the input must end with a dimension of 1 (real) or 2 (complex), it is " + to_string(x));
  p.axis = PLANISH_TRY(normalize_axis(ctx, axis, rank));
  if (p.axis == rank - 1) return ctx.error("the last axis holds real and imaginary parts and cannot be transformed");
  p.inverse = ctx.node().attr_int("inverse", 0) != 0;
  p.onesided = ctx.node().attr_int("onesided", 0) != 0;
  const int64_t dim = x[static_cast<size_t>(p.axis)];
  p.length = !length.absent ? length.value : dim < 0 ? kUnknownDim : p.inverse && p.onesided ? 2 * (dim - 1) : dim;
  constexpr int64_t kMaxLength = int64_t{1} << 32;
  if ((p.length < 1 && p.length != kUnknownDim) || p.length > kMaxLength)
    return ctx.error("cannot transform a length of " + std::to_string(p.length));
  p.y = x;
  p.y.back() = p.inverse && p.onesided ? 1 : 2;
  p.y[static_cast<size_t>(p.axis)] = p.onesided && !p.inverse && p.length >= 0 ? p.length / 2 + 1 : p.length;
  return p;
}

Status infer_dft(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const auto single = [&](size_t i) -> std::optional<int64_t> {
    const auto v = ctx.ints(i);
    return v && v->size() == 1 ? std::optional((*v)[0]) : std::nullopt;
  };
  if (ctx.has(2) && !single(2)) {
    Shape y(ctx.shape(0).size(), kUnknownDim);
    if (!y.empty())
      y.back() = ctx.node().attr_int("inverse", 0) != 0 && ctx.node().attr_int("onesided", 0) != 0 ? 1 : 2;
    ctx.set(0, ctx.dtype(0), std::move(y));
    return {};
  }
  const GivenLength length{!ctx.has(1), ctx.has(1) ? single(1).value_or(kUnknownDim) : kUnknownDim};
  ctx.set(0, ctx.dtype(0), PLANISH_TRY(plan_dft(ctx, ctx.shape(0), length, single(2).value_or(-2))).y);
  return {};
}

Status reference_dft(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  for (size_t i = 1; i < 3; ++i)
    if (ctx.has(i) && ctx.in(i).size() != 1) return ctx.error("dft_length and axis must have one element");
  const GivenLength length{!ctx.has(1), ctx.has(1) ? ctx.in(1).int_at(0) : kUnknownDim};
  if (!length.absent && length.value < 1) return ctx.error("dft_length is " + std::to_string(length.value));
  const DftPlan p = PLANISH_TRY(plan_dft(ctx, x.shape(), length, ctx.has(2) ? ctx.in(2).int_at(0) : -2));
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), p.y));
  const auto axis = static_cast<size_t>(p.axis);
  const int64_t parts_in = x.dim(-1);
  const int64_t parts_out = p.y.back();
  const int64_t dim = x.dim(p.axis);
  const int64_t kept = p.y[axis];
  const int64_t outer = element_count(std::span(x.shape()).first(axis));
  const int64_t inner = element_count(std::span(x.shape()).subspan(axis + 1)) / parts_in;
  const FloatInput<double> in(x);
  FloatOutput<double> out(*y);
  std::vector<Complex> signal(static_cast<size_t>(p.length));
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i) {
      std::ranges::fill(signal, Complex{});
      for (int64_t k = 0; k < std::min(dim, p.length); ++k) {
        const int64_t at = ((o * dim + k) * inner + i) * parts_in;
        signal[static_cast<size_t>(k)] = {in[at], parts_in == 2 ? in[at + 1] : 0.0};
      }
      if (p.inverse && p.onesided)  // the missing half of a real signal's spectrum
        for (int64_t k = p.length / 2 + 1; k < p.length; ++k)
          signal[static_cast<size_t>(k)] = std::conj(signal[static_cast<size_t>(p.length - k)]);
      fourier_transform(signal, p.inverse);
      for (int64_t k = 0; k < kept; ++k) {
        const int64_t at = ((o * kept + k) * inner + i) * parts_out;
        out[at] = signal[static_cast<size_t>(k)].real();
        if (parts_out == 2) out[at + 1] = signal[static_cast<size_t>(k)].imag();
      }
    }
  out.finish();
  return {};
}

struct StftPlan {
  int64_t step = 0;
  int64_t length = 0;
  Shape y;  ///< [batch, frames, bins, 2]
};

/// Unknown step or length: -1.
template <typename Context>
Result<StftPlan> plan_stft(const Context& ctx, const Shape& x, int64_t step, int64_t length) {
  if (x.size() != 3) return ctx.error("the signal must have rank 3, it is " + to_string(x));
  StftPlan p{.step = step, .length = length, .y = {x[0], kUnknownDim, kUnknownDim, 2}};
  const bool onesided = ctx.node().attr_int("onesided", 1) != 0;
  if (length >= 0) p.y[2] = onesided ? length / 2 + 1 : length;
  if (x[1] >= 0 && step >= 0 && length >= 0) {
    if (step < 1 || length < 1 || length > x[1])
      return ctx.error("cannot cut frames of " + std::to_string(length) + " every " + std::to_string(step) +
                       " samples out of " + std::to_string(x[1]));
    p.y[1] = (x[1] - length) / step + 1;
  }
  return p;
}

Status infer_stft(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  const auto single = [&](size_t i) {
    const auto v = ctx.ints(i);
    return v && v->size() == 1 ? (*v)[0] : kUnknownDim;
  };
  const Shape& x = ctx.shape(0);
  int64_t length = x.size() == 3 ? x[1] : kUnknownDim;
  if (ctx.has(2) && ctx.rank(2) == 1) length = ctx.shape(2)[0];
  if (ctx.has(3)) length = single(3);
  ctx.set(0, ctx.dtype(0), PLANISH_TRY(plan_stft(ctx, x, single(1), length)).y);
  return {};
}

Status reference_stft(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  if (ctx.in(1).size() != 1 || (ctx.has(3) && ctx.in(3).size() != 1))
    return ctx.error("frame_step and frame_length must have one element");
  if (x.rank() != 3 || x.dim(2) < 1 || x.dim(2) > 2)
    return ctx.error("the signal must be [batch, length, 1 or 2], it is " + to_string(x.shape()));
  int64_t length = ctx.has(2) ? ctx.in(2).size() : x.dim(1);
  if (ctx.has(3)) length = ctx.in(3).int_at(0);
  if (ctx.has(2) && ctx.in(2).size() != length) return ctx.error("the window must be as long as a frame");
  const int64_t step = ctx.in(1).int_at(0);
  if (step < 1 || length < 1) return ctx.error("frame_step and frame_length must be positive");
  const StftPlan p = PLANISH_TRY(plan_stft(ctx, x.shape(), step, length));
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), p.y));
  const int64_t parts = x.dim(2);
  const FloatInput<double> in(x);
  const FloatInput<double> window = ctx.has(2) ? FloatInput<double>(ctx.in(2)) : FloatInput<double>();
  FloatOutput<double> out(*y);
  std::vector<Complex> frame(static_cast<size_t>(length));
  for (int64_t b = 0; b < x.dim(0); ++b)
    for (int64_t f = 0; f < p.y[1]; ++f) {
      frame.resize(static_cast<size_t>(length));
      for (int64_t i = 0; i < length; ++i) {
        const int64_t at = (b * x.dim(1) + f * step + i) * parts;
        const Complex sample{in[at], parts == 2 ? in[at + 1] : 0.0};
        frame[static_cast<size_t>(i)] = sample * (ctx.has(2) ? window[i] : 1.0);
      }
      fourier_transform(frame, false);
      for (int64_t k = 0; k < p.y[2]; ++k) {
        const int64_t at = ((b * p.y[1] + f) * p.y[2] + k) * 2;
        out[at] = frame[static_cast<size_t>(k)].real();
        out[at + 1] = frame[static_cast<size_t>(k)].imag();
      }
    }
  out.finish();
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "DFT",
           .since = 17,
           .shape_inputs = (1U << 1) | (1U << 2),
           .infer = infer_dft,
           .reference = reference_dft},
    OpDecl{.name = "STFT",
           .since = 17,
           .shape_inputs = (1U << 1) | (1U << 3),
           .infer = infer_stft,
           .reference = reference_stft},
};

}  // namespace

std::span<const OpDecl> fourier_ops() { return kOps; }

}  // namespace planish
