#include <immintrin.h>

#include "planish/base/simd/unroll.h"
#include "planish/base/simd/x86_avx512.h"
#include "planish/kernels/cpu/inverted_residual_int8/variants.h"
#include "planish/kernels/cpu/quantized_epilogue/generic.h"

namespace planish::kernels {
namespace {

using simd::unroll;
using Floats = simd::Avx512Floats;
using Range = Floats::ByteRange;

constexpr int64_t kLanes = 16;
constexpr int64_t kLines = 4;
constexpr int64_t kBytes = 64;      ///< of a vector
constexpr int kExpandVectors = 3;   ///< of a block of the first convolution's channels
constexpr int kProjectVectors = 4;  ///< of a block of the last one's
constexpr int kMostRows = 8;
constexpr int project_rows(int vectors) { return vectors == 4 ? 6 : kMostRows; }

/// Range of bytes without sign: those of a signed type are moved up by 128.
Range range_of(const QuantizedEpilogue& e, int32_t zero) { return Floats::byte_range(e.low, e.high, zero, false); }

/// True when packing to bytes without sign is all the clamping and adding that it takes.
bool is_full(const QuantizedEpilogue& e, int32_t zero) {
  return zero == 0 && __builtin_nearbyintf(e.low) == 0 && __builtin_nearbyintf(e.high) == 255;
}

/// Four vectors as bytes, four of each in turn.
template <bool kFull>
PLANISH_INLINE __m512i bytes_of(const __m512* x, const Range& range) {
  if constexpr (!kFull) return Floats::bytes_of<4>(x, range);
  const auto words = [](__m512 a, __m512 b) {
    constexpr __mmask16 kAll = 0xffff;
    return _mm512_packs_epi32(_mm512_maskz_cvtps_epi32(kAll, a), _mm512_maskz_cvtps_epi32(kAll, b));
  };
  return _mm512_packus_epi16(words(x[0], x[1]), words(x[2], x[3]));
}

// --- first convolution ----------------------------------------------------------------------------------------------

struct ExpandTo {
  uint8_t* first;        ///< of the first vector of channels and the first column
  int64_t vector_bytes;  ///< from one vector to the next
  const float* scale;
  const float* bias;
  Range range;
  __m512i order;  ///< of lines within a channel
  bool full;      ///< see is_full
};

/// L lines x C columns x V vectors: rows[l * C + c].
template <int L, int C, int V, bool kFull>
void expand_tile(const uint8_t* const* rows, const int64_t* runs, int64_t run_count, int64_t steps,
                 const int8_t* weights, const int32_t* start, const ExpandTo& to) {
  constexpr int R = L * C;
  __m512i acc[R][V];
  unroll<V>([&](auto v) __attribute__((always_inline)) {
    const __m512i first = _mm512_loadu_si512(start + v * kLanes);
    unroll<R>([&](auto r) __attribute__((always_inline)) { acc[r][v] = first; });
  });
  for (int64_t i = 0; i < run_count; ++i) {
    const uint8_t* x[R];
    unroll<R>([&](auto r) __attribute__((always_inline)) { x[r] = rows[r] + runs[i]; });
    for (int64_t k = 0; k < steps; ++k) {
      __m512i w[V];
      unroll<V>([&](auto v) __attribute__((always_inline)) { w[v] = _mm512_loadu_si512(weights + v * kBytes); });
      weights += V * kBytes;
      unroll<R>([&](auto r) __attribute__((always_inline)) {
        int32_t quad;
        __builtin_memcpy(&quad, x[r] + k * 4, sizeof(quad));
        const __m512i q = _mm512_set1_epi32(quad);
        unroll<V>([&](auto v) __attribute__((always_inline)) { acc[r][v] = _mm512_dpbusd_epi32(acc[r][v], q, w[v]); });
      });
    }
  }
  // Ends the life of the loops' variables: g++ would else spill them in every step for the vectors needed here.
  unroll<R>([&](auto r) __attribute__((always_inline)) {
    unroll<V>([&](auto v) __attribute__((always_inline)) { asm("" : "+v"(acc[r][v])); });
  });
  const float* scale = to.scale;
  const float* bias = to.bias;
  uint8_t* first = to.first;
  const int64_t vector_bytes = to.vector_bytes;
  unroll<V>([&](auto v) __attribute__((always_inline)) {
    unroll<C>([&](auto c) __attribute__((always_inline)) {
      __m512 x[kLines];
      unroll<kLines>([&](auto l) __attribute__((always_inline)) {
        if constexpr (l < L) {
          constexpr int r = l * C + c;
          x[l] = Floats::fma(Floats::from_int(acc[r][v]), Floats::load(scale + v * kLanes),
                             Floats::load(bias + v * kLanes));
        } else {
          x[l] = Floats::set1(0.0F);
        }
      });
      // Sums fill the registers: constants come from memory each time.
      const ExpandTo* constants = &to;
      asm("" : "+r"(constants));
      const __m512i bytes = bytes_of<kFull>(x, constants->range);
      _mm512_storeu_si512(first + v * vector_bytes + c * kBytes, _mm512_shuffle_epi8(bytes, constants->order));
    });
  });
}

using ExpandTile = void (*)(const uint8_t* const*, const int64_t*, int64_t, int64_t, const int8_t*, const int32_t*,
                            const ExpandTo&);
struct ExpandTable {
  ExpandTile fn[2][kLines + 1][3][kExpandVectors + 1] = {};
};
template <int L, int C, int V>
constexpr void fill(ExpandTable& t) {
  t.fn[0][L][C][V] = &expand_tile<L, C, V, false>;
  t.fn[1][L][C][V] = &expand_tile<L, C, V, true>;
  if constexpr (V > 1)
    fill<L, C, V - 1>(t);
  else if constexpr (C > 1)
    fill<L, C - 1, kExpandVectors>(t);
  else if constexpr (L > 1)
    fill<L - 1, 2, kExpandVectors>(t);
}
constexpr ExpandTable make_expand_table() {
  ExpandTable t;
  fill<kLines, 2, kExpandVectors>(t);
  return t;
}
constexpr ExpandTable kExpandTable = make_expand_table();

/// Which byte of [line][channel] within 128 bits becomes which of [channel][line], when the lines computed are those
/// from `first` on; the others take the last one's, which is empty.
__m512i line_order(int64_t first, int64_t lines) {
  alignas(16) int8_t order[kLanes];
  for (int64_t c = 0; c < 4; ++c)
    for (int64_t l = 0; l < kLines; ++l) {
      const bool inside = l >= first && l < first + lines;
      order[c * kLines + l] = static_cast<int8_t>((inside ? l - first : kLines - 1) * 4 + c);
    }
  return _mm512_maskz_broadcast_i32x4(0xffff, _mm_load_si128(reinterpret_cast<const __m128i*>(order)));
}

/// Four lines of the first image: those from `from` to `to` are computed.
struct Group {
  int64_t line;
  int64_t from;
  int64_t to;
  const uint8_t* x;  ///< first tap of line `from`, column 0
  uint8_t* first;
};

/// Lines of x under the group, padding included, as the inner loops read them.
const uint8_t* input_lines(const InvertedResidualTask& t, int64_t from, int64_t to) {
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

void expand_block(const InvertedResidualTask& t, const Group& g, int64_t block, const Range& range) {
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
  ExpandTo to{first,
              vector_bytes,
              e.scale + vector * kLanes,
              e.bias + vector * kLanes,
              range,
              line_order(g.from - g.line, lines),
              is_full(e, t.first_zero)};
  const int64_t step_y = s.stride_h * t.padded_w * s.channels;
  const int64_t step_x = s.stride_w * s.channels;
  for (int64_t x = 0; x < d.in_w;) {
    const int64_t columns = d.in_w - x >= 2 ? 2 : 1;
    const uint8_t* rows[kMostRows];
    for (int64_t l = 0; l < lines; ++l)
      for (int64_t c = 0; c < columns; ++c) rows[l * columns + c] = g.x + l * step_y + (x + c) * step_x;
    to.first = first + x * kBytes;
    kExpandTable.fn[to.full ? 1 : 0][lines][columns][vectors](rows, t.runs, t.run_count, t.run_steps, weights,
                                                              t.expand_start + vector * kLanes, to);
    x += columns;
  }
}

// --- depthwise convolution ------------------------------------------------------------------------------------------

struct DepthwiseLine {
  const uint8_t* first[2];  ///< four lines and the four below them
  const int8_t* weights;    ///< [column][four lines, next four][64]
  __m512i start;
  __m512 scale;
  __m512 bias;
  uint8_t* second;
  int64_t quad_bytes;  ///< from four columns to the next four
};

/// A line of one vector of channels: K columns of the window, stride S, windows over G groups of four lines.
template <int K, int S, int G, bool kFull>
void depthwise_line(const DepthwiseLine& line, int64_t quads, const Range& shared_range) {
  __m512i w[K][G];
  unroll<K>(
      [&](auto k) { unroll<G>([&](auto g) { w[k][g] = _mm512_loadu_si512(line.weights + (k * 2 + g) * kBytes); }); });
  const __m512i start = line.start;
  const __m512 scale = line.scale;
  const __m512 bias = line.bias;
  const Range range = shared_range;
  const uint8_t* above = line.first[0];
  const uint8_t* below = line.first[1];
  uint8_t* second = line.second;
  const int64_t quad_bytes = line.quad_bytes;
  for (int64_t q = 0; q < quads; ++q) {
    __m512i acc[4];
    unroll<4>([&](auto c) { acc[c] = start; });
    unroll<G>([&](auto g) __attribute__((always_inline)) {
      const uint8_t* from = (g == 0 ? above : below) + q * 4 * S * kBytes;
      unroll<3 * S + K>([&](auto i) __attribute__((always_inline)) {
        const __m512i x = _mm512_loadu_si512(from + i * kBytes);
        unroll<4>([&](auto c) __attribute__((always_inline)) {
          constexpr int k = i - c * S;
          if constexpr (k >= 0 && k < K) acc[c] = _mm512_dpbusd_epi32(acc[c], x, w[k][g]);
        });
      });
    });
    __m512 y[4];
    unroll<4>([&](auto c) { y[c] = Floats::fma(Floats::from_int(acc[c]), scale, bias); });
    _mm512_storeu_si512(second + q * quad_bytes, bytes_of<kFull>(y, range));
  }
}

using DepthwiseFn = void (*)(const DepthwiseLine&, int64_t, const Range&);
template <bool kFull>
DepthwiseFn depthwise_function(int64_t kernel, int64_t stride, bool two) {
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

void depthwise_block(const InvertedResidualTask& t, const Windows& windows, int64_t block, const Range& range) {
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
                               _mm512_loadu_si512(t.depthwise_start + v * kLanes),
                               _mm512_loadu_ps(e.scale + v * kLanes),
                               _mm512_loadu_ps(e.bias + v * kLanes),
                               second + v * kBytes,
                               t.vectors * kBytes};
      fn(line, t.quads, range);
    }
  }
}

// --- last convolution -----------------------------------------------------------------------------------------------

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
void project_tile(const uint8_t* const* rows, int64_t steps, const int8_t* weights, const int32_t* start,
                  const ProjectTo& to) {
  __m512i acc[R][V];
  unroll<V>([&](auto v) __attribute__((always_inline)) {
    const __m512i first = _mm512_loadu_si512(start + v * kLanes);
    unroll<R>([&](auto r) __attribute__((always_inline)) { acc[r][v] = first; });
  });
  const uint8_t* x[R];
  unroll<R>([&](auto r) __attribute__((always_inline)) { x[r] = rows[r]; });
  for (int64_t k = 0; k < steps; ++k) {
    __m512i w[V];
    unroll<V>([&](auto v) __attribute__((always_inline)) { w[v] = _mm512_loadu_si512(weights + v * kBytes); });
    weights += V * kBytes;
    unroll<R>([&](auto r) __attribute__((always_inline)) {
      int32_t quad;
      __builtin_memcpy(&quad, x[r] + k * kLanes, sizeof(quad));
      const __m512i q = _mm512_set1_epi32(quad);
      unroll<V>([&](auto v) __attribute__((always_inline)) { acc[r][v] = _mm512_dpbusd_epi32(acc[r][v], q, w[v]); });
    });
  }
  if constexpr (kResult == kAsSums) {
    unroll<R>([&](auto r) __attribute__((always_inline)) {
      unroll<V>([&](auto v) __attribute__((always_inline)) {
        _mm512_store_si512(to.sums + (r * kProjectVectors + v) * kLanes, acc[r][v]);
      });
    });
    return;
  }
  unroll<R>([&](auto r) __attribute__((always_inline)) {
    unroll<V>([&](auto v) __attribute__((always_inline)) { asm("" : "+v"(acc[r][v])); });
  });
  const QuantizedEpilogue& e = to.e;
  const float* scale = e.scale + to.column;
  const float* bias = e.bias + to.column;
  const int64_t y_row = e.y_row;
  const __mmask64 columns = ~__mmask64{0} >> (64 - to.cols);
  auto* y = static_cast<uint8_t*>(e.y) + to.at;
  const auto* residual = static_cast<const int8_t*>(e.r) + to.at;
  unroll<R>([&](auto r) __attribute__((always_inline)) {
    const ProjectTo* constants = &to;
    asm("" : "+r"(constants));
    __m512 v[V];
    unroll<V>([&](auto i) __attribute__((always_inline)) {
      v[i] =
          Floats::fma(Floats::from_int(acc[r][i]), Floats::load(scale + i * kLanes), Floats::load(bias + i * kLanes));
      if constexpr (kResult == kAsBytesWithResidual) {
        const int8_t* from = residual + r * y_row + i * kLanes;
        const int left = static_cast<int>(constants->cols) - i * kLanes;
        const __m512 real = left >= kLanes ? Floats::load(from) : Floats::load(from, left);
        v[i] = Floats::add(v[i], Floats::fma(real, Floats::set1(e.r_scale), Floats::set1(e.r_offset)));
      }
    });
    _mm512_mask_storeu_epi8(y + r * y_row, columns, Floats::in_order(Floats::bytes_of<V>(v, constants->range)));
  });
}

using ProjectTile = void (*)(const uint8_t* const*, int64_t, const int8_t*, const int32_t*, const ProjectTo&);
struct ProjectTable {
  ProjectTile fn[3][kProjectVectors + 1][kMostRows + 1] = {};
};
template <int V, int R>
constexpr void fill(ProjectTable& t) {
  t.fn[kAsSums][V][R] = &project_tile<R, V, kAsSums>;
  t.fn[kAsBytes][V][R] = &project_tile<R, V, kAsBytes>;
  t.fn[kAsBytesWithResidual][V][R] = &project_tile<R, V, kAsBytesWithResidual>;
  if constexpr (R > 1)
    fill<V, R - 1>(t);
  else if constexpr (V > 1)
    fill<V - 1, project_rows(V - 1)>(t);
}
constexpr ProjectTable make_project_table() {
  ProjectTable t;
  fill<kProjectVectors, project_rows(kProjectVectors)>(t);
  return t;
}
constexpr ProjectTable kProjectTable = make_project_table();

Result result_of(const QuantizedEpilogue& e) {
  constexpr float kLargestResidualScale = 1e5F;  // the sum of both still fits 32 bits
  const bool is_byte = e.y_type == QuantizedType::i8 || e.y_type == QuantizedType::u8;
  if (!is_byte || !e.folded || !e.within_32_bits) return kAsSums;
  if (e.r_type == QuantizedType::none) return kAsBytes;
  return e.r_type == QuantizedType::i8 && e.r_scale < kLargestResidualScale ? kAsBytesWithResidual : kAsSums;
}

/// Pixels of the image from `from` to `to`; the second image begins with line `line`.
void project(const InvertedResidualTask& t, int64_t line, int64_t from, int64_t to) {
  const DepthwiseShape& d = t.shape.depthwise;
  const QuantizedEpilogue& e = t.epilogues->project;
  const Result result = result_of(e);
  const auto finish = Epilogue<Floats>::finish_of(e);
  const int64_t steps = (d.channels + 3) / 4;
  constexpr int64_t kBlock = kProjectVectors * kLanes;
  const int64_t count = to - from;
  alignas(64) int32_t sums[kMostRows * kBlock];
  ProjectTo tile{sums, e, Floats::byte_range(e.low, e.high, e.y_zero, e.y_type == QuantizedType::i8), 0, 0, 0};
  for (int64_t column = 0; column < t.shape.outputs; column += kBlock) {
    const int64_t cols = t.shape.outputs - column < kBlock ? t.shape.outputs - column : kBlock;
    const int64_t vectors = (cols + kLanes - 1) / kLanes;
    const int8_t* weights = t.project + column * steps * 4;
    const int64_t most = project_rows(static_cast<int>(vectors));
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

// --- all of it ------------------------------------------------------------------------------------------------------

/// The columns of padding around the first image, in both groups of lines.
void fill_padding(const InvertedResidualTask& t) {
  const DepthwiseShape& d = t.shape.depthwise;
  const int64_t right = t.first_columns - d.pad_left - d.in_w;
  for (int64_t i = 0; i < 2 * t.vectors; ++i) {
    uint8_t* line = t.first + i * t.first_columns * kBytes;
    __builtin_memset(line, t.first_zero, static_cast<size_t>(d.pad_left * kBytes));
    __builtin_memset(line + (d.pad_left + d.in_w) * kBytes, t.first_zero, static_cast<size_t>(right * kBytes));
  }
}

void run(const InvertedResidualTask& t) {
  const DepthwiseShape& d = t.shape.depthwise;
  if (!t.makes_second) return project(t, 0, t.pixel_begin, t.pixel_end);
  fill_padding(t);
  const Range expand_range = range_of(t.epilogues->expand, t.first_zero);
  const Range depthwise_range = range_of(t.epilogues->depthwise, t.second_zero);
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
    Windows windows{{t.first + (i + 1) % 2 * group_bytes, g.first}, g.line - kLines, y, y};
    while (windows.to < t.line_end && windows.to * d.stride_h - d.pad_top + d.kernel_h <= g.line + kLines) ++windows.to;
    for (int64_t block = t.block_begin; block < t.block_end; ++block) {
      expand_block(t, g, block, expand_range);
      depthwise_block(t, windows, block, depthwise_range);
    }
    if (t.makes_output && windows.to > y) project(t, y, y * d.out_w, windows.to * d.out_w);
    y = windows.to;
  }
}

}  // namespace

constinit const InvertedResidualKernel kInvertedResidualAvx512Vnni{
    "inverted_residual_avx512vnni", Isa::avx512vnni, {4, 16, 48}, {4, 16, 64}, run};

}  // namespace planish::kernels
