#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace planish {

/// Memory that is needed from step `first` to step `last`, both included.
struct MemoryBlock {
  size_t bytes = 0;
  int32_t first = 0;
  int32_t last = 0;
  size_t offset = 0;  ///< filled in by plan_memory; a multiple of 64
};

struct MemoryPlan {
  size_t arena_bytes = 0;         ///< what the offsets need
  size_t largest_live_bytes = 0;  ///< most bytes alive at one step: no plan can need less
  int32_t largest_live_step = 0;
};

/// Assigns offsets so that blocks alive at the same time do not overlap. Several orders are tried (by size, the fullest
/// step first, by start, then with whatever ended on top moved to the front), each with best-fit placement, and the
/// smallest arena wins. Source: Pisarchyk and Lee, "Efficient Memory
/// Management for Deep Neural Net Inference", 2020 (greedy by size).
MemoryPlan plan_memory(std::span<MemoryBlock> blocks);

}  // namespace planish
