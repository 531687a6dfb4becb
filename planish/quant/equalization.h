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
/// MaxPool, AveragePool, Concat -> Conv, since these commute with positive factors. d is the channel's range (`maxima`,
/// which must know the tensor that the next layer reads) relative to the tensor's, to the power 0.6: activations have
/// 127 steps for all channels, weights as many for every output channel, so that the activations gain more than the
/// weights lose. Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV
/// 2019; ranges measured instead of estimated.
Equalization equalise(Graph& graph, const ChannelMaxima& maxima);

/// Whether equalise() would find a convolution in the graph if it knew the ranges.
bool can_equalise(Graph graph);

}  // namespace planish
