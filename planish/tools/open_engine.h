#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "planish/api/engine.h"
#include "planish/base/status.h"
#include "planish/tools/command_line.h"

namespace planish::tools {

/// Build options as planish's commands take them; spelled as in trtexec.
struct BuildArguments {
  std::string shapes, min_shapes, opt_shapes, max_shapes;
  bool fp16 = false;
  bool bf16 = false;
  bool best = false;
  std::vector<std::string> layer_precisions;
  std::string precision_constraints = "none";
  int64_t optimization_level = 3;
  int64_t avg_timing = 8;
  int64_t threads = 0;
  std::vector<std::string> disabled_passes;
  std::vector<std::string> disabled_tactics;
  std::string stop_after_pass;
  std::string dump_passes_to;
  std::string timing_cache;
  bool no_timing_cache = false;
  std::vector<std::string> memory_pools;
  /// Batch for a dynamic leading dimension that no shape fixes: 1 to this, tuned for this. 0: batch 1, with a warning.
  int64_t default_batch = 0;

  /// Shapes, precisions, level and threads: what commands that take an engine or a model need.
  void declare_common(CommandLine& line);
  /// The rest, for `planish build`.
  void declare_all(CommandLine& line);
};

/// Options that do not depend on a model: effort, threads, limits, passes, precisions. Errors name the option.
Result<api::BuildConfig> build_config(const BuildArguments& arguments);

/// Options of a build of `model`. `warnings` gets one sentence per shape that was made up. Errors name the option.
Result<api::BuildConfig> build_config(const BuildArguments& arguments, const api::Model& model,
                                      std::vector<std::string>& warnings);

/// Builds with a progress bar; warnings go to standard error.
Result<api::Engine> build_with_progress(const std::string& command, api::Model model, api::BuildConfig config,
                                        api::BuildStats* stats);

/// The same for an engine that is tuned again.
Result<api::Engine> retune_with_progress(const std::string& command, const api::Engine& engine, api::BuildConfig config,
                                         api::BuildStats* stats);

/// The engine in `path`, or one built from the model in `path` (not saved).
Result<api::Engine> open_engine(const std::string& command, const std::string& path, const BuildArguments& arguments);

}  // namespace planish::tools
