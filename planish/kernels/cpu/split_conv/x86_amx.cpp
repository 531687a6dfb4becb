#include <immintrin.h>

#include "planish/base/macros.h"
#include "planish/base/simd/unroll.h"
#include "planish/base/simd/x86_amx.h"
#include "planish/base/simd/x86_avx512.h"
#include "planish/kernels/cpu/float_epilogue/generic.h"
#include "planish/kernels/cpu/split_conv/variants.h"

namespace planish::kernels {
namespace {

using simd::Avx512Floats;

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

/// Stores tiles of rows whose sums are complete, some positions at a time: while the next products run.
template <int kCols>
class Storer {
 public:
  Storer(const SplitConvPart& p, const FloatEpilogue& e, int64_t rows) : p_(p), e_(e), rows_(rows) {}

  /// The sums of `count` positions, as Tiles leaves them.
  void set(int64_t position, int64_t count, bool twice, const float* sums) {
    sums_ = sums;
    twice_ = twice;
    at_ = 0;
    left_ = count;
    pixel_ = position % p_.line;
    y_ = p_.y + position / p_.line * p_.y_row + pixel_ * p_.y_pixel;
  }
  PLANISH_INLINE void go_on(int64_t count) {
    if (left_ > 0) store(count);
  }
  void finish() { go_on(left_); }

 private:
  static constexpr int kMost = 4;

  __attribute__((noinline)) void store(int64_t count) {
    if (count > left_) count = left_;
    left_ -= count;
    twice_ ? store_positions<true>(count) : store_positions<false>(count);
  }

  template <bool kTwice>
  PLANISH_INLINE void store_positions(int64_t count) {
    while (count > 0) {
      int64_t here = count < kMost ? count : kMost;
      if (here > rows_ - at_) here = rows_ - at_;
      if (here > p_.line - pixel_) here = p_.line - pixel_;
      const int64_t pixels = here < p_.pixels - pixel_ ? here : p_.pixels - pixel_;
      const float* sums = sums_ + at_ * kSplitVector;
      if (pixels == kMost) {
        finish_pixels<kMost, kTwice>(sums, y_);
      } else {
        for (int64_t i = 0; i < pixels; ++i) finish_pixels<1, kTwice>(sums + i * kSplitVector, y_ + i * p_.y_pixel);
      }
      count -= here;
      at_ += here;
      if (at_ == rows_) {
        at_ = 0;
        sums_ += kCols * kSums;
      }
      pixel_ += here;
      y_ += here * p_.y_pixel;
      if (pixel_ == p_.line) {
        pixel_ = 0;
        y_ += p_.y_row - p_.line * p_.y_pixel;
      }
    }
  }

  /// Neighbouring pixels of a line.
  template <int kCount, bool kTwice>
  PLANISH_INLINE void finish_pixels(const float* sums, float* y) const {
    __m512 acc[kCount][kCols];
    FloatTile<Avx512Floats>::begin(e_, 0, p_.filters, acc);
    simd::unroll<kCount>([&](auto i) __attribute__((always_inline)) {
      simd::unroll<kCols>([&](auto c) __attribute__((always_inline)) {
        const float* at = sums + c * kSums + i * kSplitVector;
        __m512 v = Avx512Floats::load(at);
        if constexpr (kTwice) v = Avx512Floats::add(v, Avx512Floats::load(at + 2 * kSums));
        acc[i][c] = Avx512Floats::add(acc[i][c], v);
      });
    });
    const float* residual = e_.residual == nullptr ? nullptr : e_.residual + (y - p_.y);
    FloatTile<Avx512Floats>::template finish<kCount, kCols>(e_, {y, residual, p_.y_pixel, p_.y_vector, p_.filters},
                                                            acc);
  }

  const SplitConvPart& p_;
  const FloatEpilogue& e_;
  int64_t rows_;  ///< of a tile
  const float* sums_ = nullptr;
  bool twice_ = false;
  int64_t at_ = 0;     ///< row of the tile
  int64_t left_ = 0;   ///< positions
  int64_t pixel_ = 0;  ///< of the line
  float* y_ = nullptr;
};

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
        _tile_dpbf16ps(2, 4, 6);
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

  /// Brings kTiles tiles into the first-level cache.
  template <int kTiles>
  PLANISH_INLINE static void fetch(const uint16_t* tiles) {
    simd::unroll<kTiles * 16>([&](auto i)
                                  __attribute__((always_inline)) { __builtin_prefetch(tiles + i * kSplitStep); });
  }

