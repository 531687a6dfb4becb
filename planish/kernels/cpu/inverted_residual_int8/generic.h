#pragma once

// The loops behind every instruction set; included by one file per instruction set and nothing else.

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/base/simd/unroll.h"
#include "planish/kernels/cpu/inverted_residual_int8/inverted_residual_int8.h"
#include "planish/kernels/cpu/quantized_epilogue/generic.h"

namespace planish::kernels {
namespace {

/// T names an instruction set's vectors of kLanes sums, or of four times as many bytes:
///   kExpandColumns, kExpandVectors: pixels of a line and vectors of channels that the first convolution makes at a
///   time, of four lines; kProjectVectors, project_rows(vectors): the tile of the last one;
///   dot(acc, x, w): adds to each sum four products of bytes without sign and bytes with one;
///   kSigned: bytes of x may have a sign, too: their products are those of magnitude(x) and with_sign(w, x);
///   Range, range(e, zero, is_signed): see simd::Avx512Floats::ByteRange; bytes_of<kFull>(x, range): four vectors of
///   floats as bytes, four of each in turn, where kFull says that packing clamps enough;
///   store_row<V>(y, x, cols, range): the first `cols` of V vectors as bytes, in order.
template <typename T>
struct InvertedResidualInt8 {
  using Vec = typename T::Vec;
  using Floats = typename T::Floats;
  using F = typename Floats::F;
  using Range = typename T::Range;

  static constexpr int64_t kLanes = T::kLanes;
  static constexpr int64_t kBytes = 4 * kLanes;  ///< of a vector
  static constexpr int64_t kLines = 4;
  static constexpr int64_t kFourPixels = 16;  ///< bytes of four columns and channels of the second image
  static constexpr int kExpandVectors = T::kExpandVectors;
  static constexpr int kExpandColumns = T::kExpandColumns;
  static constexpr int kProjectVectors = T::kProjectVectors;
  static constexpr int kMostRows = 8;

  /// True when packing to bytes without sign is all the clamping and adding that it takes.
  static bool is_full(const QuantizedEpilogue& e, int32_t zero) {
    return zero == 0 && __builtin_nearbyintf(e.low) == 0 && __builtin_nearbyintf(e.high) == 255;
  }

  // --- first convolution --------------------------------------------------------------------------------------------

  struct ExpandTo {
    uint8_t* first;        ///< of the first vector of channels and the first column
    int64_t vector_bytes;  ///< from one vector to the next
    const float* scale;
    const float* bias;
    const Range* range;
    const Vec* order;  ///< of lines within a channel
    bool is_signed;    ///< x is
    bool full;         ///< see is_full
  };

  /// L lines x C columns x V vectors: rows[l * C + c].
  template <int L, int C, int V, bool kFull, bool kSigned>
  static void expand_tile(const uint8_t* const* rows, const int64_t* runs, int64_t run_count, int64_t steps,
                          const int8_t* weights, const int32_t* start, const ExpandTo& to) {
    using simd::unroll;
    constexpr int R = L * C;
    Vec acc[R][V];
    unroll<V>([&](auto v) __attribute__((always_inline)) {
      const Vec first = T::load(start + v * kLanes);
      unroll<R>([&](auto r) __attribute__((always_inline)) { acc[r][v] = first; });
    });
    for (int64_t i = 0; i < run_count; ++i) {
      const uint8_t* x[R];
      unroll<R>([&](auto r) __attribute__((always_inline)) { x[r] = rows[r] + runs[i]; });
      for (int64_t k = 0; k < steps; ++k) {
        Vec w[V];
        unroll<V>([&](auto v) __attribute__((always_inline)) { w[v] = T::load(weights + v * kBytes); });
        weights += V * kBytes;
        unroll<R>([&](auto r) __attribute__((always_inline)) {
          const Vec q = T::broadcast4(x[r] + k * 4);
          if constexpr (kSigned) {
            const Vec m = T::magnitude(q);
            unroll<V>([&](auto v)
                          __attribute__((always_inline)) { acc[r][v] = T::dot(acc[r][v], m, T::with_sign(w[v], q)); });
          } else {
            unroll<V>([&](auto v) __attribute__((always_inline)) { acc[r][v] = T::dot(acc[r][v], q, w[v]); });
          }
        });
      }
    }
    // Ends the life of the loops' variables: g++ would else spill them in every step for the vectors needed here.
    unroll<R>([&](auto r) __attribute__((always_inline)) {
      unroll<V>([&](auto v) __attribute__((always_inline)) { T::keep(acc[r][v]); });
    });
    const float* scale = to.scale;
    const float* bias = to.bias;
    uint8_t* first = to.first;
    const int64_t vector_bytes = to.vector_bytes;
    unroll<V>([&](auto v) __attribute__((always_inline)) {
      unroll<C>([&](auto c) __attribute__((always_inline)) {
        F x[kLines];
        unroll<kLines>([&](auto l) __attribute__((always_inline)) {
          if constexpr (l < L) {
            constexpr int r = l * C + c;
            x[l] =
                Floats::fma(T::to_float(acc[r][v]), Floats::load(scale + v * kLanes), Floats::load(bias + v * kLanes));
          } else {
            x[l] = Floats::set1(0.0F);
          }
        });
        // Sums fill the registers: constants come from memory each time.
        const ExpandTo* constants = &to;
        asm("" : "+r"(constants));
        const Vec bytes = T::template bytes_of<kFull>(x, *constants->range);
        T::store(first + v * vector_bytes + c * kBytes, T::shuffle(bytes, *constants->order));
      });
    });
  }

