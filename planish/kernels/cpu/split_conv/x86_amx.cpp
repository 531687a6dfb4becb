#include <immintrin.h>

#include "planish/base/macros.h"
#include "planish/base/simd/unroll.h"
#include "planish/base/simd/x86_avx512.h"
#include "planish/kernels/cpu/float_epilogue/generic.h"
#include "planish/kernels/cpu/split_conv/variants.h"

namespace planish::kernels {
namespace {

using simd::Avx512Floats;

/// What LDTILECFG reads. Source: Intel 64 and IA-32 Architectures Software Developer's Manual, LDTILECFG.
struct alignas(64) TileShapes {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

constexpr int64_t kLine = 64;                                ///< bytes of a tile's row
constexpr int64_t kTileNumbers = kSplitStep * kSplitVector;  ///< of bfloat16
constexpr int64_t kSums = kSplitTile * kSplitVector;         ///< of a tile

/// Splits sixteen floats at a time.
struct Splitter {
  typedef uint32_t Words __attribute__((vector_size(64)));
  typedef float Floats __attribute__((vector_size(64)));

  /// The upper half, rounded. NaN may become something else; it is still in the last part then.
  PLANISH_INLINE static Words upper(Floats x) { return ((Words)x + 0x8000U) & 0xffff0000U; }

  PLANISH_INLINE static __m512 load(const float* x, int64_t count) {
    if (count >= kSplitVector) return Avx512Floats::load(x);
    return count > 0 ? Avx512Floats::load(x, static_cast<int>(count)) : Avx512Floats::set1(0.0F);
  }
  /// Two vectors' upper halves, one behind the other.
  PLANISH_INLINE static void store(uint16_t* to, Words a, Words b) {
    const auto order = (__m512i)(Words){0x00030001, 0x00070005, 0x000b0009, 0x000f000d, 0x00130011, 0x00170015,
                                        0x001b0019, 0x001f001d, 0x00230021, 0x00270025, 0x002b0029, 0x002f002d,
                                        0x00330031, 0x00370035, 0x003b0039, 0x003f003d};
    _mm512_store_si512(to, _mm512_maskz_permutex2var_epi16(~__mmask32{0}, (__m512i)a, order, (__m512i)b));
  }
  PLANISH_INLINE static void split(__m512 a, __m512 b, uint16_t* to, int64_t part_size) {
    const Words high_a = upper(a);
    const Words high_b = upper(b);
    store(to, high_a, high_b);
    a -= (Floats)high_a;
    b -= (Floats)high_b;
    const Words middle_a = upper(a);
    const Words middle_b = upper(b);
    store(to + part_size, middle_a, middle_b);
    store(to + 2 * part_size, (Words)(a - (Floats)middle_a), (Words)(b - (Floats)middle_b));
  }
};

void split(const SplitSource& s, int64_t count, const SplitImage& image, int64_t position) {
  const int64_t channels = (s.chunks - 1) * s.chunk + s.last_chunk;
  const int64_t part_size = image.part_size();
  uint16_t* to = image.parts + position * kSplitStep;
  const auto piece = [&](int64_t channel) {
    return s.chunks == 1 ? s.x + channel : s.x + channel / s.chunk * s.x_chunk + channel % s.chunk;
  };
  for (int64_t c = 0; c < channels; c += kSplitStep, to += kSplitParts * part_size) {
    if (s.x == nullptr) {
      for (int64_t part = 0; part < kSplitParts; ++part)
        for (int64_t i = 0; i < count; ++i)
          _mm512_store_si512(to + part * part_size + i * kSplitStep, _mm512_setzero_si512());
      continue;
    }
    const int64_t left = channels - c;
    const float* a = piece(c);
    const float* b = left > kSplitVector ? piece(c + kSplitVector) : a;
    for (int64_t i = 0; i < count; ++i, a += s.pixel, b += s.pixel)
      Splitter::split(Splitter::load(a, left), Splitter::load(b, left - kSplitVector), to + i * kSplitStep, part_size);
  }
}

/// Splits rows of weights, some at a time.
class WeightSplitter {
 public:
  explicit WeightSplitter(const SplitWeights& w)
      : from_(w.from),
        to_(w.to),
        ahead_(w.later != nullptr ? reinterpret_cast<intptr_t>(w.later) - reinterpret_cast<intptr_t>(w.from) : 0),
        left_(w.rows),
        step_rows_(w.step_rows()),
        here_(w.step_rows()) {}