  /// The part's steps for kRows * rows positions at `a`, into `sums`: [tile of rows][tile of columns][kSums], and a
  /// second set 2 * kSums behind the first. Meanwhile `next` and `before` go on.
  static void sum(const SplitConvPart& p, const uint16_t* a, int64_t rows, WeightSplitter& next, int64_t next_rows,
                  Storer<kCols>& before, int64_t stored, float* sums) {
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
      _tile_loadd(2, sums + 2 * kSums, kLine);
      _tile_loadd(3, sums + 3 * kSums, kLine);
    }
    const uint16_t* b = p.weights;
    int64_t step = p.depth % p.steps;
    for (int64_t depth = p.depth; depth < p.last_depth; step = 0) {
      const int64_t tap = depth / p.steps;
      const uint16_t* high = a + p.taps[tap] * kSplitStep + step * kSplitParts * part_size;
      const int64_t end = (tap + 1) * p.steps < p.last_depth ? (tap + 1) * p.steps : p.last_depth;
      for (; depth < end; ++depth, high += kSplitParts * part_size, b += kSplitParts * kPart) {
        // What the next step reads. Loads of tiles wait for the second-level cache too long to hide it themselves.
        const bool last = depth + 1 == p.last_depth;
        const uint16_t* later_b = last ? p.weights : b + kSplitParts * kPart;
        const uint16_t* later_a = high + kSplitParts * part_size;
        if (depth + 1 == end)
          later_a = last ? a + kRows * rows * kSplitStep +
                               (p.taps[p.depth / p.steps] * kSplitStep + p.depth % p.steps * kSplitParts * part_size)
                         : a + p.taps[tap + 1] * kSplitStep;
        load_a(high, rows);
        load_b(b + 2 * kPart);
        fetch<kCols>(later_b + 2 * kPart);
        products<0>();
        before.go_on(stored);
        load_b(b + kPart);
        fetch<kRows>(later_a);
        products<1>();
        before.go_on(stored);
        load_a(high + part_size, rows);
        fetch<kCols>(later_b + kPart);
        products<0>();
        before.go_on(stored);
        load_b(b);
        fetch<kRows>(later_a + part_size);
        products<1>();
        before.go_on(stored);
        load_a(high + 2 * part_size, rows);
        fetch<kCols>(later_b);
        products<0>();
        before.go_on(stored);
        load_a(high, rows);
        fetch<kRows>(later_a + 2 * part_size);
        products<1>();
        before.go_on(stored);
        next.go_on(next_rows);
      }
    }
    _tile_stored(0, sums, kLine);
    _tile_stored(1, sums + kSums, kLine);
    _tile_stored(2, sums + 2 * kSums, kLine);
    _tile_stored(3, sums + 3 * kSums, kLine);
  }
};

template <int kCols>
void columns_of(const SplitConvPart& p, const FloatEpilogue& e) {
  const int64_t tiles = (p.positions + kSplitTile - 1) / kSplitTile;
  const int64_t rows = (p.positions + tiles - 1) / tiles;
  simd::TileShapes shapes;
  for (int tile = 0; tile < 8; ++tile) {
    shapes.rows[tile] = static_cast<uint8_t>(tile < 6 ? rows : kSplitTile);
    shapes.row_bytes[tile] = kLine;
  }
  _tile_loadconfig(&shapes);
  const bool ends = p.last_depth == p.tap_count * p.steps;
  const bool whole = p.depth == 0 && ends;
  alignas(kLine) float own[2][4 * kSums];
  const int64_t calls = (tiles + 1) / 2 * (p.last_depth - p.depth);
  const int64_t next_rows = (p.next.rows + calls - 1) / calls;
  WeightSplitter next(p.next);
  constexpr int64_t kTimes = 6;  // a step
  const int64_t times = kTimes * (p.last_depth - p.depth);
  const int64_t stored = (2 * rows + times - 1) / times;
  Storer<kCols> before(p, e, rows);
  for (int64_t tile = 0; tile < tiles; tile += 2) {
    float* sums = whole ? own[tile / 2 % 2] : p.sums + tile / 2 * 4 * kSums;
    const int64_t position = tile * rows;
    const uint16_t* a = p.image.parts + (p.first + position) * kSplitStep;
    const bool pair = tile + 1 < tiles;
    if (pair)
      Tiles<2, kCols>::sum(p, a, rows, next, next_rows, before, stored, sums);
    else
      Tiles<1, kCols>::sum(p, a, rows, next, next_rows, before, stored, sums);
    before.finish();
    if (!ends) continue;
    const int64_t left = p.positions - position;
    before.set(position, left < 2 * rows ? left : 2 * rows, pair ? Tiles<2, kCols>::kTwice : Tiles<1, kCols>::kTwice,
               sums);
  }
  before.finish();
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
