#include <immintrin.h>

#include "planish/base/simd/unroll.h"
#include "planish/base/simd/x86_avx512.h"
#include "planish/kernels/cpu/igemm/generic.h"
#include "planish/kernels/cpu/igemm/variants.h"

namespace planish::kernels {
namespace {

struct Avx512Vnni {
  using Elem = uint8_t;
  using Floats = simd::Avx512Floats;
  static constexpr bool kFinishesBytes = true;
  static constexpr int kDepth = 4;
  static constexpr int kLanes = 16;
  static constexpr int kVectors = 4;
  static constexpr int rows(int vectors) { return vectors == 4 ? 6 : 8; }

  /// Where the bytes of a tile go.
  struct Bytes {
    const QuantizedEpilogue& e;
    int64_t at;
    int64_t channel;
    int64_t cols;
  };

  /// Sums of a tile as they are, or as bytes.
  template <int R, int V, typename To>
  PLANISH_INLINE static void product(const uint8_t* const* rows, const int64_t* runs, int64_t run_count, int64_t steps,
                                     const int8_t* weights, const int32_t* start, To to) {
    using simd::unroll;
    __m512i acc[R][V];
    unroll<V>([&](auto v) {
      const __m512i first = _mm512_loadu_si512(start + v * kLanes);
      unroll<R>([&](auto r) { acc[r][v] = first; });
    });
    for (int64_t i = 0; i < run_count; ++i) {
      const uint8_t* x[R];
      unroll<R>([&](auto r) { x[r] = rows[r] + runs[i]; });
      for (int64_t k = 0; k < steps; ++k) {
        __m512i w[V];
        unroll<V>([&](auto v) { w[v] = _mm512_loadu_si512(weights + v * 64); });
        weights += V * 64;
        unroll<R>([&](auto r) {
          int32_t quad;
          __builtin_memcpy(&quad, x[r] + k * kDepth, sizeof(quad));
          const __m512i q = _mm512_set1_epi32(quad);
          unroll<V>([&](auto v) { acc[r][v] = _mm512_dpbusd_epi32(acc[r][v], q, w[v]); });
        });
      }
    }
    if constexpr (__is_same(To, int32_t*)) {
      unroll<R>(
          [&](auto r) { unroll<V>([&](auto v) { _mm512_store_si512(to + (r * kVectors + v) * kLanes, acc[r][v]); }); });
    } else {
#ifndef __clang__  // which refuses captured names in asm
      // Ends the life of the loops' variables: g++ would else spill them in every step for the vectors needed here.
      unroll<R>([&](auto r) { unroll<V>([&](auto v) { asm("" : "+v"(acc[r][v])); }); });
#endif
      const QuantizedEpilogue& e = to.e;
      const float* scale = e.scale + to.channel;
      const float* bias = e.bias + to.channel;
      const int64_t y_row = e.y_row;
      auto* y = static_cast<uint8_t*>(e.y) + to.at;
      const __mmask64 columns = ~__mmask64{0} >> (64 - to.cols);
      const Floats::ByteRange range = Floats::byte_range(e.low, e.high, e.y_zero, e.y_type == QuantizedType::i8);
      unroll<R>([&](auto r) __attribute__((always_inline)) {
        __m512 x[V];
        unroll<V>([&](auto v) {
          x[v] = Floats::fma(Floats::from_int(acc[r][v]), Floats::load(scale + v * kLanes),
                             Floats::load(bias + v * kLanes));
        });
        _mm512_mask_storeu_epi8(y + r * y_row, columns, Floats::in_order(Floats::bytes_of<V>(x, range)));
      });
    }
  }

  template <int R, int V>
  static void micro(const uint8_t* const* rows, const int64_t* runs, int64_t run_count, int64_t steps,
                    const int8_t* weights, const int32_t* start, int32_t* sums) {
    product<R, V>(rows, runs, run_count, steps, weights, start, sums);
  }

  template <int R, int V>
  static void bytes(const uint8_t* const* rows, const int64_t* runs, int64_t run_count, int64_t steps,
                    const int8_t* weights, const int32_t* start, const QuantizedEpilogue& e, int64_t at,
                    int64_t channel, int64_t cols) {
    product<R, V>(rows, runs, run_count, steps, weights, start, Bytes{e, at, channel, cols});
  }
};

}  // namespace

constinit const IgemmKernel kIgemmAvx512Vnni{"igemm_avx512vnni",    Isa::avx512vnni, IgemmInput::u8, {4, 16, 64}, 0,
                                             Igemm<Avx512Vnni>::run};

}  // namespace planish::kernels
