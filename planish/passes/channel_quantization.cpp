#include "planish/passes/channel_quantization.h"

#include <algorithm>
#include <cmath>

namespace planish {
namespace {

constexpr size_t kScale = 2;
constexpr size_t kBias = 3;
constexpr size_t kResidual = 4;

std::optional<ChannelQuantization> parameters(const Edit& edit, const Node& node, DType type) {
  if (type != DType::i8 && type != DType::u8) return std::nullopt;
  const Tensor* scale = edit.constant(node.in(1));
  const Tensor* zero = edit.constant(node.in(2));
  const int64_t rank = edit.rank(node.in(0));
  const int64_t axis = node.attr_int("axis", 1);
  if (scale == nullptr || scale->dtype() != DType::f32 || scale->rank() != 1 || scale->size() < 2) return std::nullopt;
  if (rank < 2 || (axis != 1 && axis + rank != 1) || node.attr_int("block_size", 0) != 0) return std::nullopt;
  ChannelQuantization q{.scale = {}, .zero = 0, .type = type};
  for (const float s : scale->span<float>()) {
    if (!(s > 0) || !std::isfinite(s)) return std::nullopt;
    q.scale.push_back(s);
  }
  if (node.in(2) == kNoValue) return q;
  if (zero == nullptr || (zero->size() != 1 && zero->size() != scale->size())) return std::nullopt;
  q.zero = zero->int_at(0);
  for (int64_t i = 1; i < zero->size(); ++i)
    if (zero->int_at(i) != q.zero) return std::nullopt;
  return q;
}

/// 0 or f32 written out: the side that is not quantised is f32.
bool is_f32(int64_t type) { return type == 0 || type == static_cast<int64_t>(DType::f32); }

/// The scales of the weights, one per output channel, each times `factor` of it.
template <typename Factor>
void multiply_scales(Edit& edit, Node& conv, int64_t outputs, Factor factor) {
  const Tensor& old = *edit.constant(conv.in(kScale));
  Tensor scale(DType::f32, {outputs});
  for (int64_t m = 0; m < outputs; ++m)
    scale.data<float>()[m] = static_cast<float>(old.at(old.size() == 1 ? 0 : m)) * factor(m);
  conv.inputs[kScale] = edit.new_constant(edit.value(conv.in(kScale)).name, std::move(scale));
}

}  // namespace

std::optional<ChannelQuantization> quantize_channels_node(const Edit& edit, int32_t n) {
  if (n < 0 || !edit.alive(n) || !edit.node(n).is("QuantizeLinear")) return std::nullopt;
  const Node& node = edit.node(n);
  if (!is_f32(node.attr_int("precision", 0)) || edit.dtype(node.in(0)) != DType::f32) return std::nullopt;
  DType type = DType::u8;
  if (const int64_t named = node.attr_int("output_dtype", 0); named != 0) type = static_cast<DType>(named);
  if (node.in(2) != kNoValue) type = edit.dtype(node.in(2));
  return parameters(edit, node, type);
}

std::optional<ChannelQuantization> dequantize_channels_node(const Edit& edit, int32_t n) {
  if (n < 0 || !edit.alive(n) || !edit.node(n).is("DequantizeLinear")) return std::nullopt;
  const Node& node = edit.node(n);
  if (!is_f32(node.attr_int("output_dtype", 0))) return std::nullopt;
  return parameters(edit, node, edit.dtype(node.in(0)));
}

bool fold_input_scales(Edit& edit, Node& conv, const ChannelQuantization& x) {
  const Tensor* w = edit.constant(conv.in(1));
  const auto channels = static_cast<int64_t>(x.scale.size());
  if (w == nullptr || conv.attr_int("group", 1) != channels || w->dim(1) != 1 || w->dim(0) % channels != 0)
    return false;
  const int64_t per_channel = w->dim(0) / channels;
  multiply_scales(edit, conv, w->dim(0), [&](int64_t m) { return x.scale[static_cast<size_t>(m / per_channel)]; });
  return true;
}

bool fold_output_scales(Edit& edit, Node& conv, const ChannelQuantization& y) {
  const Tensor* w = edit.constant(conv.in(1));
  const Tensor* bias = edit.constant(conv.in(kBias));
  const auto outputs = static_cast<int64_t>(y.scale.size());
  if (w == nullptr || w->dim(0) != outputs || conv.in(kResidual) != kNoValue) return false;
  if (conv.in(kBias) != kNoValue && (bias == nullptr || bias->dtype() != DType::f32 || bias->size() != outputs))
    return false;
  multiply_scales(edit, conv, outputs, [&](int64_t m) { return 1 / y.scale[static_cast<size_t>(m)]; });
  if (bias == nullptr) return true;
  Tensor divided(DType::f32, bias->shape());
  for (int64_t m = 0; m < outputs; ++m)
    divided.data<float>()[m] = bias->data<float>()[m] / y.scale[static_cast<size_t>(m)];
  conv.inputs[kBias] = edit.new_constant(edit.value(conv.in(kBias)).name, std::move(divided));
  return true;
}

}  // namespace planish
