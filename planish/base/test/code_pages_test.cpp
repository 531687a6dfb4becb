#include "planish/base/code_pages.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <numeric>
#include <string>

namespace planish {
namespace {

/// 2 MiB of constants of this program: a segment that cannot be written.
constexpr size_t kBytes = size_t{2} << 20;
constexpr std::array<uint8_t, kBytes> kConstants{1};

/// Resident KiB of the mapping around `address`; -1 when the system does not say.
long resident_kib(const void* address) {
  std::ifstream file("/proc/self/smaps");
  const auto wanted = reinterpret_cast<uintptr_t>(address);
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    unsigned long begin = 0;
    unsigned long end = 0;
    long kib = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) inside = begin <= wanted && wanted < end;
    if (inside && std::sscanf(line.c_str(), "Rss: %ld kB", &kib) == 1) return kib;
  }
  return -1;
}

int sum() { return std::accumulate(kConstants.begin(), kConstants.end(), 0); }

TEST(CodePages, LeaveResidentMemoryAndComeBack) {
  volatile int before = sum();
  const long full = resident_kib(&kConstants[kBytes / 2]);
  if (full < 0) GTEST_SKIP() << "no /proc/self/smaps";
  ASSERT_GE(full, static_cast<long>(kBytes >> 10) - 64);
  release_code_pages(kConstants.data());
  EXPECT_LT(resident_kib(&kConstants[kBytes / 2]), full / 2);
  EXPECT_EQ(sum(), before);  // also this function had to come back
  // Other constants of the program lie in the same mapping; they come back when somebody reads them.
  EXPECT_GE(resident_kib(&kConstants[kBytes / 2]), static_cast<long>(kBytes >> 10) - 64);
}

TEST(CodePages, AddressesOfNoObjectDoNothing) {
  const int local = 0;
  release_code_pages(&local);
  release_code_pages(nullptr);
}

}  // namespace
}  // namespace planish
