#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace planish::tools {

using Dims = std::vector<int64_t>;

/// Shapes by input name, in command-line order; a name may hold one `*`.
using ShapeList = std::vector<std::pair<std::string, Dims>>;

/// `name:value` pairs of a list argument, in command-line order (later entries win).
using PairList = std::vector<std::pair<std::string, std::string>>;

/// One optimisation profile as given: any of the three lists may lack inputs until complete_profile() fills them.
struct ProfileShapes {
  ShapeList min, opt, max;
  [[nodiscard]] bool empty() const { return min.empty() && opt.empty() && max.empty(); }
  bool operator==(const ProfileShapes&) const = default;
};

struct ModelOptions {
  std::string onnx_path;
  bool help = false;
  bool operator==(const ModelOptions&) const = default;
};

/// Limits in bytes; absent means the device's default.
struct MemoryPools {
  std::optional<int64_t> workspace_bytes;
  std::optional<int64_t> dla_sram_bytes;
  std::optional<int64_t> dla_local_dram_bytes;
  std::optional<int64_t> dla_global_dram_bytes;
  std::optional<int64_t> tactic_shared_mem_bytes;
  bool operator==(const MemoryPools&) const = default;
};

/// How INT8 ranges are found where --calib names data.
struct CalibrationFlags {
  std::string path;  ///< --calib: data, a cache, a script, "random"
  bool given = false;
  ProfileShapes shapes;
  int profile = 0;
  std::string preprocess;  ///< preset or JSON file; "" guesses
  std::string method = "auto";
  double percentile = 99.99;
  int64_t samples = 0;  ///< 0: all
  double max_bad_percent = 10;
  double script_timeout_s = 120;
  std::string cache_path;  ///< where ranges are written; "" is beside the engine
  bool operator==(const CalibrationFlags&) const = default;
};

/// Which element types may compete during the build.
struct PrecisionOptions {
  bool fp16 = false;
  bool bf16 = false;
  bool int8 = false;
  bool float_fallback = true;  ///< put layers of an INT8 build back into float where that is faster
  bool fp8 = false;
  bool int4 = false;
  bool best = false;
  bool tf32 = true;
  bool strongly_typed = false;
  std::string constraints = "none";  ///< none, prefer, obey
  PairList layer_precisions;         ///< layer name pattern -> type
  PairList layer_output_types;       ///< layer name pattern -> type[+type]
  PairList layer_device_types;       ///< layer name pattern -> CPU, GPU, DLA
  CalibrationFlags calibration;
  bool operator==(const PrecisionOptions&) const = default;
};

/// How hard the builder searches and what it may choose from.
struct TacticOptions {
  int optimization_level = 3;
  int avg_timing_runs = 8;
  int max_tactics = -1;  ///< -1: chosen by the optimisation level
  int max_aux_streams = -1;
  std::string sources;               ///< signed list as given, "" = all
  std::string sparsity = "disable";  ///< disable, enable, force
  std::string hardware_compatibility = "none";
  std::string timing_cache_path;
  bool use_timing_cache = true;
  bool error_on_timing_cache_miss = false;
  std::vector<std::string> disabled_passes;
  bool operator==(const TacticOptions&) const = default;
};

struct EngineFileOptions {
  std::string save_path;
  std::string load_path;
  bool plan_version_only = false;
  bool refit = false;
  bool strip_weights = false;
  bool refit_from_onnx = false;
  bool retune = false;
  std::string temp_dir;
  bool operator==(const EngineFileOptions&) const = default;
};

struct BuildOptions {
  std::vector<ProfileShapes> profiles;
  int64_t batch_size = 0;      ///< legacy --batch; 0 = not given
  int64_t max_batch_size = 0;  ///< legacy --maxBatch; 0 = not given
  std::vector<std::string> input_formats;
  std::vector<std::string> output_formats;
  MemoryPools pools;
  PrecisionOptions precision;
  TacticOptions tactics;
  EngineFileOptions engine;
  std::string profiling_verbosity = "detailed";
  std::string runtime = "full";
  bool monitor_memory = false;
  bool keep_asymmetric_uint8 = false;
  bool report_dla_capability = false;
  bool allow_gpu_fallback = false;
  bool allow_weight_streaming = false;
  std::vector<std::string> debug_tensors;
  bool mark_unfused_debug = false;
  bool operator==(const BuildOptions&) const = default;
};

struct SystemOptions {
  std::string device = "0";  ///< index, or "cpu"
  bool device_given = false;
  int dla_core = -1;    ///< -1: no DLA
  int cpu_threads = 0;  ///< 0: all cores
  bool operator==(const SystemOptions&) const = default;
};

struct InferenceOptions {
  ShapeList shapes;
  PairList input_files;
  int iterations = 10;
  double warm_up_ms = 200;
  double duration_s = 3;  ///< -1: until interrupted
  double sleep_ms = 0;
  double idle_ms = 0;
  int streams = 1;
  int profile_index = 0;
  uint64_t random_seed = 1;
  std::string allocation_strategy = "static";
  bool expose_dma = false;
  bool data_transfers = true;
  bool managed_memory = false;
  bool spin_wait = false;
  bool thread_per_stream = false;
  bool cuda_graph = false;
  bool time_deserialize = false;
  bool time_refit = false;
  bool separate_profile_run = false;
  bool skip = false;
  PairList debug_tensor_files;
  std::vector<std::string> all_debug_tensor_formats;
  bool operator==(const InferenceOptions&) const = default;
};

/// One `--refPair` group: the inputs fed and the outputs expected for them.
struct ReferencePair {
  int index = 0;
  PairList inputs;
  PairList outputs;
  bool operator==(const ReferencePair&) const = default;
};

struct AccuracyOptions {
  std::vector<ReferencePair> pairs;
  std::string algorithm = "l0";  ///< l0, l1, l2, lInf, cos
  double absolute_tolerance = 1e-5;
  double relative_tolerance = 1e-5;
  std::optional<double> threshold;
  bool operator==(const AccuracyOptions&) const = default;
};

struct TuningOptions {
  std::string routes;       ///< expression of --tuneBuildRoutes
  std::string routes_path;  ///< file holding the expression
  std::string search = "fast";
  std::string cache_path;
  double timeout_s = -1;
  bool save_all_engines = false;
  bool dry_run = false;
  bool resume = false;
  bool help = false;
  std::string help_knob;
  std::string fixed_route;
  bool operator==(const TuningOptions&) const = default;
};

struct ReportingOptions {
  bool verbose = false;
  int average_runs = 10;
  std::vector<double> percentiles = {90, 95, 99};
  bool dump_refit = false;
  bool dump_output = false;
  bool dump_raw_bindings = false;
  bool dump_profile = false;
  bool dump_layer_info = false;
  bool dump_optimization_profile = false;
  bool extra_profile_columns = false;
  std::string times_path;
  std::string output_path;
  std::string profile_path;
  std::string layer_info_path;
  bool operator==(const ReportingOptions&) const = default;
};

/// Everything that one trtexec command line says.
struct Options {
  ModelOptions model;
  BuildOptions build;
  SystemOptions system;
  InferenceOptions inference;
  AccuracyOptions accuracy;
  TuningOptions tuning;
  ReportingOptions reporting;
  bool operator==(const Options&) const = default;
};

}  // namespace planish::tools
