#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "planish/base/status.h"

namespace planish {

/// Whether a file can be written there, asked before work of minutes whose result it is to hold. Errors: not_found (its
/// folder), io (a folder, no permission, a file that nobody may write), invalid_argument (one of the `inputs`, by
/// whatever name: what is read must outlive what is made of it).
Status check_output_path(const std::filesystem::path& path, std::span<const std::string> inputs = {});

/// Whether files can be written to a folder, which need not be there. Error io: it is a file.
Status check_output_folder(const std::filesystem::path& path);

/// The file that writing to `path` changes: what a symbolic link stands for, whether that exists or not.
std::filesystem::path follow_links(const std::filesystem::path& path);

/// Whether `path` is a pipe, a device or a socket: such a thing is written to and never replaced by a file.
bool is_special_file(const std::filesystem::path& path);

}  // namespace planish
