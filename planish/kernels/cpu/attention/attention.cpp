#include "planish/kernels/cpu/attention/attention.h"

#include <array>

#include "planish/kernels/cpu/attention/generic.h"
#include "planish/kernels/cpu/attention/variants.h"

namespace planish::kernels {
namespace {

using Baseline = Attention<4, 4, 2>;

}  // namespace

std::span<const AttentionKernel> attention_kernels() {
  static const std::array kernels{
      kAttentionAvx512,
      kAttentionAvx2,
      AttentionKernel{"attention_f32_baseline", Isa::baseline, 4, Baseline::packed_keys_size, Baseline::pack_keys,
                      Baseline::scratch_size, Baseline::run, Baseline::weigh},
  };
  return kernels;
}

const AttentionKernel& best_attention_kernel() {
  for (const AttentionKernel& k : attention_kernels())
    if (cpu_features().has(k.isa)) return k;
  return attention_kernels().back();
}

}  // namespace planish::kernels
