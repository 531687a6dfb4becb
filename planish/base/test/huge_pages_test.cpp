#include "planish/base/huge_pages.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace planish {
namespace {

constexpr size_t kLine = 64;

struct Free {
  void operator()(void* p) const { std::free(p); }
};
using Memory = std::unique_ptr<void, Free>;

bool aligned(const Memory& m, size_t to) { return reinterpret_cast<uintptr_t>(m.get()) % to == 0; }

TEST(HugePages, MemoryOfAnySizeCanBeWritten) {
  for (const size_t bytes : {size_t{0}, size_t{1}, kHugePageBytes / 2 - 1, kHugePageBytes / 2, kHugePageBytes + 1,
                             kHugePageBytes * 5 / 2 - 1, kHugePageBytes * 5 / 2}) {
    const Memory m(allocate_pages(bytes, kLine));
    ASSERT_NE(m, nullptr) << bytes;
    EXPECT_TRUE(aligned(m, kLine)) << bytes;
    std::memset(m.get(), 1, bytes);
  }
}

TEST(HugePages, WhatFillsHalfOfOneLiesOnOne) {
  for (const size_t bytes : {kHugePageBytes / 2, kHugePageBytes, kHugePageBytes * 2 - kLine})
    EXPECT_TRUE(aligned(Memory(allocate_pages(bytes, kLine)), kHugePageBytes)) << bytes;
}

TEST(HugePages, RefusesWhatNoMemoryHolds) {
  EXPECT_EQ(allocate_pages(SIZE_MAX, kLine), nullptr);
  EXPECT_EQ(allocate_pages(SIZE_MAX - kHugePageBytes, kLine), nullptr);
}

}  // namespace
}  // namespace planish
