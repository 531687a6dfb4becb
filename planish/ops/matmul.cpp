// MatMul, Gemm and our FusedMatMul.
// https://onnx.ai/onnx/operators/onnx__MatMul.html, onnx__Gemm.html
//
// planish.FusedMatMul(A, B, bias?, R?): y = act(alpha * A' * B' + bias + R), or act(...) + R with residual_last = 1;
// A' and B' have their last two dimensions swapped when trans_a / trans_b are set. com.microsoft.FusedMatMul is the
// same with the attribute spellings transA, transB.

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "planish/ops/broadcast.h"
#include "planish/ops/checks.h"
#include "planish/ops/float_view.h"
#include "planish/ops/fused_epilogue.h"
#include "planish/ops/gemm.h"
#include "planish/ops/infer_graph.h"
#include "planish/ops/matmul_shape.h"
#include "planish/ops/registry.h"

namespace planish {

std::optional<MatMulShape> resolve_matmul(const Shape& a_in, const Shape& b_in, bool trans_a, bool trans_b) {
  if (a_in.empty() || b_in.empty()) return std::nullopt;
  Shape a = a_in;
  Shape b = b_in;
  if (a.size() == 1)
    a.insert(a.begin(), 1);
  else if (trans_a)
    std::swap(a[a.size() - 1], a[a.size() - 2]);
  if (b.size() == 1)
    b.push_back(1);
  else if (trans_b)
    std::swap(b[b.size() - 1], b[b.size() - 2]);
  MatMulShape s{.m = a[a.size() - 2], .n = b.back(), .k = a.back() < 0 ? b[b.size() - 2] : a.back()};
  if (a.back() >= 0 && b[b.size() - 2] >= 0 && a.back() != b[b.size() - 2]) return std::nullopt;
  s.a_batch.assign(a.begin(), a.end() - 2);
  s.b_batch.assign(b.begin(), b.end() - 2);
  auto batch = broadcast_shapes(s.a_batch, s.b_batch);
  if (!batch) return std::nullopt;
  s.batch = std::move(*batch);
  s.y = s.batch;
  if (a_in.size() > 1) s.y.push_back(s.m);
  if (b_in.size() > 1) s.y.push_back(s.n);
  return s;
}

namespace {

struct Transposes {
  bool a = false;
  bool b = false;
};

Transposes transposes(const Node& node) {
  if (node.domain == "planish") return {node.attr_int("trans_a", 0) != 0, node.attr_int("trans_b", 0) != 0};
  if (node.domain == "com.microsoft" || node.op == "Gemm")
    return {node.attr_int("transA", 0) != 0, node.attr_int("transB", 0) != 0};
  return {};
}

template <typename Context>
Result<MatMulShape> resolve(const Context& ctx, const Shape& a, const Shape& b) {
  const Transposes t = transposes(ctx.node());
  auto s = resolve_matmul(a, b, t.a, t.b);
  if (!s)
    return ctx.error("cannot multiply " + to_string(a) + (t.a ? " (transposed)" : "") + " by " + to_string(b) +
                     (t.b ? " (transposed)" : ""));
  return std::move(*s);
}

/// y += a * b for every matrix of the batch.
template <typename T>
void multiply(const MatMulShape& s, Transposes t, const T* a, const T* b, T* y) {
  const std::vector<int64_t> a_strides = broadcast_strides(s.a_batch, s.batch);
  const std::vector<int64_t> b_strides = broadcast_strides(s.b_batch, s.batch);
  std::vector<int64_t> index(s.batch.size(), 0);
  const int64_t count = element_count(s.batch);
  for (int64_t i = 0; i < count; ++i) {
    int64_t a_at = 0;
    int64_t b_at = 0;
    for (size_t d = 0; d < index.size(); ++d) {
      a_at += index[d] * a_strides[d];
      b_at += index[d] * b_strides[d];
    }
    const MatrixView<T> A{a + a_at * s.m * s.k, t.a ? 1 : s.k, t.a ? s.m : 1};
    const MatrixView<T> B{b + b_at * s.k * s.n, t.b ? 1 : s.n, t.b ? s.k : 1};
    gemm<T>(s.m, s.n, s.k, A, B, y + i * s.m * s.n, s.n);
    for (size_t d = index.size(); d-- > 0;) {
      if (++index[d] < s.batch[d]) break;
      index[d] = 0;
    }
  }
}

/// Products of integers, modulo 2^32 or 2^64, which is what the operand type can hold.
template <typename T>
Status multiply_integers(const MatMulShape& s, const Tensor& a, const Tensor& b, Tensor& y) {
  if (y.bytes() != 0) std::memset(y.raw(), 0, y.bytes());
  multiply<T>(s, {}, a.data<T>(), b.data<T>(), y.data<T>());
  return {};
}

Status infer_matmul(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  ctx.set(0, PLANISH_TRY(y_type_attr(ctx, ctx.dtype(0))), PLANISH_TRY(resolve(ctx, ctx.shape(0), ctx.shape(1))).y);
  return {};
}

Status reference_matmul(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  const Tensor& a = ctx.in(0);
  const Tensor& b = ctx.in(1);
  const MatMulShape s = PLANISH_TRY(resolve(ctx, a.shape(), b.shape()));
  const Tensor* bias = ctx.has(2) ? &ctx.in(2) : nullptr;
  const Tensor* residual = ctx.has(3) ? &ctx.in(3) : nullptr;
  for (const Tensor* extra : {bias, residual})
    if (extra != nullptr && broadcast_shapes(extra->shape(), s.y) != s.y)
      return ctx.error(to_string(extra->shape()) + " does not broadcast to the product's shape " + to_string(s.y));
  const FusedEpilogue epilogue = PLANISH_TRY(read_epilogue(ctx.node()));
  const DType type = PLANISH_TRY(y_type_attr(ctx, a.dtype()));
  Tensor* y = PLANISH_TRY(ctx.output(0, type, s.y));
  if (dtype_is_integer(a.dtype())) {
    if (a.dtype() != b.dtype() || dtype_bits(a.dtype()) < 32 || !ctx.node().domain.empty())
      return ctx.error("cannot multiply integer types " + std::string(dtype_name(a.dtype())) + " and " +
                       std::string(dtype_name(b.dtype())));
    return dtype_bits(a.dtype()) == 32 ? multiply_integers<uint32_t>(s, a, b, *y)
                                       : multiply_integers<uint64_t>(s, a, b, *y);
  }
  const float alpha = ctx.node().attr_float("alpha", 1);
  return in_float_arithmetic(a.dtype(), [&](auto zero) -> Status {
    using T = decltype(zero);
    const FloatInput<T> in_a(a);
    const FloatInput<T> in_b(b);
    FloatOutput<T> out(*y);
    const int64_t size = y->size();
    std::fill_n(out.data(), size, T{});
    multiply<T>(s, transposes(ctx.node()), in_a.data(), in_b.data(), out.data());
    if (alpha != 1)
      for (int64_t i = 0; i < size; ++i) out[i] *= static_cast<T>(alpha);
    apply_epilogue(FusedEpilogue{}, bias, s.y, out.data());
    apply_epilogue(epilogue, residual, s.y, out.data());
    out.finish();
    return {};
  });
}

Status infer_gemm(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  if (ctx.rank(0) != 2 || ctx.rank(1) != 2) return ctx.error("A and B must be matrices");
  ctx.set(0, ctx.dtype(0), PLANISH_TRY(resolve(ctx, ctx.shape(0), ctx.shape(1))).y);
  return {};
}

Status reference_gemm(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  const Tensor& a = ctx.in(0);
  if (a.rank() != 2 || ctx.in(1).rank() != 2) return ctx.error("A and B must be matrices");
  const MatMulShape s = PLANISH_TRY(resolve(ctx, a.shape(), ctx.in(1).shape()));
  const Tensor* c = ctx.has(2) ? &ctx.in(2) : nullptr;
  if (c != nullptr && broadcast_shapes(c->shape(), s.y) != s.y)
    return ctx.error("C of shape " + to_string(c->shape()) + " does not broadcast to " + to_string(s.y));
  Tensor* y = PLANISH_TRY(ctx.output(0, a.dtype(), s.y));
  const float alpha = ctx.node().attr_float("alpha", 1);
  const float beta = ctx.node().attr_float("beta", 1);
  const Transposes t = transposes(ctx.node());
  if (dtype_is_integer(a.dtype())) {
    // Rare; doubles hold the products of what exporters write (alpha and beta are floats anyway).
    const FloatInput<double> in_a(a);
    const FloatInput<double> in_b(ctx.in(1));
    FloatOutput<double> out(*y);
    std::fill_n(out.data(), y->size(), 0.0);
    multiply<double>(s, t, in_a.data(), in_b.data(), out.data());
    for (int64_t i = 0; i < y->size(); ++i) out[i] *= static_cast<double>(alpha);
    if (c != nullptr) {
      std::vector<double> addend(static_cast<size_t>(y->size()));
      BroadcastReader(*c, s.y).read(y->size(), addend.data());
      for (int64_t i = 0; i < y->size(); ++i) out[i] += static_cast<double>(beta) * addend[static_cast<size_t>(i)];
    }
    out.finish();
    return {};
  }
  return in_float_arithmetic(a.dtype(), [&](auto zero) -> Status {
    using T = decltype(zero);
    const FloatInput<T> in_a(a);
    const FloatInput<T> in_b(ctx.in(1));
    FloatOutput<T> out(*y);
    const int64_t size = y->size();
    std::fill_n(out.data(), size, T{});
    multiply<T>(s, t, in_a.data(), in_b.data(), out.data());
    std::vector<T> addend(c != nullptr ? static_cast<size_t>(size) : 0);
    if (c != nullptr) BroadcastReader(*c, s.y).read(size, addend.data());
    for (int64_t i = 0; i < size; ++i)
      out[i] =
          static_cast<T>(alpha) * out[i] + (c != nullptr ? static_cast<T>(beta) * addend[static_cast<size_t>(i)] : T{});
    out.finish();
    return {};
  });
}

constexpr std::array kOps{
    OpDecl{.name = "FusedMatMul",
           .domain = "com.microsoft",
           .since = 1,
           .infer = infer_matmul,
           .reference = reference_matmul},
    OpDecl{
        .name = "FusedMatMul", .domain = "planish", .since = 1, .infer = infer_matmul, .reference = reference_matmul},
    OpDecl{.name = "Gemm", .since = 1, .one_type = 0b111, .infer = infer_gemm, .reference = reference_gemm},
    OpDecl{.name = "MatMul", .since = 1, .one_type = 0b11, .infer = infer_matmul, .reference = reference_matmul},
};

}  // namespace

std::span<const OpDecl> matmul_ops() { return kOps; }

}  // namespace planish
