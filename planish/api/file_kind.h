#pragma once

#include <cstdint>
#include <filesystem>

#include "planish/base/status.h"

namespace planish::api {

enum class FileKind : uint8_t { engine, onnx };

/// What a file is by its first bytes. A file that is neither counts by its extension (.engine, .plan, .trt: engine), so
/// that reading it names what is wrong with it. Errors: not_found, io.
Result<FileKind> file_kind(const std::filesystem::path& file);

}  // namespace planish::api
