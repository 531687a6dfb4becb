// MaxUnpool(X, I, output_shape?): puts each value back where MaxPool found it; everything else is 0.
// https://onnx.ai/onnx/operators/onnx__MaxUnpool.html
//
// The indices are positions in the tensor whose shape follows from kernel, strides and pads. A larger `output_shape`
// only adds zeros behind it.

#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include "planish/ops/checks.h"
#include "planish/ops/elements.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

/// Shape of the pooled input, as far as the attributes and the shape of X say.
template <typename Context>
Result<Shape> pooled_from(const Context& ctx, const Shape& x) {
  if (x.size() < 3) return ctx.error("the input must be [N,C,...], it is " + to_string(x));
  const size_t axes = x.size() - 2;
  const std::vector<int64_t> kernel = ctx.node().attr_ints("kernel_shape");
  const std::vector<int64_t> strides = ctx.node().attr_ints("strides", std::vector<int64_t>(axes, 1));
  const std::vector<int64_t> pads = ctx.node().attr_ints("pads", std::vector<int64_t>(2 * axes, 0));
  if (kernel.size() != axes || strides.size() != axes || pads.size() != 2 * axes)
    return ctx.error("kernel_shape, strides or pads do not fit " + std::to_string(axes) + " spatial axes");
  Shape y{x[0], x[1]};
  for (size_t a = 0; a < axes; ++a) {
    constexpr int64_t kMax = int64_t{1} << 30;
    const int64_t d = x[a + 2];
    if (d > kMax || kernel[a] > kMax || strides[a] > kMax || std::abs(pads[a]) > kMax ||
        std::abs(pads[a + axes]) > kMax)
      return ctx.error("kernel_shape, strides or pads are out of range");
    const int64_t size = (d - 1) * strides[a] + kernel[a] - pads[a] - pads[axes + a];
    if (d >= 0 && size < 1) return ctx.error("the output would be empty");
    y.push_back(d < 0 ? kUnknownDim : size);
  }
  return y;
}

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  Shape y = PLANISH_TRY(pooled_from(ctx, ctx.shape(0)));
  if (ctx.has(2)) {
    const auto wanted = ctx.ints(2);
    if (wanted && wanted->size() != y.size()) return ctx.error("output_shape has the wrong length");
    y = wanted ? *wanted : Shape(y.size(), kUnknownDim);
  }
  ctx.set(0, ctx.dtype(0), std::move(y));
  return {};
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  const Tensor& x = ctx.in(0);
  const Tensor& indices = ctx.in(1);
  const Shape small = PLANISH_TRY(pooled_from(ctx, x.shape()));
  Shape shape = ctx.has(2) ? ctx.in(2).to_i64() : small;
  if (indices.shape() != x.shape() || shape.size() != small.size())
    return ctx.error("X, I and output_shape do not fit together");
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), shape));
  const ElementReader in(x);
  ElementWriter out(*y);
  const auto width = static_cast<size_t>(in.width());
  std::memset(out.data(), 0, static_cast<size_t>(y->size()) * width);
  const std::vector<int64_t> from = row_major_strides(small);
  const std::vector<int64_t> to = row_major_strides(shape);
  const int64_t limit = element_count(small);
  for (int64_t i = 0; i < x.size(); ++i) {
    const int64_t index = indices.int_at(i);
    if (index < 0 || index >= limit)
      return ctx.error("index " + std::to_string(index) + " is outside of " + to_string(small));
    int64_t at = 0;
    bool inside = true;
    for (size_t a = 0; a < small.size(); ++a) {
      const int64_t coordinate = index / from[a] % small[a];
      inside = inside && coordinate < shape[a];
      at += coordinate * to[a];
    }
    if (inside)
      std::memcpy(out.data() + static_cast<size_t>(at) * width, in.data() + static_cast<size_t>(i) * width, width);
  }
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "MaxUnpool", .since = 9, .shape_inputs = 1U << 2, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> max_unpool_ops() { return kOps; }

}  // namespace planish
