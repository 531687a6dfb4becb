#pragma once

// The epilogue of quantised layers over any of the vector types of base/simd; included by the generic.h of the families
// that produce integer sums.

#include <cstddef>
#include <cstdint>

#include "planish/base/macros.h"
#include "planish/base/simd/unroll.h"
#include "planish/kernels/cpu/quantized_epilogue/epilogue.h"

namespace planish::kernels {
namespace {

/// Floats that an activation is applied to at a time; at least the columns of a call of Epilogue::tile.
constexpr int64_t kEpilogueTile = 1024;

template <typename S>
struct Epilogue {
  using F = typename S::F;
  static constexpr int kLanes = S::kLanes;

  /// Finishes `rows` x `cols` sums, `sums_row` apart, whose first is row `row`, channel `col` of the output.
  static void tile(const QuantizedEpilogue& e, const int32_t* sums, int64_t sums_row, int64_t rows, int64_t cols,
                   int64_t row, int64_t col) {
    const Place place{rows, cols, row * e.y_row + col, col};
    if (e.y_type == QuantizedType::i32) {
      for (int64_t i = 0; i < rows; ++i)
        __builtin_memcpy(static_cast<int32_t*>(e.y) + place.at + i * e.y_row, sums + i * sums_row,
                         static_cast<size_t>(cols) * sizeof(int32_t));
      return;
    }
    if (e.folded) {
      with_types(e, [&](auto r, auto y) { folded(e, sums, sums_row, place, r, y); });
      return;
    }
    if (in_registers(e)) {
      with_types(e, [&](auto r, auto y) { activated(e, sums, sums_row, place, r, y); });
      return;
    }
    float values[kEpilogueTile];
    for (int64_t first = 0; first < rows;) {
      const int64_t most = kEpilogueTile / cols;
      Place part = place;
      part.rows = rows - first < most ? rows - first : most;
      part.at += first * e.y_row;
      with_types(e, [&](auto r, auto) { scaled(e, sums + first * sums_row, sums_row, part, values, r); });
      if (e.act != nullptr) e.act(e.act_op, part.rows * cols, values, values, values, e.act_alpha, e.act_beta);
      with_types(e, [&](auto r, auto y) { finished(e, values, part, r, y); });
      first += part.rows;
    }
  }

 private:
  struct Place {
    int64_t rows;
    int64_t cols;
    int64_t at;       ///< first element of y
    int64_t channel;  ///< first channel
  };
  struct None {};

  /// 2^t, relative error below 1e-6: as 2^round(t) times the Taylor series (remainder below 2e-7 for |f| <= 1/2).
  PLANISH_INLINE static F exp2(F t) {
    t = S::clamp(t, S::set1(-126.0F), S::set1(126.0F));
    const F k = S::round(t);
    const F f = S::fma(k, S::set1(-1.0F), t);
    F p = S::set1(1.54035304e-4F);
    p = S::fma(p, f, S::set1(1.33335581e-3F));
    p = S::fma(p, f, S::set1(9.61812911e-3F));
    p = S::fma(p, f, S::set1(5.55041087e-2F));
    p = S::fma(p, f, S::set1(2.40226507e-1F));
    p = S::fma(p, f, S::set1(6.93147181e-1F));
    p = S::fma(p, f, S::set1(1.0F));
    return S::scale_by_power(p, k);
  }

  /// factor / (1 + 2^t), relative error below 1e-6 or, where the result becomes a byte, 2e-4.
  template <bool kByte>
  PLANISH_INLINE static F logistic(F t, float factor) {
    if constexpr (kByte) {
      const F inverse = S::set1(1.0F / factor);
      return S::reciprocal(S::fma(S::rough_exp2(t), inverse, inverse));
    }
    return S::div(S::set1(factor), S::add(exp2(t), S::set1(1.0F)));
  }

