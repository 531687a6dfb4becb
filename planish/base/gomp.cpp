// The part of GNU OpenMP's interface that oneDNN was compiled against. The program's own definitions come before those
// of libgomp.so for every library loaded with it, so that oneDNN's loops run on the same workers as ours, whose waiting
// we control. Source: libgomp's ABI, https://gcc.gnu.org/onlinedocs/libgomp/The-libgomp-ABI.html.
#include <algorithm>

#include "planish/base/thread_team.h"

namespace planish {
namespace {

// A loop with static schedule, as one thread of a region goes through it.
struct StaticLoop {
  long start = 0, end = 0, step = 1;
  long block = 0;  // iterations handed out at once
  long next = 0;   // first iteration of this thread's next block, counted from 0
  long stride = 0;
  long trips = 0;

  bool take(long* first, long* last) {
    if (next >= trips) return false;
    const long until = std::min(next + block, trips);
    *first = start + next * step;
    *last = until == trips ? end : start + until * step;
    next += stride;
    return true;
  }
};
thread_local StaticLoop loop;

}  // namespace
}  // namespace planish

using planish::loop;

extern "C" {

void GOMP_parallel_start(void (*body)(void*), void* data, unsigned threads) {
  planish::team_start(body, data, static_cast<int>(threads));
}
void GOMP_parallel_end() { planish::team_end(); }
void GOMP_barrier() { planish::team_barrier(); }

int omp_get_max_threads() { return planish::team_threads(); }
int omp_get_num_threads() { return planish::team_place().size; }
int omp_get_thread_num() { return planish::team_place().id; }
int omp_in_parallel() { return planish::in_team() ? 1 : 0; }

bool GOMP_loop_static_start(long start, long end, long step, long chunk, long* first, long* last) {
  const planish::TeamPlace place = planish::team_place();
  const long span = step > 0 ? end - start + step - 1 : end - start + step + 1;
  const long trips = std::max(0L, span / step);
  if (chunk > 0) {
    loop = {start, end, step, chunk, place.id * chunk, place.size * chunk, trips};
  } else {  // one block each, the first threads one iteration more
    const long block = trips / place.size, longer = trips % place.size;
    loop = {start, end,  step, block + (place.id < longer ? 1 : 0), block * place.id + std::min<long>(place.id, longer),
            trips, trips};
    if (loop.block == 0) loop.next = trips;
  }
  return loop.take(first, last);
}
bool GOMP_loop_static_next(long* first, long* last) { return loop.take(first, last); }
void GOMP_loop_end_nowait() {}

}  // extern "C"
