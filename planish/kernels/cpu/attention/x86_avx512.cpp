#include "planish/kernels/cpu/attention/generic.h"
#include "planish/kernels/cpu/attention/variants.h"

namespace planish::kernels {
namespace {

using Variant = Attention<16, 8, 2>;

}  // namespace

constinit const AttentionKernel kAttentionAvx512{
    "attention_f32_avx512", Isa::avx512,   8, Variant::packed_keys_size, Variant::pack_keys, Variant::scratch_size,
    Variant::run,           Variant::weigh};

}  // namespace planish::kernels
