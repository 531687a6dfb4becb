// LayerNormalization, RMSNormalization, InstanceNormalization and GroupNormalization.
// https://onnx.ai/onnx/operators/onnx__LayerNormalization.html and siblings. Moments are computed in double, whatever
// stash_type asks for at least.

#include <array>
#include <cmath>
#include <vector>

#include "planish/ops/broadcast.h"
#include "planish/ops/checks.h"
#include "planish/ops/float_view.h"
#include "planish/ops/infer_graph.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

/// y = (x - mean) * inv_std_dev of one contiguous row. `centred` false leaves the mean at 0 (RMS normalisation).
struct RowMoments {
  double mean = 0;
  double inv_std_dev = 0;
};

template <typename T>
RowMoments row_moments(const T* x, int64_t size, bool centred, double epsilon) {
  RowMoments m;
  if (centred) {
    for (int64_t i = 0; i < size; ++i) m.mean += static_cast<double>(x[i]);
    m.mean /= static_cast<double>(size);
  }
  double square = 0;
  for (int64_t i = 0; i < size; ++i) {
    const double d = static_cast<double>(x[i]) - m.mean;
    square += d * d;
  }
  m.inv_std_dev = 1.0 / std::sqrt(square / static_cast<double>(size) + epsilon);
  return m;
}

/// Shape of the Mean and InvStdDev outputs: 1 from `axis` on.
Shape moments_shape(const Shape& x, int64_t axis) {
  Shape s = x;
  for (size_t i = static_cast<size_t>(axis); i < s.size(); ++i) s[i] = 1;
  return s;
}

bool is_layer_norm(const Node& node) { return node.op == "LayerNormalization"; }

Status infer_layer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  const Shape& x = ctx.shape(0);
  const int64_t axis = PLANISH_TRY(normalize_axis(ctx, ctx.node().attr_int("axis", -1), ctx.rank(0)));
  ctx.set(0, is_layer_norm(ctx.node()) ? ctx.dtype(0) : ctx.dtype(1), x);
  const DType stash = PLANISH_TRY(dtype_attr(ctx, "stash_type", DType::f32));
  ctx.set(1, stash, moments_shape(x, axis));
  ctx.set(2, stash, moments_shape(x, axis));
  return {};
}

/// LayerNormalization(X, Scale, B?) and RMSNormalization(X, scale): rows are everything from `axis` on.
Status reference_layer(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  const bool centred = is_layer_norm(ctx.node());
  const int64_t axis = PLANISH_TRY(normalize_axis(ctx, ctx.node().attr_int("axis", -1), x.rank()));
  const DType stash = PLANISH_TRY(dtype_attr(ctx, "stash_type", DType::f32));
  const auto epsilon = static_cast<double>(ctx.node().attr_float("epsilon", 1e-5F));
  for (size_t i = 1; i < 3; ++i)
    if (ctx.has(i) && broadcast_shapes(ctx.in(i).shape(), x.shape()) != x.shape())
      return ctx.error("input " + std::to_string(i) + " of shape " + to_string(ctx.in(i).shape()) +
                       " does not broadcast to " + to_string(x.shape()));
  const int64_t rows = element_count(std::span(x.shape()).first(static_cast<size_t>(axis)));
  const int64_t size = rows == 0 ? 0 : x.size() / rows;
  const DType y_type = centred ? x.dtype() : ctx.in(1).dtype();
  Tensor* y = PLANISH_TRY(ctx.output(0, y_type, x.shape()));
  const Shape small = moments_shape(x.shape(), axis);
  Tensor* mean = ctx.wants(1) ? PLANISH_TRY(ctx.output(1, stash, small)) : nullptr;
  Tensor* inv_std_dev = ctx.wants(2) ? PLANISH_TRY(ctx.output(2, stash, small)) : nullptr;
  return in_float_arithmetic(x.dtype(), [&](auto zero) -> Status {
    using T = decltype(zero);
    const FloatInput<T> in(x);
    FloatOutput<T> out(*y);
    BroadcastReader scales(ctx.in(1), x.shape());
    BroadcastReader shifts(ctx.has(2) ? ctx.in(2) : ctx.in(1), x.shape());
    std::vector<double> scale(static_cast<size_t>(size));
    std::vector<double> shift(static_cast<size_t>(size));
    for (int64_t row = 0; row < rows; ++row) {
      const T* from = in.data() + row * size;
      const RowMoments m = row_moments(from, size, centred, epsilon);
      scales.read(size, scale.data());
      if (ctx.has(2)) shifts.read(size, shift.data());
      for (int64_t i = 0; i < size; ++i) {
        const auto j = static_cast<size_t>(i);
        out[row * size + i] =
            static_cast<T>((static_cast<double>(from[i]) - m.mean) * m.inv_std_dev * scale[j] + shift[j]);
      }
      if (mean != nullptr) mean->set(row, m.mean);
      if (inv_std_dev != nullptr) inv_std_dev->set(row, m.inv_std_dev);
    }
    out.finish();
    return {};
  });
}

