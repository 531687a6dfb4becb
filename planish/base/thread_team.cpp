#include "planish/base/thread_team.h"

#include <immintrin.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
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
#include "planish/base/subnormals.h"

namespace planish {
namespace {

using Clock = std::chrono::steady_clock;

// Long enough to bridge the gap between two layers, and for a worker the serial layer between two parallel ones; short
// enough that a thread which shares its core with the one it waits for soon gives the core up. (With libgomp, which
// spins for milliseconds, an inference beside a busy process takes twice as long as it needs to.)
constexpr auto kCallerSpins = std::chrono::microseconds(30);
constexpr auto kWorkerSpins = std::chrono::microseconds(100);
constexpr int kMaxThreads = 1 << 12;
constexpr int kSizeShift = 48;  // of a region's size, above the region's number

static_assert(std::atomic<uint64_t>::is_always_lock_free, "a futex is the lower half of a number");

void sleep_while(uint32_t* word, uint32_t value) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}
void wake(uint32_t* word, int threads) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, threads, nullptr, nullptr, 0); }

// Returns the first value of load() that is accepted: spins for a while, then sleeps on `word`, the lower half of that
// value. Whoever changes the word wakes the sleepers when `asleep` counts any.
template <typename Load, typename Accept>
auto wait_for(std::chrono::nanoseconds spin, Load load, Accept accept, uint32_t* word, std::atomic<int>& asleep) {
  auto value = load();
  if (accept(value)) return value;
  const auto until = Clock::now() + spin;
  do {
    for (int i = 0; i < 32; ++i) {
      _mm_pause();
      if (accept(value = load())) return value;
    }
  } while (Clock::now() < until);
  asleep.fetch_add(1, std::memory_order_seq_cst);
  while (!accept(value = load())) sleep_while(word, static_cast<uint32_t>(value));
  asleep.fetch_sub(1, std::memory_order_relaxed);
  return value;
}

// A number that one thread changes and others wait for.
class Signal {
 public:
  uint64_t load() const { return value_.load(std::memory_order_seq_cst); }

  void increment() {
    value_.fetch_add(1, std::memory_order_seq_cst);
    if (asleep_.load(std::memory_order_seq_cst) > 0) wake(word(), INT_MAX);
  }

  // Raises the number to `value`; false when it is there already, or beyond.
  bool raise(uint64_t value) {
    uint64_t now = value_.load(std::memory_order_relaxed);
    return now < value && value_.compare_exchange_strong(now, value, std::memory_order_acq_rel);
  }

  template <typename Accept>
  void wait(std::chrono::nanoseconds spin, Accept accept) {
    wait_for(
        spin, [this] { return load(); }, accept, word(), asleep_);
  }

 private:
  uint32_t* word() { return reinterpret_cast<uint32_t*>(&value_); }

  std::atomic<uint64_t> value_{0};
  std::atomic<int> asleep_{0};
};

