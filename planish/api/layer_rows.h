#pragma once

#include <map>
#include <vector>

#include "planish/api/kept_samples.h"
#include "planish/quant/input_rows.h"

namespace planish::api {

/// A product whose input is looked at.
struct LayerRows {
  const QuantisedProduct* product = nullptr;
  int64_t k = 0;
  int64_t groups = 1;
  int64_t rows = 0;  ///< wanted
};

using RowsByNode = std::map<int32_t, InputRows>;

/// Runs `network` (`graph`, or one that quantised layers of it replace) over the samples as far as the inputs of
/// `layers`, which are products of `graph`.
Result<RowsByNode> collect_rows(Graph network, const Graph& graph, const std::vector<LayerRows>& layers,
                                const KeptSamples& samples, int threads, const ProfileRanges& profile);

/// Takes layers from `layers`, from index `first` on, whose rows fit the memory for rows, at least one; returns the
/// index behind them.
size_t fitting_layers(const std::vector<LayerRows>& layers, size_t first);

}  // namespace planish::api
