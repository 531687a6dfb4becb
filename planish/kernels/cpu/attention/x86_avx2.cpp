#include "planish/kernels/cpu/attention/generic.h"
#include "planish/kernels/cpu/attention/variants.h"

namespace planish::kernels {
namespace {

using Variant = Attention<8, 6, 2>;

}  // namespace

constinit const AttentionKernel kAttentionAvx2{
    "attention_f32_avx2", Isa::avx2,     6, Variant::packed_keys_size, Variant::pack_keys, Variant::scratch_size,
    Variant::run,         Variant::weigh};

}  // namespace planish::kernels
