#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace planish::tools {

/// One command of the planish program: `planish <name> ...`, or the program itself when called by that name.
struct Command {
  std::string_view name;
  std::string_view summary;  ///< one line for `planish` without arguments
  std::string_view example;
  /// `argv[0]` is the command's name as typed. Returns the exit code.
  int (*run)(int argc, char** argv);
  /// Words that a shell may complete after the command; may be empty.
  std::vector<std::string> (*words)();
};

/// All commands, in listing order.
std::span<const Command> command_table();

/// The command called `name`, else nullptr.
const Command* find_command(std::string_view name);

/// Text of `planish` without arguments.
std::string command_listing();

/// Runs the program: by the base name of argv[0] (trtexec, polygraphy), else by the first argument. Exit code 2 for an
/// unknown command, whose message names the nearest one.
int dispatch(int argc, char** argv);

/// `planish completion bash`: prints a script for trtexec, polygraphy and planish.
int completion_main(int argc, char** argv);
std::vector<std::string> completion_shells();

/// The script itself.
std::string bash_completion_script();

/// `planish flags-doc`: prints docs/trtexec_flags.md.
int flags_doc_main(int argc, char** argv);

}  // namespace planish::tools
