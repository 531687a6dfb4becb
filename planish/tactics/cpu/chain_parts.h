#pragma once

// Steps of planish.Chain seen as layers of their own; shared by the tactics that take chains.

#include <span>
#include <vector>

#include "planish/ops/chain.h"
#include "planish/tactics/tactic.h"

namespace planish {

/// A step as a layer. `operands` says what its inputs are: inputs of the chain, behind them results of steps, -1: none.
struct ChainPart {
  const Tactic* tactic = nullptr;  ///< nullptr: the chain's own affair
  Node node;
  NodeView view;  ///< its `node` is set by whoever keeps the part where it stays
  std::vector<int32_t> operands;
};

/// Step `step` of `chain` whose earlier results are `results`, which it appends its own to. Images, but for the chain's
/// own inputs, lie in `layout`. Error invalid_model: the operator refuses the operands.
Result<ChainPart> chain_part(const NodeView& chain, const ChainStep& step, Layout layout,
                             std::vector<TensorDesc>& results);

/// What the parts' tactics pack, by input of the chain.
Result<std::vector<PackedConstant>> pack_parts(std::span<const ChainPart* const> parts, const Target& target);

/// What `packed` holds for the weights of `part`, as its own tactic wants it: input 1.
std::vector<PackedConstant> packed_weights_of(const ChainPart& part, std::span<const PackedConstant> packed);

/// Unpacks a constant that is the weights (input 1) of a step by the first of `tactics` that knows its form.
Result<Tensor> unpack_part(const NodeView& chain, const PackedConstant& packed, std::span<const Tactic* const> tactics);

}  // namespace planish
