// planish.WeightOnlyMatMul: a product of float activations with a constant matrix of integers.
//
//   A [..., M, K], B [K, N] or with trans_b [N, K] (i4, u4, i8, u8), bias?, R?, scale [blocks, N], zero? [blocks, N]
//   -> act(A (B - zero) * scale + bias + R)
//
// Attributes: those of planish.FusedMatMul but trans_a and alpha; block_size: rows of B that share a scale and a zero
// point (0: all). The zero point has B's type.

#include "planish/ops/weight_only.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "planish/base/parallel.h"
#include "planish/ops/checks.h"
#include "planish/ops/infer_graph.h"
#include "planish/ops/quantization.h"
#include "planish/ops/registry.h"

namespace planish {

namespace {

Error mismatch(const Node& node, std::string what) {
  return Error{.code = Code::shape_mismatch,
               .node = node.name,
               .what = std::move(what),
               .fix = "export the model again, or build the engine again"};
}

Status check_types(const Node& node, DType b, DType scale, DType zero) {
  const auto refuse = [&node](std::string_view what, DType got) {
    return Error{.code = Code::unsupported,
                 .node = node.name,
                 .what = std::string(what) + ", not " + std::string(dtype_name(got)),
                 .fix = "export the model again, or build the engine again"};
  };
  if (b != DType::i4 && b != DType::u4 && b != DType::i8 && b != DType::u8)
    return refuse("B must hold integers of 4 or 8 bits", b);
  if (scale != DType::f32) return refuse("the scales must be f32", scale);
  if (zero != DType::undefined && zero != b) return refuse("the zero points must have B's type", zero);
  return {};
}

}  // namespace

Result<WeightOnlyMatrix> weight_only_matrix(const Node& node, const TypedShape& b_input, const TypedShape& scale,
                                            const TypedShape& zero) {
  PLANISH_TRY(check_types(node, b_input.dtype, scale.dtype, zero.dtype));
  const Shape& b = b_input.shape;
  if (b.size() != 2) return mismatch(node, "B has shape " + to_string(b) + "; it must be a matrix");
  const bool by_column = node.attr_int("trans_b", 0) != 0;
  WeightOnlyMatrix w{.k = b[by_column ? 1 : 0], .n = b[by_column ? 0 : 1]};
  // Sizes in bytes, also of padded panels, are computed from products of these.
  constexpr int64_t kMaxElements = int64_t{1} << 48;
  if (w.k < 1 || w.n < 1 || element_count(b) > kMaxElements)
    return mismatch(node, "B has shape " + to_string(b) + "; its sizes must be known, and more than none");
  w.k_stride = by_column ? 1 : w.n;
  w.n_stride = by_column ? w.k : 1;
  const int64_t block = node.attr_int("block_size", 0);
  if (block < 0) return mismatch(node, "block_size is negative");
  w.block = block == 0 ? w.k : std::min(block, w.k);
  const Shape expected{w.blocks(), w.n};
  if (scale.shape != expected)
    return mismatch(node, "the scales have shape " + to_string(scale.shape) + ", expected " + to_string(expected));
  if (zero.dtype != DType::undefined && zero.shape != expected)
    return mismatch(node, "the zero points have shape " + to_string(zero.shape) + ", expected " + to_string(expected));
  return w;
}

Status check_weight_only_rows(const Node& node, const TypedShape& a, const WeightOnlyMatrix& w) {
  if (!dtype_is_float(a.dtype))
    return Error{.code = Code::unsupported,
                 .node = node.name,
                 .what = "A must hold floating point numbers, not " + std::string(dtype_name(a.dtype)),
                 .fix = "cast it"};
  if (a.shape.size() < 2 || (a.shape.back() >= 0 && a.shape.back() != w.k))
    return mismatch(node, "cannot multiply " + to_string(a.shape) + " by a matrix of " + std::to_string(w.k) + " rows");
  return {};
}

Node widened_node(const Node& node) {
  Node out = node;
  out.op = "FusedMatMul";
  out.inputs.resize(std::min<size_t>(out.inputs.size(), kWeightOnlyScale));
  for (const char* attr : {"block_size", "trans_a", "alpha"}) out.attrs.erase(attr);
  while (!out.inputs.empty() && out.inputs.back() == kNoValue) out.inputs.pop_back();
  return out;
}

namespace {

/// Calls f(k, n, place in B, place in the parameters) for all elements; rows of B are shared out between threads.
template <typename F>
void for_each_weight(const WeightOnlyMatrix& w, F f) {
  parallel_for(w.k, 64, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k)
      for (int64_t n = 0; n < w.n; ++n) f(k * w.k_stride + n * w.n_stride, k / w.block * w.n + n);
  });
}

std::vector<float> floats_of(const Tensor& t) {
  std::vector<float> out(static_cast<size_t>(t.size()));
  for (int64_t i = 0; i < t.size(); ++i) out[static_cast<size_t>(i)] = static_cast<float>(t.at(i));
  return out;
}