  using ExpandTile = void (*)(const uint8_t* const*, const int64_t*, int64_t, int64_t, const int8_t*, const int32_t*,
                              const ExpandTo&);
  struct ExpandTable {
    ExpandTile fn[2][2][kLines + 1][kExpandColumns + 1][kExpandVectors + 1] = {};
  };
  template <int L, int C, int V, bool kSigned>
  static constexpr void fill_expand(ExpandTable& t) {
    t.fn[kSigned][0][L][C][V] = &expand_tile<L, C, V, false, kSigned>;
    t.fn[kSigned][1][L][C][V] = &expand_tile<L, C, V, true, kSigned>;
    if constexpr (V > 1)
      fill_expand<L, C, V - 1, kSigned>(t);
    else if constexpr (C > 1)
      fill_expand<L, C - 1, kExpandVectors, kSigned>(t);
    else if constexpr (L > 1)
      fill_expand<L - 1, kExpandColumns, kExpandVectors, kSigned>(t);
  }
  static constexpr ExpandTable make_expand_table() {
    ExpandTable t;
    fill_expand<kLines, kExpandColumns, kExpandVectors, false>(t);
    if constexpr (T::kSigned) fill_expand<kLines, kExpandColumns, kExpandVectors, true>(t);
    return t;
  }
  static constexpr ExpandTable kExpandTable = make_expand_table();

  /// Which byte of [line][channel] within 128 bits becomes which of [channel][line], when the lines computed are those
  /// from `first` on; the others take the last one's, which is empty.
  static Vec line_order(int64_t first, int64_t lines) {
    alignas(16) int8_t order[16];
    for (int64_t c = 0; c < 4; ++c)
      for (int64_t l = 0; l < kLines; ++l) {
        const bool inside = l >= first && l < first + lines;
        order[c * kLines + l] = static_cast<int8_t>((inside ? l - first : kLines - 1) * 4 + c);
      }
    return T::broadcast16(order);
  }

  /// Four lines of the first image: those from `from` to `to` are computed.
  struct Group {
    int64_t line;
    int64_t from;
    int64_t to;
    const uint8_t* x;  ///< first tap of line `from`, column 0
    uint8_t* first;
    Vec order;  ///< see line_order
  };

  /// Lines of x under the group, padding included, as the inner loops read them.
  static const uint8_t* input_lines(const InvertedResidualTask& t, int64_t from, int64_t to) {
    const IgemmShape& s = t.shape.expand;
    const int64_t line = from * s.stride_h - s.pad_top;
    const uint8_t* x = t.x + t.image * s.in_h * s.in_w * s.channels;
    const int64_t pitch = t.padded_w * s.channels;
    if (t.in_place) return x + line * pitch;
    const int64_t lines = (to - from - 1) * s.stride_h + s.kernel_h;
    const int64_t left = s.pad_left * s.channels < pitch ? s.pad_left * s.channels : pitch;
    const int64_t inside = s.in_w * s.channels < pitch - left ? s.in_w * s.channels : pitch - left;
    for (int64_t i = 0; i < lines; ++i) {
      uint8_t* band = t.band + i * pitch;
      const bool exists = line + i >= 0 && line + i < s.in_h;
      __builtin_memset(band, t.x_fill, static_cast<size_t>(exists ? left : pitch));
      if (!exists) continue;
      const uint8_t* row = x + (line + i) * s.in_w * s.channels;
      const uint8_t shift = t.shift;
      for (int64_t b = 0; b < inside; ++b) band[left + b] = static_cast<uint8_t>(row[b] + shift);
      __builtin_memset(band + left + inside, t.x_fill, static_cast<size_t>(pitch - left - inside));
    }
    return t.band;
  }