  PLANISH_INLINE void go_on(int64_t rows) {
    if (rows > left_) rows = left_;
    left_ -= rows;
    for (; rows > 0; --rows, from_ += kSplitStep, to_ += kSplitStep) {
      if (here_ == 0) {
        here_ = step_rows_;
        to_ += (kSplitParts - 1) * step_rows_ * kSplitStep;
      }
      --here_;
      const char* later = reinterpret_cast<const char*>(from_) + ahead_;
      __builtin_prefetch(later, 0, kSecondLevel);
      __builtin_prefetch(later + kLine, 0, kSecondLevel);
      Splitter::split(Avx512Floats::load(from_), Avx512Floats::load(from_ + kSplitVector), to_,
                      step_rows_ * kSplitStep);
    }
  }
  PLANISH_INLINE void finish() { go_on(left_); }

 private:
  static constexpr int kSecondLevel = 2;  ///< cache, as __builtin_prefetch numbers them
  const float* from_;
  uint16_t* to_;
  intptr_t ahead_;  ///< bytes to what is fetched
  int64_t left_;
  int64_t step_rows_;
  int64_t here_;
};

void split_weights(const SplitWeights& w) { WeightSplitter(w).finish(); }

/// kRows by kCols tiles of sums. Where they are few there are two of each, which are added up at the end: a product
/// waits for the one before into the same tile longer than it takes.
template <int kRows, int kCols>
struct Tiles {
  static constexpr bool kTwice = kRows * kCols <= 2;

  // Tiles 0 to 3: sums. 4 and 5: positions. 6 and 7: filters. Numbers of tiles are part of the instruction.
  template <int kSet>
  PLANISH_INLINE static void products() {
    if constexpr (kRows == 2 && kCols == 2) {
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    } else if constexpr (kRows == 2) {
      if constexpr (kSet == 0) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 5, 6);
      } else {
        _tile_dpbf16ps(2, 4, 6);
        _tile_dpbf16ps(3, 5, 6);
      }
    } else if constexpr (kCols == 2) {
      if constexpr (kSet == 0) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
      } else {
        _tile_dpbf16ps(2, 4, 6);
        _tile_dpbf16ps(3, 4, 7);
      }
    } else {
      if constexpr (kSet == 0)
        _tile_dpbf16ps(0, 4, 6);
      else
        _tile_dpbf16ps(1, 4, 6);
    }
  }
  PLANISH_INLINE static void load_a(const uint16_t* a, int64_t rows) {
    _tile_loadd(4, a, kLine);
    if constexpr (kRows == 2) _tile_loadd(5, a + rows * kSplitStep, kLine);
  }
  PLANISH_INLINE static void load_b(const uint16_t* b) {
    _tile_loadd(6, b, kLine);
    if constexpr (kCols == 2) _tile_loadd(7, b + kTileNumbers, kLine);
  }

  /// The part's steps for kRows * rows positions at `a`, into `sums`: [set][tile of rows][tile of columns][kSums].
  static void sum(const SplitConvPart& p, const uint16_t* a, int64_t rows, WeightSplitter& next, int64_t next_rows,
                  float* sums) {
    const int64_t part_size = p.image.part_size();
    constexpr int64_t kPart = kCols * kTileNumbers;
    if (p.depth == 0) {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
    } else {
      _tile_loadd(0, sums, kLine);
      _tile_loadd(1, sums + kSums, kLine);
      if constexpr (kRows * kCols > 1) {
        _tile_loadd(2, sums + 2 * kSums, kLine);
        _tile_loadd(3, sums + 3 * kSums, kLine);
      }
    }
    const uint16_t* b = p.weights;
    int64_t step = p.depth % p.steps;
    for (int64_t depth = p.depth; depth < p.last_depth; step = 0) {
      const int64_t tap = depth / p.steps;
      const uint16_t* high = a + p.taps[tap] * kSplitStep + step * kSplitParts * part_size;
      const int64_t end = (tap + 1) * p.steps < p.last_depth ? (tap + 1) * p.steps : p.last_depth;
      for (; depth < end; ++depth, high += kSplitParts * part_size, b += kSplitParts * kPart) {
        load_a(high, rows);
        load_b(b + 2 * kPart);
        products<0>();
        load_b(b + kPart);
        products<1>();
        load_a(high + part_size, rows);
        products<0>();
        load_b(b);
        products<1>();
        load_a(high + 2 * part_size, rows);
        products<0>();
        load_a(high, rows);
        products<1>();
        next.go_on(next_rows);
      }
    }
    _tile_stored(0, sums, kLine);
    _tile_stored(1, sums + kSums, kLine);
    if constexpr (kRows * kCols > 1) {
      _tile_stored(2, sums + 2 * kSums, kLine);
      _tile_stored(3, sums + 3 * kSums, kLine);
    }
  }

