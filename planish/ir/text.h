#pragma once

#include <string>
#include <string_view>

#include "planish/base/status.h"
#include "planish/ir/graph.h"

namespace planish {

/// How a graph is written as text.
struct TextOptions {
  int64_t max_literal_elements = 16;  ///< constants up to this size are written out, larger ones as `...`
  bool shapes = false;                ///< adds the inferred type of every node output as a comment
};

/// The graph as text, for golden tests and dumps:
///
///     graph "net" (x: f32[N,3,8,8]) -> (y) {
///       const w: f32[4,3,3,3] = seed(1)
///       c = Conv(x, w, _) {pads = [1, 1, 1, 1]} @conv1
///       y = planish.Pointwise(c) {steps = ["Relu 0"]} @relu1 from [relu1, relu2]
///     }
///
/// `_` is an absent input or output; `?` an unknown dimension without a name, a value without `[...]` has an unknown
/// rank. Names with other characters than letters, digits and `_ . / :` are quoted. A constant larger than
/// `max_literal_elements` becomes `fill(v)` when all elements are equal, else `...` with a hash of its bytes as a
/// comment; the latter is the one thing that parse_text() refuses.
std::string to_text(const Graph& graph, const TextOptions& options = {});

/// Inverse of to_text(). Constants may also be `zeros`, `seed(n)` or `seed(n, low, high)`: reproducible pseudo-random
/// values, uniform in [low, high) (by default [-1, 1), integers [-4, 4)). Comments run from `#` to the end of the
/// line. Node outputs may carry a type: `y: f32[2] = Relu(x)`. Errors name `file` and the line. The result passes
/// verify().
Result<Graph> parse_text(std::string_view text, std::string_view file = "text");

/// The tensor that `seed(n, low, high)` stands for.
Tensor seeded_tensor(DType dtype, const Shape& shape, uint64_t seed, double low, double high);

}  // namespace planish
