#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "planish/ir/graph.h"

namespace planish {

/// A dimension, or an element of a shape tensor: a known number, a named unknown, or (symbol 0) nothing.
struct Dim {
  bool known = false;
  int64_t value = 0;
  int32_t symbol = 0;  ///< equal symbols are equal sizes; only for dimensions, so never negative

  static Dim of(int64_t v) { return {true, v, 0}; }
  static Dim unknown(int32_t s) { return {false, 0, s}; }
  /// Provably equal.
  [[nodiscard]] bool same(const Dim& other) const {
    return known ? other.known && value == other.value : symbol != 0 && symbol == other.symbol;
  }
  [[nodiscard]] bool is(int64_t v) const { return known && value == v; }
};

using Dims = std::vector<Dim>;

/// Which unknown dimensions of a graph are the same: inputs that share a dimension name, what operators hand through,
/// and what Shape -> Gather -> Concat chains carry into Reshape and Expand. Needs annotated shapes.
class SymbolicShapes {
 public:
  explicit SymbolicShapes(const Graph& graph);

  /// Dimensions of a value, nullptr when the rank is unknown.
  [[nodiscard]] const Dims* dims(ValueId v) const;
  /// Elements of a scalar or one-dimensional integer tensor, nullptr when nothing is known.
  [[nodiscard]] const Dims* elements(ValueId v) const;
  /// All dimensions provably equal.
  [[nodiscard]] bool same_shape(ValueId a, ValueId b) const;

 private:
  void visit(const Node& node);
  [[nodiscard]] std::optional<Dims> shape_of_output(const Node& node) const;
  [[nodiscard]] std::optional<Dims> shape_from_first(const Node& node) const;
  [[nodiscard]] std::optional<Dims> squeeze(const Node& node) const;
  [[nodiscard]] std::optional<Dims> all_but(const Node& node, ValueId axes_input) const;
  [[nodiscard]] std::optional<Dims> gather(const Node& node) const;
  [[nodiscard]] std::optional<Dims> expand(const Node& node) const;
  [[nodiscard]] std::optional<Dims> elements_of_output(const Node& node) const;
  [[nodiscard]] std::optional<Dims> broadcast(const Node& node) const;
  [[nodiscard]] std::optional<Dims> matmul(const Node& node) const;
  [[nodiscard]] std::optional<Dims> reshape(const Node& node) const;
  void set_dims(ValueId v, const std::optional<Dims>& derived);

  const Graph& graph_;
  std::vector<std::optional<Dims>> dims_;
  std::vector<std::optional<Dims>> elements_;
  std::map<std::string, int32_t> named_;
  int32_t next_symbol_ = 1;
};

/// Solves `target` (a Reshape target whose -1 is Dim::of(-1), zeros replaced) for its -1: the quotient of the element
/// counts where everything but one dimension cancels; nullopt when it does not.
std::optional<Dim> remaining_dim(const Dims& input, const Dims& target);

}  // namespace planish
