#pragma once

// The step of loops whose sums fill the registers. In an anonymous namespace for the reason given in math.h.

#include "planish/base/macros.h"

namespace planish::simd {
namespace {

/// sum += a * b, of vectors of GCC's extension. Where there is an instruction for it, it is written as that: left to
/// itself the compiler, in loops that need every register, has it write over `a` or `b` instead of the sum, which then
/// moves from register to register or through memory, and reads `b` from memory once for every use.
template <typename V>
PLANISH_INLINE void multiply_add(V& sum, V a, V b) {
#ifdef __FMA__
  if constexpr (sizeof(V) >= 32)
    asm("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  else
#endif
    sum += a * b;
}
/// The same with `a` in all lanes. Minus 0 changes no number, so that nothing is computed; plus 0 would change -0.
template <typename V>
PLANISH_INLINE void multiply_add(V& sum, float a, V b) {
  const V all = a - V{};
  multiply_add(sum, all, b);
}

}  // namespace
}  // namespace planish::simd
