#include "planish/kernels/cpu/bf16_gemm/bf16_gemm.h"

#include <immintrin.h>

#include <algorithm>
#include <array>

#include "planish/base/half.h"
#include "planish/kernels/cpu/bf16_gemm/generic.h"
#include "planish/kernels/cpu/bf16_gemm/variants.h"

namespace planish::kernels {
namespace {

float widen(uint16_t bits) { return static_cast<float>(bf16::from_bits(bits)); }

class PlainSums {
 public:
  static constexpr int64_t kRows = 4;
  explicit PlainSums(int64_t) {}

  template <class Storer>
  void add(const PanelStep& s, Storer& before) {
    before.finish();
    constexpr auto kBytes = static_cast<int64_t>(sizeof(uint16_t));
    for (int64_t r = 0; r < s.rows; ++r) {
      const auto* a = reinterpret_cast<const uint16_t*>(s.a + r * s.a_row);
      float* sums = static_cast<float*>(s.sums) + r * kBf16Panel;
      if (s.first) std::fill_n(sums, kBf16Panel, 0.0F);
      for (int64_t k = 0; k < s.depth / kBytes; ++k) {
        const float x = widen(a[k]);
        const uint16_t* b = reinterpret_cast<const uint16_t*>(s.b) + k / 2 * 2 * kBf16Panel + k % 2;
        for (int64_t j = 0; j < kBf16Panel; ++j) sums[j] += x * widen(b[2 * j]);
      }
    }
  }
};

float read(const FloatOrBf16& x, int64_t i) {
  if (x.data == nullptr) return 0;
  return x.wide ? static_cast<const float*>(x.data)[i] : widen(static_cast<const uint16_t*>(x.data)[i]);
}

void activate(const FloatEpilogue& e, int64_t n, float* v) {
  using Act = FloatEpilogue::Act;
  if (e.act != Act::clamp) return e.fn(e.op, n, v, nullptr, v, e.alpha, e.beta);
  for (int64_t i = 0; i < n; ++i) v[i] = std::min(std::max(v[i], e.low), e.high);
}

void finish(const Bf16Finish& f) {
  const Bf16Problem& p = f.p;
  const int64_t count = std::min(kBf16Panel, p.n - f.column);
  for (int64_t r = 0; r < f.rows; ++r) {
    const int64_t at = (f.row + r) * p.c_row + f.column;
    float* v = f.sums + r * kBf16Panel;
    for (int64_t j = 0; j < count; ++j)
      v[j] += read(p.bias, f.column + j) + (p.act.residual_last ? 0.0F : read(p.residual, at + j));
    activate(p.act, count, v);
    for (int64_t j = 0; j < count; ++j) {
      const float y = v[j] + (p.act.residual_last ? read(p.residual, at + j) : 0.0F);
      if (p.c_wide)
        static_cast<float*>(p.c)[at + j] = y;
      else
        static_cast<uint16_t*>(p.c)[at + j] = bf16(y).bits;
    }
  }
}

constexpr Bf16GemmKernel kPlain{.name = "gemm_bf16_baseline",
                                .isa = Isa::baseline,
                                .rows = PlainSums::kRows,
                                .depth_step = [](int64_t k) -> int64_t { return k % 2 == 0 ? 2 : 0; },
                                .run = run_bf16_gemm<PlainSums, finish>};

/// Calls f(index into packed, i, j) for every number of B that exists, and padding(index) for the others.
template <class Fn, class Padding>
void each_packed(int64_t k, int64_t n, Fn f, Padding padding) {
  int64_t at = 0;
  for (int64_t column = 0; column < n; column += kBf16Panel)
    for (int64_t i = 0; i < k; i += 2)
      for (int64_t j = column; j < column + kBf16Panel; ++j)
        for (int64_t half = 0; half < 2; ++half, ++at) j < n ? f(at, i + half, j) : padding(at);
}

}  // namespace

std::span<const Bf16GemmKernel> bf16_gemm_kernels() {
  static const std::array kernels{kBf16GemmAmx, kBf16GemmAvx512, kPlain};
  return kernels;
}

const Bf16GemmKernel& best_bf16_gemm_kernel(int64_t k) {
  return *std::ranges::find_if(bf16_gemm_kernels(), [k](const Bf16GemmKernel& kernel) {
    return cpu_features().has(kernel.isa) && kernel.depth_step(k) != 0;
  });
}

int64_t bf16_weights_size(int64_t k, int64_t n) { return (n + kBf16Panel - 1) / kBf16Panel * kBf16Panel * k; }

void pack_bf16_weights(int64_t k, int64_t n, const uint16_t* b, int64_t k_stride, int64_t n_stride, uint16_t* packed) {
  each_packed(
      k, n, [&](int64_t at, int64_t i, int64_t j) { packed[at] = b[i * k_stride + j * n_stride]; },
      [&](int64_t at) { packed[at] = 0; });
}

void pack_bf16_columns(int64_t k, int64_t n, const uint16_t* b, int64_t row, uint16_t* packed) {
  constexpr int64_t kSquare = 4;  // pairs
  const auto pairs = [&](int64_t column, int64_t i) {
    return _mm_loadu_ps(reinterpret_cast<const float*>(b + column * row + i));
  };
  int64_t column = 0;
  for (; column + kSquare <= n; column += kSquare) {
    int64_t i = 0;
    for (; i + 2 * kSquare <= k; i += 2 * kSquare) {
      __m128 p = pairs(column, i), q = pairs(column + 1, i), r = pairs(column + 2, i), s = pairs(column + 3, i);
      _MM_TRANSPOSE4_PS(p, q, r, s);
      auto* to = reinterpret_cast<float*>(packed + i * kBf16Panel) + column;
      _mm_storeu_ps(to, p);
      _mm_storeu_ps(to + kBf16Panel, q);
      _mm_storeu_ps(to + 2 * kBf16Panel, r);
      _mm_storeu_ps(to + 3 * kBf16Panel, s);
    }
    for (; i < k; i += 2)
      for (int64_t j = column; j < column + kSquare; ++j)
        std::copy_n(b + j * row + i, 2, packed + i * kBf16Panel + 2 * j);
  }
  for (int64_t i = 0; i < k; i += 2)
    for (int64_t j = column; j < kBf16Panel; ++j)
      for (int64_t half = 0; half < 2; ++half)
        packed[i * kBf16Panel + 2 * j + half] = j < n ? b[j * row + i + half] : uint16_t{0};
}

void pack_bf16_rows(int64_t k, int64_t padded_k, int64_t n, const uint16_t* b, int64_t row, uint16_t* packed) {
  constexpr int64_t kLanes = 8;
  std::array<uint16_t, kBf16Panel> none{};
  for (int64_t i = 0; i < padded_k; i += 2, packed += 2 * kBf16Panel) {
    const uint16_t* even = i < k ? b + i * row : none.data();
    const uint16_t* odd = i + 1 < k ? b + (i + 1) * row : none.data();
    int64_t j = 0;
    for (; j + kLanes <= n; j += kLanes) {
      const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(even + j));
      const __m128i y = _mm_loadu_si128(reinterpret_cast<const __m128i*>(odd + j));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(packed + 2 * j), _mm_unpacklo_epi16(x, y));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(packed + 2 * j + kLanes), _mm_unpackhi_epi16(x, y));
    }
    for (; j < kBf16Panel; ++j) {
      packed[2 * j] = j < n ? even[j] : uint16_t{0};
      packed[2 * j + 1] = j < n ? odd[j] : uint16_t{0};
    }
  }
}

void unpack_bf16_weights(int64_t k, int64_t n, const uint16_t* packed, uint16_t* b, int64_t k_stride,
                         int64_t n_stride) {
  each_packed(
      k, n, [&](int64_t at, int64_t i, int64_t j) { b[i * k_stride + j * n_stride] = packed[at]; }, [](int64_t) {});
}

}  // namespace planish::kernels
