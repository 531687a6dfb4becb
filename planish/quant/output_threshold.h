#pragma once

#include <vector>

#include "planish/quant/reconstruction.h"

namespace planish {

/// A product that reads the tensor, and a sample of what it reads.
struct TensorReader {
  const QuantisedProduct* product = nullptr;
  const InputRows* rows = nullptr;
};

/// The quantiser of a tensor that moves the results of its readers least: thresholds between half of and a third more
/// than that of `first` are tried, on the same number type; `min` and `max` are the ends of the tensor. Errors that all
/// positions share do not count, since biases take them. `first` comes back unless another one errs clearly less in the
/// even samples as well as in the odd ones.
TensorQuantization choose_by_output(const Graph& graph, const std::vector<TensorReader>& readers,
                                    const TensorQuantization& first, float min, float max, const GramFunction& gram);

}  // namespace planish
