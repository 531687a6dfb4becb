#pragma once

#include <array>
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

/// How large quantised weights may be.
struct WeightLimit {
  int largest = 127;  ///< largest |q|
  /// Largest magnitude of the sum of two neighbours of the same sign; 0: no limit.
  int pair = 0;
  /// By the index of a weight within its output channel: the weights beside it, -1: none. Empty: nobody has neighbours.
  std::vector<std::array<int64_t, 2>> neighbours;

  /// Largest |q| of a weight of `sign` at `k` whose neighbours are already q[j * stride]; those behind `k` do not
  /// count.
  [[nodiscard]] int at(int64_t k, const int8_t* q, int64_t stride, bool positive) const;
};

inline constexpr int kLargestWeight = 127;
/// Two products of such a weight and UINT8 fit 16 bits, wherever they meet.
inline constexpr int kNarrowWeight = 64;
/// The same for two weights of one sign whose sum is not above this.
inline constexpr int kPairOfWeights = 128;

/// The weights of a product whose products with UINT8 kernels for AVX2 add in 16 bits: neighbours in a row of the
/// window of a channels-last image, input channels first; in depthwise convolutions those above and below; in matrices
/// those of the inner dimension. As WeightLimit::neighbours.
std::vector<std::array<int64_t, 2>> weight_neighbours(const Graph& graph, const QuantisedProduct& product);

/// Rounds to nearest with the least scale of each slice along `axis` (per channel) or of the whole tensor that keeps
/// all weights within `limit`. A slice of zeros gets the scale 1.
QuantisedWeights quantise_weights(const Tensor& weights, int64_t axis, bool per_channel, const WeightLimit& limit = {});

/// Back to f32.
Tensor dequantise(const QuantisedWeights& weights, int64_t axis);

/// Channels of the activation that the element at `index` (row-major) of a product's weights multiplies.
class InputChannel {
 public:
  InputChannel(const Graph& graph, const QuantisedProduct& product);
  /// Calls visit(element, output channel, input channel) for `size` weights in order, without divisions for each.
  template <typename F>
  void visit(int64_t size, F visit) const {
    int64_t output = 0;
    int64_t first_input = 0;  // of the group
    int64_t input = 0;        // in the group
    for (int64_t i = 0, of_output = 0, of_group = 0, of_input = 0; i < size; ++i) {
      visit(i, static_cast<size_t>(output), static_cast<size_t>(first_input + input));
      if (++of_output == out_stride_) {
        of_output = 0;
        if (++of_group == outputs_per_group_) {
          of_group = 0;
          first_input += inputs_per_group_;
        }
        if (++output == outputs_) output = of_group = first_input = 0;
      }
      if (++of_input == in_stride_) {
        of_input = 0;
        if (++input == inputs_per_group_) input = 0;
      }
    }
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
