#include "planish/base/thread_team.h"

#include <immintrin.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <system_error>
#include <thread>
#include <vector>

#include "planish/base/isa.h"

namespace planish {
namespace {

using Clock = std::chrono::steady_clock;

// Long enough to bridge the gap between two layers, and for a worker the serial layer between two parallel ones; short
// enough that a thread which shares its core with the one it waits for soon gives the core up. (With libgomp, which
// spins for milliseconds, an inference beside a busy process takes twice as long as it needs to.)
constexpr auto kCallerSpins = std::chrono::microseconds(30);
constexpr auto kWorkerSpins = std::chrono::microseconds(100);
constexpr int kMaxThreads = 1 << 12;

using Word = std::atomic<uint32_t>;
static_assert(sizeof(Word) == 4 && Word::is_always_lock_free, "a futex is four bytes");

void sleep_while(Word& word, uint32_t value) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}
void wake(Word& word, int threads) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_PRIVATE, threads, nullptr, nullptr, 0);
}

// A value that one thread sets and others wait for: they spin, then sleep.
class Signal {
 public:
  uint32_t load() const { return word_.load(std::memory_order_acquire); }
  void store_quietly(uint32_t value) { word_.store(value, std::memory_order_relaxed); }

  // Adds and wakes whoever sleeps, where `wanted` says that the new value is one they wait for.
  template <typename Wanted>
  void add(uint32_t n, int sleepers, Wanted wanted) {
    const uint32_t now = word_.fetch_add(n, std::memory_order_seq_cst) + n;
    if (wanted(now) && asleep_.load(std::memory_order_seq_cst) > 0) wake(word_, sleepers);
  }

  // Returns the first value seen that is accepted.
  template <typename Accept>
  uint32_t wait(std::chrono::nanoseconds spin, Accept accept) {
    uint32_t value = load();
    if (accept(value)) return value;
    const auto until = Clock::now() + spin;
    do {
      for (int i = 0; i < 32; ++i) {
        _mm_pause();
        if (accept(value = load())) return value;
      }
    } while (Clock::now() < until);
    asleep_.fetch_add(1, std::memory_order_seq_cst);
    while (!accept(value = word_.load(std::memory_order_seq_cst))) sleep_while(word_, value);
    asleep_.fetch_sub(1, std::memory_order_relaxed);
    return value;
  }

 private:
  Word word_{0};
  std::atomic<int> asleep_{0};
};

class Team;

// What a thread knows of the regions around it.
struct ThreadState {
  TeamPlace place;
  TeamPlace outer;         // of the region around a nested one
  int depth = 0;           // regions open
  Team* region = nullptr;  // the team whose region this is; null in one of a single thread
};
thread_local ThreadState state;

class Team {
 public:
  Team() = default;
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;
  ~Team() {
    stop_.store(true, std::memory_order_relaxed);
    bell_.add(1, INT_MAX, [](uint32_t) { return true; });
    for (std::thread& worker : workers_) worker.join();
  }

  // Makes workers for regions of `threads` threads; returns how many threads a region can have (fewer where the system
  // refuses a thread).
  int reserve(int threads) {
    try {
      while (static_cast<int>(workers_.size()) + 1 < threads)
        workers_.emplace_back([this, bell = bell_.load()] { work(bell); });
    } catch (const std::system_error&) {
    }
    return std::min(threads, static_cast<int>(workers_.size()) + 1);
  }

  void start(void (*body)(void*), void* data, int threads) {
    body_ = body;
    data_ = data;
    running_.store_quietly(static_cast<uint32_t>(threads - 1));
    job_.store({1, static_cast<uint32_t>(threads)}, std::memory_order_release);
    bell_.add(1, threads - 1, [](uint32_t) { return true; });
  }

  void finish() {
    run_places();
    running_.wait(kCallerSpins, [](uint32_t running) { return running == 0; });
  }

  void barrier(uint32_t threads) {
    const uint32_t phase = phase_.load();
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
      arrived_.store(0, std::memory_order_relaxed);
      phase_.add(1, INT_MAX, [](uint32_t) { return true; });
    } else {
      phase_.wait(kCallerSpins, [phase](uint32_t now) { return now != phase; });
    }
  }

  // Takes places of the region until none is left.
  void run_places() {
    Job job = job_.load(std::memory_order_acquire);
    while (job.next < job.size) {
      if (!job_.compare_exchange_weak(job, {job.next + 1, job.size}, std::memory_order_acq_rel)) continue;
      // From here on the region cannot end without us, so that its body and data stand.
      const ThreadState before = state;
      state = {{static_cast<int>(job.next), static_cast<int>(job.size)}, {}, 1, this};
      body_(data_);
      state = before;
      running_.add(UINT32_MAX, 1, [](uint32_t running) { return running == 0; });
      job = job_.load(std::memory_order_acquire);
    }
  }

 private:
  struct alignas(8) Job {
    uint32_t next;  // the first place that nobody has taken
    uint32_t size;
  };

  void work(uint32_t heard) {
    set_team_threads(1);
    for (;;) {
      heard = bell_.wait(kWorkerSpins, [heard](uint32_t now) { return now != heard; });
      if (stop_.load(std::memory_order_relaxed)) return;
      run_places();
    }
  }

  // Apart, so that workers which spin on the bell do not slow down those which finish.
  alignas(64) Signal bell_;
  alignas(64) std::atomic<Job> job_{Job{1, 1}};
  alignas(64) Signal running_;
  alignas(64) Signal phase_;
  std::atomic<uint32_t> arrived_{0};
  void (*body_)(void*) = nullptr;
  void* data_ = nullptr;
  std::atomic<bool> stop_{false};
  std::vector<std::thread> workers_;
};

int default_threads() {
  static const int threads = [] {
    const char* wish = std::getenv("OMP_NUM_THREADS");
    const int number = wish ? std::atoi(wish) : 0;
    return std::clamp(number > 0 ? number : cpu_features().physical_cores, 1, kMaxThreads);
  }();
  return threads;
}

thread_local int wanted_threads = 0;  // 0: the default
thread_local std::unique_ptr<Team> own_team;

}  // namespace

TeamPlace team_place() { return state.place; }
bool in_team() { return state.depth > 0; }
void set_team_threads(int threads) { wanted_threads = std::clamp(threads, 1, kMaxThreads); }
int team_threads() { return wanted_threads > 0 ? wanted_threads : default_threads(); }

void team_start(void (*body)(void*), void* data, int threads) {
  if (state.depth++ > 0) {
    if (state.depth == 2) state.outer = state.place;
    state.place = {};
    return;
  }
  if (threads <= 0) threads = team_threads();
  if (threads > 1) {
    if (!own_team) own_team = std::make_unique<Team>();
    threads = own_team->reserve(std::min(threads, kMaxThreads));
  }
  state.place = {0, threads};
  if (threads == 1) return;
  state.region = own_team.get();
  own_team->start(body, data, threads);
}

void team_end() {
  if (--state.depth > 0) {
    if (state.depth == 1) state.place = state.outer;
    return;
  }
  Team* region = state.region;
  state = {};
  if (region) region->finish();
}

void team_barrier() {
  if (state.depth == 1 && state.region) state.region->barrier(static_cast<uint32_t>(state.place.size));
}

}  // namespace planish
