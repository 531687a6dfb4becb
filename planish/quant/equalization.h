#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "planish/ir/graph.h"

namespace planish {

/// Largest magnitudes of a tensor's channels by tensor name; nullptr: unknown.
using ChannelMaxima = std::function<const std::vector<float>*(const std::string&)>;

/// What equalisation did to a tensor: channel c was divided by divisors[c].
struct Equalization {
  std::map<std::string, std::vector<float>> divisors;
  int64_t layers = 0;  ///< convolutions whose channels were evened out
};

/// Evens out the channels of tensors between convolutions: channel c of one convolution is divided by d[c], the weights
/// of those behind it that read the channel are multiplied by it. Exact for Conv -> Relu, LeakyRelu or nothing ->
/// MaxPool, AveragePool, Concat -> Conv, since these commute with positive factors. d balances the range of the channel
/// (`maxima`, which must know the tensor that the next layer reads) against the weights that read it, so that neither
/// rounds much coarser than before.
/// Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019; ranges
/// measured instead of estimated.
Equalization equalise(Graph& graph, const ChannelMaxima& maxima);

}  // namespace planish
