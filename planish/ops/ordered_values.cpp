#include "planish/ops/ordered_values.h"

#include <bit>
#include <cmath>

#include "planish/ops/element_buffer.h"

namespace planish {
namespace {

constexpr uint64_t kSign = uint64_t{1} << 63;

/// Flips a double's bits so that they sort as unsigned integers.
uint64_t key_of(double x) {
  if (std::isnan(x)) return UINT64_MAX;
  const auto bits = std::bit_cast<uint64_t>(x + 0.0);  // -0 becomes +0
  return (bits & kSign) != 0 ? ~bits : bits | kSign;
}

}  // namespace

std::vector<uint64_t> ordered_keys(const Tensor& tensor) {
  std::vector<uint64_t> keys(static_cast<size_t>(tensor.size()));
  const Domain domain = domain_of(tensor.dtype());
  for (size_t i = 0; i < keys.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    if (domain == Domain::real)
      keys[i] = key_of(tensor.at(at));
    else if (domain == Domain::sint)
      keys[i] = static_cast<uint64_t>(tensor.int_at(at)) ^ kSign;
    else
      keys[i] = static_cast<uint64_t>(tensor.int_at(at));
  }
  return keys;
}

}  // namespace planish
