#pragma once

#include <cstdint>
#include <optional>

#include "planish/passes/edit.h"

namespace planish {

/// What one QuantizeLinear or DequantizeLinear does when it has one scale for the whole tensor and bytes on its
/// quantised side: real = (q - zero) * scale.
struct TensorQuantization {
  float scale = 1;
  int64_t zero = 0;
  DType type = DType::i8;  ///< i8 or u8

  friend bool operator==(const TensorQuantization&, const TensorQuantization&) = default;
};

/// The parameters of node `n`; nullopt for other nodes, other types, scales per channel or unknown scales.
std::optional<TensorQuantization> quantize_node(const Edit& edit, int32_t n);
std::optional<TensorQuantization> dequantize_node(const Edit& edit, int32_t n);

/// Inserts Q(v) or DQ(v) before `anchor`, named and originated like `named`; returns the result.
ValueId insert_quantize(Edit& edit, int32_t anchor, const Node& named, ValueId v, const TensorQuantization& q);
ValueId insert_dequantize(Edit& edit, int32_t anchor, const Node& named, ValueId v, const TensorQuantization& q);

/// Constant integers of at most 8 bits behind a DequantizeLinear, brought to zero point 0.
struct QuantizedWeights {
  int32_t node = -1;  ///< the DequantizeLinear
  Tensor values;      ///< i8
  Tensor rest;        ///< i16, to be added to `values`: what they do not hold; undefined where they hold everything
  Tensor scale;       ///< f32 [1], or one per index of `axis`
};

/// `v` as quantised weights whose scales run along `axis`; nullopt where they are no constants, lie in blocks or run
/// along another axis.
std::optional<QuantizedWeights> quantized_weights(const Edit& edit, ValueId v, int64_t axis);

/// True for nodes that only move or choose elements of their first input (of all inputs: Concat), so that they mean
/// the same on quantised values. Pad counts when it pads with zeros or with the tensor's own elements.
bool moves_elements(const Edit& edit, const Node& node);

/// A number that the value is provably never below (behind an activation, say); nullopt where none is known. Of
/// quantised values: one that the number they stand for is never below.
std::optional<double> lower_bound(const Edit& edit, ValueId v);

}  // namespace planish
