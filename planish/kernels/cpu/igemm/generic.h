#pragma once

// The loops behind every instruction set; included by one file per instruction set and nothing else.

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/kernels/cpu/igemm/igemm.h"
#include "planish/kernels/cpu/quantized_epilogue/generic.h"

namespace planish::kernels {
namespace {

/// T names an instruction set's inner loop:
///   Elem: uint8_t or int16_t, the input as it is read; Floats: vectors for the epilogue;
///   kDepth, kLanes, kVectors: see IgemmFormat (a block has kVectors * kLanes columns);
///   kFinishesBytes: see below;
///   rows(vectors): rows of a tile with that many vectors of columns;
///   micro<R, V>(rows, runs, run_count, steps, weights, start, sums): R x V vectors of sums, kBlock columns per row.
///   Where kFinishesBytes, also bytes<R, V>(rows, runs, run_count, steps, weights, start, e, tile): the same, but
///   the sums become the bytes of the output before they leave the registers: for epilogues that are folded and have no
///   residual. Sums of few products would else take longer to store and to load again than to compute.
template <typename T>
struct Igemm {
  using Elem = typename T::Elem;
  static constexpr int64_t kBlock = int64_t{T::kVectors} * T::kLanes;
  static constexpr int kMaxRows = 8;
  /// Rows whose sums are finished together: the choice of what to do with them is not made for a handful of vectors.
  static constexpr int64_t kSumRows = 2048 / kBlock;
  using Finish = typename Epilogue<typename T::Floats>::Finish;
  using Micro = void (*)(const Elem* const* rows, const int64_t* runs, int64_t run_count, int64_t steps,
                         const int8_t* weights, const int32_t* start, int32_t* sums);

  /// Where the rows of a tile go: element of the output, its channel, and how many columns there are.
  using Bytes = void (*)(const Elem* const* rows, const int64_t* runs, int64_t run_count, int64_t steps,
                         const int8_t* weights, const int32_t* start, const QuantizedEpilogue& e, int64_t at,
                         int64_t channel, int64_t cols);

  struct Table {
    Micro fn[T::kVectors + 1][kMaxRows + 1] = {};
    Bytes bytes[T::kVectors + 1][kMaxRows + 1] = {};
  };
  template <int V, int R>
  static constexpr void fill_rows(Table& t) {
    t.fn[V][R] = &T::template micro<R, V>;
    if constexpr (T::kFinishesBytes) t.bytes[V][R] = &T::template bytes<R, V>;
    if constexpr (R > 1) fill_rows<V, R - 1>(t);
  }
  template <int V>
  static constexpr void fill(Table& t) {
    static_assert(T::rows(V) <= kMaxRows);
    fill_rows<V, T::rows(V)>(t);
    if constexpr (V > 1) fill<V - 1>(t);
  }
  static constexpr Table make_table() {
    Table t;
    fill<T::kVectors>(t);
    return t;
  }
  static constexpr Table kTable = make_table();

  // --- input ----------------------------------------------------------------------------------------------------

  PLANISH_INLINE static void convert(const IgemmTask& t, const uint8_t* x, int64_t n, uint8_t* to) {
    if (t.shift == 0) {
      __builtin_memcpy(to, x, static_cast<size_t>(n));
      return;
    }
    for (int64_t i = 0; i < n; ++i) to[i] = static_cast<uint8_t>(x[i] + t.shift);
  }
  PLANISH_INLINE static void convert(const IgemmTask& t, const uint8_t* x, int64_t n, int16_t* to) {
    if (t.is_signed)
      for (int64_t i = 0; i < n; ++i) to[i] = static_cast<int8_t>(x[i]);
    else
      for (int64_t i = 0; i < n; ++i) to[i] = x[i];
  }
  PLANISH_INLINE static void fill_pixels(const IgemmTask& t, int64_t n, Elem* to) {
    for (int64_t i = 0; i < n; ++i) to[i] = static_cast<Elem>(t.fill);
  }

  /// Input lines first..first+lines-1 of an image, padding included, as the inner loops read them.
  static void copy_band(const IgemmTask& t, int64_t image, int64_t first, int64_t lines, Elem* band) {
    const IgemmShape& s = t.shape;
    const int64_t pixel = s.groups * s.channels;
    const int64_t pitch = t.padded_w * pixel;
    const int64_t left = s.pad_left < t.padded_w ? s.pad_left : t.padded_w;
    const int64_t room = t.padded_w - left;
    const int64_t inside = s.in_w < room ? s.in_w : room;
    const uint8_t* x = t.x + image * s.in_h * s.in_w * pixel;
    if (left == 0 && inside == s.in_w && inside == t.padded_w && first >= 0 && first + lines <= s.in_h) {
      convert(t, x + first * pitch, lines * pitch, band);
      return;
    }
    for (int64_t i = 0; i < lines; ++i) {
      Elem* to = band + i * pitch;
      const int64_t line = first + i;
      if (line < 0 || line >= s.in_h) {
        fill_pixels(t, pitch, to);
        continue;
      }
      fill_pixels(t, left * pixel, to);
      convert(t, x + line * s.in_w * pixel, inside * pixel, to + left * pixel);
      fill_pixels(t, (room - inside) * pixel, to + (left + inside) * pixel);
    }
  }

