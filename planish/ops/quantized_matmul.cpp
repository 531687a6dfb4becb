// MatMulInteger and QLinearMatMul: matrix products of quantised operands.
// https://onnx.ai/onnx/operators/ (MatMulInteger, QLinearMatMul)

#include <algorithm>
#include <array>
#include <vector>

#include "planish/ops/broadcast.h"
#include "planish/ops/checks.h"
#include "planish/ops/gemm.h"
#include "planish/ops/infer_graph.h"
#include "planish/ops/matmul_shape.h"
#include "planish/ops/quantization.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

template <typename Context>
Result<MatMulShape> shape_of(const Context& ctx, const Shape& a, const Shape& b) {
  auto shape = resolve_matmul(a, b);
  if (shape) return *std::move(shape);
  Error e = ctx.error("shapes " + to_string(a) + " and " + to_string(b) + " do not multiply");
  e.code = Code::shape_mismatch;
  return e;
}

/// A scale or zero point of operand A per row: a vector [M] stands for a column [M,1]. What does not broadcast to
/// `target` is an error.
Result<Tensor> aligned(const RefContext& ctx, const Tensor& parameter, const Shape& target, bool per_row) {
  Tensor t = parameter;
  if (t.size() == 1)
    t = t.reshaped({});
  else if (per_row && t.rank() == 1 && target.size() >= 2)
    t = t.reshaped({t.dim(0), 1});
  if (broadcast_shapes(t.shape(), target) != std::optional(target))
    return ctx.error("a scale or zero point of shape " + to_string(parameter.shape()) + " does not fit " +
                     to_string(target));
  return t;
}

/// operand - zero point, in type T; `zero_point` may be nullptr. Wide is double, or uint64_t for arithmetic that wraps.
template <typename T, typename Wide>
Result<std::vector<T>> centred(const RefContext& ctx, const Tensor& operand, const Tensor* zero_point, bool per_row) {
  std::vector<Wide> values(static_cast<size_t>(operand.size()));
  load_elements(operand.dtype(), operand.raw(), 0, 1, operand.size(), values.data());
  if (zero_point != nullptr) {
    const Tensor zero = PLANISH_TRY(aligned(ctx, *zero_point, operand.shape(), per_row));
    std::vector<Wide> zeros(values.size());
    BroadcastReader(zero, operand.shape()).read(operand.size(), zeros.data());
    for (size_t i = 0; i < values.size(); ++i) values[i] -= zeros[i];
  }
  if constexpr (std::is_same_v<T, Wide>) {
    return values;
  } else {
    return std::vector<T>(values.begin(), values.end());
  }
}

/// All products of the batch; y must be zero.
template <typename T>
void multiply(const MatMulShape& s, const std::vector<T>& a, const std::vector<T>& b, T* y) {
  StridedCursor a_at(s.batch, broadcast_strides(s.a_batch, s.batch));
  StridedCursor b_at(s.batch, broadcast_strides(s.b_batch, s.batch));
  for (int64_t i = 0, n = element_count(s.batch); i < n; ++i) {
    const MatrixView<T> A{a.data() + a_at.next(1).offset * s.m * s.k, s.k, 1};
    const MatrixView<T> B{b.data() + b_at.next(1).offset * s.k * s.n, s.n, 1};
    gemm(s.m, s.n, s.k, A, B, y + i * s.m * s.n, s.n);
  }
}

Status infer_matmul_integer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  const MatMulShape s = PLANISH_TRY(shape_of(ctx, ctx.shape(0), ctx.shape(1)));
  ctx.set(0, DType::i32, s.y);
  return {};
}

Status reference_matmul_integer(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  const MatMulShape s = PLANISH_TRY(shape_of(ctx, ctx.in(0).shape(), ctx.in(1).shape()));
  const auto a = PLANISH_TRY((centred<uint32_t, uint64_t>(ctx, ctx.in(0), ctx.has(2) ? &ctx.in(2) : nullptr, true)));
  const auto b = PLANISH_TRY((centred<uint32_t, uint64_t>(ctx, ctx.in(1), ctx.has(3) ? &ctx.in(3) : nullptr, false)));
  Tensor* y = PLANISH_TRY(ctx.output(0, DType::i32, s.y));
  std::fill_n(y->data<uint32_t>(), y->size(), 0U);
  multiply(s, a, b, y->data<uint32_t>());  // modulo 2^32: the two's complement of the signed sum
  return {};
}

Status infer_qlinear_matmul(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 8));
  PLANISH_TRY(require_real(ctx));
  const MatMulShape s = PLANISH_TRY(shape_of(ctx, ctx.shape(0), ctx.shape(3)));
  ctx.set(0, ctx.dtype(7), s.y);
  return {};
}

/// One value of `parameter` per output element; vectors count output rows or columns.
Result<std::vector<double>> per_output(const RefContext& ctx, size_t input, const Shape& y, bool per_row) {
  const Tensor t = PLANISH_TRY(aligned(ctx, ctx.in(input), y, per_row));
  std::vector<double> values(static_cast<size_t>(element_count(y)));
  BroadcastReader(t, y).read(static_cast<int64_t>(values.size()), values.data());
  return values;
}

Status reference_qlinear_matmul(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 8));
  PLANISH_TRY(require_real(ctx));
  const MatMulShape s = PLANISH_TRY(shape_of(ctx, ctx.in(0).shape(), ctx.in(3).shape()));
  // double holds sums of 8-bit products exactly, and FP8 operands need it anyway.
  const auto a = PLANISH_TRY((centred<double, double>(ctx, ctx.in(0), &ctx.in(2), true)));
  const auto b = PLANISH_TRY((centred<double, double>(ctx, ctx.in(3), &ctx.in(5), false)));
  std::vector<double> sums(static_cast<size_t>(element_count(s.y)), 0.0);
  multiply(s, a, b, sums.data());
  const auto a_scale = PLANISH_TRY(per_output(ctx, 1, s.y, true));
  const auto b_scale = PLANISH_TRY(per_output(ctx, 4, s.y, false));
  const auto y_scale = PLANISH_TRY(per_output(ctx, 6, s.y, true));
  const auto y_zero = PLANISH_TRY(per_output(ctx, 7, s.y, true));
  const DType type = ctx.in(7).dtype();
  Tensor* y = PLANISH_TRY(ctx.output(0, type, s.y));
  const IntegerRange range = integer_range(type);
  for (size_t i = 0; i < sums.size(); ++i) {
    // One multiplier in float, as the scales are: what implementations with integer kernels apply.
    const float scale = static_cast<float>(a_scale[i] * b_scale[i]) / static_cast<float>(y_scale[i]);
    const double value = sums[i] * static_cast<double>(scale);
    y->set(static_cast<int64_t>(i),
           dtype_is_integer(type) ? quantize_to_integer(value, y_zero[i], range) : value + y_zero[i]);
  }
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "MatMulInteger", .since = 10, .infer = infer_matmul_integer, .reference = reference_matmul_integer},
    OpDecl{.name = "QLinearMatMul", .since = 10, .infer = infer_qlinear_matmul, .reference = reference_qlinear_matmul},
};

}  // namespace

std::span<const OpDecl> quantized_matmul_ops() { return kOps; }

}  // namespace planish
