#include "planish/base/subnormals.h"

#include <xmmintrin.h>

namespace planish {
namespace {

// Intel, Software Developer's Manual, volume 1, 10.2.3: bits of MXCSR.
constexpr uint32_t kWhatHappened = 0x003F;
constexpr uint32_t kOperandsAreZero = 0x0040;
constexpr uint32_t kResultsToZero = 0x8000;

}  // namespace

uint32_t float_mode() { return _mm_getcsr() & ~kWhatHappened; }

void set_float_mode(uint32_t mode) {
  const uint32_t now = _mm_getcsr();
  if ((now & ~kWhatHappened) != mode) _mm_setcsr(mode | (now & kWhatHappened));
}

FlushSubnormals::FlushSubnormals(bool on) : before_(float_mode()) {
  if (on) set_float_mode(before_ | kOperandsAreZero | kResultsToZero);
}

}  // namespace planish