  static void expand_block(const InvertedResidualTask& t, const Group& g, int64_t block, const Range& range) {
    const IgemmShape& s = t.shape.expand;
    const DepthwiseShape& d = t.shape.depthwise;
    const int64_t vector = block * kExpandVectors;
    const int64_t left = t.vectors - vector;
    const int vectors = left < kExpandVectors ? static_cast<int>(left) : kExpandVectors;
    const int64_t vector_bytes = t.first_columns * kBytes;
    uint8_t* first = g.first + vector * vector_bytes + d.pad_left * kBytes;
    const int64_t lines = g.to - g.from;
    if (lines <= 0) {
      for (int64_t v = 0; v < vectors; ++v)
        __builtin_memset(first + v * vector_bytes, t.first_zero, static_cast<size_t>(d.in_w * kBytes));
      return;
    }
    const int64_t inner = t.run_count * t.run_steps * 4;
    const int8_t* weights = t.expand + vector * kLanes * inner;
    const QuantizedEpilogue& e = t.epilogues->expand;
    ExpandTo to{first,    vector_bytes, e.scale + vector * kLanes, e.bias + vector * kLanes, &range,
                &g.order, t.x_signed,   is_full(e, t.first_zero)};
    const int64_t step_y = s.stride_h * t.padded_w * s.channels;
    const int64_t step_x = s.stride_w * s.channels;
    for (int64_t x = 0; x < d.in_w;) {
      const int64_t columns = d.in_w - x >= kExpandColumns ? kExpandColumns : 1;
      const uint8_t* rows[kMostRows];
      for (int64_t l = 0; l < lines; ++l)
        for (int64_t c = 0; c < columns; ++c) rows[l * columns + c] = g.x + l * step_y + (x + c) * step_x;
      to.first = first + x * kBytes;
      kExpandTable.fn[to.is_signed ? 1 : 0][to.full ? 1 : 0][lines][columns][vectors](
          rows, t.runs, t.run_count, t.run_steps, weights, t.expand_start + vector * kLanes, to);
      x += columns;
    }
  }

  // --- depthwise convolution ----------------------------------------------------------------------------------------

  struct DepthwiseLine {
    const uint8_t* first[2];  ///< four lines and the four below them
    const int8_t* weights;    ///< [column][four lines, next four][kBytes]
    const int32_t* start;
    const float* scale;
    const float* bias;
    uint8_t* second;
    int64_t quad_bytes;  ///< from four columns to the next four
  };

  /// A line of one vector of channels: K columns of the window, stride S, windows over G groups of four lines.
  template <int K, int S, int G, bool kFull>
  static void depthwise_line(const DepthwiseLine& line, int64_t quads, const Range& shared_range) {
    using simd::unroll;
    Vec w[K][G];
    unroll<K>([&](auto k) { unroll<G>([&](auto g) { w[k][g] = T::load(line.weights + (k * 2 + g) * kBytes); }); });
    const Vec start = T::load(line.start);
    const F scale = Floats::load(line.scale);
    const F bias = Floats::load(line.bias);
    const Range range = shared_range;
    const uint8_t* above = line.first[0];
    const uint8_t* below = line.first[1];
    uint8_t* second = line.second;
    const int64_t quad_bytes = line.quad_bytes;
    for (int64_t q = 0; q < quads; ++q) {
      Vec acc[4];
      unroll<4>([&](auto c) { acc[c] = start; });
      unroll<G>([&](auto g) __attribute__((always_inline)) {
        const uint8_t* from = (g == 0 ? above : below) + q * 4 * S * kBytes;
        unroll<3 * S + K>([&](auto i) __attribute__((always_inline)) {
          const Vec x = T::load(from + i * kBytes);
          unroll<4>([&](auto c) __attribute__((always_inline)) {
            constexpr int k = i - c * S;
            if constexpr (k >= 0 && k < K) acc[c] = T::dot(acc[c], x, w[k][g]);
          });
        });
      });
      F y[4];
      unroll<4>([&](auto c) { y[c] = Floats::fma(T::to_float(acc[c]), scale, bias); });
      T::store(second + q * quad_bytes, T::template bytes_of<kFull>(y, range));
    }
  }

