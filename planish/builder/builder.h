#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "planish/engine/engine.h"
#include "planish/passes/pass.h"

namespace planish {

/// How far --layerPrecisions binds the builder.
enum class PrecisionConstraints : uint8_t { none, prefer, obey };

/// How a network input or output looks from outside. `dtype` undefined keeps the model's type.
struct IoFormat {
  DType dtype = DType::undefined;
  Layout layout = Layout::row_major;
};

/// What the user wants from a build. Defaults are trtexec's.
struct BuildOptions {
  /// Optimisation profiles: ranges by input name. Inputs that are not named get the model's own shape, unknown
  /// dimensions 1. Empty: one profile made that way.
  std::vector<std::map<std::string, ShapeRange>> profiles;

  bool fp16 = false;  ///< let FP16 compete
  bool bf16 = false;  ///< let BF16 compete
  PrecisionConstraints precision_constraints = PrecisionConstraints::none;
  /// (name or pattern with one '*', type) of nodes, by node name or ONNX origin; later entries win.
  std::vector<std::pair<std::string, DType>> layer_precisions;
  /// The same for the type that a layer writes (--layerOutputTypes): fp32, fp16 or bf16.
  std::vector<std::pair<std::string, DType>> layer_output_types;
  /// Layers that stay in FP32 whatever is allowed, by node name, each with the reason (for layer information).
  std::map<std::string, std::string> fp32_layers;
  bool f32_sums = false;  ///< what layers with a residual write stays FP32, and so does what reads it but products
  bool chains = true;     ///< let layers run as one where that is faster; what lies between them cannot be observed
  bool in_place = true;   ///< from the default level on: let runs of the whole network decide between close choices
  bool only_f32 = false;  ///< FP32 throughout, also where the file has 16-bit weights

  std::map<std::string, IoFormat> io_formats;  ///< by name of a network input or output
  bool outputs_as_made = false;  ///< network outputs stay in the layout and type that they are computed in

  int optimization_level = 3;  ///< 0: no timing, rules only; 3: whole networks too; 5: every tactic, layout, repetition
  int avg_timing = 8;          ///< repetitions per tactic
  int max_tactics = -1;        ///< most tactics timed per choice; -1: by level
  int threads = 0;             ///< 0: all cores of this process
  size_t memory_limit_bytes = SIZE_MAX;       ///< cap on workspace and activations together
  std::vector<std::string> disabled_tactics;  ///< sources ("planish") or prefixes of ids, see tactics/tactic_source.h
  bool prune_two_of_four = false;             ///< set two of every four weights to zero (--sparsity=force)
  std::vector<std::string> debug_tensors;     ///< tensors to keep and to return on request
  bool debug_unfused_tensors = false;         ///< the same for every tensor that is there after the passes
  PipelineOptions passes;

  bool use_timing_cache = true;
  std::optional<std::filesystem::path> timing_cache_file;  ///< nullopt: the user's default cache
  bool error_on_timing_cache_miss = false;

  /// Whether whole networks are timed. A cache that must know every time holds no runs.
  [[nodiscard]] bool runs_in_place() const { return in_place && optimization_level >= 3; }

  /// Everything is timed, and thoroughly.
  [[nodiscard]] bool is_exhaustive() const { return optimization_level >= 5; }

  EngineInfo info;  ///< name, source, verbosity and the like; the builder fills in the rest
  /// Called as work goes on: stage ("passes", "tactics", "packing"), steps done, steps in all.
  std::function<void(std::string_view stage, size_t done, size_t total)> progress;
  /// One sentence per thing that the user should know but that is no error.
  std::function<void(const std::string&)> warn;
};

/// What the build did, for people.
struct BuildReport {
  std::vector<PassReport> passes;
  size_t timed = 0;        ///< tactics measured
  size_t from_cache = 0;   ///< tactics whose time the cache knew
  double total_ms = 0;     ///< sum of the chosen tactics' times, reformats included
  double reformat_ms = 0;  ///< the reformats' share of it
  size_t arena_bytes = 0;
  size_t sparse_layers = 0;      ///< products whose weights have the 2:4 pattern
  size_t sparse_eligible = 0;    ///< products whose weights could have it
  size_t tuning_peak_bytes = 0;  ///< most memory that timing one tactic took: operands and workspace
  std::string tuning_peak_layer;
  /// Layers that are computed in 16 bits, and the time that each saves beside its fastest FP32 form.
  std::vector<std::pair<std::string, double>> half_layers;
};

/// Compiles an imported graph into an engine for `device`: runs the passes, chooses layouts and tactics together by
/// measured time (reformats included), packs weights. Errors name the node, input or option.
Result<Engine> build_engine(Graph graph, const BuildOptions& options, Device& device, const TacticTable& table,
                            BuildReport* report = nullptr);

/// Chooses layouts and tactics of an existing engine again, for this device; what the network computes stays the same.
/// Of `options` only the effort, threads, limits and timing cache count. Error unsupported: a weight is packed in a
/// form that nothing here can read.
Result<Engine> retune_engine(const Engine& engine, const BuildOptions& options, Device& device,
                             const TacticTable& table, BuildReport* report = nullptr);

}  // namespace planish
