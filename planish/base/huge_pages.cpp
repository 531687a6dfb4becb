#include "planish/base/huge_pages.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace planish {
namespace {

/// How much of `bytes` is to lie on huge pages: rounded to the nearest, so that a tail worth one gets it and memory
/// grows by less than half of one.
size_t on_huge_pages(size_t bytes) { return (bytes + kHugePageBytes / 2) / kHugePageBytes * kHugePageBytes; }

}  // namespace

void* allocate_pages(size_t bytes, size_t alignment) {
  if (bytes > SIZE_MAX - kHugePageBytes - alignment) return nullptr;
  const size_t advised = alignment <= kHugePageBytes ? on_huge_pages(bytes) : 0;
  if (advised > 0) alignment = kHugePageBytes;
  bytes = std::max(bytes, advised);
  void* p = nullptr;
  if (::posix_memalign(&p, alignment, bytes == 0 ? alignment : bytes) != 0) return nullptr;
#ifdef MADV_HUGEPAGE
  // A wish: where the system refuses, ordinary pages do the same more slowly.
  if (advised > 0 && p != nullptr) ::madvise(p, advised, MADV_HUGEPAGE);
#endif
  return p;
}

}  // namespace planish