  using DepthwiseFn = void (*)(const DepthwiseLine&, int64_t, const Range&);
  template <bool kFull>
  static DepthwiseFn depthwise_function(int64_t kernel, int64_t stride, bool two) {
    if (kernel == 3 && stride == 1) return two ? depthwise_line<3, 1, 2, kFull> : depthwise_line<3, 1, 1, kFull>;
    if (kernel == 3) return two ? depthwise_line<3, 2, 2, kFull> : depthwise_line<3, 2, 1, kFull>;
    if (stride == 1) return two ? depthwise_line<5, 1, 2, kFull> : depthwise_line<5, 1, 1, kFull>;
    return two ? depthwise_line<5, 2, 2, kFull> : depthwise_line<5, 2, 1, kFull>;
  }

  /// Output lines from `from` to `to` of a block of channels; `groups` are the four lines above and those at hand, and
  /// `line` is the first line of the former.
  struct Windows {
    const uint8_t* groups[2];
    int64_t line;
    int64_t from;
    int64_t to;
  };

  static void depthwise_block(const InvertedResidualTask& t, const Windows& windows, int64_t block,
                              const Range& range) {
    const DepthwiseShape& d = t.shape.depthwise;
    const QuantizedEpilogue& e = t.epilogues->depthwise;
    const int64_t end = (block + 1) * kExpandVectors < t.vectors ? (block + 1) * kExpandVectors : t.vectors;
    for (int64_t y = windows.from; y < windows.to; ++y) {
      const int64_t at = y * d.stride_h - d.pad_top - windows.line;
      const int64_t phase = at % kLines;
      const bool two = phase + d.kernel_h > kLines;
      const DepthwiseFn fn = is_full(e, t.second_zero) ? depthwise_function<true>(d.kernel_w, d.stride_w, two)
                                                       : depthwise_function<false>(d.kernel_w, d.stride_w, two);
      uint8_t* second = t.second + (t.keeps_second ? y : y - windows.from) * t.quads * t.vectors * kBytes;
      for (int64_t v = block * kExpandVectors; v < end; ++v) {
        const int64_t offset = v * t.first_columns * kBytes;
        const DepthwiseLine line{{windows.groups[at / kLines] + offset, windows.groups[1] + offset},
                                 t.depthwise + (phase * t.vectors + v) * d.kernel_w * 2 * kBytes,
                                 t.depthwise_start + v * kLanes,
                                 e.scale + v * kLanes,
                                 e.bias + v * kLanes,
                                 second + v * kBytes,
                                 t.vectors * kBytes};
        fn(line, t.quads, range);
      }
    }
  }

  // --- last convolution ---------------------------------------------------------------------------------------------

  /// What becomes of a tile of sums.
  enum Result { kAsSums, kAsBytes, kAsBytesWithResidual };  ///< the last two: folded, the residual i8

  struct ProjectTo {
    int32_t* sums;  ///< rows kProjectVectors apart
    const QuantizedEpilogue& e;
    Range range;
    int64_t at;      ///< element of the output
    int64_t column;  ///< its channel
    int64_t cols;
  };

