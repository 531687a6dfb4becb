#pragma once

#include <cstdint>

#include "planish/base/macros.h"

namespace planish::kernels {
namespace {

/// Taps 0..kernel-1 of an output position whose first tap is `at`: those that fall into [0, size).
struct TapRange {
  int64_t begin;
  int64_t end;
};
PLANISH_INLINE TapRange taps_inside(int64_t at, int64_t kernel, int64_t dilation, int64_t size) {
  const int64_t begin = at < 0 ? (-at + dilation - 1) / dilation : 0;
  const int64_t last = size - 1 - at;
  const int64_t end = last < 0 ? 0 : last / dilation + 1;
  return {begin, end < kernel ? end : kernel};
}

}  // namespace
}  // namespace planish::kernels
