#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "planish/passes/edit.h"

namespace planish {

/// Small questions that pattern-matching passes ask about a value.

/// The value of a floating-point or integer constant with one element.
std::optional<double> scalar_of(const Edit& edit, ValueId v);
/// A constant with one element that is `expected` up to the rounding of FP16.
bool is_scalar(const Edit& edit, ValueId v, double expected);
bool is_near(double value, double expected);

/// A binary node with one scalar constant operand whose rank does not exceed the other's: op(x, c) or, for a
/// commutative `op`, op(c, x).
struct WithScalar {
  ValueId x = kNoValue;
  double scalar = 0;
};
std::optional<WithScalar> with_scalar(const Edit& edit, ValueId v, std::string_view op);

/// A product a * b * ... * scalar: Mul, and Div by a scalar, taken apart through nodes that nobody else reads.
struct Product {
  std::vector<ValueId> factors;  ///< not constant
  double scalar = 1;             ///< all scalar constants together
  std::vector<int32_t> nodes;    ///< the nodes taken apart, the root first
};
/// The product that node `root` (a Mul or Div) computes; nullopt for other nodes.
std::optional<Product> product_of(const Edit& edit, int32_t root);

/// x when `v` is x * x or Pow(x, 2), else kNoValue.
ValueId squared(const Edit& edit, ValueId v);
/// True when node `n` is the last of a GELU (fuse_gelu) or of a HardSwish or HardSigmoid (fuse_hardswish) that is
/// written out in simpler operators: its scalar factor belongs to the function.
bool is_spelt_out_gelu(const Edit& edit, int32_t n);
bool is_spelt_out_hardswish(const Edit& edit, int32_t n);
/// Nodes `n` as pointers, for fused_node(); in graph order.
std::vector<const Node*> parts(const Edit& edit, std::vector<int32_t> nodes);

}  // namespace planish
