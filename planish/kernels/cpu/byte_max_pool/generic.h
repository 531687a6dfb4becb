#pragma once

// The loops behind every instruction set; included by one file per instruction set and nothing else.

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/kernels/cpu/byte_max_pool/byte_max_pool.h"
#include "planish/kernels/cpu/window/tap_range.h"

namespace planish::kernels {
namespace {

/// `B` has kBytes, V, load, store, set1 and max<kSigned>.
template <typename B, bool kSigned>
void max_pool_lines(const ByteMaxPool& p, const uint8_t* x, uint8_t* y, int64_t line_begin, int64_t line_end) {
  constexpr uint8_t kLowest = kSigned ? 0x80 : 0;
  const int64_t tap_w = p.dilation_w * p.channels;
  const int64_t tap_h = p.dilation_h * p.in_w * p.channels;
  for (int64_t line = line_begin; line < line_end; ++line) {
    const int64_t top = line * p.stride_h - p.pad_top;
    const TapRange v = taps_inside(top, p.kernel_h, p.dilation_h, p.in_h);
    for (int64_t column = 0; column < p.out_w; ++column) {
      const int64_t left = column * p.stride_w - p.pad_left;
      const TapRange h = taps_inside(left, p.kernel_w, p.dilation_w, p.in_w);
      const uint8_t* from = x + (top * p.in_w + left) * p.channels;
      uint8_t* to = y + (line * p.out_w + column) * p.channels;
      // The last vector overlaps the one before: the largest value is the same whoever computes it.
      for (int64_t c = 0; c + B::kBytes <= p.channels;) {
        typename B::V most = B::set1(kLowest);
        for (int64_t r = v.begin; r < v.end; ++r)
          for (int64_t s = h.begin; s < h.end; ++s)
            most = B::template max<kSigned>(most, B::load(from + r * tap_h + s * tap_w + c));
        B::store(to + c, most);
        const int64_t left_over = p.channels - c - B::kBytes;
        c += left_over > 0 && left_over < B::kBytes ? left_over : B::kBytes;
      }
      for (int64_t c = 0; p.channels < B::kBytes && c < p.channels; ++c) {
        uint8_t most = kLowest;
        for (int64_t r = v.begin; r < v.end; ++r)
          for (int64_t s = h.begin; s < h.end; ++s) {
            const uint8_t value = from[r * tap_h + s * tap_w + c];
            const bool larger = kSigned ? static_cast<int8_t>(value) > static_cast<int8_t>(most) : value > most;
            if (larger) most = value;
          }
        to[c] = most;
      }
    }
  }
}

template <typename B>
void byte_max_pool_generic(const ByteMaxPool& p, const uint8_t* x, uint8_t* y, int64_t line_begin, int64_t line_end) {
  if (p.is_signed)
    max_pool_lines<B, true>(p, x, y, line_begin, line_end);
  else
    max_pool_lines<B, false>(p, x, y, line_begin, line_end);
}

}  // namespace
}  // namespace planish::kernels
