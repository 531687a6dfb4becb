#include "planish/tools/calibration/freed_memory.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace planish::tools {

void keep_freed_memory() {
#ifdef __GLIBC__
  constexpr int kLargest = 32 << 20;
  constexpr int kMost = 256 << 20;
  mallopt(M_MMAP_THRESHOLD, kLargest);
  mallopt(M_TRIM_THRESHOLD, kMost);
#endif
}

}  // namespace planish::tools
