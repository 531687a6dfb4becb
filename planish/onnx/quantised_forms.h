#pragma once

#include <optional>

#include "planish/onnx/adapter.h"

namespace planish {

/// Scale and zero point of one quantised tensor, as a node names them. `zero` may be kNoValue, which means 0.
struct QuantParams {
  ValueId scale = kNoValue;
  ValueId zero = kNoValue;
};

/// True when the file tells that `v` has one element.
bool is_single(const AdaptContext& ctx, ValueId v);

/// A DequantizeLinear of `x`, computed in f32. Constants of one element become scalars, and a zero point gets the
/// shape of its scale, as ONNX wants. `axis` counts only when the scale has several elements.
ValueId dequantize(AdaptContext& ctx, ValueId x, QuantParams params, int64_t axis = 0);

/// A QuantizeLinear of `x`, per tensor, that makes `y`. Without a zero point y gets the type of `like`.
void quantize_into(AdaptContext& ctx, ValueId x, QuantParams params, ValueId like, ValueId y);

/// Gives the node a new first output, and quantises that into the old one.
void quantize_output(AdaptContext& ctx, QuantParams params, ValueId like);

/// scale_a * scale_b in f32: the scale of an integer sum of products.
ValueId product_scale(AdaptContext& ctx, ValueId scale_a, ValueId scale_b);

/// Turns the node into operator `op` of the default domain.
void become(Node& node, std::string_view op, std::vector<ValueId> inputs, std::map<std::string, Attr> attrs = {});

/// MatMulInteger(a, b), cast to f32 and multiplied by both scales: a product whose scales only the run knows.
ValueId scaled_integer_product(AdaptContext& ctx, ValueId a, QuantParams a_params, ValueId b, QuantParams b_params);

/// Operand B of a product: per tensor, or a vector with one scale per column (per row when `transposed`).
Result<ValueId> dequantize_columns(AdaptContext& ctx, ValueId b, QuantParams params, bool transposed = false);

/// A Transpose from N, spatial, C to N, C, spatial; `rank` >= 3.
ValueId to_channels_first(AdaptContext& ctx, ValueId x, int64_t rank);
/// The way back, into the value `y`.
void to_channels_last(AdaptContext& ctx, ValueId x, ValueId y, int64_t rank);

}  // namespace planish