  /// R pixels x V vectors.
  template <int R, int V, Result kResult>
  static void project_tile(const uint8_t* const* rows, int64_t steps, const int8_t* weights, const int32_t* start,
                           const ProjectTo& to) {
    using simd::unroll;
    Vec acc[R][V];
    unroll<V>([&](auto v) __attribute__((always_inline)) {
      const Vec first = T::load(start + v * kLanes);
      unroll<R>([&](auto r) __attribute__((always_inline)) { acc[r][v] = first; });
    });
    const uint8_t* x[R];
    unroll<R>([&](auto r) __attribute__((always_inline)) { x[r] = rows[r]; });
    for (int64_t k = 0; k < steps; ++k) {
      Vec w[V];
      unroll<V>([&](auto v) __attribute__((always_inline)) { w[v] = T::load(weights + v * kBytes); });
      weights += V * kBytes;
      unroll<R>([&](auto r) __attribute__((always_inline)) {
        const Vec q = T::broadcast4(x[r] + k * kFourPixels);
        unroll<V>([&](auto v) __attribute__((always_inline)) { acc[r][v] = T::dot(acc[r][v], q, w[v]); });
      });
    }
    if constexpr (kResult == kAsSums) {
      unroll<R>([&](auto r) __attribute__((always_inline)) {
        unroll<V>([&](auto v) __attribute__((always_inline)) {
          T::store(to.sums + (r * kProjectVectors + v) * kLanes, acc[r][v]);
        });
      });
      return;
    }
    unroll<R>([&](auto r) __attribute__((always_inline)) {
      unroll<V>([&](auto v) __attribute__((always_inline)) { T::keep(acc[r][v]); });
    });
    const QuantizedEpilogue& e = to.e;
    const float* scale = e.scale + to.column;
    const float* bias = e.bias + to.column;
    const int64_t y_row = e.y_row;
    auto* y = static_cast<uint8_t*>(e.y) + to.at;
    const auto* residual = static_cast<const int8_t*>(e.r) + to.at;
    unroll<R>([&](auto r) __attribute__((always_inline)) {
      const ProjectTo* constants = &to;
      asm("" : "+r"(constants));
      F v[V];
      unroll<V>([&](auto i) __attribute__((always_inline)) {
        v[i] = Floats::fma(T::to_float(acc[r][i]), Floats::load(scale + i * kLanes), Floats::load(bias + i * kLanes));
        if constexpr (kResult == kAsBytesWithResidual) {
          const int8_t* from = residual + r * y_row + i * kLanes;
          const int left = static_cast<int>(constants->cols - i * kLanes);
          const F real = left >= kLanes ? Floats::load(from) : Floats::load(from, left);
          v[i] = Floats::add(v[i], Floats::fma(real, Floats::set1(e.r_scale), Floats::set1(e.r_offset)));
        }
      });
      T::template store_row<V>(y + r * y_row, v, constants->cols, constants->range);
    });
  }

  using ProjectTile = void (*)(const uint8_t* const*, int64_t, const int8_t*, const int32_t*, const ProjectTo&);
  struct ProjectTable {
    ProjectTile fn[3][kProjectVectors + 1][kMostRows + 1] = {};
  };
  template <int V, int R>
  static constexpr void fill_project(ProjectTable& t) {
    t.fn[kAsSums][V][R] = &project_tile<R, V, kAsSums>;
    t.fn[kAsBytes][V][R] = &project_tile<R, V, kAsBytes>;
    t.fn[kAsBytesWithResidual][V][R] = &project_tile<R, V, kAsBytesWithResidual>;
    if constexpr (R > 1)
      fill_project<V, R - 1>(t);
    else if constexpr (V > 1)
      fill_project<V - 1, T::project_rows(V - 1)>(t);
  }
  static constexpr ProjectTable make_project_table() {
    ProjectTable t;
    fill_project<kProjectVectors, T::project_rows(kProjectVectors)>(t);
    return t;
  }
  static constexpr ProjectTable kProjectTable = make_project_table();

  static Result result_of(const QuantizedEpilogue& e) {
    constexpr float kLargestResidualScale = 1e5F;  // the sum of both still fits 32 bits
    const bool is_byte = e.y_type == QuantizedType::i8 || e.y_type == QuantizedType::u8;
    if (!is_byte || !e.folded || !e.within_32_bits) return kAsSums;
    if (e.r_type == QuantizedType::none) return kAsBytes;
    return e.r_type == QuantizedType::i8 && e.r_scale < kLargestResidualScale ? kAsBytesWithResidual : kAsSums;
  }

