// Matrix products of quantised operands. Static ones become MatMul or Gemm between DequantizeLinear and
// QuantizeLinear; dynamic ones, whose scale only the run knows, become DynamicQuantizeLinear, MatMulInteger and a
// multiplication by the scales, the form that quantize_dynamic writes.
// https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md

#include <fmt/format.h>

#include <array>
#include <string>
#include <utility>

#include "planish/onnx/quantised_forms.h"

namespace planish {
namespace {

constexpr int64_t kAll = 1000;  // any opset

/// Inputs a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero. Scales per row of A and per column of a batch have
/// no DequantizeLinear of their own: such nodes stay as they are.
Status qlinear_matmul(AdaptContext& ctx) {
  const Node n = ctx.node;
  const bool columns = ctx.declared_rank(n.in(4)) == 1 && ctx.declared_rank(n.in(3)) >= 1;
  if (!is_single(ctx, n.in(1)) || !is_single(ctx, n.in(6)) || (!is_single(ctx, n.in(4)) && !columns)) return {};
  const ValueId a = dequantize(ctx, n.in(0), {n.in(1), n.in(2)});
  const ValueId b = PLANISH_TRY(dequantize_columns(ctx, n.in(3), {n.in(4), n.in(5)}));
  become(ctx.node, "MatMul", {a, b});
  quantize_output(ctx, {n.in(6), n.in(7)}, n.in(0));
  return {};
}

/// Inputs A, a_scale, a_zero, B, b_scale, b_zero, C?, y_scale?, y_zero?. C is int32 in units of alpha * a_scale *
/// b_scale; without y_scale the output is float.
Status qgemm(AdaptContext& ctx) {
  const Node n = ctx.node;
  const bool trans_b = n.attr_int("transB", 0) != 0;
  const float alpha = n.attr_float("alpha", 1.0F);
  const ValueId a = dequantize(ctx, n.in(0), {n.in(1), n.in(2)});
  const ValueId b = PLANISH_TRY(dequantize_columns(ctx, n.in(3), {n.in(4), n.in(5)}, trans_b));
  std::vector<ValueId> inputs{a, b};
  if (ctx.has_input(6)) {
    ValueId scale = product_scale(ctx, n.in(1), n.in(4));
    if (alpha != 1.0F) scale = product_scale(ctx, ctx.constant("alpha", Tensor::scalar_f32(alpha)), scale);
    const int64_t rank = ctx.declared_rank(n.in(6));
    if (!is_single(ctx, scale) && rank < 1) return ctx.error("the rank of C is not known", "make C an initialiser");
    inputs.push_back(dequantize(ctx, n.in(6), {scale}, rank - 1));
  }
  become(ctx.node, "Gemm", std::move(inputs),
         {{"transA", n.attr_int("transA", 0)}, {"transB", int64_t{trans_b}}, {"alpha", alpha}});
  if (ctx.has_output(0) && n.in(7) != kNoValue) quantize_output(ctx, {n.in(7), n.in(8)}, n.in(0));
  return {};
}

/// The node adds the bias to `product`, or is another name for it.
void finish_with_bias(AdaptContext& ctx, ValueId product, ValueId bias) {
  if (bias == kNoValue)
    become(ctx.node, "Identity", {product});
  else
    become(ctx.node, "Add", {product, bias});
}

/// Inputs A, B, a_scale, b_scale, a_zero?, b_zero?, bias?. A constant a_scale means static quantisation.
Status matmul_integer_to_float(AdaptContext& ctx) {
  const Node n = ctx.node;
  const QuantParams a_params{n.in(2), n.in(4)};
  const QuantParams b_params{n.in(3), n.in(5)};
  if (ctx.graph.constant_of(n.in(2)) == nullptr || !is_single(ctx, n.in(2))) {
    finish_with_bias(ctx, scaled_integer_product(ctx, n.in(0), a_params, n.in(1), b_params), n.in(6));
    return {};
  }
  const ValueId a = dequantize(ctx, n.in(0), a_params);
  const ValueId b = PLANISH_TRY(dequantize_columns(ctx, n.in(1), b_params));
  finish_with_bias(ctx, ctx.emit("MatMul", {a, b}), n.in(6));
  return {};
}

/// Inputs A (float), B, b_scale, b_zero?, bias?.
Status dynamic_quantize_matmul(AdaptContext& ctx) {
  const Node n = ctx.node;
  const ValueId a = ctx.value("quantised");
  const QuantParams a_params{ctx.value("scale"), ctx.value("zero_point")};
  ctx.emit_into("DynamicQuantizeLinear", {n.in(0)}, {a, a_params.scale, a_params.zero});
  finish_with_bias(ctx, scaled_integer_product(ctx, a, a_params, n.in(1), {n.in(2), n.in(3)}), n.in(4));
  return {};
}

/// Weights of LSTM, transposed to [directions, input, 4 * hidden] there, with one scale per direction or per column.
Result<ValueId> lstm_weights(AdaptContext& ctx, ValueId weights, QuantParams params) {
  const Tensor* w = ctx.graph.constant_of(weights);
  const Tensor* scale = ctx.graph.constant_of(params.scale);
  const Tensor* zero = ctx.graph.constant_of(params.zero);
  if (w == nullptr || scale == nullptr || zero == nullptr || w->rank() != 3 || w->size() == 0)
    return ctx.error("its weights, scales and zero points must be initialisers");
  const int64_t directions = w->dim(0);
  const int64_t columns = w->dim(2);
  const bool per_column = scale->size() == directions * columns;
  if (!per_column && scale->size() != directions)
    return ctx.error(
        fmt::format("its scales have shape {}, expected one per direction or per column", to_string(scale->shape())));
  if (zero->size() != scale->size()) return ctx.error("its scales and zero points differ in shape");
  Tensor real(DType::f32, {directions, columns, w->dim(1)});
  int64_t at = 0;
  for (int64_t d = 0; d < directions; ++d)
    for (int64_t c = 0; c < columns; ++c) {
      const int64_t group = per_column ? d * columns + c : d;
      for (int64_t i = 0; i < w->dim(1); ++i)
        real.data<float>()[at++] =
            static_cast<float>((w->at((d * w->dim(1) + i) * columns + c) - zero->at(group)) * scale->at(group));
    }
  return ctx.constant("weights", std::move(real));
}

/// Inputs of LSTM, then W_scale, W_zero, R_scale, R_zero. X and the state stay in float here, which ONNX Runtime
/// quantises at every step.
Status dynamic_quantize_lstm(AdaptContext& ctx) {
  const Node n = ctx.node;
  const ValueId w = PLANISH_TRY(lstm_weights(ctx, n.in(1), {n.in(8), n.in(9)}));
  const ValueId r = PLANISH_TRY(lstm_weights(ctx, n.in(2), {n.in(10), n.in(11)}));
  std::vector<ValueId> inputs(n.inputs.begin(), n.inputs.begin() + 8);
  inputs[1] = w;
  inputs[2] = r;
  while (inputs.back() == kNoValue) inputs.pop_back();
  become(ctx.node, "LSTM", std::move(inputs), n.attrs);
  return {};
}

constexpr std::array kRows{
    Adapter{"DynamicQuantizeLSTM", 0, kAll, dynamic_quantize_lstm, kMicrosoftDomain, 0xf07},
    Adapter{"DynamicQuantizeMatMul", 0, kAll, dynamic_quantize_matmul, kMicrosoftDomain, 0x7},
    Adapter{"MatMulIntegerToFloat", 0, kAll, matmul_integer_to_float, kMicrosoftDomain, 0xf},
    Adapter{"QGemm", 0, kAll, qgemm, kMicrosoftDomain, 0x3f},
    Adapter{"QLinearMatMul", 10, kAll, qlinear_matmul, "", 0xff},
    Adapter{"QLinearMatMul", 0, kAll, qlinear_matmul, kMicrosoftDomain, 0xff},
};

}  // namespace

std::span<const Adapter> quantised_matmul_adapters() { return kRows; }

}  // namespace planish
