#pragma once

#include <functional>
#include <optional>

#include "planish/passes/quantization.h"
#include "planish/quant/input_rows.h"

namespace planish {

/// out[a, b] = sum over n of x[n, a] * y[n, b]; row-major, out is overwritten. The largest part of the work.
using GramFunction = std::function<void(int64_t n, int64_t a, int64_t b, const float* x, const float* y, float* out)>;
/// Plain loops; for tests and small sizes.
void gram_by_loops(int64_t n, int64_t a, int64_t b, const float* x, const float* y, float* out);

/// real = (q - zero) * scale of the nearest step.
float nearest_step(float value, const TensorQuantization& quantiser);

/// Weights, INT8, that bring the layer's result on quantised input nearest to its result in float:
/// 1. W' minimises |W x - W' x'|^2 over the rows, where x is the input in the float network and x' the quantised input
///    behind quantised layers, with a ridge towards W that is chosen by predicting one half of the samples from the
///    other (none of it where that does not predict);
/// 2. each weight is rounded after the errors of those before it were carried over to it through the second moments of
///    x' (GPTQ's rounding, computed as LDLQ);
/// 3. the bias takes the mean of what is left.
/// `in_float` and `quantised` hold the same positions; `largest` is the largest |q|. nullopt without rows or where the
/// two do not match.
/// Sources: Frantar et al., "GPTQ", ICLR 2023; Chee et al., "QuIP", NeurIPS 2023 (LDLQ).
std::optional<QuantisedWeights> reconstruct_weights(const Graph& graph, const QuantisedProduct& product,
                                                    const InputRows& in_float, const InputRows& quantised, int largest,
                                                    const GramFunction& gram);

}  // namespace planish
