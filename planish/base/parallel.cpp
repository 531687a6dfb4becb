#include "planish/base/parallel.h"

#include <algorithm>
#include <atomic>
#include <memory>

#include "planish/base/thread_team.h"

namespace planish {
namespace {

// Parts that a thread's share is taken in, so that a thread which is done early can take over what another has not
// begun.
constexpr int64_t kPartsPerThread = 4;

// One thread's share of the chunks: [next, end) are still to be done, `part` at a time.
struct alignas(64) Share {
  std::atomic<int64_t> next;
  int64_t end;
  int64_t part;
};

struct Loop {
  int64_t n;
  int64_t grain;
  FunctionRef<void(int64_t, int64_t)> body;
  int threads;
  Share* shares;

  void work_off(Share& share) {
    // Looking before taking: threads that are done only read the lines of those which still work.
    while (share.next.load(std::memory_order_relaxed) < share.end) {
      const int64_t first = share.next.fetch_add(share.part, std::memory_order_relaxed);
      if (first >= share.end) return;
      body(first * grain, std::min(n, std::min(share.end, first + share.part) * grain));
    }
  }

  // A thread begins with its own share: the data of the layer before may still be in its cache.
  static void run(void* data) {
    Loop& loop = *static_cast<Loop*>(data);
    const int me = team_place().id;
    for (int i = 0; i < loop.threads; ++i) loop.work_off(loop.shares[(me + i) % loop.threads]);
  }
};

// A loop inside a loop runs on one thread, so one array for each thread that starts loops is enough.
Share* shares_for(int threads) {
  thread_local std::unique_ptr<Share[]> shares;
  thread_local int size = 0;
  if (size < threads) shares = std::make_unique<Share[]>(size = threads);
  return shares.get();
}

}  // namespace

void set_num_threads(int threads) { set_team_threads(threads); }
int num_threads() { return in_team() ? 1 : team_threads(); }

void parallel_for(int64_t n, int64_t grain, FunctionRef<void(int64_t, int64_t)> body) {
  if (n <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  const int64_t chunks = (n + grain - 1) / grain;
  const int threads = static_cast<int>(std::min<int64_t>(num_threads(), chunks));
  if (threads <= 1) {
    body(0, n);
    return;
  }
  Loop loop{n, grain, body, threads, shares_for(threads)};
  for (int i = 0; i < threads; ++i) {
    Share& share = loop.shares[i];
    const int64_t begin = chunks * i / threads;
    share.end = chunks * (i + 1) / threads;
    share.next.store(begin, std::memory_order_relaxed);
    share.part = (share.end - begin + kPartsPerThread - 1) / kPartsPerThread;
  }
  team_start(&Loop::run, &loop, threads);
  Loop::run(&loop);
  team_end();
}

}  // namespace planish
