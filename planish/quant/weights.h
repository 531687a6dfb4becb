#pragma once

#include <map>
#include <optional>
#include <span>
#include <vector>

#include "planish/quant/placement.h"

namespace planish {

/// Weights of a product as INT8: w ~ q * scale, |q| <= 127, zero point 0.
struct QuantisedWeights {
  Tensor q;                    ///< i8, shape of the weights
  Tensor scale;                ///< f32 [output channels], or a scalar for per-tensor weights
  std::optional<Tensor> bias;  ///< replaces the layer's bias; f32 [output channels]
};

/// Rounds to nearest with scale = amax / largest of each slice along `axis` (per channel) or of the whole tensor. A
/// slice of zeros gets the scale 1. `largest`: largest |q|; kNarrowWeight leaves the sums of two products with UINT8 in
/// 16 bits.
inline constexpr int kLargestWeight = 127;
inline constexpr int kNarrowWeight = 64;
QuantisedWeights quantise_weights(const Tensor& weights, int64_t axis, bool per_channel, int largest = kLargestWeight);

/// Back to f32.
Tensor dequantise(const QuantisedWeights& weights, int64_t axis);

/// Channels of the activation that the element at `index` (row-major) of a product's weights multiplies.
class InputChannel {
 public:
  InputChannel(const Graph& graph, const QuantisedProduct& product);
  /// Output channel and input channel of weight element `i`.
  [[nodiscard]] int64_t output(int64_t i) const { return i / out_stride_ % outputs_; }
  [[nodiscard]] int64_t input(int64_t i) const {
    const int64_t in = i / in_stride_ % inputs_per_group_;
    return output(i) / outputs_per_group_ * inputs_per_group_ + in;
  }
  [[nodiscard]] int64_t outputs() const { return outputs_; }
  [[nodiscard]] int64_t inputs() const { return inputs_per_group_ * (outputs_ / outputs_per_group_); }

 private:
  int64_t outputs_ = 1;
  int64_t out_stride_ = 1;
  int64_t in_stride_ = 1;
  int64_t inputs_per_group_ = 1;
  int64_t outputs_per_group_ = 1;
};

/// What the layer's result loses on average: sum over the inputs of (w x - wq xq), by output channel, from the mean of
/// each input channel in float (`means`) and after quantising (`quantised_means`, may be the same).
std::vector<double> output_shift(const Graph& graph, const QuantisedProduct& product, const QuantisedWeights& weights,
                                 std::span<const float> means, std::span<const float> quantised_means);

/// Adds `shift` to the layer's bias (Conv and Gemm; nothing happens for a MatMul).
void correct_bias(const Graph& graph, const QuantisedProduct& product, std::span<const double> shift,
                  QuantisedWeights& weights);

/// The graph with QuantizeLinear/DequantizeLinear around what the plan quantises. `weights` by node index.
Result<Graph> place_qdq(const Graph& graph, const PlacementPlan& plan,
                        const std::map<int32_t, QuantisedWeights>& weights);

}  // namespace planish
