#include "planish/kernels/cpu/panel_product/x86_amx.h"

#include "planish/base/simd/x86_avx512.h"
#include "planish/kernels/cpu/igemm/variants.h"
#include "planish/kernels/cpu/quantized_epilogue/generic.h"

namespace planish::kernels {
namespace {

struct SignedProducts {
  PLANISH_INLINE static void upper_left() { _tile_dpbssd(0, 4, 6); }
  PLANISH_INLINE static void upper_right() { _tile_dpbssd(1, 4, 7); }
  PLANISH_INLINE static void lower_left() { _tile_dpbssd(2, 5, 6); }
  PLANISH_INLINE static void lower_right() { _tile_dpbssd(3, 5, 7); }
};

struct UnsignedProducts {
  PLANISH_INLINE static void upper_left() { _tile_dpbusd(0, 4, 6); }
  PLANISH_INLINE static void upper_right() { _tile_dpbusd(1, 4, 7); }
  PLANISH_INLINE static void lower_left() { _tile_dpbusd(2, 5, 6); }
  PLANISH_INLINE static void lower_right() { _tile_dpbusd(3, 5, 7); }
};

/// Products of whole rows: the pixels of a 1x1 convolution that looks at each of them once, or a matrix. Tiles of few
/// rows, or sums of few products, leave no time to hide what comes before and behind them.
bool takes(const IgemmShape& s) {
  constexpr int64_t kFewestRows = 8;
  constexpr int64_t kFewestProducts = 64;
  const bool rows = s.kernel_h == 1 && s.kernel_w == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 &&
                    s.pad_left == 0 && s.in_h == s.out_h && s.in_w == s.out_w;
  return rows && s.groups == 1 && s.images * s.out_h * s.out_w >= kFewestRows && s.channels >= kFewestProducts &&
         tile_step(s.channels) != 0;
}

template <class Products>
void run_as(const IgemmTask& t) {
  using Finishes = Epilogue<simd::Avx512Floats>;
  // What a thread reads of a panel and of some rows, to one depth, stays in the first-level cache.
  constexpr int64_t kMostDepth = 512;
  constexpr int64_t kChunk = 128;
  const IgemmShape& s = t.shape;
  const QuantizedEpilogue& e = *t.epilogue;
  const auto finish = Finishes::finish_of(e);
  const int64_t step = tile_step(s.channels);
  const int64_t depths = (s.channels + kMostDepth - 1) / kMostDepth;
  const int64_t steps = s.channels / step;
  alignas(64) int32_t sums[kChunk * kPanelColumns];
  TileSums<Products> tiles(s.channels);
  run_panels(
      tiles,
      {.a = reinterpret_cast<const char*>(t.x),
       .a_row = s.channels,
       .k = s.channels,
       .weights = reinterpret_cast<const char*>(t.weights),
       .row = t.pixel_begin,
       .rows = t.pixel_end - t.pixel_begin,
       .panel = t.block_begin,
       .panels = t.block_end - t.block_begin,
       .depth = (steps + depths - 1) / depths * step,
       .chunk = kChunk,
       .sums = sums,
       .start = t.start},
      [&](int64_t row, int64_t rows, int64_t column, void* complete) __attribute__((always_inline)) {
        finish(e, {static_cast<const int32_t*>(complete), kPanelColumns, rows, least(kPanelColumns, s.outputs - column),
                   row * e.y_row + column, column});
      });
}

void run(const IgemmTask& t) { t.is_signed ? run_as<SignedProducts>(t) : run_as<UnsignedProducts>(t); }

}  // namespace

constinit const IgemmKernel kIgemmAmx{"igemm_amx", Isa::amx, IgemmInput::bytes, {4, kPanelColumns, kPanelColumns}, 0,
                                      run,         takes};

}  // namespace planish::kernels
