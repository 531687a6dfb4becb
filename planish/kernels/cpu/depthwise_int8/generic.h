#pragma once

// The loops behind every instruction set; included by one file per instruction set and nothing else.

#include <cstddef>
#include <cstdint>

#include "planish/base/macros.h"
#include "planish/kernels/cpu/depthwise_int8/depthwise_int8.h"
#include "planish/kernels/cpu/quantized_epilogue/generic.h"

namespace planish::kernels {
namespace {

/// T names an instruction set's inner loops:
///   Elem: uint8_t or int16_t; Floats: vectors for the epilogue; kDepth: lines per group;
///   kLanes, kVectors: channels per vector of sums, vectors per block;
///   interleave<L>(rows, n, task, to): the first n (at most kLanes * kVectors) bytes of L lines as [channel][kDepth],
///   with anything in the place of the lines from L on, whose weights are zero;
///   taps<N>(x, pixel_stride, offsets, weights, start, pixels, sums, sums_row): adds N taps of one vector of channels;
///   `start` is where the sums begin, or nullptr to go on from `sums`.
template <typename T>
struct DepthwiseInt8 {
  using Elem = typename T::Elem;
  static constexpr int64_t kBlock = int64_t{T::kLanes} * T::kVectors;
  static constexpr int64_t kGroup = kBlock * T::kDepth;  ///< elements of one column and group of lines
  static constexpr int64_t kVector = int64_t{T::kLanes} * T::kDepth;
  static constexpr int64_t kMaxLines = 32;

  /// Interleaves `columns` input columns from `first` on of the `used` lines under output line `y` and those after it.
  static void gather(const DepthwiseTask& t, int64_t image, int64_t y, int64_t used, int64_t first, int64_t columns,
                     int64_t channel, int n, const uint8_t* outside, Elem* to) {
    const DepthwiseShape& s = t.shape;
    const uint8_t* lines[kMaxLines];
    const int64_t count = t.groups * T::kDepth;
    for (int64_t r = 0; r < count; ++r) {
      const int64_t line = y * s.stride_h - s.pad_top + r * s.dilation_h;
      const bool inside = r < used && line >= 0 && line < s.in_h;
      lines[r] = inside ? t.x + ((image * s.in_h + line) * s.in_w) * s.channels + channel : nullptr;
    }
    for (int64_t i = 0; i < columns; ++i) {
      const int64_t column = first + i;
      const bool inside = column >= 0 && column < s.in_w;
      for (int64_t g = 0; g < t.groups; ++g) {
        const uint8_t* rows[T::kDepth];
        for (int r = 0; r < T::kDepth; ++r) {
          const uint8_t* line = lines[g * T::kDepth + r];
          rows[r] = inside && line != nullptr ? line + column * s.channels : outside;
        }
        Elem* group = to + (i * t.groups + g) * kGroup;
        constexpr int kLess = T::kDepth == 4 ? 3 : T::kDepth;
        if (used - g * T::kDepth == kLess)
          T::template interleave<kLess>(rows, n, t, group);
        else
          T::template interleave<T::kDepth>(rows, n, t, group);
      }
    }
  }

  /// The sums of `pixels` pixels for one vector of channels. Weights of a few taps at a time stay in registers.
  static void add_taps(const DepthwiseTask& t, const Elem* x, const int8_t* weights, const int32_t* start,
                       int64_t pixels, int32_t* sums) {
    const int64_t pixel_stride = t.shape.stride_w * t.groups * kGroup;
    for (int64_t i = 0; i < t.tap_count;) {
      const int64_t left = t.tap_count - i;
      const int64_t* offsets = t.taps + i;
      const int8_t* w = weights + i * kGroup;
      const int32_t* from = i == 0 ? start : nullptr;
      if (left >= 5 && left != 6) {
        T::template taps<5>(x, pixel_stride, offsets, w, from, pixels, sums, kBlock);
        i += 5;
      } else if (left >= 3) {
        T::template taps<3>(x, pixel_stride, offsets, w, from, pixels, sums, kBlock);
        i += 3;
      } else {
        T::template taps<1>(x, pixel_stride, offsets, w, from, pixels, sums, kBlock);
        i += 1;
      }
    }
  }

  static void run(const DepthwiseTask& t) {
    const DepthwiseShape& s = t.shape;
    alignas(64) Elem buffer[kDepthwiseBuffer / static_cast<int64_t>(sizeof(Elem))];
    alignas(64) uint8_t outside[kBlock];
    alignas(64) int32_t sums[kDepthwisePixels * kBlock];
    __builtin_memset(outside, t.zero, sizeof(outside));
    const int64_t passes = (s.out_h + t.pass_lines - 1) / t.pass_lines;
    const int64_t blocks = (s.channels + kBlock - 1) / kBlock;
    const int64_t extent = (s.kernel_w - 1) * s.dilation_w + 1;
    const auto finish = Epilogue<typename T::Floats>::finish_of(*t.epilogue);
    for (int64_t item = t.begin; item < t.end; ++item) {
      const int64_t block = item % blocks;
      const int64_t image = item / blocks / passes;
      const int64_t y = item / blocks % passes * t.pass_lines;
      const int64_t lines = s.out_h - y < t.pass_lines ? s.out_h - y : t.pass_lines;
      const int64_t used = s.kernel_h + (lines - 1) * s.stride_h;
      const int64_t channel = block * kBlock;
      const int n = static_cast<int>(s.channels - channel < kBlock ? s.channels - channel : kBlock);
      for (int64_t x = 0; x < s.out_w; x += t.chunk) {
        const int64_t pixels = s.out_w - x < t.chunk ? s.out_w - x : t.chunk;
        gather(t, image, y, used, x * s.stride_w - s.pad_left, (pixels - 1) * s.stride_w + extent, channel, n, outside,
               buffer);
        for (int64_t line = 0; line < lines; ++line) {
          const int8_t* all = line == 0 ? t.weights : t.lower_weights + (line - 1) * t.weight_bytes;
          const int8_t* weights = all + block * t.tap_count * kGroup;
          for (int64_t v = 0; v * T::kLanes < n; ++v)
            add_taps(t, buffer + v * kVector, weights + v * kVector, t.start + channel + v * T::kLanes, pixels,
                     sums + v * T::kLanes);
          const int64_t row = (image * s.out_h + y + line) * s.out_w + x;
          finish(*t.epilogue, {sums, kBlock, pixels, n, row * t.epilogue->y_row + channel, channel});
        }
      }
    }
  }
};

}  // namespace
}  // namespace planish::kernels
