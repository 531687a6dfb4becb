#include "planish/base/huge_pages.h"

#include <cstdint>
#include <cstdlib>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace planish {

void* allocate_pages(size_t bytes, size_t alignment) {
  const bool huge = bytes >= kHugePageBytes && alignment <= kHugePageBytes;
  if (huge) alignment = kHugePageBytes;
  if (bytes > SIZE_MAX - alignment) return nullptr;
  void* p = nullptr;
  if (::posix_memalign(&p, alignment, bytes == 0 ? alignment : bytes) != 0) return nullptr;
#ifdef MADV_HUGEPAGE
  // A wish: where the system refuses, ordinary pages do the same more slowly. Only whole pages, so that none grows.
  if (huge && p != nullptr) ::madvise(p, bytes / kHugePageBytes * kHugePageBytes, MADV_HUGEPAGE);
#endif
  return p;
}

}  // namespace planish
