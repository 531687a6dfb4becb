#include "planish/api/worker_threads.h"

#include <algorithm>

namespace planish::api {

WorkerThreads::WorkerThreads(int count, int threads) : count_(std::max(1, count)), threads_(std::max(1, threads)) {
  for (int worker = 1; worker < count_; ++worker) helpers_.emplace_back([this, worker] { serve(worker); });
}

WorkerThreads::~WorkerThreads() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

void WorkerThreads::run(FunctionRef<void(int)> body) {
  {
    const std::lock_guard lock(mutex_);
    body_ = &body;
    busy_ = count_ - 1;
    ++round_;
  }
  changed_.notify_all();
  {
    const ThreadsInScope threads(threads_);
    body(0);
  }
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return busy_ == 0; });
}

void WorkerThreads::serve(int worker) {
  set_num_threads(threads_);
  for (uint64_t done = 0;;) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stop_ || round_ != done; });
    if (stop_) return;
    done = round_;
    const FunctionRef<void(int)>& body = *body_;
    lock.unlock();
    body(worker);
    lock.lock();
    if (--busy_ == 0) changed_.notify_all();
  }
}

}  // namespace planish::api
