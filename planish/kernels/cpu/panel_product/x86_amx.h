#pragma once

// Sums of products in tiles of AMX, two by two of 16 x 16.

#include <immintrin.h>

#include "planish/base/simd/x86_amx.h"
#include "planish/kernels/cpu/panel_product/generic.h"

namespace planish::kernels {
namespace {

constexpr int64_t kTileRows = 16;
constexpr int64_t kTileLine = 64;  ///< bytes of a tile's row, at most

/// How many bytes of a row of A are taken at a time: the greatest divisor of k, in whole fours, that fits a row of a
/// tile. 0: none, or tiles would be less than half full, which does not pay.
PLANISH_INLINE int64_t tile_step(int64_t k) {
  for (int64_t step = kTileLine; step >= kTileLine / 2; step -= 4)
    if (k % step == 0) return step;
  return 0;
}

/// Multiply: the instruction for the four products of the tiles 4 and 5 (rows of A) with 6 and 7 (columns) into 0 to 3,
/// as upper_left(), upper_right(), lower_left() and lower_right(): numbers of tiles are part of it.
template <class Multiply>
class TileSums {
 public:
  static constexpr int64_t kRows = 2 * kTileRows;

  explicit TileSums(int64_t k) : step_(tile_step(k)) {}
  TileSums(const TileSums&) = delete;
  TileSums& operator=(const TileSums&) = delete;
  ~TileSums() {
    if (configured_ != 0) _tile_release();
  }

  template <class Storer>
  PLANISH_INLINE void add(const PanelStep& s, Storer& before) {
    if (s.rows != configured_) configure(s.rows);
    if (s.rows > kTileRows)
      sum<true>(s, before);
    else
      sum<false>(s, before);
  }

 private:
  void configure(int64_t rows) {
    const auto upper = static_cast<uint8_t>(least(rows, kTileRows));
    const auto lower = static_cast<uint8_t>(rows - upper);
    simd::TileShapes shapes;
    const auto set = [&shapes](int tile, uint8_t count, int64_t bytes) {
      shapes.rows[tile] = count;
      shapes.row_bytes[tile] = count == 0 ? 0 : static_cast<uint16_t>(bytes);
    };
    set(0, upper, kTileLine);
    set(1, upper, kTileLine);
    set(2, lower, kTileLine);
    set(3, lower, kTileLine);
    set(4, upper, step_);
    set(5, lower, step_);
    set(6, static_cast<uint8_t>(step_ / 4), kTileLine);
    set(7, static_cast<uint8_t>(step_ / 4), kTileLine);
    _tile_loadconfig(&shapes);
    configured_ = rows;
  }

  /// Every row of the sums as `from` has them, `row` bytes apart: 0 makes all rows the same.
  template <bool kLower>
  PLANISH_INLINE static void load(const char* from, int64_t row) {
    _tile_loadd(0, from, row);
    _tile_loadd(1, from + kTileLine, row);
    if constexpr (kLower) {
      _tile_loadd(2, from + kTileRows * row, row);
      _tile_loadd(3, from + kTileRows * row + kTileLine, row);
    }
  }

  template <bool kLower>
  PLANISH_INLINE static void begin(const PanelStep& s) {
    if (!s.first) return load<kLower>(static_cast<const char*>(s.sums), kPanelSumsRow);
    if (s.start != nullptr) return load<kLower>(reinterpret_cast<const char*>(s.start), 0);
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (kLower) {
      _tile_zero(2);
      _tile_zero(3);
    }
  }

  template <bool kLower, class Storer>
  PLANISH_INLINE void sum(const PanelStep& s, Storer& before) const {
    begin<kLower>(s);
    const int64_t stored = before.share(s.depth / step_);
    const char* a = s.a;
    const char* b = s.b;
    // Lines are fetched in proportion to the depth that is done.
    const int64_t lines = s.ahead == nullptr ? 0 : (s.ahead_lines * step_ + s.depth - 1) / s.depth;
    const char* ahead = s.ahead;
    for (int64_t k = 0; k < s.depth; k += step_, a += step_, b += step_ * kPanelColumns) {
      _tile_loadd(6, b, kPanelSumsRow);
      _tile_loadd(4, a, s.a_row);
      Multiply::upper_left();
      _tile_loadd(7, b + kTileLine, kPanelSumsRow);
      Multiply::upper_right();
      for (int64_t i = 0; i < lines; ++i, ahead += kTileLine) _mm_prefetch(ahead, _MM_HINT_T1);
      if constexpr (kLower) {
        _tile_loadd(5, a + kTileRows * s.a_row, s.a_row);
        Multiply::lower_left();
        Multiply::lower_right();
      }
      before.go_on(stored);
    }
    before.finish();
    auto* sums = static_cast<char*>(s.sums);
    _tile_stored(0, sums, kPanelSumsRow);
    _tile_stored(1, sums + kTileLine, kPanelSumsRow);
    if constexpr (kLower) {
      _tile_stored(2, sums + kTileRows * kPanelSumsRow, kPanelSumsRow);
      _tile_stored(3, sums + kTileRows * kPanelSumsRow + kTileLine, kPanelSumsRow);
    }
  }

  int64_t step_;
  int64_t configured_ = 0;
};

}  // namespace
}  // namespace planish::kernels
