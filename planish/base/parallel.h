#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

namespace planish {

/// A reference to a callable, as cheap as two pointers; the callable must outlive the call it is passed to.
template <typename Signature>
class FunctionRef;

template <typename R, typename... Args>
class FunctionRef<R(Args...)> {
 public:
  template <typename F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>)
      FunctionRef(F&& f)  // NOLINT(google-explicit-constructor): it stands for the callable
      : object_(const_cast<void*>(static_cast<const void*>(&f))), call_([](void* o, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(o))(std::forward<Args>(args)...);
        }) {}
  R operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

/// Threads that parallel_for (and oneDNN) use when called from this thread; at least 1. Set it once per thread that
/// runs inference; several such threads share the machine without oversubscription when the numbers add up to its
/// cores.
void set_num_threads(int threads);
int num_threads();

/// set_num_threads() until the end of a scope.
class ThreadsInScope {
 public:
  explicit ThreadsInScope(int threads) : before_(num_threads()) { set_num_threads(threads); }
  ~ThreadsInScope() { set_num_threads(before_); }
  ThreadsInScope(const ThreadsInScope&) = delete;
  ThreadsInScope& operator=(const ThreadsInScope&) = delete;

 private:
  int before_;
};

/// Calls body(begin, end) on disjoint ranges that cover [0, n), each a multiple of `grain` long except the last, on
/// several threads when n > grain; a thread may get several ranges. The split depends on n, grain and num_threads()
/// alone. The body must not throw.
void parallel_for(int64_t n, int64_t grain, FunctionRef<void(int64_t, int64_t)> body);

}  // namespace planish
