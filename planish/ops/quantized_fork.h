#pragma once

#include <array>
#include <cstddef>

#include "planish/ir/graph.h"

namespace planish {

// planish.QuantizedFork(X, W, w_scale, B?, W', w_scale', B'?) -> Y: two planish.QuantizedConv of the same image, their
// results one behind the other along the channels. The attributes of the parts are the node's with a prefix in front;
// both make the same type of bytes.

inline constexpr size_t kForkParts = 2;
/// Where the weights of part `i` are among the inputs; scale and bias follow.
constexpr size_t fork_weights(size_t i) { return 1 + 3 * i; }
inline constexpr std::array<const char*, kForkParts> kForkPrefixes{"first_", "second_"};

/// Part `i` as a node of its own: X, weights, scale and bias as the values of `node`. Its output is the node's.
Node fork_part(const Node& node, size_t i);

}  // namespace planish
