#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "planish/base/status.h"
#include "planish/tools/trtexec/options.h"

namespace planish::tools {

/// What a flag's value looks like; decides `--flag value`, completion and the listing.
enum class Arg { none, text, file, directory, integer, number, size, shapes, pairs, names, choice, optional_text };

/// essential and useful flags work; accept flags have no effect here and cost one warning line; refuse flags are
/// errors. extension flags are planish's own and exist in no TensorRT.
enum class FlagClass { essential, useful, accept, refuse, extension };

enum class FlagGroup { model, build, system, inference, accuracy, tuning, reporting, legacy, planish };

struct FlagSpec;

/// What the setters share while one command line is read.
struct ParseState {
  int profile = -1;   ///< number of the open `--profile`; -1 before the first
  int ref_pair = -1;  ///< number of the open `--refPair`; -1 before the first
  std::vector<int> profile_order;
  std::vector<std::string> notes;     ///< shown as [I]
  std::vector<std::string> warnings;  ///< shown as [W]
};

/// One use of a flag on the command line.
struct FlagUse {
  const FlagSpec& flag;
  std::string_view value;
  Options& options;
  ParseState& state;
};

/// One row of the flag table: parsing, listing, completion and docs/trtexec_flags.md all come from it.
struct FlagSpec {
  std::string_view name;        ///< with the two dashes
  Arg argument;                 ///<
  std::string_view value_name;  ///< "FILE"; for Arg::choice the values joined by `|`
  std::string_view default_text;
  std::string_view help;  ///< one sentence
  FlagClass kind;
  FlagGroup group;
  Status (*set)(const FlagUse&);
  std::string_view note = {};  ///< accept: why it does nothing; refuse: the reason; else shown as [I] when used
  bool repeatable = false;
};

/// All flags, in listing order.
std::span<const FlagSpec> flag_table();

/// The row called `name` (with dashes), else nullptr.
const FlagSpec* find_flag(std::string_view name);

/// The flag most likely meant by an unknown `name`, "" when nothing is near.
std::string nearest_flag(std::string_view name);

std::string_view group_title(FlagGroup group);
std::string_view class_name(FlagClass kind);

/// "--minShapes=SPEC", "--fp16", "--precisionConstraints=none|prefer|obey".
std::string flag_usage(const FlagSpec& flag);

/// The `--help` listing, with a worked example.
std::string help_listing();

/// docs/trtexec_flags.md as a whole.
std::string flags_markdown();

/// All words a shell may complete: `--fp16`, `--onnx=`, `--sparsity=enable`.
std::vector<std::string> completion_words();

}  // namespace planish::tools
