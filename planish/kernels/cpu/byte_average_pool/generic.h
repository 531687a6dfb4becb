#pragma once

// The loops behind every instruction set, over the vector types of base/simd (S) and sums of bytes in 16 bits or more
// (W, which has V, kLanes, load, zero, add, and floats, which makes kFloats vectors of S of one); included by one file
// per instruction set and nothing else. Sums are exact in f32 up to 2^24, which is 65,793 positions of 255.

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/kernels/cpu/byte_average_pool/byte_average_pool.h"
#include "planish/kernels/cpu/window/tap_range.h"

namespace planish::kernels {
namespace {

/// A window's positions inside the image, from the first of them, and what its mean is made with.
template <typename X>
struct ByteWindow {
  const X* from;
  int64_t taps_h;
  int64_t taps_w;
  int64_t tap_h;  ///< elements between two lines of positions
  int64_t tap_w;
  float zeros;   ///< what the sum is too large by
  float factor;  ///< of the sum
};

/// Positions that count along an axis where the pads do.
PLANISH_INLINE int64_t taps_before(int64_t at, int64_t kernel, int64_t dilation, int64_t end) {
  const int64_t taps = (end - at + dilation - 1) / dilation;
  return taps < 0 ? 0 : taps < kernel ? taps : kernel;
}

/// Sums of kVectors vectors of channels from channel c on; `lanes` of the last one where that is not whole.
template <typename S, int kVectors, bool kWhole, typename X>
PLANISH_INLINE void window_sums(const ByteWindow<X>& w, int64_t c, int lanes, typename S::F* sums) {
  for (int k = 0; k < kVectors; ++k) sums[k] = S::set1(-w.zeros);
  for (int64_t r = 0; r < w.taps_h; ++r)
    for (int64_t s = 0; s < w.taps_w; ++s) {
      const X* x = w.from + r * w.tap_h + s * w.tap_w + c;
      for (int k = 0; k < kVectors; ++k) {
        const X* at = x + k * S::kLanes;
        if constexpr (kWhole)
          sums[k] = S::add(sums[k], S::load(at));
        else
          sums[k] = S::add(sums[k], S::load(at, lanes));
      }
    }
  const typename S::F factor = S::set1(w.factor);
  for (int k = 0; k < kVectors; ++k) sums[k] = S::mul(sums[k], factor);
}

template <typename S, typename X>
PLANISH_INLINE void average_to_floats(const ByteAveragePool& p, const ByteWindow<X>& w, float* y) {
  constexpr int kLanes = S::kLanes;
  typename S::F v[1];
  int64_t c = 0;
  for (; c + kLanes <= p.channels; c += kLanes) {
    window_sums<S, 1, true>(w, c, kLanes, v);
    S::store(y + c, v[0]);
  }
  if (c == p.channels) return;
  const int left = static_cast<int>(p.channels - c);
  window_sums<S, 1, false>(w, c, left, v);
  S::store(y + c, v[0], left);
}

constexpr int64_t kShortTaps = 128;  ///< whose sum of bytes is within 16 bits

/// The same of S::kRow vectors, added up in 16 bits.
template <typename S, typename W, typename X>
PLANISH_INLINE void short_window_sums(const ByteWindow<X>& w, int64_t c, typename S::F* v) {
  constexpr int kSums = S::kRow / W::kFloats;
  typename W::V sums[kSums];
  for (int k = 0; k < kSums; ++k) sums[k] = W::zero();
  for (int64_t r = 0; r < w.taps_h; ++r)
    for (int64_t s = 0; s < w.taps_w; ++s) {
      const X* x = w.from + r * w.tap_h + s * w.tap_w + c;
      for (int k = 0; k < kSums; ++k) sums[k] = W::add(sums[k], W::load(x + k * W::kLanes));
    }
  for (int k = 0; k < kSums; ++k) W::floats(sums[k], v + k * W::kFloats);
  const typename S::F factor = S::set1(w.factor);
  const typename S::F zeros = S::set1(-w.zeros);
  for (int k = 0; k < S::kRow; ++k) v[k] = S::mul(S::add(v[k], zeros), factor);
}

template <typename S, typename W, typename X>
PLANISH_INLINE void average_to_bytes(const ByteAveragePool& p, const ByteWindow<X>& w, uint8_t* y) {
  constexpr int kLanes = S::kLanes;
  const auto low = S::set1(p.low);
  const auto high = S::set1(p.high);
  typename S::F v[S::kRow];
  const bool is_short = w.taps_h * w.taps_w <= kShortTaps;
  int64_t c = 0;
  for (; c + S::kRow * kLanes <= p.channels; c += S::kRow * kLanes) {
    if (is_short)
      short_window_sums<S, W>(w, c, v);
    else
      window_sums<S, S::kRow, true>(w, c, kLanes, v);
    for (int k = 0; k < S::kRow; ++k) v[k] = S::clamp(v[k], low, high);
    S::store_row(y + c, v, p.y_zero, p.y_signed);
  }
  for (; c < p.channels; c += kLanes) {
    const int left = p.channels - c < kLanes ? static_cast<int>(p.channels - c) : kLanes;
    window_sums<S, 1, false>(w, c, left, v);
    S::store_bytes(y + c, S::clamp(v[0], low, high), p.y_zero, left);
  }
}

template <typename S, typename W, typename X>
void average_lines(const ByteAveragePool& p, const X* x, void* y, int64_t line_begin, int64_t line_end) {
  ByteWindow<X> w{};
  w.tap_w = p.dilation_w * p.channels;
  w.tap_h = p.dilation_h * p.in_w * p.channels;
  for (int64_t line = line_begin; line < line_end; ++line) {
    const int64_t top = line * p.stride_h - p.pad_top;
    const TapRange v = taps_inside(top, p.kernel_h, p.dilation_h, p.in_h);
    const int64_t count_h = taps_before(top, p.kernel_h, p.dilation_h, p.in_h + p.pad_bottom);
    w.taps_h = v.end - v.begin;
    for (int64_t column = 0; column < p.out_w; ++column) {
      const int64_t left = column * p.stride_w - p.pad_left;
      const TapRange h = taps_inside(left, p.kernel_w, p.dilation_w, p.in_w);
      w.taps_w = h.end - h.begin;
      const bool any = w.taps_h > 0 && w.taps_w > 0;
      const int64_t inside = any ? w.taps_h * w.taps_w : 0;
      int64_t count = inside;
      if (p.count_pads) count = count_h * taps_before(left, p.kernel_w, p.dilation_w, p.in_w + p.pad_right);
      w.from = any ? x + ((top + v.begin * p.dilation_h) * p.in_w + left + h.begin * p.dilation_w) * p.channels : x;
      w.zeros = static_cast<float>(inside * p.x_zero);
      w.factor = p.factor / static_cast<float>(count > 0 ? count : 1);
      const int64_t at = (line * p.out_w + column) * p.channels;
      if (p.writes_floats)
        average_to_floats<S>(p, w, static_cast<float*>(y) + at);
      else
        average_to_bytes<S, W>(p, w, static_cast<uint8_t*>(y) + at);
    }
  }
}

template <typename S, typename W>
void byte_average_pool_generic(const ByteAveragePool& p, const void* x, void* y, int64_t line_begin, int64_t line_end) {
  if (p.x_signed)
    average_lines<S, W>(p, static_cast<const int8_t*>(x), y, line_begin, line_end);
  else
    average_lines<S, W>(p, static_cast<const uint8_t*>(x), y, line_begin, line_end);
}

}  // namespace
}  // namespace planish::kernels
