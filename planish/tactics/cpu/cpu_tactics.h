#pragma once

#include "planish/tactics/tactic.h"

namespace planish {

/// Every tactic of host_device(), best guess first, the reference last.
const TacticTable& cpu_tactics();

/// Gives back the pages of oneDNN's code that only making kernels needs (RuntimeHooks::release_makers).
void release_cpu_kernel_makers();
/// n numbers of type `from`, f16 or bf16, as f32 (RuntimeHooks::widen).
void widen_half(DType from, int64_t n, const uint16_t* x, float* y);

}  // namespace planish
