#pragma once

#include <cstdint>
#include <vector>

#include "planish/ir/tensor.h"

namespace planish {

/// The elements of a tensor as keys whose unsigned order is the order of the values: -Inf < numbers < Inf < NaN, both
/// zeros alike. Exact for every real type, so 64-bit integers compare correctly.
std::vector<uint64_t> ordered_keys(const Tensor& tensor);

}  // namespace planish