  /// x * Phi(x), absolute error below 6e-5 for |x| < 10 and below 6e-6 |x| beyond: the odd polynomial for
  /// Phi(x) - 1/2 on |x| <= 4.5 for which x times its error is least.
  PLANISH_INLINE static F gelu(F x) {
    constexpr float kEnd = 4.5F;
    constexpr float kTerms[] = {1.59411544e-7F, -4.47816319e-6F, 8.20310888e-5F, -1.04433321e-3F,
                                9.62377340e-3F, -6.60885572e-2F, 3.98808837e-1F};
    const F c = S::clamp(x, S::set1(-kEnd), S::set1(kEnd));
    const F z = S::mul(c, c);
    F p = S::fma(S::set1(3.00199865e-11F), z, S::set1(-3.30139205e-9F));
    for (const float term : kTerms) p = S::fma(p, z, S::set1(term));
    return S::mul(x, S::fma(p, c, S::set1(0.5F)));
  }

  /// Activations that are frequent and short enough to be applied without leaving the registers.
  PLANISH_INLINE static bool in_registers(const QuantizedEpilogue& e) {
    const float inf = __builtin_inff();
    if (e.act == nullptr || e.low != -inf || e.high != inf) return false;
    if (e.act_op == PointwiseOp::gelu || e.act_op == PointwiseOp::gelu_tanh) return e.y_type != QuantizedType::f32;
    return e.act_op == PointwiseOp::swish || e.act_op == PointwiseOp::hard_swish || e.act_op == PointwiseOp::sigmoid ||
           e.act_op == PointwiseOp::leaky_relu || e.act_op == PointwiseOp::hard_sigmoid;
  }
  /// The activation of x, times e.y_factor. `kByte`: the result will be rounded to a byte, so that errors of 2e-4 of
  /// its magnitude do not count.
  template <bool kByte>
  PLANISH_INLINE static F activate(const QuantizedEpilogue& e, F x) {
    const F zero = S::set1(0.0F);
    const float inf = __builtin_inff();
    constexpr float kLog2e = 1.44269504F;
    const float factor = kByte ? e.y_factor : 1.0F;
    switch (e.act_op) {
      case PointwiseOp::swish: return S::mul(x, logistic<kByte>(S::mul(x, S::set1(-kLog2e * e.act_alpha)), factor));
      case PointwiseOp::sigmoid: return logistic<kByte>(S::mul(x, S::set1(-kLog2e)), factor);
      case PointwiseOp::gelu: return S::mul(gelu(x), S::set1(factor));
      case PointwiseOp::gelu_tanh: {
        // (1 + tanh(u)) / 2 is the logistic function of 2u with u = sqrt(2/pi) (x + 0.044715 x^3).
        constexpr float kScale = -2.0F * 0.797884561F * kLog2e;
        const F u = S::fma(S::mul(x, x), S::set1(0.044715F * kScale), S::set1(kScale));
        return S::mul(x, logistic<kByte>(S::mul(x, u), factor));
      }
      case PointwiseOp::hard_swish: {
        const F line = S::fma(x, S::set1(factor / 6.0F), S::set1(factor * 0.5F));
        return S::mul(x, S::clamp(line, zero, S::set1(factor)));
      }
      case PointwiseOp::hard_sigmoid: {
        const F line = S::fma(x, S::set1(e.act_alpha * factor), S::set1(e.act_beta * factor));
        return S::clamp(line, zero, S::set1(factor));
      }
      case PointwiseOp::leaky_relu: {
        const F negative = S::mul(S::clamp(x, S::set1(-inf), zero), S::set1(e.act_alpha * factor));
        return S::fma(S::clamp(x, zero, S::set1(inf)), S::set1(factor), negative);
      }
      default: return S::mul(x, S::set1(factor));
    }
  }

  /// Calls f with pointers of the residual's and the output's type (None* without a residual).
  template <typename Fn>
  PLANISH_INLINE static void with_types(const QuantizedEpilogue& e, Fn f) {
    const auto with_y = [&](auto r) {
      if (e.y_type == QuantizedType::f32)
        f(r, static_cast<float*>(e.y));
      else
        f(r, static_cast<uint8_t*>(e.y));
    };
    switch (e.r_type) {
      case QuantizedType::none: return with_y(static_cast<const None*>(nullptr));
      case QuantizedType::i8: return with_y(static_cast<const int8_t*>(e.r));
      case QuantizedType::u8: return with_y(static_cast<const uint8_t*>(e.r));
      case QuantizedType::f32: return with_y(static_cast<const float*>(e.r));
      case QuantizedType::i32: return;  // no residual has that type
    }
  }

