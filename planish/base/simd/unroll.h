#pragma once

#include "planish/base/macros.h"

namespace planish::simd {
namespace {

/// An index known at compile time; converts to int in constant expressions.
template <int I>
struct Index {
  constexpr operator int() const { return I; }  // NOLINT(google-explicit-constructor): it stands for the number
};

/// Calls f(Index<0>()), ..., f(Index<N-1>()). A loop over an array of vectors is unrolled too late for the compiler to
/// keep the array in registers; this is unrolled before.
template <int N, typename F>
PLANISH_INLINE void unroll(F f) {
  if constexpr (N > 0) {
    unroll<N - 1>(f);
    f(Index<N - 1>());
  }
}

/// Keeps the compiler from looking through `pointer`: what is computed from it is computed here, and not in advance.
template <typename T>
PLANISH_INLINE void keep_in_register(T*& pointer) {
  __asm__("" : "+r"(pointer));
}

}  // namespace
}  // namespace planish::simd
