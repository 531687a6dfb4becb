#pragma once

#include "planish/ops/quantized_fused.h"
#include "planish/tactics/cpu/onednn_internal.h"
#include "planish/tactics/cpu/quantized_layer.h"

namespace planish::onednn {

// What the oneDNN tactics for planish.QuantizedConv and planish.QuantizedMatMul share.

/// nullopt where oneDNN multiplies bytes exactly on this machine: elsewhere it adds pairs of products in 16 bits, which
/// saturate. Otherwise the reason for the refusal, also of types and activations.
WhyNot quantized_product_refusal(const NodeView& view);

/// The type by which oneDNN is told of the first operand: u8 for i8 that is never negative, which needs no correction.
dnnl::memory::data_type first_operand_type(const NodeView& view, const QuantizedAttrs& attrs);

/// Attributes of an integer product: scales, zero points and what follows the sums.
struct QuantizedPrimitive {
  dnnl::primitive_attr attr;
  int bias_post_op = -1;
  int residual_post_op = -1;
};

/// `weight_mask`: oneDNN's mask for one scale per output channel. `bias`, `residual`: how these lie when they join as
/// post-operations (a bias that oneDNN takes itself is not given). `in_place`: the residual is what the output's memory
/// holds.
QuantizedPrimitive quantized_primitive(const NodeView& view, const QuantizedAttrs& attrs, int weight_mask,
                                       const std::optional<dnnl::memory::desc>& bias,
                                       const std::optional<dnnl::memory::desc>& residual, bool in_place = false);

/// Gives the kernel the values of scales and zero points.
void own_quantization(PrimitiveKernel& kernel, const NodeView& view, const QuantizedAttrs& attrs);

}  // namespace planish::onednn