  PLANISH_INLINE static F add_residual(F v, const None*, int, F, F) { return v; }
  template <typename R>
  PLANISH_INLINE static F add_residual(F v, const R* r, int n, F scale, F offset) {
    return S::add(v, S::fma(n == kLanes ? S::load(r) : S::load(r, n), scale, offset));
  }
  PLANISH_INLINE static const None* offset(const None* r, int64_t) { return r; }
  template <typename R>
  PLANISH_INLINE static const R* offset(const R* r, int64_t n) {
    return r + n;
  }
  PLANISH_INLINE static void put(uint8_t* y, F v, int32_t zero, int n) {
    if (n == kLanes)
      S::store_bytes(y, v, zero);
    else
      S::store_bytes(y, v, zero, n);
  }
  PLANISH_INLINE static void put(float* y, F v, int32_t, int n) {
    if (n == kLanes)
      S::store(y, v);
    else
      S::store(y, v, n);
  }
  /// Calls f(column, lanes) for every vector of a row.
  template <typename Fn>
  PLANISH_INLINE static void columns(int64_t cols, Fn f) {
    int64_t c = 0;
    for (; c + kLanes <= cols; c += kLanes) f(c, kLanes);
    if (c < cols) f(c, static_cast<int>(cols - c));
  }

  PLANISH_INLINE static void put_row(uint8_t* y, const F* v, const QuantizedEpilogue& e) {
    S::store_row(y, v, e.y_zero, e.y_type == QuantizedType::i8);
  }
  PLANISH_INLINE static void put_row(float* y, const F* v, const QuantizedEpilogue&) {
    simd::unroll<S::kRow>([&](auto i) { S::store(y + i * kLanes, v[i]); });
  }

  template <typename R, typename Y>
  static void folded(const QuantizedEpilogue& e, const int32_t* sums, int64_t sums_row, const Place& p, const R* r,
                     Y* y) {
    using simd::unroll;
    constexpr int kRow = S::kRow;
    const F r_scale = S::set1(e.r_scale);
    const F r_offset = S::set1(e.r_offset);
    const F low = S::set1(e.low);
    const F high = S::set1(e.high);
    int64_t c = 0;
    for (; c + kRow * kLanes <= p.cols; c += kRow * kLanes) {
      F scale[kRow];
      F bias[kRow];
      unroll<kRow>([&](auto i) {
        scale[i] = S::load(e.scale + p.channel + c + i * kLanes);
        bias[i] = S::load(e.bias + p.channel + c + i * kLanes);
      });
      for (int64_t row = 0; row < p.rows; ++row) {
        const int64_t at = p.at + row * e.y_row + c;
        F v[kRow];
        unroll<kRow>([&](auto i) {
          v[i] = S::fma(S::load(sums + row * sums_row + c + i * kLanes), scale[i], bias[i]);
          v[i] = add_residual(v[i], offset(r, at + i * kLanes), kLanes, r_scale, r_offset);
          v[i] = S::clamp(v[i], low, high);
        });
        put_row(y + at, v, e);
      }
    }
    for (; c < p.cols; c += kLanes) {
      const int n = p.cols - c < kLanes ? static_cast<int>(p.cols - c) : kLanes;
      const F scale = S::load(e.scale + p.channel + c);
      const F bias = S::load(e.bias + p.channel + c);
      for (int64_t row = 0; row < p.rows; ++row) {
        const int64_t at = p.at + row * e.y_row + c;
        F v = S::fma(S::load(sums + row * sums_row + c), scale, bias);
        v = add_residual(v, offset(r, at), n, r_scale, r_offset);
        put(y + at, S::clamp(v, low, high), e.y_zero, n);
      }
    }
  }

