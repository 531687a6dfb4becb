#pragma once

#include <string_view>

namespace planish::tools {

/// Makes standard output and standard error safe to print to, once, before anything else in main().
///
/// Descriptors 0 to 2 that the caller closed become /dev/null: otherwise the next file that is opened, an engine
/// perhaps, would get their number and everything printed. A write that fails (full disk, closed descriptor) is
/// remembered and otherwise passes for done, since printing functions throw where no caller expects it.
void guard_standard_streams();

/// Flushes both. Where text for standard output was lost, says so on standard error and turns an exit code of 0 into 1.
int close_standard_streams(std::string_view program, int exit_code);

}  // namespace planish::tools
