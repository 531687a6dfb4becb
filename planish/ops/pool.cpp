// MaxPool, AveragePool, LpPool and their global forms, over any number of spatial axes.
// https://onnx.ai/onnx/operators/onnx__MaxPool.html, onnx__AveragePool.html, onnx__LpPool.html

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "planish/ops/checks.h"
#include "planish/ops/conv_geometry.h"
#include "planish/ops/float_view.h"
#include "planish/ops/quantization.h"
#include "planish/ops/quantized_fused.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

enum class Kind { max, average, lp };

Result<WindowGeometry> resolve_pool(const Node& node, const Shape& x) {
  if (x.size() < 3)
    return Error{.code = Code::shape_mismatch,
                 .node = node.name,
                 .what = node.op + ": the input " + to_string(x) + " has no spatial axis",
                 .fix = "the input must be [N,C,...]"};
  return resolve_window(node, std::span(x).subspan(2));
}

Shape pooled_shape(const Shape& x, const WindowGeometry& g) {
  Shape y{x[0], x[1]};
  y.insert(y.end(), g.out.begin(), g.out.end());
  return y;
}

Status infer_pool(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const WindowGeometry g = PLANISH_TRY(resolve_pool(ctx.node(), ctx.shape(0)));
  const Shape y = pooled_shape(ctx.shape(0), g);
  ctx.set(0, ctx.dtype(0), y);
  ctx.set(1, DType::i64, y);
  return {};
}

/// The part of one window that lies inside the input, as a box of taps.
struct Window {
  std::vector<int64_t> first;   ///< first tap inside, per axis
  std::vector<int64_t> last;    ///< one past the last tap inside
  std::vector<int64_t> origin;  ///< input position of tap 0, may be negative
  int64_t padded_taps = 1;      ///< taps inside the input and its explicit padding

  Window(const WindowGeometry& g, std::span<const int64_t> p) : first(g.axes()), last(g.axes()), origin(g.axes()) {
    for (size_t a = 0; a < g.axes(); ++a) {
      const int64_t d = g.dilations[a];
      origin[a] = p[a] * g.strides[a] - g.pads_begin[a];
      first[a] = origin[a] < 0 ? std::min((-origin[a] + d - 1) / d, g.kernel[a]) : 0;
      last[a] = std::clamp((g.in[a] - origin[a] + d - 1) / d, first[a], g.kernel[a]);
      // With ceil_mode a window may reach behind the explicit padding; those taps never count.
      const int64_t reach = g.in[a] + g.pads_end[a] - origin[a];
      padded_taps *= std::clamp<int64_t>((reach + d - 1) / d, 0, g.kernel[a]);
    }
  }

  /// Calls f(flat input offset within the plane) for every tap inside, in row-major order.
  template <typename F>
  void for_each(const WindowGeometry& g, F&& f) const {
    for (size_t a = 0; a < g.axes(); ++a)
      if (first[a] >= last[a]) return;
    std::vector<int64_t> r = first;
    while (true) {
      int64_t offset = 0;
      for (size_t a = 0; a < g.axes(); ++a) offset = offset * g.in[a] + origin[a] + r[a] * g.dilations[a];
      for (; r.back() < last.back(); ++r.back(), offset += g.dilations.back()) f(offset);
      size_t a = g.axes();
      while (a-- > 0) {
        if (a + 1 < g.axes() && ++r[a] < last[a]) break;
        r[a] = first[a];
      }
      if (a == static_cast<size_t>(-1)) return;
    }
  }

  [[nodiscard]] int64_t taps() const {
    int64_t n = 1;
    for (size_t a = 0; a < first.size(); ++a) n *= last[a] - first[a];
    return n;
  }
};

/// Calls f(flat output position, window) for every output position of a plane.
template <typename F>
void for_each_window(const WindowGeometry& g, F&& f) {
  std::vector<int64_t> p(g.axes(), 0);
  const int64_t count = element_count(g.out);
  for (int64_t i = 0; i < count; ++i) {
    f(i, Window(g, p));
    for (size_t a = g.axes(); a-- > 0;) {
      if (++p[a] < g.out[a]) break;
      p[a] = 0;
    }
  }
}

/// Index of a position in the plane when the last axis is the slow one (storage_order = 1).
int64_t column_major(const WindowGeometry& g, int64_t offset) {
  std::vector<int64_t> index(g.axes());
  for (size_t a = g.axes(); a-- > 0;) {
    index[a] = offset % g.in[a];
    offset /= g.in[a];
  }
  int64_t flat = 0;
  for (size_t a = g.axes(); a-- > 0;) flat = flat * g.in[a] + index[a];
  return flat;
}

