#include <malloc.h>

#include "planish/tools/commands.h"
#include "planish/tools/standard_streams.h"

int main(int argc, char** argv) {
  // Builds and calibrations take and give back buffers of some megabytes again and again. Left alone, the allocator
  // returns each to the system, which then clears every page once more.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
  planish::tools::guard_standard_streams();
  return planish::tools::close_standard_streams("planish", planish::tools::dispatch(argc, argv));
}
