#pragma once

#include <vector>

#include "planish/kernels/cpu/igemm/igemm.h"
#include "planish/kernels/cpu/quantized_epilogue/epilogue.h"
#include "planish/ops/quantized_fused.h"
#include "planish/tactics/tactic.h"

namespace planish {

// What the tactics for planish.QuantizedConv and planish.QuantizedMatMul share. Inputs of both: X, W, scale, bias, R.

inline constexpr size_t kQuantX = 0;
inline constexpr size_t kQuantW = 1;
inline constexpr size_t kQuantScale = 2;
inline constexpr size_t kQuantBias = 3;
inline constexpr size_t kQuantResidual = 4;

/// An epilogue with the vectors that it points to. Not copied: moving keeps the vectors' memory.
struct QuantizedLayer {
  std::vector<float> scale;
  std::vector<float> bias;
  kernels::QuantizedEpilogue epilogue;  ///< without the addresses of y and R
};

/// Types, constants and activation that our integer kernels take; nullopt, or the reason for the refusal.
WhyNot quantized_refusal(const NodeView& view);

/// The epilogue of a node with `channels` output channels (columns), `alpha` times its sums.
Result<QuantizedLayer> make_quantized_layer(const NodeView& view, int64_t channels, float alpha = 1.0F);

/// The epilogue of one run.
kernels::QuantizedEpilogue bind_epilogue(const QuantizedLayer& layer, const Bindings& bindings);

/// What is known about the values of the first operand.
kernels::IgemmInputType input_type(const NodeView& view, const QuantizedAttrs& attrs);
/// True when values of the first operand are known to lie in 0..127.
bool is_seven_bit(const NodeView& view, const QuantizedAttrs& attrs);

/// kCpuIgemm's kernel for a layer that is part of another: the pixels (rows) of its output lie `y_row` elements apart,
/// at least as many as it has channels. Whoever calls it answers for the memory; no file does.
Result<std::unique_ptr<Kernel>> prepare_igemm_rows(const NodeView& view, std::span<const PackedConstant> packed,
                                                   const Target& target, int64_t y_row);

/// True when the bytes of the tensor lie as in channels-last order.
bool lies_channels_last(const TensorDesc& desc);

}  // namespace planish
