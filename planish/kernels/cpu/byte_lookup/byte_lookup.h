#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "planish/base/isa.h"

namespace planish::kernels {

/// y[i] = table[x[i]] for n bytes; `table` has 256 entries; y may be x.
using ByteLookupFn = void (*)(const uint8_t* table, int64_t n, const uint8_t* x, uint8_t* y);

struct ByteLookupKernel {
  std::string_view name;
  Isa isa = Isa::baseline;
  ByteLookupFn fn = nullptr;
};

/// Fastest first; the last row runs everywhere.
std::span<const ByteLookupKernel> byte_lookup_kernels();
/// The first row that this machine can run.
const ByteLookupKernel& best_byte_lookup_kernel();

}  // namespace planish::kernels
