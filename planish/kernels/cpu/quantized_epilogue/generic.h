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
  /// Worth their code on real vectors only.
  static constexpr bool kHasShortActivations = S::kRow > 1;

  /// Sums to finish: `rows` x `cols` of them, `sums_row` apart.
  struct Tile {
    const int32_t* sums;
    int64_t sums_row;
    int64_t rows;
    int64_t cols;
    int64_t at;       ///< element of the output that the first sum becomes
    int64_t channel;  ///< its channel
  };
  using Finish = void (*)(const QuantizedEpilogue& e, const Tile& t);

  /// The function for an epilogue: asked for once, so that tiles of a few vectors do not pay for the choice.
  static Finish finish_of(const QuantizedEpilogue& e) {
    if (e.y_type == QuantizedType::i32) return copied;
    Finish finish = nullptr;
    with_types(e, [&](auto r, auto y) {
      using R = decltype(r);
      using Y = decltype(y);
      if (e.folded)
        finish = folded<R, Y>;
      else
        finish = by_function<R, Y>;
      // Residuals that nobody quantised are rare behind an activation.
      if constexpr (kHasShortActivations && sizeof(R) == 1)
        if (!e.folded && in_registers(e)) with_op(e.act_op, [&](auto op) { finish = activated<op.value, R, Y>; });
    });
    return finish;
  }

 private:
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
  template <PointwiseOp kOp>
  struct Op {
    static constexpr PointwiseOp value = kOp;
  };
  /// Calls f with one of those activations as a type, so that no loop asks for it.
  template <typename Fn>
  PLANISH_INLINE static void with_op(PointwiseOp op, Fn f) {
    switch (op) {
      case PointwiseOp::swish: return f(Op<PointwiseOp::swish>{});
      case PointwiseOp::sigmoid: return f(Op<PointwiseOp::sigmoid>{});
      case PointwiseOp::gelu: return f(Op<PointwiseOp::gelu>{});
      case PointwiseOp::gelu_tanh: return f(Op<PointwiseOp::gelu_tanh>{});
      case PointwiseOp::hard_swish: return f(Op<PointwiseOp::hard_swish>{});
      case PointwiseOp::hard_sigmoid: return f(Op<PointwiseOp::hard_sigmoid>{});
      default: return f(Op<PointwiseOp::leaky_relu>{});
    }
  }
  /// The activation of x, times e.y_factor. `kByte`: the result will be rounded to a byte, so that errors of 2e-4 of
  /// its magnitude do not count.
  template <bool kByte, PointwiseOp kOp>
  PLANISH_INLINE static F activate(const QuantizedEpilogue& e, F x) {
    const F zero = S::set1(0.0F);
    const float inf = __builtin_inff();
    constexpr float kLog2e = 1.44269504F;
    const float factor = kByte ? e.y_factor : 1.0F;
    switch (kOp) {
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

  /// Calls f with values of the residual's and the output's type (None without a residual).
  template <typename Fn>
  PLANISH_INLINE static void with_types(const QuantizedEpilogue& e, Fn f) {
    const auto with_y = [&](auto r) {
      if (e.y_type == QuantizedType::f32)
        f(r, float{});
      else
        f(r, uint8_t{});
    };
    switch (e.r_type) {
      case QuantizedType::none: return with_y(None{});
      case QuantizedType::i8: return with_y(int8_t{});
      case QuantizedType::u8: return with_y(uint8_t{});
      case QuantizedType::f32: return with_y(float{});
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

  static void copied(const QuantizedEpilogue& e, const Tile& t) {
    for (int64_t i = 0; i < t.rows; ++i)
      __builtin_memcpy(static_cast<int32_t*>(e.y) + t.at + i * e.y_row, t.sums + i * t.sums_row,
                       static_cast<size_t>(t.cols) * sizeof(int32_t));
  }

  template <typename R, typename Y>
  static void folded(const QuantizedEpilogue& e, const Tile& t) {
    using simd::unroll;
    const auto* r = static_cast<const R*>(e.r);
    auto* y = static_cast<Y*>(e.y);
    constexpr int kRow = S::kRow;
    const F r_scale = S::set1(e.r_scale);
    const F r_offset = S::set1(e.r_offset);
    const F low = S::set1(e.low);
    const F high = S::set1(e.high);
    int64_t c = 0;
    for (; c + kRow * kLanes <= t.cols; c += kRow * kLanes) {
      F scale[kRow];
      F bias[kRow];
      unroll<kRow>([&](auto i) {
        scale[i] = S::load(e.scale + t.channel + c + i * kLanes);
        bias[i] = S::load(e.bias + t.channel + c + i * kLanes);
      });
      for (int64_t row = 0; row < t.rows; ++row) {
        const int64_t at = t.at + row * e.y_row + c;
        F v[kRow];
        unroll<kRow>([&](auto i) {
          v[i] = S::fma(S::load(t.sums + row * t.sums_row + c + i * kLanes), scale[i], bias[i]);
          v[i] = add_residual(v[i], offset(r, at + i * kLanes), kLanes, r_scale, r_offset);
          v[i] = S::clamp(v[i], low, high);
        });
        put_row(y + at, v, e);
      }
    }
    for (; c < t.cols; c += kLanes) {
      const int n = t.cols - c < kLanes ? static_cast<int>(t.cols - c) : kLanes;
      const F scale = S::load(e.scale + t.channel + c);
      const F bias = S::load(e.bias + t.channel + c);
      for (int64_t row = 0; row < t.rows; ++row) {
        const int64_t at = t.at + row * e.y_row + c;
        F v = S::fma(S::load(t.sums + row * t.sums_row + c), scale, bias);
        v = add_residual(v, offset(r, at), n, r_scale, r_offset);
        put(y + at, S::clamp(v, low, high), e.y_zero, n);
      }
    }
  }

  template <PointwiseOp kOp, typename R, typename Y>
  static void activated(const QuantizedEpilogue& shared, const Tile& shared_tile) {
    using simd::unroll;
    constexpr int kRow = S::kRow;
    const QuantizedEpilogue e = shared;  // nothing else can change them: bytes written to y might be their own
    const Tile t = shared_tile;
    const auto* r = static_cast<const R*>(e.r);
    auto* y = static_cast<Y*>(e.y);
    constexpr bool kByte = sizeof(Y) == 1;
    const float r_factor = kByte && e.residual_last ? e.y_factor : 1.0F;
    const F r_scale = S::set1(e.r_scale * r_factor);
    const F r_offset = S::set1(e.r_offset * r_factor);
    const F q_low = S::set1(e.q_low);
    const F q_high = S::set1(e.q_high);
    const auto value = [&](const int32_t* sum, F scale, F bias, int64_t at, int n) __attribute__((always_inline)) {
      F v = S::fma(S::load(sum), scale, bias);
      if (!e.residual_last) v = add_residual(v, offset(r, at), n, r_scale, r_offset);
      v = activate<kByte, kOp>(e, v);
      if (e.residual_last) v = add_residual(v, offset(r, at), n, r_scale, r_offset);
      return v;
    };
    int64_t c = 0;
    for (; c + kRow * kLanes <= t.cols; c += kRow * kLanes) {
      const float* scale = e.scale + t.channel + c;
      const float* bias = e.bias + t.channel + c;
      for (int64_t row = 0; row < t.rows; ++row) {
        const int64_t at = t.at + row * e.y_row + c;
        const int32_t* sum = t.sums + row * t.sums_row + c;
        F v[kRow];
        unroll<kRow>([&](auto i) {
          v[i] =
              value(sum + i * kLanes, S::load(scale + i * kLanes), S::load(bias + i * kLanes), at + i * kLanes, kLanes);
          if constexpr (kByte) v[i] = S::limit_row(v[i], q_low, q_high);
        });
        put_row(y + at, v, e);
      }
    }
    // The rest: several rows at a time, because each value takes many steps that wait for each other.
    for (; c < t.cols; c += kLanes) {
      const int n = t.cols - c < kLanes ? static_cast<int>(t.cols - c) : kLanes;
      const F scale = S::load(e.scale + t.channel + c);
      const F bias = S::load(e.bias + t.channel + c);
      const auto rows = [&](auto count, int64_t row) __attribute__((always_inline)) {
        constexpr int kCount = count;
        F v[kCount];
        unroll<kCount>([&](auto i) {
          v[i] = value(t.sums + (row + i) * t.sums_row + c, scale, bias, t.at + (row + i) * e.y_row + c, n);
          if constexpr (kByte) v[i] = S::clamp(v[i], q_low, q_high);
        });
        unroll<kCount>([&](auto i) { put(y + t.at + (row + i) * e.y_row + c, v[i], e.y_zero, n); });
      };
      int64_t row = 0;
      for (; row + 4 <= t.rows; row += 4) rows(simd::Index<4>{}, row);
      for (; row < t.rows; ++row) rows(simd::Index<1>{}, row);
    }
  }

  /// Any activation: by a function over an array.
  template <typename R, typename Y>
  static void by_function(const QuantizedEpilogue& e, const Tile& t) {
    float values[kEpilogueTile];
    const int64_t most = kEpilogueTile / t.cols;
    for (int64_t first = 0; first < t.rows; first += most) {
      Tile part = t;
      part.rows = t.rows - first < most ? t.rows - first : most;
      part.sums += first * t.sums_row;
      part.at += first * e.y_row;
      scaled(e, part, values, static_cast<const R*>(e.r));
      if (e.act != nullptr) e.act(e.act_op, part.rows * t.cols, values, values, values, e.act_alpha, e.act_beta);
      finished(e, values, part, static_cast<const R*>(e.r), static_cast<Y*>(e.y));
    }
  }

  template <typename R>
  PLANISH_INLINE static void scaled(const QuantizedEpilogue& e, const Tile& t, float* values, const R* r) {
    const F r_scale = S::set1(e.r_scale);
    const F r_offset = S::set1(e.r_offset);
    for (int64_t i = 0; i < t.rows; ++i)
      columns(t.cols, [&](int64_t c, int n) {
        F v = S::fma(S::load(t.sums + i * t.sums_row + c), S::load(e.scale + t.channel + c),
                     S::load(e.bias + t.channel + c));
        if (!e.residual_last) v = add_residual(v, offset(r, t.at + i * e.y_row + c), n, r_scale, r_offset);
        put(values + i * t.cols + c, v, 0, n);
      });
  }

  template <typename R, typename Y>
  PLANISH_INLINE static void finished(const QuantizedEpilogue& e, const float* values, const Tile& t, const R* r,
                                      Y* y) {
    const F r_scale = S::set1(e.r_scale);
    const F r_offset = S::set1(e.r_offset);
    const F low = S::set1(e.low);
    const F high = S::set1(e.high);
    const F factor = S::set1(e.y_factor);
    const F q_low = S::set1(e.q_low);
    const F q_high = S::set1(e.q_high);
    for (int64_t i = 0; i < t.rows; ++i)
      columns(t.cols, [&](int64_t c, int n) {
        const float* from = values + i * t.cols + c;
        const int64_t at = t.at + i * e.y_row + c;
        F v = S::clamp(n == kLanes ? S::load(from) : S::load(from, n), low, high);
        if (e.residual_last) v = add_residual(v, offset(r, at), n, r_scale, r_offset);
        if constexpr (sizeof(Y) == 1) v = S::clamp(S::mul(v, factor), q_low, q_high);
        put(y + at, v, e.y_zero, n);
      });
  }
};

}  // namespace
}  // namespace planish::kernels
