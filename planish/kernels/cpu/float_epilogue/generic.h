#pragma once

// Activations over any of the vector types of base/simd; included by the generic.h of the float convolutions.

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/base/simd/math.h"
#include "planish/base/simd/unroll.h"
#include "planish/kernels/cpu/float_epilogue/epilogue.h"

namespace planish::kernels {
namespace {

template <typename S>
struct FloatActivation {
  using F = typename S::F;
  using Act = FloatEpilogue::Act;

  /// x / (1 + e^-x), relative error below 1e-6: 2^t with t = -x / ln 2 as 2^round(t) times a polynomial.
  PLANISH_INLINE static F swish(F x) {
    F k;
    const F f = S::split_power(S::mul(x, S::set1(-1.44269504F)), k);
    // Minimax polynomial of 2^f for |f| <= 1/2, relative error 2e-7.
    F p = S::set1(1.3264727e-3F);
    p = S::fma(p, f, S::set1(9.671513e-3F));
    p = S::fma(p, f, S::set1(5.5507336e-2F));
    p = S::fma(p, f, S::set1(2.4022242e-1F));
    p = S::fma(p, f, S::set1(6.93147e-1F));
    p = S::fma(p, f, S::set1(1.0F));
    return S::div(x, S::add(S::scale_by_power(p, k), S::set1(1.0F)));
  }

  PLANISH_INLINE static F hard_swish(F x) {
    return S::mul(x, S::limit(S::fma(x, S::set1(1.0F / 6.0F), S::set1(0.5F)), S::set1(0.0F), S::set1(1.0F)));
  }

  /// As simd::gelu_f32.
  PLANISH_INLINE static F gelu(F x) {
    const F a = S::limit(x, S::mul(x, S::set1(-1.0F)), S::set1(simd::kGeluEdge));
    F root = S::set1(simd::kGeluRoot[0]);
    simd::unroll<7>([&](auto i)
                        __attribute__((always_inline)) { root = S::fma(root, a, S::set1(simd::kGeluRoot[i + 1])); });
    root = S::mul(root, root);
    root = S::mul(root, root);
    const F tail = S::mul(a, S::mul(root, root));
    return S::fma(tail, S::set1(-1.0F), S::limit(x, S::set1(0.0F), S::set1(__builtin_inff())));
  }

  /// Calls f with a function from F to F for the activations that have a vector form. False for Act::other.
  template <typename Fn>
  PLANISH_INLINE static bool with(const FloatEpilogue& e, Fn f) {
    switch (e.act) {
      case Act::clamp: {
        const F low = S::set1(e.low);
        const F high = S::set1(e.high);
        f([ low, high ](F x) __attribute__((always_inline)) { return S::limit(x, low, high); });
        return true;
      }
      case Act::swish: f([](F x) __attribute__((always_inline)) { return swish(x); }); return true;
      case Act::hard_swish: f([](F x) __attribute__((always_inline)) { return hard_swish(x); }); return true;
      case Act::gelu: f([](F x) __attribute__((always_inline)) { return gelu(x); }); return true;
      case Act::other: return false;
    }
    return false;
  }

  /// Applies the activation to n floats, a multiple of the vectors' width.
  static void apply(const FloatEpilogue& e, float* v, int64_t n) {
    const bool done = with(
        e, [ v, n ](auto act) __attribute__((always_inline)) {
          for (int64_t i = 0; i < n; i += S::kLanes) S::store(v + i, act(S::load(v + i)));
        });
    if (!done) e.fn(e.op, n, v, nullptr, v, e.alpha, e.beta);
  }
};

/// Where the sums of a tile go: rows `row` apart, vectors of channels `vector` apart, in floats.
struct FloatTarget {
  float* y;
  const float* residual;  ///< may be null
  int64_t row;
  int64_t vector;
  int64_t exist;  ///< channels from the first on
};

/// The end of a convolution's tile: kRows pixels and kCols vectors of channels.
template <typename S>
struct FloatTile {
  using F = typename S::F;
  static constexpr int W = S::kLanes;

  PLANISH_INLINE static F load(const float* p, int64_t count) {
    return count >= W ? S::load(p) : S::load(p, static_cast<int>(count));
  }
  PLANISH_INLINE static void store(float* p, F v, int64_t count) {
    if (count >= W) return S::store(p, v);
    S::store(p, v, static_cast<int>(count));
  }

