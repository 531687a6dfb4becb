#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "planish/base/isa.h"

namespace planish::kernels {

/// Quantised pixels times one number per channel, quantised again, as squeeze-and-excite blocks do:
///   y[r, c] = round-to-even(clamp((x[r, c] - x_zero) * factors[c], low, high)) + zero, which must lie within the
/// output's type.
struct ByteGate {
  int64_t channels = 1;
  float x_zero = 0;
  float low = 0;
  float high = 0;
  int32_t zero = 0;
  bool x_signed = false;
  bool y_signed = false;
};

/// x and y: [rows, channels]; y may be x. factors: [channels].
using ByteGateFn = void (*)(const ByteGate& g, int64_t rows, const void* x, const float* factors, uint8_t* y);

struct ByteGateKernel {
  std::string_view name;
  Isa isa = Isa::baseline;
  ByteGateFn fn = nullptr;
};

/// Fastest first; the last row runs everywhere.
std::span<const ByteGateKernel> byte_gate_kernels();
/// The first row that this machine can run.
const ByteGateKernel& best_byte_gate_kernel();

}  // namespace planish::kernels
