#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "planish/tactics/tactic.h"

namespace planish {

/// Loops over the elements of an output in the order in which they lie in memory, with the element strides of every
/// operand (0 where it broadcasts). Neighbouring loops that are one for everybody are merged.
struct LoopNest {
  std::vector<int64_t> dims;                  ///< outermost first; at least one
  std::vector<std::vector<int64_t>> strides;  ///< by operand, then by dim, in elements

  [[nodiscard]] int64_t size() const;
};

/// The loop nest of `out` over operands that broadcast to it (shapes aligned at the last dimension). nullopt when an
/// operand's layout cannot be walked along with the output's: blocked beside not blocked, or padded blocks.
std::optional<LoopNest> make_loop_nest(const TensorDesc& out, std::span<const TensorDesc> operands);

/// A box within a tensor: first index and step per logical dimension.
struct Region {
  std::vector<int64_t> start;
  std::vector<int64_t> step;
};

/// Loops over `part` (operand 0, contiguous) along with the place of its elements in `whole` (operand 1), which has the
/// same layout; `offset` is the element in `whole` where the part begins. nullopt when blocks of channels would be cut.
std::optional<LoopNest> make_region_nest(const TensorDesc& part, const TensorDesc& whole, const Region& region,
                                         int64_t& offset);

}  // namespace planish
