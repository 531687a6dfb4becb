#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "planish/base/status.h"
#include "planish/ir/graph.h"

namespace planish {

/// One step of `planish.Chain`: an operator with one output, its attributes, and what it reads. Its node has no inputs.
struct ChainStep {
  Node node;
  std::vector<int32_t> operands;  ///< -1: absent; 0..n-1: inputs of the chain; n + k: result of step k
};

/// The steps of a chain. The attribute `steps` lists strings "domain.Op a b _ c" with operands as above and _ for an
/// absent one; attribute `x` of step k stands as `sk_x`. Errors invalid_model: a step without an operator, an operand
/// that is not defined yet.
Result<std::vector<ChainStep>> chain_steps(const Node& chain);

/// Writes `steps` into the attributes of `chain`, which has its inputs already.
void set_chain_steps(Node& chain, std::span<const ChainStep> steps);

}  // namespace planish
