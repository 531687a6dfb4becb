#pragma once

#include <cstdint>
#include <filesystem>

#include "planish/base/status.h"

namespace planish {

/// Writes the nodes first..last (both included, in the order of the file) of a model's main graph as a model of their
/// own: what they read from outside becomes inputs, what others or nobody read of them outputs, initialisers come along
/// (external ones inside the file). Types are those that the file declares; what it leaves open stays open.
/// Errors: those of the files; invalid_argument for a range that the graph does not have.
Status extract_onnx_nodes(const std::filesystem::path& file, int64_t first, int64_t last,
                          const std::filesystem::path& destination);

}  // namespace planish
