#include "planish/base/parallel.h"

#include <algorithm>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace planish {

// OpenMP serves both our kernels and oneDNN, so that there is one set of workers and never two that compete.
#ifdef _OPENMP
void set_num_threads(int threads) { omp_set_num_threads(std::max(1, threads)); }
int num_threads() { return omp_in_parallel() ? 1 : omp_get_max_threads(); }
#else
void set_num_threads(int) {}
int num_threads() { return 1; }
#endif

void parallel_for(int64_t n, int64_t grain, FunctionRef<void(int64_t, int64_t)> body) {
  if (n <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  const int64_t chunks = (n + grain - 1) / grain;
  const int threads = static_cast<int>(std::min<int64_t>(num_threads(), chunks));
  if (threads <= 1) {
    body(0, n);
    return;
  }
#ifdef _OPENMP
#pragma omp parallel num_threads(threads)
  {
    const int64_t count = omp_get_num_threads();
    const int64_t me = omp_get_thread_num();
    const int64_t begin = chunks * me / count * grain;
    const int64_t end = std::min(n, chunks * (me + 1) / count * grain);
    if (begin < end) body(begin, end);
  }
#endif
}

}  // namespace planish
