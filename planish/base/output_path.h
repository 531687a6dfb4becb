#pragma once

#include <filesystem>

#include "planish/base/status.h"

namespace planish {

/// Whether a file can be written there, asked before work of minutes whose result it is to hold. Errors: not_found (its
/// folder), io (a folder, or no permission).
Status check_output_path(const std::filesystem::path& path);

}  // namespace planish