  // --- product --------------------------------------------------------------------------------------------------

  /// Pixels of one band: `base` is the first tap of output line `line`, column 0.
  struct Band {
    const Elem* base;
    int64_t line;   ///< counted over all images
    int64_t begin;  ///< pixels, counted over all images
    int64_t end;
  };

  /// `finish` is nullptr where the inner loop makes bytes.
  static void run_block(const IgemmTask& t, const Band& band, int64_t block, Finish finish) {
    const IgemmShape& s = t.shape;
    const int64_t blocks = (s.outputs + kBlock - 1) / kBlock;
    const int64_t group = block / blocks;
    const int64_t column = block % blocks * kBlock;
    const int64_t cols = s.outputs - column < kBlock ? s.outputs - column : kBlock;
    const int64_t vectors = (cols + T::kLanes - 1) / T::kLanes;
    const int64_t inner = t.run_count * t.run_steps * T::kDepth;
    const int64_t group_columns = (s.outputs + T::kLanes - 1) / T::kLanes * T::kLanes;
    const int8_t* weights = t.weights + (group * group_columns + column) * inner;
    const int64_t channel = group * s.outputs + column;
    const int64_t pixel = s.groups * s.channels;
    const int64_t step_x = s.stride_w * pixel;
    const int64_t step_y = s.stride_h * t.padded_w * pixel;

    // Tiles of nearly equal size: a last tile of one row would leave most of the arithmetic units idle.
    const int64_t count = band.end - band.begin;
    const int64_t most = T::rows(static_cast<int>(vectors));
    const int64_t tiles = (count + most - 1) / most;
    const int64_t size = count / tiles;
    const int64_t larger = count % tiles;
    int64_t at = band.begin;
    int64_t y = at / s.out_w;
    int64_t x = at % s.out_w;
    const Elem* line = band.base + (y - band.line) * step_y + group * s.channels;
    alignas(64) int32_t sums[kSumRows * kBlock];
    int64_t waiting = 0;  // rows in `sums`
    for (int64_t i = 0; i < tiles; ++i) {
      const Elem* rows[kMaxRows];
      const int64_t n = size + (i < larger ? 1 : 0);
      for (int64_t r = 0; r < n; ++r) {
        rows[r] = line + x * step_x;
        if (++x == s.out_w) {
          x = 0;
          line += step_y;
        }
      }
      if (finish == nullptr) {
        kTable.bytes[vectors][n](rows, t.runs, t.run_count, t.run_steps, weights, t.start + channel, *t.epilogue,
                                 at * t.epilogue->y_row + channel, channel, cols);
      } else {
        kTable.fn[vectors][n](rows, t.runs, t.run_count, t.run_steps, weights, t.start + channel,
                              sums + waiting * kBlock);
        waiting += n;
      }
      at += n;
      if (waiting > 0 && (waiting + most > kSumRows || i + 1 == tiles)) {
        finish(*t.epilogue, {sums, kBlock, waiting, cols, (at - waiting) * t.epilogue->y_row + channel, channel});
        waiting = 0;
      }
    }
  }

  static void run(const IgemmTask& t) {
    const IgemmShape& s = t.shape;
    const QuantizedEpilogue& e = *t.epilogue;
    const bool is_byte = e.y_type == QuantizedType::i8 || e.y_type == QuantizedType::u8;
    const bool in_registers =
        T::kFinishesBytes && is_byte && e.folded && e.within_32_bits && e.r_type == QuantizedType::none;
    const Finish finish = in_registers ? nullptr : Epilogue<typename T::Floats>::finish_of(e);
    const int64_t extent = (s.kernel_h - 1) * s.dilation_h + 1;
    const int64_t pitch = t.padded_w * s.groups * s.channels;
    for (int64_t at = t.pixel_begin; at < t.pixel_end;) {
      const int64_t line = at / s.out_w;
      const int64_t image = line / s.out_h;
      const int64_t y = line % s.out_h;
      const int64_t lines = s.out_h - y < t.band_lines ? s.out_h - y : t.band_lines;
      const int64_t limit = (line + lines) * s.out_w;
      Band band{nullptr, line, at, limit < t.pixel_end ? limit : t.pixel_end};
      if (t.in_place) {
        // Only the u8 form is ever read in place.
        band.base = reinterpret_cast<const Elem*>(t.x) + (image * s.in_h + y * s.stride_h) * pitch;
      } else {
        const int64_t used = (band.end - 1) / s.out_w - line;
        auto* to = static_cast<Elem*>(t.scratch);
        copy_band(t, image, y * s.stride_h - s.pad_top, used * s.stride_h + extent, to);
        band.base = to;
      }
      for (int64_t b = t.block_begin; b < t.block_end; ++b) run_block(t, band, b, finish);
      at = band.end;
    }
  }
};

}  // namespace
}  // namespace planish::kernels
