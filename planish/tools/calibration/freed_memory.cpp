#include "planish/tools/calibration/freed_memory.h"

#include <malloc.h>

namespace planish::tools {

void keep_freed_memory() {
  constexpr int kLargest = 32 << 20;
  constexpr int kMost = 256 << 20;
  mallopt(M_MMAP_THRESHOLD, kLargest);
  mallopt(M_TRIM_THRESHOLD, kMost);
}

}  // namespace planish::tools
