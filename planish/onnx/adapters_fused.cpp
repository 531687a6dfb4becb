// Fused float operators that ONNX Runtime's optimiser writes into saved models: each becomes the operators it stands
// for. Attention and embeddings are in adapters_transformer.cpp.
// https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <string>
#include <utility>

#include "planish/onnx/quantised_forms.h"

namespace planish {
namespace {

constexpr int64_t kAll = 1000;  // any opset

float parameter(const std::vector<float>& values, size_t i, float fallback) {
  return i < values.size() ? values[i] : fallback;
}

/// Applies the activation called `name` between the node's new output and its old one. `params` hold its attributes
/// in the order in which ONNX lists them.
Status append_activation(AdaptContext& ctx, const std::string& name, const std::vector<float>& params) {
  if (name.empty()) return {};
  const ValueId y = ctx.node.outputs[0];
  const ValueId x = ctx.value("linear");
  std::vector<ValueId> inputs{x};
  std::map<std::string, Attr> attrs;
  if (name == "Clip") {
    if (params.size() != 2) return ctx.error("Clip needs two activation parameters");
    inputs.push_back(ctx.constant("min", Tensor::scalar_f32(params[0])));
    inputs.push_back(ctx.constant("max", Tensor::scalar_f32(params[1])));
  } else if (name == "LeakyRelu" || name == "Elu" || name == "ThresholdedRelu") {
    attrs["alpha"] = parameter(params, 0, name == "LeakyRelu" ? 0.01F : 1.0F);
  } else if (name == "HardSigmoid") {
    attrs["alpha"] = parameter(params, 0, 0.2F);
    attrs["beta"] = parameter(params, 1, 0.5F);
  } else if (name != "Relu" && name != "Sigmoid" && name != "Tanh" && name != "Softplus" && name != "Softsign") {
    return ctx.error(fmt::format("activation '{}' is not supported", name),
                     "save the model with ORT_ENABLE_BASIC optimisation, or use the original model");
  }
  ctx.node.outputs[0] = x;
  ctx.emit_into(name, std::move(inputs), {y}, std::move(attrs));
  return {};
}

/// Inputs X, W, B?, Z?: activation(Conv(X, W, B) + Z).
Status fused_conv(AdaptContext& ctx) {
  const Node n = ctx.node;
  PLANISH_TRY(append_activation(ctx, n.attr_string("activation", ""), n.attr_floats("activation_params")));
  std::vector<ValueId> inputs{n.in(0), n.in(1)};
  if (ctx.has_input(2)) inputs.push_back(n.in(2));
  auto attrs = n.attrs;
  attrs.erase("activation");
  attrs.erase("activation_params");
  if (ctx.has_input(3)) {
    const ValueId sum = ctx.node.outputs[0];
    const ValueId conv = ctx.value("convolved");
    ctx.emit_into("Add", {conv, n.in(3)}, {sum});
    ctx.node.outputs[0] = conv;
  }
  become(ctx.node, "Conv", std::move(inputs), std::move(attrs));
  return {};
}

Status fused_gemm(AdaptContext& ctx) {
  const Node n = ctx.node;
  std::vector<float> params;
  for (const char* key : {"activation_alpha", "activation_beta"})
    if (n.has_attr(key)) params.push_back(n.attr_float(key, 0.0F));
  PLANISH_TRY(append_activation(ctx, n.attr_string("activation", ""), params));
  auto attrs = n.attrs;
  for (const char* key : {"activation", "activation_alpha", "activation_beta", "activation_gamma"}) attrs.erase(key);
  become(ctx.node, "Gemm", n.inputs, std::move(attrs));
  return {};
}

/// An operand of FusedMatMul in MatMul's order. `batch_first`: its first dimension stands behind the batch; `swap`:
/// then its two last dimensions are exchanged.
Result<ValueId> operand(AdaptContext& ctx, ValueId v, bool swap, bool batch_first) {
  const int64_t rank = ctx.declared_rank(v);
  if (!swap && !batch_first) return v;
  if (rank < 0) return ctx.error("it transposes an operand whose rank is not known");
  if (rank < 2) return v;
  std::vector<int64_t> perm(static_cast<size_t>(rank));
  std::iota(perm.begin(), perm.end(), 0);
  if (batch_first) std::rotate(perm.begin(), perm.begin() + 1, perm.end() - 1);
  if (swap) std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
  return ctx.emit("Transpose", {v}, {{"perm", std::move(perm)}});
}

/// alpha * op(A) * op(B).
Status fused_matmul(AdaptContext& ctx) {
  const Node n = ctx.node;
  const ValueId a = PLANISH_TRY(operand(ctx, n.in(0), n.attr_int("transA", 0) != 0, n.attr_int("transBatchA", 0) != 0));
  const ValueId b = PLANISH_TRY(operand(ctx, n.in(1), n.attr_int("transB", 0) != 0, n.attr_int("transBatchB", 0) != 0));
  std::vector<float> params;
  for (const char* key : {"activation_alpha", "activation_beta"})
    if (n.has_attr(key)) params.push_back(n.attr_float(key, 0.0F));
  PLANISH_TRY(append_activation(ctx, n.attr_string("activation", ""), params));
  const float alpha = n.attr_float("alpha", 1.0F);
  if (alpha == 1.0F) {
    become(ctx.node, "MatMul", {a, b});
    return {};
  }
  const ValueId scale = ctx.constant("alpha", Tensor::scalar_f32(alpha));
  const ValueId product = ctx.emit("MatMul", {a, b});
  become(ctx.node, "Mul",
         {product, ctx.graph.value(n.in(0)).dtype == DType::f32 ? scale : ctx.emit("CastLike", {scale, n.in(0)})});
  return {};
}

/// Gelu, FastGelu and BiasGelu: Gelu(x + bias); QuickGelu: x * sigmoid(alpha * x).
Status gelu(AdaptContext& ctx) {
  const Node n = ctx.node;
  const ValueId x = ctx.has_input(1) ? ctx.emit("Add", {n.in(0), n.in(1)}) : n.in(0);
  if (n.op == "QuickGelu")
    become(ctx.node, "Swish", {x}, {{"alpha", n.attr_float("alpha", 1.702F)}});
  else if (n.op == "FastGelu")
    become(ctx.node, "Gelu", {x}, {{"approximate", std::string("tanh")}});
  else
    become(ctx.node, "Gelu", {x});
  return {};
}

/// Inputs X, W, bias?.
Status gemm_fast_gelu(AdaptContext& ctx) {
  const ValueId product = ctx.emit("MatMul", {ctx.node.in(0), ctx.node.in(1)});
  const ValueId x = ctx.has_input(2) ? ctx.emit("Add", {product, ctx.node.in(2)}) : product;
  become(ctx.node, "Gelu", {x}, {{"approximate", std::string("tanh")}});
  return {};
}

/// input + skip + bias, as output 3 when somebody wants it.
ValueId skip_sum(AdaptContext& ctx, size_t bias) {
  const Node& n = ctx.node;
  const ValueId sum = ctx.has_output(3) ? n.out(3) : ctx.value("sum");
  if (ctx.has_input(bias)) {
    ctx.emit_into("Add", {ctx.emit("Add", {n.in(0), n.in(1)}), n.in(bias)}, {sum});
  } else {
    ctx.emit_into("Add", {n.in(0), n.in(1)}, {sum});
  }
  return sum;
}

/// Inputs input, skip, gamma, beta?, bias?; outputs y, mean, inverse deviation, sum.
Status skip_layer_norm(AdaptContext& ctx) {
  const Node n = ctx.node;
  std::vector<ValueId> inputs{skip_sum(ctx, 4), n.in(2)};
  if (ctx.has_input(3)) inputs.push_back(n.in(3));
  become(ctx.node, "LayerNormalization", std::move(inputs),
         {{"axis", int64_t{-1}}, {"epsilon", n.attr_float("epsilon", 1e-12F)}});
  ctx.node.outputs.resize(std::min<size_t>(3, n.outputs.size()));
  return {};
}

/// Inputs input, skip, gamma, bias?. With the outputs that RMSNormalization lacks the node stays as it is.
Status skip_rms_norm(AdaptContext& ctx) {
  const Node n = ctx.node;
  if (ctx.has_output(1) || ctx.has_output(2)) return {};
  const ValueId sum = skip_sum(ctx, 3);
  become(ctx.node, "RMSNormalization", {sum, n.in(2)},
         {{"axis", int64_t{-1}}, {"epsilon", n.attr_float("epsilon", 1e-12F)}});
  ctx.node.outputs.resize(1);
  return {};
}

/// ONNX Runtime's name for RMSNormalization, in the default domain.
Status simplified_layer_norm(AdaptContext& ctx) {
  if (ctx.has_output(1)) return ctx.error("its second output is not supported");
  ctx.node.op = "RMSNormalization";
  return {};
}

Status bias_add(AdaptContext& ctx) {
  become(ctx.node, "Add", {ctx.emit("Add", {ctx.node.in(0), ctx.node.in(1)}), ctx.node.in(2)});
  return {};
}

/// The same as the default domain's.
Status to_default_domain(AdaptContext& ctx) {
  ctx.node.domain.clear();
  return {};
}

constexpr std::array kRows{
    Adapter{"BiasAdd", 0, kAll, bias_add, kMicrosoftDomain, 0x7},
    Adapter{"BiasGelu", 0, kAll, gelu, kMicrosoftDomain, 0x3},
    Adapter{"FastGelu", 0, kAll, gelu, kMicrosoftDomain, 0x1},
    Adapter{"FusedConv", 0, kAll, fused_conv, kMicrosoftDomain, 0x3},
    Adapter{"FusedGemm", 0, kAll, fused_gemm, kMicrosoftDomain, 0x3},
    Adapter{"FusedMatMul", 0, kAll, fused_matmul, kMicrosoftDomain, 0x3, true},
    Adapter{"FusedMatMulActivation", 0, kAll, fused_matmul, kMicrosoftDomain, 0x3, true},
    Adapter{"Gelu", 0, kAll, gelu, kMicrosoftDomain, 0x1},
    Adapter{"GemmFastGelu", 0, kAll, gemm_fast_gelu, kMicrosoftDomain, 0x3},
    Adapter{"QuickGelu", 0, kAll, gelu, kMicrosoftDomain, 0x1},
    Adapter{"SimplifiedLayerNormalization", 1, kAll, simplified_layer_norm, "", 0x3},
    Adapter{"SkipLayerNormalization", 0, kAll, skip_layer_norm, kMicrosoftDomain, 0x7},
    Adapter{"SkipSimplifiedLayerNormalization", 0, kAll, skip_rms_norm, kMicrosoftDomain, 0x7},
    Adapter{"TransposeMatMul", 0, kAll, fused_matmul, kMicrosoftDomain, 0x3, true},
    Adapter{"Trilu", 0, kAll, to_default_domain, kMicrosoftDomain, 0x1},
};

}  // namespace

std::span<const Adapter> fused_adapters() { return kRows; }

}  // namespace planish
