#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "planish/base/parallel.h"

namespace planish::api {

/// Threads that each run something of their own at the same time, the caller's among them. They sleep in between.
class WorkerThreads {
 public:
  /// `count` workers (at least 1) that compute with `threads` threads each.
  WorkerThreads(int count, int threads);
  ~WorkerThreads();
  WorkerThreads(const WorkerThreads&) = delete;
  WorkerThreads& operator=(const WorkerThreads&) = delete;

  [[nodiscard]] int count() const { return count_; }
  [[nodiscard]] int threads() const { return threads_; }
  /// Calls body(worker) for the workers 0 .. count-1 at once and waits for all; 0 is the caller.
  void run(FunctionRef<void(int)> body);

 private:
  void serve(int worker);

  int count_ = 1;
  int threads_ = 1;
  std::mutex mutex_;
  std::condition_variable changed_;
  const FunctionRef<void(int)>* body_ = nullptr;
  uint64_t round_ = 0;
  int busy_ = 0;
  bool stop_ = false;
  std::vector<std::thread> helpers_;
};

}  // namespace planish::api
