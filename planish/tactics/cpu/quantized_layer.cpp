#include "planish/tactics/cpu/quantized_layer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "planish/tactics/contiguous_parts.h"

namespace planish {
namespace {

using kernels::QuantizedType;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// An activation that only limits the values.
struct Limits {
  float low = -kInfinity;
  float high = kInfinity;
};
std::optional<Limits> limits_of(const FusedEpilogue& e) {
  if (e.activation == nullptr || e.activation->op == "Identity") return Limits{};
  if (e.activation->op == "Relu") return Limits{0.0F, kInfinity};
  if (e.activation->op == "Clip") return Limits{static_cast<float>(e.params.alpha), static_cast<float>(e.params.beta)};
  return std::nullopt;
}

std::optional<QuantizedType> type_of(DType t) {
  switch (t) {
    case DType::i8: return QuantizedType::i8;
    case DType::u8: return QuantizedType::u8;
    case DType::f32: return QuantizedType::f32;
    default: return std::nullopt;
  }
}

/// A constant of one element or one per channel, as one per channel with padding.
Result<std::vector<float>> per_channel(const NodeView& view, size_t input, int64_t channels, float fallback) {
  std::vector<float> out(static_cast<size_t>(channels + kernels::kChannelPadding), 0.0F);
  if (!view.has_input(input)) {
    std::fill_n(out.begin(), channels, fallback);
    return out;
  }
  const Tensor* t = view.constants[input];
  if (t == nullptr || (t->size() != 1 && t->size() != channels))
    return Error{.code = Code::unsupported,
                 .node = view.node->name,
                 .what = fmt::format("input {} is not one constant per channel", input)};
  for (int64_t c = 0; c < channels; ++c) out[static_cast<size_t>(c)] = t->data<float>()[t->size() == 1 ? 0 : c];
  return out;
}

/// True when no scaled sum of a layer with `inner` products per sum is beyond 32 bits.
bool is_within_32_bits(const QuantizedLayer& layer, int64_t inner) {
  constexpr float kLargestProduct = 256.0F * 128.0F;
  constexpr float kLimit = 2e9F;
  const float sum = kLargestProduct * static_cast<float>(inner);
  for (size_t c = 0; c < layer.scale.size(); ++c)
    if (!(sum * std::fabs(layer.scale[c]) + std::fabs(layer.bias[c]) < kLimit)) return false;
  return true;
}

}  // namespace

WhyNot quantized_refusal(const NodeView& view) {
  const TensorDesc& x = view.inputs[kQuantX];
  const TensorDesc& y = view.outputs[0];
  if (x.dtype != DType::i8 && x.dtype != DType::u8)
    return fmt::format("takes i8 and u8 inputs, got {}", dtype_name(x.dtype));
  if (view.inputs[kQuantW].dtype != DType::i8)
    return fmt::format("takes i8 weights, got {}", dtype_name(view.inputs[kQuantW].dtype));
  if (!view.is_constant(kQuantW)) return "needs constant weights";
  for (const size_t i : {kQuantScale, kQuantBias})
    if (view.has_input(i) && (view.constants[i] == nullptr || view.inputs[i].dtype != DType::f32))
      return "needs constant f32 scales and bias";
  if (x.size() == 0 || y.size() == 0) return "the tensor is empty";
  if (view.has_input(kQuantResidual)) {
    const TensorDesc& r = view.inputs[kQuantResidual];
    if (!type_of(r.dtype)) return fmt::format("takes i8, u8 and f32 residuals, got {}", dtype_name(r.dtype));
    if (r.shape != y.shape || r.layout != y.layout) return "needs a residual in the output's shape and layout";
  }
  auto attrs = read_quantized_attrs(*view.node);
  if (!attrs.ok()) return attrs.error().what;
  if (attrs->w_zero != 0) return "needs weights without zero point";
  if (attrs->y_type != y.dtype) return "y_type is not the output's type";
  const FusedEpilogue& e = attrs->epilogue;
  if (!limits_of(e) && !kernels::find_pointwise_op(e.activation->op, e.params.approximate_tanh))
    return fmt::format("has no activation {}", e.activation->op);
  return std::nullopt;
}

Result<QuantizedLayer> make_quantized_layer(const NodeView& view, int64_t channels, float alpha) {
  const QuantizedAttrs attrs = PLANISH_TRY(read_quantized_attrs(*view.node));
  const FusedEpilogue& fused = attrs.epilogue;
  QuantizedLayer layer;
  layer.scale = PLANISH_TRY(per_channel(view, kQuantScale, channels, 1.0F));
  layer.bias = PLANISH_TRY(per_channel(view, kQuantBias, channels, 0.0F));
  kernels::QuantizedEpilogue& e = layer.epilogue;
  const auto limits = limits_of(fused);
  const bool unlimited = limits && limits->low == -kInfinity && limits->high == kInfinity;
  const bool residual = view.has_input(kQuantResidual);
  e.residual_last = residual && fused.residual_last && !unlimited;
  e.folded = limits && !e.residual_last;
  e.y_type = *type_of(attrs.y_type);
  const bool bytes = e.y_type != QuantizedType::f32;
  const float factor = bytes ? 1.0F / attrs.y.scale : 1.0F;
  const float folded = e.folded ? factor : 1.0F;
  for (float& s : layer.scale) s *= attrs.x.scale * alpha * folded;
  for (float& b : layer.bias) b *= folded;
  e.within_32_bits = is_within_32_bits(layer, view.inputs[kQuantW].size() / std::max<int64_t>(1, channels));
  if (residual) {
    e.r_type = *type_of(view.inputs[kQuantResidual].dtype);
    const bool is_float = e.r_type == QuantizedType::f32;
    e.r_scale = (is_float ? 1.0F : attrs.r.scale) * folded;
    e.r_offset = is_float ? 0.0F : -e.r_scale * static_cast<float>(attrs.r.zero);
  }
  if (limits) {
    e.low = limits->low * folded;
    e.high = limits->high * folded;
  } else {
    e.low = -kInfinity;
    e.high = kInfinity;
    e.act = kernels::best_pointwise_kernel().fn;
    e.act_op = *kernels::find_pointwise_op(fused.activation->op, fused.params.approximate_tanh);
    e.act_alpha = static_cast<float>(fused.params.alpha);
    e.act_beta = static_cast<float>(fused.params.beta);
  }
  if (bytes) {
    e.y_factor = factor;
    e.y_zero = static_cast<int32_t>(attrs.y.zero);
    const int32_t q_low = e.y_type == QuantizedType::u8 ? 0 : -128;
    e.q_low = static_cast<float>(q_low - e.y_zero);
    e.q_high = static_cast<float>(q_low + 255 - e.y_zero);
    if (e.folded) {
      // Limits outside of the type's range still end inside: first the activation's, then the type's.
      e.low = std::clamp(e.low, e.q_low, e.q_high);
      e.high = std::clamp(e.high, e.q_low, e.q_high);
    }
  }
  return layer;
}

kernels::QuantizedEpilogue bind_epilogue(const QuantizedLayer& layer, const Bindings& b) {
  kernels::QuantizedEpilogue e = layer.epilogue;
  e.scale = layer.scale.data();
  e.bias = layer.bias.data();
  e.y = host_ptr(b.outputs[0]);
  if (e.r_type != QuantizedType::none) e.r = host_ptr(b.inputs[kQuantResidual]);
  return e;
}

kernels::IgemmInputType input_type(const NodeView& view, const QuantizedAttrs& attrs) {
  kernels::IgemmInputType type;
  type.is_signed = view.inputs[kQuantX].dtype == DType::i8;
  type.zero = static_cast<int32_t>(attrs.x.zero);
  // Padding has the value of the zero point.
  type.low = static_cast<int32_t>(std::clamp<int64_t>(std::min(attrs.x_low, attrs.x.zero), -128, 127));
  type.never_negative = type.is_signed && type.low >= 0;
  return type;
}

bool is_seven_bit(const NodeView& view, const QuantizedAttrs& attrs) { return input_type(view, attrs).never_negative; }

bool lies_channels_last(const TensorDesc& desc) {
  if (desc.layout == Layout::channels_last) return true;
  if (desc.layout != Layout::row_major) return false;
  TensorDesc last = desc;
  last.layout = Layout::channels_last;
  return is_row_major_equivalent(last);
}

}  // namespace planish