Status infer_same(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  if (ctx.rank(0) < 2) return ctx.error("the input must be [N,C,...]");
  ctx.set(0, ctx.dtype(0), ctx.shape(0));
  return {};
}

/// GroupNormalization(X [N,C,...], scale [C], bias [C]); InstanceNormalization has one channel per group.
Status reference_group(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  if (x.rank() < 2) return ctx.error("the input must be [N,C,...]");
  const int64_t channels = x.dim(1);
  const bool instance = ctx.node().op == "InstanceNormalization";
  const int64_t groups = instance ? channels : ctx.node().attr_int("num_groups", 1);
  if (groups < (channels == 0 ? 0 : 1) || (groups > 0 && channels % groups != 0))
    return ctx.error(std::to_string(channels) + " channels do not divide into " + std::to_string(groups) + " groups");
  for (size_t i = 1; i < 3; ++i)
    if (ctx.in(i).size() != channels)
      return ctx.error("input " + std::to_string(i) + " must have " + std::to_string(channels) + " elements");
  const auto epsilon = static_cast<double>(ctx.node().attr_float("epsilon", 1e-5F));
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), x.shape()));
  const int64_t rows = x.dim(0) * groups;
  const int64_t size = x.size() == 0 ? 0 : x.size() / rows;
  const int64_t plane = x.size() == 0 ? 1 : x.size() / (x.dim(0) * channels);
  return in_float_arithmetic(x.dtype(), [&](auto zero) -> Status {
    using T = decltype(zero);
    const FloatInput<T> in(x);
    const FloatInput<double> scale(ctx.in(1));
    const FloatInput<double> bias(ctx.in(2));
    FloatOutput<T> out(*y);
    for (int64_t row = 0; row < (size == 0 ? 0 : rows); ++row) {
      const T* from = in.data() + row * size;
      const RowMoments m = row_moments(from, size, true, epsilon);
      for (int64_t i = 0; i < size; ++i) {
        const int64_t c = (row % groups) * (channels / groups) + i / plane;
        out[row * size + i] =
            static_cast<T>((static_cast<double>(from[i]) - m.mean) * m.inv_std_dev * scale[c] + bias[c]);
      }
    }
    out.finish();
    return {};
  });
}

constexpr std::array kOps{
    OpDecl{.name = "GroupNormalization", .since = 18, .infer = infer_same, .reference = reference_group},
    OpDecl{.name = "InstanceNormalization", .since = 1, .infer = infer_same, .reference = reference_group},
    OpDecl{.name = "LayerNormalization", .since = 17, .infer = infer_layer, .reference = reference_layer},
    OpDecl{.name = "RMSNormalization", .since = 23, .infer = infer_layer, .reference = reference_layer},
};

}  // namespace

std::span<const OpDecl> normalization_ops() { return kOps; }

}  // namespace planish