// Cores that the process may use.
std::vector<int> own_cores() {
  std::vector<int> cores;
  cpu_set_t set;
  if (sched_getaffinity(getpid(), sizeof(set), &set) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  return cores;
}

class Team;

// What a thread knows of the regions around it.
struct ThreadState {
  TeamPlace place;
  TeamPlace outer;         // of the region around a nested one
  int depth = 0;           // regions open
  Team* region = nullptr;  // the team whose region this is; null in one of a single thread
};
thread_local ThreadState state;

// Regions have even numbers. A place's signal holds the number of the last region in which somebody took the place, one
// more when that part is done.
class Team {
 public:
  Team() = default;
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;
  ~Team() {
    stop_.store(true, std::memory_order_relaxed);
    ring(0);
    for (auto& worker : workers_) worker->thread.join();
  }

  // Makes workers for regions of `threads` threads; returns how many threads a region can have (fewer where the system
  // refuses a thread).
  int reserve(int threads) {
    try {
      while (static_cast<int>(workers_.size()) + 1 < threads) {
        auto worker = std::make_unique<Worker>();
        worker->thread = std::thread([this, place = &worker->place, id = static_cast<int>(workers_.size()) + 1,
                                      bell = bell_.load()] { work(*place, id, bell); });
        if (first_core_ >= 0) pin(worker->thread.native_handle(), static_cast<int>(workers_.size()) + 1);
        workers_.push_back(std::move(worker));
      }
    } catch (const std::system_error&) {
    }
    return std::min(threads, static_cast<int>(workers_.size()) + 1);
  }

  void pin_to(int first_core) {
    first_core_ = first_core;
    pin(pthread_self(), 0);
    for (size_t i = 0; i < workers_.size(); ++i) pin(workers_[i]->thread.native_handle(), static_cast<int>(i) + 1);
  }

  void start(void (*body)(void*), void* data, int threads) {
    body_ = body;
    data_ = data;
    size_ = threads;
    float_mode_ = float_mode();
    ring(threads);
  }

  // A worker always begins with its own place, so that the part of the weights and of the tensors that goes with the
  // place stays in its core's cache.
  void finish() {
    const uint64_t region = number(bell_.load(std::memory_order_relaxed));
    for (int id = 1; id < size_; ++id) run_place(workers_[id - 1]->place, region, id, size_);
    for (int id = 1; id < size_; ++id)
      workers_[id - 1]->place.wait(kCallerSpins, [done = region + 1](uint64_t now) { return now == done; });
  }

  void barrier(uint32_t threads) {
    const uint64_t phase = phase_.load();
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
      arrived_.store(0, std::memory_order_relaxed);
      phase_.increment();
    } else {
      phase_.wait(kCallerSpins, [phase](uint64_t now) { return now != phase; });
    }
  }

 private:
  struct alignas(64) Worker {  // a cache line each, so that threads which finish do not wait for each other's line
    Signal place;
    std::thread thread;
  };

  static uint64_t number(uint64_t bell) { return bell & ((uint64_t{1} << kSizeShift) - 1); }

  void pin(pthread_t thread, int id) const {
    static const std::vector<int> cores = own_cores();
    if (cores.empty()) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cores[static_cast<size_t>(first_core_ + id) % cores.size()], &set);
    pthread_setaffinity_np(thread, sizeof(set), &set);
  }

  // Announces the next region, of `size` places.
  void ring(int size) {
    const uint64_t region = number(bell_.load(std::memory_order_relaxed)) + 2;
    bell_.store(static_cast<uint64_t>(size) << kSizeShift | region, std::memory_order_seq_cst);
    if (asleep_.load(std::memory_order_seq_cst) > 0) wake(reinterpret_cast<uint32_t*>(&bell_), INT_MAX);
  }

  // Runs a place of the region unless somebody has taken it, or the region is over.
  void run_place(Signal& place, uint64_t region, int id, int size) {
    if (!place.raise(region)) return;
    // From here on the region cannot end without us, so that its body and data stand.
    const ThreadState before = state;
    state = {{id, size}, {}, 1, this};
    set_float_mode(float_mode_);
    body_(data_);
    state = before;
    place.increment();
  }

  void work(Signal& place, int id, uint64_t heard) {
    set_team_threads(1);
    for (;;) {
      heard = wait_for(
          kWorkerSpins, [this] { return bell_.load(std::memory_order_seq_cst); },
          [heard](uint64_t now) { return now != heard; }, reinterpret_cast<uint32_t*>(&bell_), asleep_);
      if (stop_.load(std::memory_order_relaxed)) return;
      const int size = static_cast<int>(heard >> kSizeShift);
      if (id < size) run_place(place, number(heard), id, size);
    }
  }

  // What a worker needs to begin, on the cache line that it spins on.
  alignas(64) std::atomic<uint64_t> bell_{0};  // the region's number, and above it the region's size
  std::atomic<int> asleep_{0};
  std::atomic<bool> stop_{false};
  void (*body_)(void*) = nullptr;
  void* data_ = nullptr;
  uint32_t float_mode_ = 0;  // the caller's, so that a result does not depend on who computed it
  alignas(64) Signal phase_;
  std::atomic<uint32_t> arrived_{0};
  alignas(64) int size_ = 1;
  int first_core_ = -1;  // of a pinned team
  std::vector<std::unique_ptr<Worker>> workers_;
};

int default_threads() {
  static const int threads = [] {
    const char* wish = std::getenv("OMP_NUM_THREADS");
    const int number = wish ? std::atoi(wish) : 0;
    return std::clamp(threads_or_all(number), 1, kMaxThreads);
  }();
  return threads;
}

thread_local int wanted_threads = 0;  // 0: the default
thread_local std::unique_ptr<Team> own_team;

Team& team() {
  if (!own_team) own_team = std::make_unique<Team>();
  return *own_team;
}

}  // namespace

TeamPlace team_place() { return state.place; }
bool in_team() { return state.depth > 0; }
void set_team_threads(int threads) { wanted_threads = std::clamp(threads, 1, kMaxThreads); }
void pin_team(int first) { team().pin_to(std::max(first, 0)); }
int team_threads() { return wanted_threads > 0 ? wanted_threads : default_threads(); }

void team_start(void (*body)(void*), void* data, int threads) {
  if (state.depth++ > 0) {
    if (state.depth == 2) state.outer = state.place;
    state.place = {};
    return;
  }
  if (threads <= 0) threads = team_threads();
  if (threads > 1) {
    threads = team().reserve(std::min(threads, kMaxThreads));
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
