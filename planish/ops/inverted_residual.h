#pragma once

#include <array>
#include <cstddef>

#include "planish/ir/graph.h"

namespace planish {

// planish.QuantizedInvertedResidual(X, W, w_scale, B?, W', w_scale', B'?, W'', w_scale'', B''?, R?) -> Y: three
// planish.QuantizedConv in a row, each reading what the one before made; R belongs to the last. The attributes of the
// parts are the node's with a prefix in front. docs/quantisation.md says what the parts compute.

inline constexpr size_t kInvertedResidualParts = 3;
/// Where the weights of part `i` are among the inputs; scale and bias follow.
constexpr size_t inverted_residual_weights(size_t i) { return 1 + 3 * i; }
inline constexpr size_t kInvertedResidualR = 10;
inline constexpr std::array<const char*, kInvertedResidualParts> kInvertedResidualPrefixes{"expand_", "depthwise_",
                                                                                           "project_"};

/// Part `i` as a node of its own: X, weights, scale, bias and R as the values of `node`; absent is what another part
/// makes.
Node inverted_residual_part(const Node& node, size_t i);

}  // namespace planish