  /// Pixels of the image from `from` to `to`; the second image begins with line `line`.
  static void project(const InvertedResidualTask& t, int64_t line, int64_t from, int64_t to) {
    const DepthwiseShape& d = t.shape.depthwise;
    const QuantizedEpilogue& e = t.epilogues->project;
    const Result result = result_of(e);
    const auto finish = Epilogue<Floats>::finish_of(e);
    const int64_t steps = (d.channels + 3) / 4;
    constexpr int64_t kBlock = kProjectVectors * kLanes;
    const int64_t count = to - from;
    alignas(64) int32_t sums[kMostRows * kBlock];
    ProjectTo tile{sums, e, T::range(e, e.y_zero, e.y_type == QuantizedType::i8), 0, 0, 0};
    for (int64_t column = 0; column < t.shape.outputs; column += kBlock) {
      const int64_t cols = t.shape.outputs - column < kBlock ? t.shape.outputs - column : kBlock;
      const int64_t vectors = (cols + kLanes - 1) / kLanes;
      const int8_t* weights = t.project + column * steps * 4;
      const int64_t most = T::project_rows(static_cast<int>(vectors));
      const int64_t tiles = (count + most - 1) / most;
      int64_t at = from;
      int64_t y = at / d.out_w;
      int64_t x = at % d.out_w;
      for (int64_t i = 0; i < tiles; ++i) {
        const int64_t n = count / tiles + (i < count % tiles ? 1 : 0);
        const uint8_t* rows[kMostRows];
        for (int64_t r = 0; r < n; ++r) {
          rows[r] = t.second + (((y - line) * t.quads + x / 4) * t.vectors) * kBytes + x % 4 * 4;
          if (++x == d.out_w) {
            x = 0;
            ++y;
          }
        }
        tile.at = (t.image * d.out_h * d.out_w + at) * e.y_row + column;
        tile.column = column;
        tile.cols = cols;
        kProjectTable.fn[result][vectors][n](rows, steps, weights, t.project_start + column, tile);
        if (result == kAsSums) finish(e, {sums, kBlock, n, cols, tile.at, column});
        at += n;
      }
    }
  }

  // --- all of it ----------------------------------------------------------------------------------------------------

  /// The columns of padding around the first image, in both groups of lines.
  static void fill_padding(const InvertedResidualTask& t) {
    const DepthwiseShape& d = t.shape.depthwise;
    const int64_t right = t.first_columns - d.pad_left - d.in_w;
    for (int64_t i = 0; i < 2 * t.vectors; ++i) {
      uint8_t* line = t.first + i * t.first_columns * kBytes;
      __builtin_memset(line, t.first_zero, static_cast<size_t>(d.pad_left * kBytes));
      __builtin_memset(line + (d.pad_left + d.in_w) * kBytes, t.first_zero, static_cast<size_t>(right * kBytes));
    }
  }

  static void run(const InvertedResidualTask& t) {
    const DepthwiseShape& d = t.shape.depthwise;
    if (!t.makes_second) return project(t, 0, t.pixel_begin, t.pixel_end);
    fill_padding(t);
    // Of bytes without sign: those of a signed type are moved up by 128.
    const Range expand_range = T::range(t.epilogues->expand, t.first_zero, false);
    const Range depthwise_range = T::range(t.epilogues->depthwise, t.second_zero, false);
    const int64_t group_bytes = t.vectors * t.first_columns * kBytes;
    const int64_t top = t.line_begin * d.stride_h - d.pad_top;
    const int64_t bottom = (t.line_end - 1) * d.stride_h - d.pad_top + d.kernel_h;
    int64_t y = t.line_begin;
    for (int64_t i = 0; y < t.line_end; ++i) {
      Group g;
      g.line = top + i * kLines;
      g.from = g.line > 0 ? g.line : 0;
      const int64_t last = bottom < d.in_h ? bottom : d.in_h;
      g.to = g.line + kLines < last ? g.line + kLines : last;
      g.first = t.first + i % 2 * group_bytes;
      g.x = g.from < g.to ? input_lines(t, g.from, g.to) : nullptr;
      g.order = line_order(g.from - g.line, g.to - g.from);
      Windows windows{{t.first + (i + 1) % 2 * group_bytes, g.first}, g.line - kLines, y, y};
      while (windows.to < t.line_end && windows.to * d.stride_h - d.pad_top + d.kernel_h <= g.line + kLines)
        ++windows.to;
      for (int64_t block = t.block_begin; block < t.block_end; ++block) {
        expand_block(t, g, block, expand_range);
        depthwise_block(t, windows, block, depthwise_range);
      }
      if (t.makes_output && windows.to > y) project(t, y, y * d.out_w, windows.to * d.out_w);
      y = windows.to;
    }
  }
};

}  // namespace
}  // namespace planish::kernels
