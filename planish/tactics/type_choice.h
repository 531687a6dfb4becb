#pragma once

#include <functional>
#include <vector>

#include "planish/tactics/tactic.h"

namespace planish {

/// f16 and bf16: the types that layers of an f32 network may be computed in.
bool is_half(DType type);

/// The types in which a layer of an f32 network reads and writes activations.
struct TypePair {
  DType in = DType::f32;
  DType out = DType::f32;
  friend bool operator==(const TypePair&, const TypePair&) = default;
};

/// Ways to compute a node with `half` on at least one side; empty when it is always f32.
std::vector<TypePair> type_pairs(const NodeView& view, DType half);
/// Type of input `i` under `types`: f32 for what is no f32 activation of the layer (biases, scales, masks, bounds).
DType input_type(const NodeView& view, size_t i, TypePair types);
/// Type of output `o` under `types`.
DType output_type(const NodeView& view, size_t o, TypePair types);

/// Gives a constant in another type; what it returns outlives the view.
using ConvertConstant = std::function<const Tensor*(const Tensor& constant, DType type)>;
/// The f32 view in those types. `node` gets the operator (with attribute y_type where the output's type has to be
/// said) and must outlive the result.
NodeView with_types(const NodeView& view, TypePair types, Node& node, const ConvertConstant& convert);
/// A view in 16-bit types in f32 again.
NodeView in_f32(const NodeView& view, Node& node, const ConvertConstant& convert);

}  // namespace planish
