#include "planish/runtime/memory_planner.h"

#include <algorithm>
#include <functional>
#include <numeric>

namespace planish {
namespace {

constexpr size_t kAlignment = 64;

size_t padded(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

/// Places blocks one by one in `order`; returns the arena size and writes offsets.
size_t place(std::span<MemoryBlock> blocks, std::span<const size_t> order, std::vector<size_t>& offsets) {
  std::vector<size_t> placed;  // indices, sorted by offset
  size_t arena = 0;
  for (const size_t i : order) {
    const MemoryBlock& b = blocks[i];
    const size_t need = padded(b.bytes);
    size_t best_offset = SIZE_MAX;
    size_t best_gap = SIZE_MAX;
    size_t end = 0;  // end of the occupied memory seen so far
    for (const size_t j : placed) {
      const MemoryBlock& other = blocks[j];
      if (other.last < b.first || b.last < other.first) continue;
      if (offsets[j] > end && offsets[j] - end >= need && offsets[j] - end < best_gap) {
        best_gap = offsets[j] - end;
        best_offset = end;
      }
      end = std::max(end, offsets[j] + padded(other.bytes));
    }
    offsets[i] = best_offset == SIZE_MAX ? end : best_offset;
    arena = std::max(arena, offsets[i] + need);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), i,
                                   [&offsets](size_t a, size_t c) { return offsets[a] < offsets[c]; }),
                  i);
  }
  return arena;
}

/// Further orders to try; placing costs the square of the number of blocks.
int64_t attempts_for(size_t blocks) {
  constexpr size_t kWork = 10'000'000;
  return static_cast<int64_t>(std::min<size_t>(64, kWork / (blocks * blocks + 1)));
}

}  // namespace

MemoryPlan plan_memory(std::span<MemoryBlock> blocks) {
  MemoryPlan plan;
  int32_t steps = 0;
  for (const MemoryBlock& b : blocks) steps = std::max(steps, b.last + 1);
  std::vector<size_t> live(static_cast<size_t>(steps), 0);
  for (const MemoryBlock& b : blocks)
    for (int32_t s = b.first; s <= b.last; ++s) live[static_cast<size_t>(s)] += padded(b.bytes);
  for (size_t s = 0; s < live.size(); ++s) {
    if (live[s] <= plan.largest_live_bytes) continue;
    plan.largest_live_bytes = live[s];
    plan.largest_live_step = static_cast<int32_t>(s);
  }

  using Before = std::function<bool(const MemoryBlock&, const MemoryBlock&)>;
  const Before by_size = [](const MemoryBlock& a, const MemoryBlock& b) {
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.first < b.first;
  };
  // Blocks alive at the fullest step first: they decide the arena; the rest fills the gaps.
  const int32_t peak = plan.largest_live_step;
  const Before by_peak = [peak, by_size](const MemoryBlock& a, const MemoryBlock& b) {
    const bool pa = a.first <= peak && peak <= a.last;
    const bool pb = b.first <= peak && peak <= b.last;
    return pa != pb ? pa : by_size(a, b);
  };
  const Before by_start = [](const MemoryBlock& a, const MemoryBlock& b) {
    return a.first != b.first ? a.first < b.first : a.bytes > b.bytes;
  };
  plan.arena_bytes = SIZE_MAX;
  std::vector<size_t> order(blocks.size());
  std::vector<size_t> best_order;
  std::vector<size_t> offsets(blocks.size());
  const auto attempt = [&] {
    const size_t arena = place(blocks, order, offsets);
    if (arena >= plan.arena_bytes) return;
    plan.arena_bytes = arena;
    best_order = order;
    for (size_t i = 0; i < blocks.size(); ++i) blocks[i].offset = offsets[i];
  };
  for (const Before& before : {by_size, by_peak, by_start}) {
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::stable_sort(order, [&](size_t a, size_t b) { return before(blocks[a], blocks[b]); });
    attempt();
    if (plan.arena_bytes == plan.largest_live_bytes) break;
  }
  // What ended on top found no gap: it goes first in the next attempt.
  order = best_order;
  for (int64_t left = attempts_for(blocks.size()); left > 0 && plan.arena_bytes > plan.largest_live_bytes; --left) {
    place(blocks, order, offsets);
    const auto top = std::ranges::max_element(
        order, {}, [&](size_t i) { return blocks[i].bytes == 0 ? 0 : offsets[i] + padded(blocks[i].bytes); });
    std::rotate(order.begin(), top, top + 1);
    attempt();
  }
  if (blocks.empty()) plan.arena_bytes = 0;
  return plan;
}

}  // namespace planish
