#pragma once

#include <optional>
#include <vector>

#include "planish/passes/edit.h"

namespace planish {

/// What a QuantizeLinear or DequantizeLinear does that has one scale per channel (dimension 1) and bytes on its
/// quantised side: real = (q - zero) * scale[channel].
struct ChannelQuantization {
  std::vector<float> scale;
  int64_t zero = 0;
  DType type = DType::i8;  ///< i8 or u8
};

/// The parameters of node `n`; nullopt for other nodes, one scale for all, other axes, zero points that differ.
std::optional<ChannelQuantization> quantize_channels_node(const Edit& edit, int32_t n);
std::optional<ChannelQuantization> dequantize_channels_node(const Edit& edit, int32_t n);

/// Makes a QuantizedConv under construction read bytes with a scale per channel, by putting the scales into those of
/// its weights. False, and nothing changed: its groups have more than one input channel.
bool fold_input_scales(Edit& edit, Node& conv, const ChannelQuantization& x);
/// Makes a QuantizedConv under construction write bytes with a scale per channel, by dividing the scales of its weights
/// and its bias. False, and nothing changed: it has a residual, or a bias that is no constant. The caller has made sure
/// that its activation commutes with positive factors.
bool fold_output_scales(Edit& edit, Node& conv, const ChannelQuantization& y);

}  // namespace planish
