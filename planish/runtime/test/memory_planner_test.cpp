#include "planish/runtime/memory_planner.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace planish {
namespace {

size_t padded(size_t bytes) { return (bytes + 63) / 64 * 64; }

void expect_sound(const std::vector<MemoryBlock>& blocks, const MemoryPlan& plan) {
  std::vector<size_t> live(64, 0);
  for (size_t i = 0; i < blocks.size(); ++i) {
    const MemoryBlock& a = blocks[i];
    EXPECT_EQ(a.offset % 64, 0U);
    EXPECT_LE(a.offset + a.bytes, plan.arena_bytes);
    for (int32_t s = a.first; s <= a.last; ++s) live[static_cast<size_t>(s)] += padded(a.bytes);
    for (size_t j = 0; j < i; ++j) {
      const MemoryBlock& b = blocks[j];
      const bool together = a.first <= b.last && b.first <= a.last;
      const bool apart = a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset;
      ASSERT_TRUE(!together || apart) << "blocks " << i << " and " << j << " overlap";
    }
  }
  const size_t most = *std::max_element(live.begin(), live.end());
  EXPECT_EQ(plan.largest_live_bytes, most);
  EXPECT_EQ(live[static_cast<size_t>(plan.largest_live_step)], most);
  EXPECT_GE(plan.arena_bytes, most);
}

TEST(MemoryPlanner, NothingNeedsNothing) {
  const MemoryPlan plan = plan_memory({});
  EXPECT_EQ(plan.arena_bytes, 0U);
  EXPECT_EQ(plan.largest_live_bytes, 0U);
}

TEST(MemoryPlanner, RandomBlocksNeverOverlap) {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    std::vector<MemoryBlock> blocks(1 + random() % 40);
    for (MemoryBlock& b : blocks) {
      b.bytes = random() % 3 == 0 ? random() % 100'000 : random() % 300;
      b.first = static_cast<int32_t>(random() % 50);
      b.last = b.first + static_cast<int32_t>(random() % 10);
    }
    const MemoryPlan plan = plan_memory(blocks);
    SCOPED_TRACE("round " + std::to_string(round));
    expect_sound(blocks, plan);
    if (HasFatalFailure()) return;
  }
}

/// Activations as networks have them: sizes that halve with depth, short lives, skip connections.
std::vector<MemoryBlock> network(std::mt19937& random, bool pyramid) {
  std::vector<MemoryBlock> blocks;
  for (int32_t i = 0; i < 50; ++i) {
    const size_t bytes = (size_t{1} << (22 - i / 10)) / (1 + random() % 3);
    const bool skip = random() % 4 == 0;
    int32_t last = i + 1 + (skip ? static_cast<int32_t>(random() % 4) : 0);
    if (pyramid && i % 10 == 9) last = 58 - i;
    blocks.push_back({bytes, i, std::max(last, i + 1), 0});
    if (random() % 5 == 0) blocks.push_back({bytes / 2, i, i, 0});  // workspace
  }
  return blocks;
}

TEST(MemoryPlanner, ArenaStaysNearTheLargestLiveSet) {
  std::mt19937 random(2);
  for (int round = 0; round < 100; ++round) {
    auto blocks = network(random, round % 2 == 1);
    const MemoryPlan plan = plan_memory(blocks);
    expect_sound(blocks, plan);
    EXPECT_LE(static_cast<double>(plan.arena_bytes), 1.15 * static_cast<double>(plan.largest_live_bytes))
        << "round " << round;
  }
}

}  // namespace
}  // namespace planish
