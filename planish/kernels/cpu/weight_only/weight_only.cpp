#include "planish/kernels/cpu/weight_only/weight_only.h"

#include <algorithm>
#include <array>

#include "planish/kernels/cpu/weight_only/generic.h"
#include "planish/kernels/cpu/weight_only/segments.h"
#include "planish/kernels/cpu/weight_only/variants.h"

namespace planish::kernels {
namespace {

typedef float Four __attribute__((vector_size(16)));

Four load_four(const float* p) {
  Four v;
  __builtin_memcpy(&v, p, sizeof(v));
  return v;
}

struct Vectors {
  typedef float Vec __attribute__((vector_size(16)));
  typedef uint32_t Words __attribute__((vector_size(16)));
  typedef int32_t Ints __attribute__((vector_size(16)));

  PLANISH_INLINE static Vec from_words(Words w) { return __builtin_convertvector(reinterpret_cast<Ints>(w), Vec); }
  template <typename T>
  PLANISH_INLINE static Vec from(const uint8_t* p) {
    Vec v;
    for (int i = 0; i < 4; ++i) v[i] = static_cast<T>(p[i]);
    return v;
  }
  PLANISH_INLINE static Vec from_i8(const uint8_t* p) { return from<int8_t>(p); }
  PLANISH_INLINE static Vec from_u8(const uint8_t* p) { return from<uint8_t>(p); }
};

/// One row: numbers for nibbles are divided by the power of two that their place in the word multiplies them by.
void prepare_row(const WeightOnlyShape& s, const float* a, float* to) {
  const WeightOnlyRowLayout layout = weight_only_row_layout(s);
  const Four divide = s.bits == 4 ? Four{1.0F, 1.0F / 16, 1.0F / 256, 1.0F / 4096} : Four{1, 1, 1, 1};
  const bool subtract = s.bits == 4 || s.zeros;
  float* sums = to + layout.sums;
  for (int64_t begin = 0; begin < s.k; begin += s.block)
    for (int64_t k = begin, end = std::min(begin + s.block, s.k); k < end; k += kWeightOnlySegment) {
      const int64_t stop = std::min(k + kWeightOnlySegment, end);
      Four sum{};
      int64_t i = k;
      for (; i + 4 <= stop; i += 4) {
        const Four x = load_four(a + i);
        sum += x;
        const Four y = x * divide;
        __builtin_memcpy(to + i, &y, sizeof(y));
      }
      float tail = 0;
      for (; i < stop; ++i) {
        tail += a[i];
        to[i] = a[i] * divide[i % 4];
      }
      *sums++ = subtract ? -(sum[0] + sum[1] + sum[2] + sum[3] + tail) : 0.0F;
    }
  std::fill(to + s.k, to + layout.sums, 0.0F);
}

uint8_t element(const IntegerMatrix& w, int64_t bits, int64_t i) {
  return bits == 8 ? w.data[i] : static_cast<uint8_t>(w.data[i / 2] >> (i % 2 * 4) & 0xf);
}

/// Between what a graph stores and what is packed: the sign bit where only one of them has a sign.
uint8_t flip_of(const WeightOnlyShape& s, const IntegerMatrix& w) {
  if (s.bits == 4) return w.is_signed ? 8 : 0;
  return w.is_signed ? 0 : 0x80;
}

}  // namespace

std::span<const WeightOnlyKernel> weight_only_kernels() {
  static const std::array kernels{
      kWeightOnlyAvx512,
      kWeightOnlyAvx2,
      WeightOnly<Vectors, 2, 1>::kernel("weight_only_f32_baseline", Isa::baseline),
  };
  return kernels;
}

const WeightOnlyKernel& best_weight_only_kernel() {
  return *std::ranges::find_if(weight_only_kernels(),
                               [](const WeightOnlyKernel& k) { return cpu_features().has(k.isa); });
}

int64_t weight_only_row_floats(const WeightOnlyShape& shape) { return weight_only_row_layout(shape).floats; }

void weight_only_rows(const WeightOnlyProblem& p, int64_t begin, int64_t end, float* to) {
  const int64_t floats = weight_only_row_floats(p.shape);
  for (int64_t row = begin; row < end; ++row) prepare_row(p.shape, p.a + row * p.a_row, to + row * floats);
}

void pack_weight_only(const WeightOnlyShape& s, const IntegerMatrix& w, uint8_t* packed) {
  const uint8_t flip = flip_of(s, w);
  const uint8_t middle = s.bits == 4 ? 8 : 0;
  const auto at = [&](int64_t k, int64_t j) -> uint32_t {
    if (k >= s.k || j >= s.n) return middle;
    return element(w, s.bits, k * w.k_stride + j * w.n_stride) ^ flip;
  };
  for (int64_t panel = 0; panel < s.panels(); ++panel)
    for (int64_t k = 0; k < s.k; k += s.bits == 4 ? 8 : 1)
      for (int64_t j = panel * kWeightOnlyPanel; j < (panel + 1) * kWeightOnlyPanel; ++j) {
        if (s.bits == 8) {
          *packed++ = static_cast<uint8_t>(at(k, j));
          continue;
        }
        uint32_t word = 0;
        for (int64_t i = 0; i < 8; ++i) word |= at(k + i, j) << (4 * i);
        __builtin_memcpy(packed, &word, sizeof(word));
        packed += sizeof(word);
      }
}

void unpack_weight_only(const WeightOnlyShape& s, const uint8_t* packed, const IntegerMatrix& w, uint8_t* to) {
  const uint8_t flip = flip_of(s, w);
  if (s.bits == 4) std::fill_n(to, (s.k * s.n + 1) / 2, uint8_t{0});
  for (int64_t j = 0; j < s.n; ++j) {
    const uint8_t* panel = packed + j / kWeightOnlyPanel * s.panel_bytes();
    for (int64_t k = 0; k < s.k; ++k) {
      const int64_t i = k * w.k_stride + j * w.n_stride;
      if (s.bits == 8) {
        to[i] = panel[k * kWeightOnlyPanel + j % kWeightOnlyPanel] ^ flip;
        continue;
      }
      uint32_t word = 0;
      __builtin_memcpy(&word, panel + (k / 8 * kWeightOnlyPanel + j % kWeightOnlyPanel) * 4, sizeof(word));
      to[i / 2] |= static_cast<uint8_t>(((word >> (k % 8 * 4) & 0xf) ^ flip) << (i % 2 * 4));
    }
  }
}

}  // namespace planish::kernels
