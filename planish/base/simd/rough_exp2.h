#pragma once

#include "planish/base/macros.h"

namespace planish::simd {
namespace {

/// 2^f for 0 <= f < 1 over one of the vector types, relative error below 8e-5: the cubic for which it is least.
template <typename S>
PLANISH_INLINE typename S::F rough_exp2_fraction(typename S::F f) {
  typename S::F p = S::set1(0.0780245289F);
  p = S::fma(p, f, S::set1(0.226067171F));
  p = S::fma(p, f, S::set1(0.695833504F));
  return S::fma(p, f, S::set1(0.999925196F));
}

}  // namespace
}  // namespace planish::simd