  template <typename R, typename Y>
  static void activated(const QuantizedEpilogue& shared, const int32_t* sums, int64_t sums_row, const Place& p,
                        const R* r, Y* y) {
    using simd::unroll;
    constexpr int kRow = S::kRow;
    const QuantizedEpilogue e = shared;  // nothing else can change it: bytes written to y might be its own
    constexpr bool kByte = sizeof(Y) == 1;
    const float r_factor = kByte && e.residual_last ? e.y_factor : 1.0F;
    const F r_scale = S::set1(e.r_scale * r_factor);
    const F r_offset = S::set1(e.r_offset * r_factor);
    const F q_low = S::set1(e.q_low);
    const F q_high = S::set1(e.q_high);
    const float* scale = e.scale + p.channel;
    const float* bias = e.bias + p.channel;
    for (int64_t row = 0; row < p.rows; ++row) {
      const int64_t at = p.at + row * e.y_row;
      const int32_t* from = sums + row * sums_row;
      const auto value = [&](int64_t c, int n) __attribute__((always_inline)) {
        F v = S::fma(S::load(from + c), S::load(scale + c), S::load(bias + c));
        if (!e.residual_last) v = add_residual(v, offset(r, at + c), n, r_scale, r_offset);
        v = activate<kByte>(e, v);
        if (e.residual_last) v = add_residual(v, offset(r, at + c), n, r_scale, r_offset);
        return v;
      };
      int64_t c = 0;
      for (; c + kRow * kLanes <= p.cols; c += kRow * kLanes) {
        F v[kRow];
        unroll<kRow>([&](auto i) {
          v[i] = value(c + i * kLanes, kLanes);
          if constexpr (kByte) v[i] = S::limit_row(v[i], q_low, q_high);
        });
        put_row(y + at + c, v, e);
      }
      for (; c < p.cols; c += kLanes) {
        const int n = p.cols - c < kLanes ? static_cast<int>(p.cols - c) : kLanes;
        F v = value(c, n);
        if constexpr (kByte) v = S::clamp(v, q_low, q_high);
        put(y + at + c, v, e.y_zero, n);
      }
    }
  }

  template <typename R>
  PLANISH_INLINE static void scaled(const QuantizedEpilogue& e, const int32_t* sums, int64_t sums_row, const Place& p,
                                    float* values, const R* r) {
    const F r_scale = S::set1(e.r_scale);
    const F r_offset = S::set1(e.r_offset);
    for (int64_t i = 0; i < p.rows; ++i)
      columns(p.cols, [&](int64_t c, int n) {
        F v =
            S::fma(S::load(sums + i * sums_row + c), S::load(e.scale + p.channel + c), S::load(e.bias + p.channel + c));
        if (!e.residual_last) v = add_residual(v, offset(r, p.at + i * e.y_row + c), n, r_scale, r_offset);
        put(values + i * p.cols + c, v, 0, n);
      });
  }

  template <typename R, typename Y>
  PLANISH_INLINE static void finished(const QuantizedEpilogue& e, const float* values, const Place& p, const R* r,
                                      Y* y) {
    const F r_scale = S::set1(e.r_scale);
    const F r_offset = S::set1(e.r_offset);
    const F low = S::set1(e.low);
    const F high = S::set1(e.high);
    const F factor = S::set1(e.y_factor);
    const F q_low = S::set1(e.q_low);
    const F q_high = S::set1(e.q_high);
    for (int64_t i = 0; i < p.rows; ++i)
      columns(p.cols, [&](int64_t c, int n) {
        const float* from = values + i * p.cols + c;
        const int64_t at = p.at + i * e.y_row + c;
        F v = S::clamp(n == kLanes ? S::load(from) : S::load(from, n), low, high);
        if (e.residual_last) v = add_residual(v, offset(r, at), n, r_scale, r_offset);
        if constexpr (sizeof(Y) == 1) v = S::clamp(S::mul(v, factor), q_low, q_high);
        put(y + at, v, e.y_zero, n);
      });
  }
};

}  // namespace
}  // namespace planish::kernels