  /// Sums of row `row` on of one tile of rows.
  template <int kCount>
  PLANISH_INLINE static void finish(const SplitConvPart& p, const FloatEpilogue& e, const float* sums, float* y) {
    __m512 acc[kCount][kCols];
    FloatTile<Avx512Floats>::begin(e, 0, p.filters, acc);
    simd::unroll<kCount>([&](auto i) __attribute__((always_inline)) {
      simd::unroll<kCols>([&](auto c) __attribute__((always_inline)) {
        const float* at = sums + c * kSums + i * kSplitVector;
        __m512 v = Avx512Floats::load(at);
        if constexpr (kTwice) v = Avx512Floats::add(v, Avx512Floats::load(at + kRows * kCols * kSums));
        acc[i][c] = Avx512Floats::add(acc[i][c], v);
      });
    });
    const float* residual = e.residual == nullptr ? nullptr : e.residual + (y - p.y);
    FloatTile<Avx512Floats>::template finish<kCount, kCols>(e, {y, residual, p.y_pixel, p.y_vector, p.filters}, acc);
  }

  /// Stores the pixels among output positions [position, position + count), whose sums are one tile of rows.
  static void store(const SplitConvPart& p, const FloatEpilogue& e, int64_t position, int64_t count,
                    const float* sums) {
    constexpr int64_t kMany = 4;
    while (count > 0) {
      const int64_t row = position / p.line;
      const int64_t pixel = position % p.line;
      const int64_t here = count < p.line - pixel ? count : p.line - pixel;
      float* y = p.y + row * p.y_row + pixel * p.y_pixel;
      const int64_t stored = here < p.pixels - pixel ? here : p.pixels - pixel;
      int64_t i = 0;
      for (; i + kMany <= stored; i += kMany) finish<kMany>(p, e, sums + i * kSplitVector, y + i * p.y_pixel);
      for (; i < stored; ++i) finish<1>(p, e, sums + i * kSplitVector, y + i * p.y_pixel);
      position += here;
      sums += here * kSplitVector;
      count -= here;
    }
  }
};

template <int kRows, int kCols>
void rows_of(const SplitConvPart& p, const FloatEpilogue& e, int64_t position, int64_t rows, WeightSplitter& next,
             int64_t next_rows, float* sums) {
  using T = Tiles<kRows, kCols>;
  T::sum(p, p.image.parts + (p.first + position) * kSplitStep, rows, next, next_rows, sums);
  if (p.last_depth < p.tap_count * p.steps) return;
  for (int64_t r = 0; r < kRows; ++r) {
    const int64_t at = position + r * rows;
    const int64_t left = p.positions - at;
    T::store(p, e, at, left < rows ? left : rows, sums + r * kCols * kSums);
  }
}

template <int kCols>
void columns_of(const SplitConvPart& p, const FloatEpilogue& e) {
  const int64_t tiles = (p.positions + kSplitTile - 1) / kSplitTile;
  const int64_t rows = (p.positions + tiles - 1) / tiles;
  TileShapes shapes;
  for (int tile = 0; tile < 8; ++tile) {
    shapes.rows[tile] = static_cast<uint8_t>(tile < 6 ? rows : kSplitTile);
    shapes.row_bytes[tile] = kLine;
  }
  _tile_loadconfig(&shapes);
  const bool whole = p.depth == 0 && p.last_depth == p.tap_count * p.steps;
  alignas(kLine) float own[4 * kSums];
  float* sums = whole ? own : p.sums;
  const int64_t calls = (tiles + 1) / 2 * (p.last_depth - p.depth);
  const int64_t next_rows = (p.next.rows + calls - 1) / calls;
  WeightSplitter next(p.next);
  for (int64_t tile = 0; tile < tiles; tile += 2) {
    if (tile + 1 < tiles)
      rows_of<2, kCols>(p, e, tile * rows, rows, next, next_rows, sums);
    else
      rows_of<1, kCols>(p, e, tile * rows, rows, next, next_rows, sums);
    if (!whole) sums += 4 * kSums;
  }
  next.finish();
  _tile_release();
}

void run(const SplitConvPart& p, const FloatEpilogue& e) {
  if (p.vectors == 1) return columns_of<1>(p, e);
  columns_of<2>(p, e);
}

}  // namespace

constinit const SplitConvKernel kSplitConvAmx{
    .name = "split_conv_amx", .isa = Isa::amx, .split = split, .split_weights = split_weights, .run = run};

}  // namespace planish::kernels
