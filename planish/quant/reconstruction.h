#pragma once

#include <optional>
#include <span>

#include "planish/quant/gram.h"
#include "planish/quant/input_rows.h"
#include "planish/quant/steps.h"

namespace planish {

/// Steps::nearest() of every value.
void round_to_steps(std::span<float> values, const TensorQuantization& quantiser);

/// Weights, INT8, that bring the layer's result on quantised input nearest to its result in float:
/// 1. W' minimises |W x - W' x'|^2 over the rows, where x is the input in the float network and x' the quantised input
///    behind quantised layers, with a ridge towards W that is chosen by predicting one half of the samples from the
///    other (none of it where that does not predict);
/// 2. each weight is rounded after the errors of those before it were carried over to it through the second moments of
///    x' (GPTQ's rounding, computed as LDLQ);
/// 3. the bias takes the mean of what is left.
/// `in_float` and `quantised` hold the same positions; samples of which one holds fewer rows than the other, because
/// their values are not finite, are left out. nullopt without rows that both hold.
/// Sources: Frantar et al., "GPTQ", ICLR 2023; Chee et al., "QuIP", NeurIPS 2023 (LDLQ).
std::optional<QuantisedWeights> reconstruct_weights(const Graph& graph, const QuantisedProduct& product,
                                                    const InputRows& in_float, const InputRows& quantised,
                                                    const WeightLimit& limit, const GramFunction& gram);

}  // namespace planish
