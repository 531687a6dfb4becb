#include "planish/onnx/quantised_forms.h"

#include <numeric>

namespace planish {
namespace {

/// In f32 and, when it has one element, a scalar; parameters that only the run knows are cast where their type needs
/// it.
ValueId normalised(AdaptContext& ctx, std::string_view stem, ValueId v, bool is_scale) {
  const Value& value = ctx.graph.value(v);
  const bool cast = is_scale && value.dtype != DType::f32 && value.dtype != DType::undefined;
  if (const Tensor* t = ctx.graph.constant_of(v)) {
    if (!cast && (t->size() != 1 || t->rank() == 0)) return v;
    Tensor changed = cast ? t->cast(DType::f32) : *t;
    if (changed.size() == 1) changed = changed.reshaped({});
    return ctx.constant(stem, std::move(changed));
  }
  return cast ? ctx.emit("Cast", {v}, {{"to", static_cast<int64_t>(DType::f32)}}) : v;
}

QuantParams normalised(AdaptContext& ctx, QuantParams params) {
  params.scale = normalised(ctx, "scale", params.scale, true);
  if (params.zero == kNoValue) return params;
  params.zero = normalised(ctx, "zero_point", params.zero, false);
  const Tensor* scale = ctx.graph.constant_of(params.scale);
  const Tensor* zero = ctx.graph.constant_of(params.zero);
  if (scale == nullptr || zero == nullptr || zero->rank() != 0 || scale->rank() == 0) return params;
  Tensor repeated(zero->dtype(), scale->shape());
  for (int64_t i = 0; i < repeated.size(); ++i) repeated.set(i, zero->at(0));
  params.zero = ctx.constant("zero_point", std::move(repeated));
  return params;
}

}  // namespace

bool is_single(const AdaptContext& ctx, ValueId v) {
  const auto& shape = ctx.graph.value(v).shape;
  return shape && element_count(*shape) == 1;
}

ValueId dequantize(AdaptContext& ctx, ValueId x, QuantParams params, int64_t axis) {
  const QuantParams p = normalised(ctx, params);
  std::vector<ValueId> inputs{x, p.scale};
  if (p.zero != kNoValue) inputs.push_back(p.zero);
  std::map<std::string, Attr> attrs;
  if (!is_single(ctx, p.scale)) attrs["axis"] = axis;
  return ctx.emit("DequantizeLinear", std::move(inputs), std::move(attrs));
}

void quantize_into(AdaptContext& ctx, ValueId x, QuantParams params, ValueId like, ValueId y) {
  QuantParams p = normalised(ctx, params);
  if (p.zero == kNoValue) p.zero = ctx.emit("CastLike", {ctx.constant("zero_point", Tensor::scalar_i64(0)), like});
  ctx.emit_into("QuantizeLinear", {x, p.scale, p.zero}, {y});
}

void quantize_output(AdaptContext& ctx, QuantParams params, ValueId like) {
  const ValueId quantised = ctx.node.outputs[0];
  ctx.node.outputs = {ctx.value("output")};
  quantize_into(ctx, ctx.node.outputs[0], params, like, quantised);
}

ValueId product_scale(AdaptContext& ctx, ValueId scale_a, ValueId scale_b) {
  const ValueId a_f32 = normalised(ctx, "scale", scale_a, true);
  const ValueId b_f32 = normalised(ctx, "scale", scale_b, true);
  const Tensor* a = ctx.graph.constant_of(a_f32);
  const Tensor* b = ctx.graph.constant_of(b_f32);
  if (a == nullptr || b == nullptr || a->size() != 1) return ctx.emit("Mul", {a_f32, b_f32});
  Tensor product(DType::f32, b->shape());
  for (int64_t i = 0; i < b->size(); ++i) product.data<float>()[i] = *a->data<float>() * b->data<float>()[i];
  return ctx.constant("bias_scale", std::move(product));
}

void become(Node& node, std::string_view op, std::vector<ValueId> inputs, std::map<std::string, Attr> attrs) {
  node.op = op;
  node.domain.clear();
  node.inputs = std::move(inputs);
  node.attrs = std::move(attrs);
}

ValueId scaled_integer_product(AdaptContext& ctx, ValueId a, QuantParams a_params, ValueId b, QuantParams b_params) {
  std::vector<ValueId> inputs{a, b};
  if (a_params.zero != kNoValue || b_params.zero != kNoValue) inputs.push_back(a_params.zero);
  if (b_params.zero != kNoValue) inputs.push_back(b_params.zero);
  const ValueId sums = ctx.emit("MatMulInteger", std::move(inputs));
  const ValueId real = ctx.emit("Cast", {sums}, {{"to", static_cast<int64_t>(DType::f32)}});
  return ctx.emit("Mul", {real, ctx.emit("Mul", {a_params.scale, b_params.scale})});
}

Result<ValueId> dequantize_columns(AdaptContext& ctx, ValueId b, QuantParams params, bool transposed) {
  if (is_single(ctx, params.scale)) return dequantize(ctx, b, params);
  const int64_t rank = ctx.declared_rank(b);
  if (ctx.declared_rank(params.scale) != 1 || rank < 1)
    return ctx.error("the scale of operand B must be a scalar, or a vector for weights of known rank",
                     "make the weights and their scales initialisers");
  return dequantize(ctx, b, params, transposed ? 0 : rank - 1);
}

ValueId to_channels_first(AdaptContext& ctx, ValueId x, int64_t rank) {
  std::vector<int64_t> perm(static_cast<size_t>(rank));
  perm[1] = rank - 1;
  std::iota(perm.begin() + 2, perm.end(), 1);
  return ctx.emit("Transpose", {x}, {{"perm", std::move(perm)}});
}

void to_channels_last(AdaptContext& ctx, ValueId x, ValueId y, int64_t rank) {
  std::vector<int64_t> perm(static_cast<size_t>(rank));
  std::iota(perm.begin() + 1, perm.end(), 2);
  perm.back() = 1;
  ctx.emit_into("Transpose", {x}, {y}, {{"perm", std::move(perm)}});
}

}  // namespace planish
