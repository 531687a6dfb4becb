#include "planish/kernels/cpu/panel_product/x86_amx.h"
#include "planish/kernels/cpu/bf16_gemm/finish_x86_avx512.h"
#include "planish/kernels/cpu/bf16_gemm/variants.h"

namespace planish::kernels {
namespace {

struct Bf16Products {
  PLANISH_INLINE static void upper_left() { _tile_dpbf16ps(0, 4, 6); }
  PLANISH_INLINE static void upper_right() { _tile_dpbf16ps(1, 4, 7); }
  PLANISH_INLINE static void lower_left() { _tile_dpbf16ps(2, 5, 6); }
  PLANISH_INLINE static void lower_right() { _tile_dpbf16ps(3, 5, 7); }
};

constexpr int64_t kBytes = sizeof(uint16_t);

using Sums = TileSums<Bf16Products>;

}  // namespace

constinit const Bf16GemmKernel kBf16GemmAmx{.name = "gemm_bf16_amx",
                                            .isa = Isa::amx,
                                            .rows = Sums::kRows,
                                            .depth_step = [](int64_t k) { return tile_step(k * kBytes) / kBytes; },
                                            .run = run_bf16_gemm<Sums, finish_bf16_panel>};

}  // namespace planish::kernels
