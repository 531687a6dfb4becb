#pragma once

// The loops behind every instruction set; included by one file per instruction set and nothing else.

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/kernels/cpu/channel_gate/channel_gate.h"

namespace planish::kernels {
namespace {

/// S: vectors of base/simd.
template <typename S>
struct ChannelGate {
  using F = typename S::F;
  static constexpr int W = S::kLanes;

  /// Calls f(column, count) for vectors of columns, the last perhaps cut short.
  template <typename Fn>
  PLANISH_INLINE static void for_each_vector(int64_t columns, Fn f) {
    for (int64_t c = 0; c < columns; c += W) f(c, columns - c < W ? static_cast<int>(columns - c) : W);
  }
  PLANISH_INLINE static F load(const float* p, int count) { return count == W ? S::load(p) : S::load(p, count); }
  PLANISH_INLINE static void store(float* p, F v, int count) {
    if (count == W) return S::store(p, v);
    S::store(p, v, count);
  }

  static void add_columns(int64_t rows, int64_t columns, int64_t stride, const float* x, float* sums) {
    for_each_vector(
        columns, [&](int64_t c, int count) __attribute__((always_inline)) {
          // Four sums at a time hide the latency of an addition.
          F sum[4] = {load(sums + c, count), S::set1(0.0F), S::set1(0.0F), S::set1(0.0F)};
          const float* at = x + c;
          int64_t r = 0;
          for (; r + 4 <= rows; r += 4, at += 4 * stride)
            for (int i = 0; i < 4; ++i) sum[i] = S::add(sum[i], load(at + i * stride, count));
          for (; r < rows; ++r, at += stride) sum[0] = S::add(sum[0], load(at, count));
          store(sums + c, S::add(S::add(sum[0], sum[1]), S::add(sum[2], sum[3])), count);
        });
  }

  static void scale_columns(int64_t rows, int64_t columns, int64_t stride, const float* x, const float* factors,
                            float* y) {
    for_each_vector(
        columns, [&](int64_t c, int count) __attribute__((always_inline)) {
          const F factor = load(factors + c, count);
          for (int64_t r = 0; r < rows; ++r)
            store(y + r * stride + c, S::mul(load(x + r * stride + c, count), factor), count);
        });
  }

  static void scale_rows(int64_t rows, int64_t columns, const float* x, const float* factors, float* y) {
    for (int64_t r = 0; r < rows; ++r, x += columns, y += columns) {
      const F factor = S::set1(factors[r]);
      for_each_vector(
          columns, [&](int64_t c, int count)
                       __attribute__((always_inline)) { store(y + c, S::mul(load(x + c, count), factor), count); });
    }
  }

  static constexpr ChannelGateKernel row(std::string_view name, Isa isa) {
    return {name, isa, add_columns, scale_columns, scale_rows};
  }
};

}  // namespace
}  // namespace planish::kernels