Status reference_max_pool(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  const WindowGeometry g = PLANISH_TRY(resolve_pool(ctx.node(), x.shape()));
  const Shape y_shape = pooled_shape(x.shape(), g);
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), y_shape));
  Tensor* indices = ctx.wants(1) ? PLANISH_TRY(ctx.output(1, DType::i64, y_shape)) : nullptr;
  const bool by_column = ctx.node().attr_int("storage_order", 0) == 1;
  const int64_t in_size = element_count(g.in);
  const int64_t out_size = element_count(g.out);
  const int64_t planes = x.dim(0) * x.dim(1);
  return in_float_arithmetic(x.dtype(), [&](auto zero) -> Status {
    using T = decltype(zero);
    const FloatInput<T> in(x);
    FloatOutput<T> out(*y);
    for_each_window(g, [&](int64_t i, const Window& window) {
      for (int64_t plane = 0; plane < planes; ++plane) {
        const T* from = in.data() + plane * in_size;
        T best = -std::numeric_limits<T>::infinity();
        int64_t at = -1;
        window.for_each(g, [&](int64_t offset) {
          if (from[offset] > best || at < 0 || std::isnan(from[offset])) {
            best = from[offset];
            at = offset;
          }
        });
        out[plane * out_size + i] = best;
        if (indices != nullptr)
          indices->data<int64_t>()[plane * out_size + i] =
              at < 0 ? -1 : plane * in_size + (by_column ? column_major(g, at) : at);
      }
    });
    out.finish();
    return {};
  });
}

/// AveragePool and LpPool: a sum over the window, then one function of it.
template <Kind kKind>
Status reference_sum_pool(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  const WindowGeometry g = PLANISH_TRY(resolve_pool(ctx.node(), x.shape()));
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), pooled_shape(x.shape(), g)));
  const bool count_pads = ctx.node().attr_int("count_include_pad", 0) != 0;
  const double norm = static_cast<double>(ctx.node().attr_int("p", 2));
  const int64_t in_size = element_count(g.in);
  const int64_t out_size = element_count(g.out);
  const int64_t planes = x.dim(0) * x.dim(1);
  return in_float_arithmetic(x.dtype(), [&](auto zero) -> Status {
    using T = decltype(zero);
    const FloatInput<T> in(x);
    FloatOutput<T> out(*y);
    for_each_window(g, [&](int64_t i, const Window& window) {
      const double divisor = static_cast<double>(std::max<int64_t>(count_pads ? window.padded_taps : window.taps(), 1));
      for (int64_t plane = 0; plane < planes; ++plane) {
        const T* from = in.data() + plane * in_size;
        double sum = 0;
        if constexpr (kKind == Kind::average) {
          window.for_each(g, [&](int64_t offset) { sum += static_cast<double>(from[offset]); });
          sum /= divisor;
        } else {
          window.for_each(g,
                          [&](int64_t offset) { sum += std::pow(std::abs(static_cast<double>(from[offset])), norm); });
          sum = std::pow(sum, 1.0 / norm);
        }
        out[plane * out_size + i] = static_cast<T>(sum);
      }
    });
    out.finish();
    return {};
  });
}

template <typename Context>
Result<Shape> global_shape(const Context& ctx, const Shape& x) {
  if (x.size() < 2) return ctx.error("the input " + to_string(x) + " must be [N,C,...]");
  Shape y(x.size(), 1);
  y[0] = x[0];
  y[1] = x[1];
  return y;
}

Status infer_global(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  ctx.set(0, ctx.dtype(0), PLANISH_TRY(global_shape(ctx, ctx.shape(0))));
  return {};
}

template <Kind kKind>
Status reference_global(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  Shape y_shape = PLANISH_TRY(global_shape(ctx, x.shape()));
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), std::move(y_shape)));
  const int64_t planes = x.dim(0) * x.dim(1);
  const int64_t size = planes == 0 ? 0 : x.size() / planes;
  const double norm = static_cast<double>(ctx.node().attr_int("p", 2));
  return in_float_arithmetic(x.dtype(), [&](auto zero) -> Status {
    using T = decltype(zero);
    const FloatInput<T> in(x);
    FloatOutput<T> out(*y);
    for (int64_t plane = 0; plane < planes; ++plane) {
      const T* from = in.data() + plane * size;
      double sum = kKind == Kind::max ? -std::numeric_limits<double>::infinity() : 0.0;
      for (int64_t i = 0; i < size; ++i) {
        const double v = static_cast<double>(from[i]);
        if constexpr (kKind == Kind::max) sum = v > sum || std::isnan(v) ? v : sum;
        if constexpr (kKind == Kind::average) sum += v;
        if constexpr (kKind == Kind::lp) sum += std::pow(std::abs(v), norm);
      }
      if constexpr (kKind == Kind::average) sum /= static_cast<double>(size);
      if constexpr (kKind == Kind::lp) sum = std::pow(sum, 1.0 / norm);
      out[plane] = static_cast<T>(sum);
    }
    out.finish();
    return {};
  });
}

/// planish.QuantizedGlobalAveragePool(X) -> Y: the mean over all spatial dimensions of X i8/u8 [N,C,...] as real
/// numbers, f32 [N,C,1,...]: Y = x_scale * (sum of X / count - x_zero).
Status infer_quantized_mean(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const DType type = ctx.dtype(0);
  if (type != DType::i8 && type != DType::u8)
    return ctx.error("input 0 has type " + std::string(dtype_name(type)) + ", expected int8 or uint8");
  ctx.set(0, DType::f32, PLANISH_TRY(global_shape(ctx, ctx.shape(0))));
  return {};
}