  /// What the sums of a tile begin with: the bias of its channels.
  template <int kRows, int kCols>
  PLANISH_INLINE static void begin(const FloatEpilogue& e, int64_t channel, int64_t exist, F (&acc)[kRows][kCols]) {
    using simd::unroll;
    unroll<kCols>([&](auto c) __attribute__((always_inline)) {
      const F bias = e.bias != nullptr ? load(e.bias + channel + c * W, exist - c * W) : S::set1(0.0F);
      unroll<kRows>([&](auto i) __attribute__((always_inline)) { acc[i][c] = bias; });
    });
  }

  /// Adds residual and activation and stores; of whole vectors bounds and HardSwish in registers, all else through
  /// memory.
  template <int kRows, int kCols>
  PLANISH_INLINE static void finish(const FloatEpilogue& e, const FloatTarget& to, F (&acc)[kRows][kCols]) {
    using simd::unroll;
    const auto each = [](auto f) __attribute__((always_inline)) {
      unroll<kRows>([&](auto i) __attribute__((always_inline)) {
        unroll<kCols>([&](auto c) __attribute__((always_inline)) { f(i, c); });
      });
    };
    const bool whole = to.exist >= int64_t{kCols} * W;
    if (e.act == FloatEpilogue::Act::hard_swish && to.residual == nullptr && whole)
      return store_rows<kRows, kCols, false>(
          to, [&](auto i, auto c, const float*)
                  __attribute__((always_inline)) { return FloatActivation<S>::hard_swish(acc[i][c]); });
    if (e.act != FloatEpilogue::Act::clamp || !whole) {
      alignas(64) float sums[kRows * kCols * W];
      each([&](auto i, auto c) __attribute__((always_inline)) { S::store(sums + (i * kCols + c) * W, acc[i][c]); });
      return finish_sums(e, to, kRows, kCols, sums);
    }
    const F low = S::set1(e.low);
    const F high = S::set1(e.high);
    if (to.residual == nullptr)
      return store_rows<kRows, kCols, false>(
          to, [&](auto i, auto c, const float*)
                  __attribute__((always_inline)) { return S::limit(acc[i][c], low, high); });
    if (e.residual_last)
      return store_rows<kRows, kCols, true>(
          to, [&](auto i, auto c, const float* r)
                  __attribute__((always_inline)) { return S::add(S::limit(acc[i][c], low, high), S::load(r)); });
    store_rows<kRows, kCols, true>(
        to, [&](auto i, auto c, const float* r)
                __attribute__((always_inline)) { return S::limit(S::add(acc[i][c], S::load(r)), low, high); });
  }

 private:
  /// Stores f(row, column, where its residual is) for a whole tile. Pointers move from row to row: left to itself, GCC
  /// computes every address beforehand and keeps them in memory, which costs more than the stores.
  template <int kRows, int kCols, bool kResidual, typename Fn>
  PLANISH_INLINE static void store_rows(const FloatTarget& to, Fn f) {
    float* y = to.y;
    const float* r = to.residual;
    simd::unroll<kRows>([&](auto i) __attribute__((always_inline)) {
      simd::unroll<kCols>([&](auto c) __attribute__((always_inline)) {
        S::store(y + c * to.vector, f(i, c, kResidual ? r + c * to.vector : nullptr));
      });
      y += to.row;
      simd::keep_in_register(y);
      if constexpr (kResidual) {
        r += to.row;
        simd::keep_in_register(r);
      }
    });
  }

  static void finish_sums(const FloatEpilogue& e, const FloatTarget& to, int rows, int cols, float* sums) {
    const auto each = [&](auto f) __attribute__((always_inline)) {
      for (int i = 0; i < rows; ++i)
        for (int c = 0; c < cols; ++c) f(sums + (i * cols + c) * W, i * to.row + c * to.vector, to.exist - c * W);
    };
    const auto add_residual = [&](float* at, int64_t offset, int64_t count) __attribute__((always_inline)) {
      S::store(at, S::add(S::load(at), load(to.residual + offset, count)));
    };
    if (to.residual != nullptr && !e.residual_last) each(add_residual);
    if (e.act == FloatEpilogue::Act::other || (to.residual != nullptr && e.residual_last)) {
      FloatActivation<S>::apply(e, sums, int64_t{rows} * cols * W);
      if (to.residual != nullptr && e.residual_last) each(add_residual);
      each([&](const float* at, int64_t offset, int64_t count)
               __attribute__((always_inline)) { store(to.y + offset, S::load(at), count); });
      return;
    }
    FloatActivation<S>::with(
        e, [&](auto act) __attribute__((always_inline)) {
          each([&](const float* at, int64_t offset, int64_t count)
                   __attribute__((always_inline)) { store(to.y + offset, act(S::load(at)), count); });
        });
  }
};

}  // namespace
}  // namespace planish::kernels
