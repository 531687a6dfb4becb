#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "planish/base/status.h"

namespace planish {

/// nullopt when `head` (the first bytes of a file, 64 or more where the file has them) may be an ONNX model; else what
/// the file is instead, as the end of a sentence: "is a TensorRT engine".
WhyNot why_not_onnx(std::span<const std::byte> head);

}  // namespace planish