Status reference_quantized_mean(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const Tensor& x = ctx.in(0);
  Shape y_shape = PLANISH_TRY(global_shape(ctx, x.shape()));
  Tensor* y = PLANISH_TRY(ctx.output(0, DType::f32, std::move(y_shape)));
  const auto scale = static_cast<double>(ctx.node().attr_float("x_scale", 1));
  const auto zero = static_cast<double>(ctx.node().attr_int("x_zero", 0));
  const int64_t planes = y->size();
  const int64_t size = planes == 0 ? 0 : x.size() / planes;
  for (int64_t plane = 0; plane < planes; ++plane) {
    int64_t sum = 0;
    for (int64_t i = 0; i < size; ++i) sum += x.int_at(plane * size + i);
    y->data<float>()[plane] = static_cast<float>(scale * (static_cast<double>(sum) / static_cast<double>(size) - zero));
  }
  return {};
}

/// planish.QuantizedAveragePool(X) -> Y: AveragePool of X i8/u8 [N,C,...] as real numbers, in f32 or as bytes. With n
/// of a window's taps inside X and `count` taps that AveragePool divides by,
///   v = (sum of X - n * x_zero) * (x_scale / y_scale / count), Y = saturate(round(v) + y_zero);
/// where y_type is f32, y_scale is 1 and Y = v.
Status check_quantized_average(const auto& ctx, DType x) {
  if (x == DType::i8 || x == DType::u8) return {};
  return ctx.error("input 0 has type " + std::string(dtype_name(x)) + ", expected int8 or uint8");
}

Status infer_quantized_average(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(check_quantized_average(ctx, ctx.dtype(0)));
  const QuantizedAttrs q = PLANISH_TRY(read_quantized_attrs(ctx.node()));
  const WindowGeometry g = PLANISH_TRY(resolve_pool(ctx.node(), ctx.shape(0)));
  ctx.set(0, q.y_type, pooled_shape(ctx.shape(0), g));
  return {};
}

Status reference_quantized_average(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const Tensor& x = ctx.in(0);
  PLANISH_TRY(check_quantized_average(ctx, x.dtype()));
  const QuantizedAttrs q = PLANISH_TRY(read_quantized_attrs(ctx.node()));
  const WindowGeometry g = PLANISH_TRY(resolve_pool(ctx.node(), x.shape()));
  Tensor* y = PLANISH_TRY(ctx.output(0, q.y_type, pooled_shape(x.shape(), g)));
  const bool count_pads = ctx.node().attr_int("count_include_pad", 0) != 0;
  const bool to_bytes = q.y_type != DType::f32;
  const float factor = to_bytes ? q.x.scale / q.y.scale : q.x.scale;
  const IntegerRange range = to_bytes ? integer_range(q.y_type) : IntegerRange{};
  const int64_t in_size = element_count(g.in);
  const int64_t out_size = element_count(g.out);
  const int64_t planes = x.dim(0) * x.dim(1);
  for_each_window(g, [&](int64_t i, const Window& window) {
    const int64_t count = std::max<int64_t>(count_pads ? window.padded_taps : window.taps(), 1);
    for (int64_t plane = 0; plane < planes; ++plane) {
      int64_t sum = 0;
      window.for_each(g, [&](int64_t offset) { sum += x.int_at(plane * in_size + offset) - q.x.zero; });
      const float v = static_cast<float>(sum) * (factor / static_cast<float>(count));
      const int64_t at = plane * out_size + i;
      if (to_bytes)
        y->set(at, quantize_to_integer(static_cast<double>(v), static_cast<double>(q.y.zero), range));
      else
        y->data<float>()[at] = v;
    }
  });
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "AveragePool", .since = 1, .infer = infer_pool, .reference = reference_sum_pool<Kind::average>},
    OpDecl{
        .name = "GlobalAveragePool", .since = 1, .infer = infer_global, .reference = reference_global<Kind::average>},
    OpDecl{.name = "GlobalLpPool", .since = 1, .infer = infer_global, .reference = reference_global<Kind::lp>},
    OpDecl{.name = "GlobalMaxPool", .since = 1, .infer = infer_global, .reference = reference_global<Kind::max>},
    OpDecl{.name = "LpPool", .since = 1, .infer = infer_pool, .reference = reference_sum_pool<Kind::lp>},
    OpDecl{.name = "QuantizedAveragePool",
           .domain = "planish",
           .since = 1,
           .infer = infer_quantized_average,
           .reference = reference_quantized_average},
    OpDecl{.name = "QuantizedGlobalAveragePool",
           .domain = "planish",
           .since = 1,
           .infer = infer_quantized_mean,
           .reference = reference_quantized_mean},
    OpDecl{.name = "MaxPool", .since = 1, .infer = infer_pool, .reference = reference_max_pool},
};

}  // namespace

std::span<const OpDecl> pool_ops() { return kOps; }

}  // namespace planish
