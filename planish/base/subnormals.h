#pragma once

#include <cstdint>

namespace planish {

/// How this thread's vector instructions treat subnormal numbers (below 1.2e-38) and round: the processor's control
/// word without the flags of what has happened.
uint32_t float_mode();
/// Makes this thread compute in a mode that float_mode() returned.
void set_float_mode(uint32_t mode);

/// Until the end of a scope, this thread and the regions it starts take subnormal f32 operands for zero and round
/// subnormal results to zero. Arithmetic on such numbers, which carry no information in a network, takes up to a
/// hundred times as long. f16 and bf16 instructions do not look at this.
class FlushSubnormals {
 public:
  /// `on` false: nothing changes.
  explicit FlushSubnormals(bool on = true);
  ~FlushSubnormals() { set_float_mode(before_); }
  FlushSubnormals(const FlushSubnormals&) = delete;
  FlushSubnormals& operator=(const FlushSubnormals&) = delete;

 private:
  uint32_t before_;
};

}  // namespace planish
