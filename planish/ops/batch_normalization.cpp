// BatchNormalization(X [N,C,...], scale [C], B [C], mean [C], var [C]): y = (x - mean) / sqrt(var + epsilon) * scale +
// B. With training_mode = 1 the batch's own mean and variance are used and the running ones are updated.
// https://onnx.ai/onnx/operators/onnx__BatchNormalization.html

#include <array>
#include <cmath>
#include <vector>

#include "planish/ops/checks.h"
#include "planish/ops/float_view.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

int64_t channels_of(const Shape& x) { return x.size() < 2 ? 1 : x[1]; }

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 5));
  const int64_t channels = channels_of(ctx.shape(0));
  for (size_t i = 1; i < 5; ++i)
    if (ctx.rank(i) != 1 || (channels >= 0 && ctx.shape(i)[0] >= 0 && ctx.shape(i)[0] != channels))
      return ctx.error("input " + std::to_string(i) + " has shape " + to_string(ctx.shape(i)) + ", expected [" +
                       std::to_string(channels) + "]");
  ctx.set(0, ctx.dtype(0), ctx.shape(0));
  ctx.set(1, ctx.dtype(3), ctx.shape(3));
  ctx.set(2, ctx.dtype(4), ctx.shape(4));
  return {};
}

struct Moments {
  double mean = 0;
  double variance = 0;
};

/// Mean and population variance of one channel of x [N,C,size].
template <typename T>
Moments channel_moments(const T* x, int64_t n, int64_t channels, int64_t size, int64_t c) {
  Moments m;
  const auto count = static_cast<double>(n * size);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < size; ++j) m.mean += static_cast<double>(x[(i * channels + c) * size + j]);
  m.mean /= count;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < size; ++j) {
      const double d = static_cast<double>(x[(i * channels + c) * size + j]) - m.mean;
      m.variance += d * d;
    }
  m.variance /= count;
  return m;
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 5));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  const int64_t n = x.rank() == 0 ? 1 : x.dim(0);
  const int64_t channels = channels_of(x.shape());
  const int64_t size = n * channels == 0 ? 0 : x.size() / (n * channels);
  for (size_t i = 1; i < 5; ++i)
    if (ctx.in(i).size() != channels)
      return ctx.error("input " + std::to_string(i) + " must have " + std::to_string(channels) + " elements");
  const bool training = ctx.node().attr_int("training_mode", 0) != 0;
  const auto epsilon = static_cast<double>(ctx.node().attr_float("epsilon", 1e-5F));
  const auto momentum = static_cast<double>(ctx.node().attr_float("momentum", 0.9F));
  std::vector<Moments> moments(static_cast<size_t>(channels));
  for (int64_t c = 0; c < channels; ++c) moments[static_cast<size_t>(c)] = {ctx.in(3).at(c), ctx.in(4).at(c)};
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), x.shape()));
  Tensor* running_mean = ctx.wants(1) ? PLANISH_TRY(ctx.output(1, ctx.in(3).dtype(), ctx.in(3).shape())) : nullptr;
  Tensor* running_var = ctx.wants(2) ? PLANISH_TRY(ctx.output(2, ctx.in(4).dtype(), ctx.in(4).shape())) : nullptr;
  return in_float_arithmetic(x.dtype(), [&](auto zero) -> Status {
    using T = decltype(zero);
    const FloatInput<T> in(x);
    FloatOutput<T> out(*y);
    for (int64_t c = 0; c < channels; ++c) {
      Moments& m = moments[static_cast<size_t>(c)];
      const Moments before = m;
      if (training) m = channel_moments(in.data(), n, channels, size, c);
      const double keep = training ? momentum : 1.0;
      if (running_mean != nullptr) running_mean->set(c, before.mean * keep + m.mean * (1 - keep));
      if (running_var != nullptr) running_var->set(c, before.variance * keep + m.variance * (1 - keep));
      const double scale = ctx.in(1).at(c) / std::sqrt(m.variance + epsilon);
      const double shift = ctx.in(2).at(c) - m.mean * scale;
      for (int64_t i = 0; i < n; ++i) {
        const int64_t at = (i * channels + c) * size;
        for (int64_t j = at; j < at + size; ++j) out[j] = static_cast<T>(static_cast<double>(in[j]) * scale + shift);
      }
    }
    out.finish();
    return {};
  });
}

constexpr std::array kOps{
    OpDecl{.name = "BatchNormalization", .since = 1, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> batch_normalization_ops() { return kOps; }

}  // namespace planish
