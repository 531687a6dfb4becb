#include "planish/kernels/cpu/byte_lookup/byte_lookup.h"

#include <array>
#include <vector>

#include <gtest/gtest.h>

namespace planish::kernels {
namespace {

TEST(ByteLookup, EveryVariantFindsEveryEntryAndWritesExactlyN) {
  constexpr size_t kGuard = 5;
  std::array<uint8_t, 256> table;
  for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<uint8_t>(i * 167 + 13);
  for (const ByteLookupKernel& k : byte_lookup_kernels()) {
    if (!cpu_features().has(k.isa)) continue;
    for (const size_t n : {0U, 1U, 63U, 64U, 65U, 256U, 300U}) {
      std::vector<uint8_t> x(n);
      for (size_t i = 0; i < n; ++i) x[i] = static_cast<uint8_t>(i * 3 + 1);
      std::vector<uint8_t> y(n + kGuard, 0x5a);
      k.fn(table.data(), static_cast<int64_t>(n), x.data(), y.data());
      for (size_t i = 0; i < n; ++i) ASSERT_EQ(y[i], table[x[i]]) << k.name << " n=" << n << " at " << i;
      for (size_t i = n; i < y.size(); ++i) ASSERT_EQ(y[i], 0x5a) << k.name << " wrote behind the end";
    }
  }
}

}  // namespace
}  // namespace planish::kernels