int integer_at(DType type, const void* data, int64_t i) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  switch (type) {
    case DType::i8: return static_cast<int8_t>(bytes[i]);
    case DType::u8: return bytes[i];
    default: break;
  }
  const int nibble = bytes[i / 2] >> (i % 2 * 4) & 0xf;
  return type == DType::i4 && nibble > 7 ? nibble - 16 : nibble;
}

}  // namespace

Tensor widened_weights(const WeightOnlyMatrix& w, const Tensor& b, const Tensor& scale, const Tensor* zero) {
  Tensor out(DType::f32, b.shape());
  auto* to = out.data<float>();
  const std::vector<float> scales = floats_of(scale);
  std::vector<float> zeros(scales.size());
  if (zero != nullptr) zeros = floats_of(*zero);
  for_each_weight(w, [&](int64_t i, int64_t parameter) {
    const auto p = static_cast<size_t>(parameter);
    to[i] = (static_cast<float>(integer_at(b.dtype(), b.raw(), i)) - zeros[p]) * scales[p];
  });
  return out;
}

Tensor narrowed_weights(const WeightOnlyMatrix& w, const Tensor& widened, DType type, const Tensor& scale,
                        const Tensor* zero) {
  Tensor out(type, widened.shape());
  const auto* from = widened.data<float>();
  const IntegerRange range = integer_range(type);
  // Two 4-bit elements share a byte: threads would overwrite each other's.
  for (int64_t k = 0; k < w.k; ++k)
    for (int64_t n = 0; n < w.n; ++n) {
      const int64_t i = k * w.k_stride + n * w.n_stride;
      const int64_t p = k / w.block * w.n + n;
      const double step = scale.at(p);
      const double q = step == 0 ? 0.0 : static_cast<double>(from[i]) / step;
      out.set(i, quantize_to_integer(q, zero == nullptr ? 0.0 : zero->at(p), range));
    }
  return out;
}

namespace {

template <typename Context>
Status require_operands(const Context& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  if (!ctx.has(kWeightOnlyScale)) return ctx.error("the scales are missing");
  return {};
}

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_operands(ctx));
  const auto typed = [&ctx](size_t i) { return ctx.has(i) ? TypedShape{ctx.dtype(i), ctx.shape(i)} : TypedShape{}; };
  const WeightOnlyMatrix w =
      PLANISH_TRY(weight_only_matrix(ctx.node(), typed(kWeightOnlyB), typed(kWeightOnlyScale), typed(kWeightOnlyZero)));
  PLANISH_TRY(check_weight_only_rows(ctx.node(), typed(kWeightOnlyA), w));
  Shape y = ctx.shape(kWeightOnlyA);
  y.back() = w.n;
  for (const size_t i : {kWeightOnlyBias, kWeightOnlyResidual})
    if (ctx.has(i) && broadcast_shapes(ctx.shape(i), y) != y && is_static(ctx.shape(i)) && is_static(y))
      return ctx.error(to_string(ctx.shape(i)) + " does not broadcast to the product's shape " + to_string(y));
  ctx.set(0, PLANISH_TRY(y_type_attr(ctx, ctx.dtype(kWeightOnlyA))), std::move(y));
  return {};
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_operands(ctx));
  const Tensor& b = ctx.in(kWeightOnlyB);
  const Tensor& scale = ctx.in(kWeightOnlyScale);
  const Tensor* zero = ctx.has(kWeightOnlyZero) ? &ctx.in(kWeightOnlyZero) : nullptr;
  const auto typed = [](const Tensor* t) { return t == nullptr ? TypedShape{} : TypedShape{t->dtype(), t->shape()}; };
  const WeightOnlyMatrix w = PLANISH_TRY(weight_only_matrix(ctx.node(), typed(&b), typed(&scale), typed(zero)));
  PLANISH_TRY(check_weight_only_rows(ctx.node(), typed(&ctx.in(kWeightOnlyA)), w));
  const Tensor widened = widened_weights(w, b, scale, zero).cast(ctx.in(kWeightOnlyA).dtype());
  const Node product = widened_node(ctx.node());
  std::vector<const Tensor*> inputs{&ctx.in(kWeightOnlyA), &widened};
  for (size_t i = kWeightOnlyBias; i < product.inputs.size(); ++i) inputs.push_back(ctx.has(i) ? &ctx.in(i) : nullptr);
  std::array<Tensor, 1> out;
  PLANISH_TRY(run_reference(product, inputs, out));
  Tensor* y = PLANISH_TRY(ctx.output(0, out[0].dtype(), out[0].shape()));
  std::copy_n(static_cast<const std::byte*>(out[0].raw()), out[0].bytes(), static_cast<std::byte*>(y->raw()));
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "WeightOnlyMatMul", .domain = "planish", .since = 1, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> weight_only_ops() { return kOps; }

}  // namespace planish
