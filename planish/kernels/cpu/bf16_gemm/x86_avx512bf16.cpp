#include "planish/base/simd/unroll.h"
#include "planish/kernels/cpu/bf16_gemm/finish_x86_avx512.h"
#include "planish/kernels/cpu/bf16_gemm/variants.h"

namespace planish::kernels {
namespace {

/// Sums in registers: a pair of each row's numbers times a pair of each column's.
class VectorSums {
 public:
  static constexpr int64_t kRows = 14;
  explicit VectorSums(int64_t) {}

  template <class Storer>
  void add(const PanelStep& s, Storer& before) {
    before.finish();
    add_rows<kRows>(s);
  }

 private:
  template <int kCount>
  static void add_rows(const PanelStep& s) {
    if constexpr (kCount > 1)
      if (s.rows < kCount) return add_rows<kCount - 1>(s);
    using simd::unroll;
    auto* const sums = static_cast<float*>(s.sums);
    __m512 acc[kCount][2];
    unroll<kCount>([&](auto r) __attribute__((always_inline)) {
      acc[r][0] = s.first ? _mm512_setzero_ps() : _mm512_load_ps(sums + r * kBf16Panel);
      acc[r][1] = s.first ? _mm512_setzero_ps() : _mm512_load_ps(sums + r * kBf16Panel + 16);
    });
    constexpr auto kPair = static_cast<int64_t>(sizeof(int32_t));
    const char* b = s.b;
    for (int64_t k = 0; k < s.depth; k += kPair, b += kPair * kBf16Panel) {
      if (s.ahead != nullptr)
        for (int64_t i = 0; i < 2; ++i) fetch(s, k / 2 + i);
      const auto b0 = (__m512bh)_mm512_loadu_si512(b);
      const auto b1 = (__m512bh)_mm512_loadu_si512(b + kLine);
      unroll<kCount>([&](auto r) __attribute__((always_inline)) {
        int32_t pair;
        __builtin_memcpy(&pair, s.a + r * s.a_row + k, sizeof(pair));
        const auto a = (__m512bh)_mm512_set1_epi32(pair);
        acc[r][0] = _mm512_dpbf16_ps(acc[r][0], a, b0);
        acc[r][1] = _mm512_dpbf16_ps(acc[r][1], a, b1);
      });
    }
    unroll<kCount>([&](auto r) __attribute__((always_inline)) {
      _mm512_store_ps(sums + r * kBf16Panel, acc[r][0]);
      _mm512_store_ps(sums + r * kBf16Panel + 16, acc[r][1]);
    });
  }

  static constexpr int64_t kLine = 64;

  PLANISH_INLINE static void fetch(const PanelStep& s, int64_t line) {
    if (line < s.ahead_lines) _mm_prefetch(s.ahead + line * kLine, _MM_HINT_T1);
  }
};

}  // namespace

constinit const Bf16GemmKernel kBf16GemmAvx512{.name = "gemm_bf16_avx512",
                                               .isa = Isa::avx512bf16,
                                               .rows = VectorSums::kRows,
                                               .depth_step = [](int64_t k) -> int64_t { return k % 2 == 0 ? 2 : 0; },
                                               .run = run_bf16_gemm<VectorSums, finish_bf16_panel>};

}  // namespace planish::kernels
