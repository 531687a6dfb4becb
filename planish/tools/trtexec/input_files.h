#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "planish/base/status.h"
#include "planish/tools/trtexec/session.h"

namespace planish::tools {

/// Values of one tensor read from `path`: raw bytes in C order, or a `.npy` file whose type and shape must agree.
/// `dims` is the tensor's concrete shape. Errors give both sizes (or types, or shapes).
Result<std::vector<std::byte>> read_tensor_file(const std::string& path, const TensorRecord& tensor, const Dims& dims);

/// Random values as trtexec draws them: floating point in [-1, 1], bool 0 or 1, signed integers in [-128, 127],
/// unsigned in [0, 255]. The same seed and name give the same values everywhere.
std::vector<std::byte> random_values(const TensorRecord& tensor, const Dims& dims, uint64_t seed);

/// Every element set to `value`.
std::vector<std::byte> constant_values(const TensorRecord& tensor, const Dims& dims, double value);

/// Product of the dimensions.
int64_t element_count(const Dims& dims);

}  // namespace planish::tools
