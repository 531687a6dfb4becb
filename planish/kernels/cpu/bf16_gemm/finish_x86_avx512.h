#pragma once

// Sums of products become bfloat16 or f32, 16 columns at a time.

#include <immintrin.h>

#include "planish/base/macros.h"
#include "planish/base/simd/x86_avx512.h"
#include "planish/kernels/cpu/bf16_gemm/generic.h"
#include "planish/kernels/cpu/float_epilogue/generic.h"

namespace planish::kernels {
namespace {

/// The two vectors of a row of a panel.
struct Bf16Row {
  static constexpr int64_t kLanes = 16;
  // Vectors of the compiler rather than intrinsics, some of which g++ 12 believes to read what nobody wrote.
  typedef uint16_t Halves __attribute__((vector_size(32)));
  typedef uint32_t Words __attribute__((vector_size(64)));

  PLANISH_INLINE static __mmask16 lanes(int64_t exist) {
    return exist >= kLanes ? __mmask16{0xffff} : static_cast<__mmask16>((1U << (exist > 0 ? exist : 0)) - 1U);
  }
  PLANISH_INLINE static __m512 load(const void* data, bool wide, int64_t at, __mmask16 lanes) {
    if (wide) return _mm512_maskz_loadu_ps(lanes, static_cast<const float*>(data) + at);
    const auto bits = (Halves)_mm256_maskz_loadu_epi16(lanes, static_cast<const uint16_t*>(data) + at);
    return (__m512)(__builtin_convertvector(bits, Words) << 16);
  }
  /// To nearest, ties to even; NaN stays NaN.
  PLANISH_INLINE static __m256i narrow(__m512 v) {
    const auto bits = (Words)v;
    const Words rounded = bits + 0x7fffU + ((bits >> 16) & 1U);
    const auto is_nan = v != v;
    return (__m256i) __builtin_convertvector((is_nan ? bits | 0x400000U : rounded) >> 16, Halves);
  }
  PLANISH_INLINE static void store(void* data, bool wide, int64_t at, __m512 v, __mmask16 lanes) {
    if (wide) return _mm512_mask_storeu_ps(static_cast<float*>(data) + at, lanes, v);
    _mm256_mask_storeu_epi16(static_cast<uint16_t*>(data) + at, lanes, narrow(v));
  }
};

/// Both halves of a row one after the other: together they are a cache line of C.
template <class Activation>
PLANISH_INLINE void finish_rows(const Bf16Finish& f, Activation act) {
  const Bf16Problem& p = f.p;
  constexpr int kHalves = kBf16Panel / Bf16Row::kLanes;
  __mmask16 lanes[kHalves];
  __m512 bias[kHalves];
  for (int half = 0; half < kHalves; ++half) {
    const int64_t column = f.column + half * Bf16Row::kLanes;
    lanes[half] = Bf16Row::lanes(p.n - column);
    bias[half] =
        p.bias.data == nullptr ? _mm512_setzero_ps() : Bf16Row::load(p.bias.data, p.bias.wide, column, lanes[half]);
  }
  const bool has_residual = p.residual.data != nullptr;
  for (int64_t r = 0; r < f.rows; ++r)
    for (int half = 0; half < kHalves; ++half) {
      const int64_t at = (f.row + r) * p.c_row + f.column + half * Bf16Row::kLanes;
      __m512 v = _mm512_add_ps(_mm512_load_ps(f.sums + r * kBf16Panel + half * Bf16Row::kLanes), bias[half]);
      const __m512 residual =
          has_residual ? Bf16Row::load(p.residual.data, p.residual.wide, at, lanes[half]) : _mm512_setzero_ps();
      if (has_residual && !p.act.residual_last) v = _mm512_add_ps(v, residual);
      v = act(v);
      if (has_residual && p.act.residual_last) v = _mm512_add_ps(v, residual);
      Bf16Row::store(p.c, p.c_wide, at, v, lanes[half]);
    }
}

/// Activations without a vector form: sums with bias and residual go through the function, and are then stored.
inline void finish_through_memory(const Bf16Finish& f) {
  const Bf16Problem& p = f.p;
  const auto each = [&f](auto visit) {
    for (int64_t half = 0; half < kBf16Panel; half += Bf16Row::kLanes)
      for (int64_t r = 0; r < f.rows; ++r) {
        const int64_t column = f.column + half;
        visit(f.sums + r * kBf16Panel + half, (f.row + r) * f.p.c_row + column, column, Bf16Row::lanes(f.p.n - column));
      }
  };
  const bool before = p.residual.data != nullptr && !p.act.residual_last;
  if (p.bias.data != nullptr || before)
    each([&p, before](float* at, int64_t c, int64_t column, __mmask16 lanes) {
      __m512 v = _mm512_load_ps(at);
      if (p.bias.data != nullptr) v = _mm512_add_ps(v, Bf16Row::load(p.bias.data, p.bias.wide, column, lanes));
      if (before) v = _mm512_add_ps(v, Bf16Row::load(p.residual.data, p.residual.wide, c, lanes));
      _mm512_store_ps(at, v);
    });
  p.act.fn(p.act.op, f.rows * kBf16Panel, f.sums, nullptr, f.sums, p.act.alpha, p.act.beta);
  each([&p](const float* at, int64_t c, int64_t, __mmask16 lanes) {
    __m512 v = _mm512_load_ps(at);
    if (p.residual.data != nullptr && p.act.residual_last)
      v = _mm512_add_ps(v, Bf16Row::load(p.residual.data, p.residual.wide, c, lanes));
    Bf16Row::store(p.c, p.c_wide, c, v, lanes);
  });
}

inline void finish_bf16_panel(const Bf16Finish& f) {
  const bool done = FloatActivation<simd::Avx512Floats>::with(
      f.p.act, [&f](auto act) __attribute__((always_inline)) { finish_rows(f, act); });
  if (!done) finish_through_memory(f);
}

}  // namespace
}  // namespace planish::kernels
