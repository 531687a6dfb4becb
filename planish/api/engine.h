#pragma once

// The public C++ interface: read a model, build an engine, run it. Everything that tools, bindings and servers use.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "planish/base/dtype.h"
#include "planish/base/status.h"

namespace planish::api {

/// "0.1.0"
std::string_view version();

/// A tensor of a model or engine. A dimension of -1 is unknown (dynamic); `dim_names` holds symbolic names or "".
struct TensorInfo {
  std::string name;
  DType dtype = DType::undefined;
  std::vector<int64_t> dims;
  std::vector<std::string> dim_names;
  std::string layout = "row_major";  ///< row_major, channels_last, blocked8, blocked16
  int channel_block = 1;             ///< 8 or 16 for the blocked layouts
  bool holds_shape = false;          ///< other shapes depend on its value
};

/// Allowed shapes of one input.
struct ShapeRange {
  std::vector<int64_t> min;
  std::vector<int64_t> opt;
  std::vector<int64_t> max;
};
using ProfileRanges = std::map<std::string, ShapeRange>;

/// The machine that engines run on.
struct DeviceInfo {
  std::string name;
  std::string isa;  ///< "AVX2", "AVX-512 VNNI BF16", ...
  int cores = 1;
  int64_t memory_bytes = 0;
};
DeviceInfo cpu_device();

/// A parsed ONNX model.
class Model {
 public:
  /// Errors: see planish/onnx/import.h; each names the node, tensor or file.
  static Result<Model> read(const std::filesystem::path& onnx_file);
  /// A copy that shares the weights.
  [[nodiscard]] Model clone() const;
  /// Writes the model as ONNX, with external data beyond 2 GB. The file appears complete or not at all.
  Status write(const std::filesystem::path& onnx_file) const;
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

  [[nodiscard]] const std::vector<TensorInfo>& inputs() const;
  [[nodiscard]] const std::vector<TensorInfo>& outputs() const;
  [[nodiscard]] int64_t node_count() const;
  [[nodiscard]] int64_t opset() const;
  [[nodiscard]] std::string producer() const;
  [[nodiscard]] bool has_quantize_nodes() const;
  /// Names of the nodes, by which patterns (QuantizeOptions::keep_float) choose them.
  [[nodiscard]] std::vector<std::string> node_names() const;
  [[nodiscard]] const std::vector<std::string>& warnings() const;
  /// Makes tensors the network's outputs instead of its own, in this order: any that a node computes, so that layers
  /// can be compared one by one. Names that importing removed (folded constants, inlined nodes) are returned, not
  /// marked. Error not_found: none of them is left.
  Result<std::vector<std::string>> set_outputs(const std::vector<std::string>& names);

 private:
  friend class Engine;
  friend struct ModelAccess;
  struct Impl;
  explicit Model(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

struct CalibrationTable;  // planish/api/quantize.h
struct QuantizeOptions;
struct QuantizeReport;

enum class PrecisionConstraints : uint8_t { none, prefer, obey };

/// How a network input or output looks from outside. `dtype` undefined keeps the model's type.
struct IoFormat {
  DType dtype = DType::undefined;
  std::string layout = "row_major";  ///< or channels_last, blocked16
};

/// Options of a build; defaults are trtexec's.
struct BuildConfig {
  std::vector<ProfileRanges> profiles;
  bool fp16 = false;
  bool bf16 = false;
  bool int8 = false;                                    ///< a model without Q/DQ is quantised with `calibration` first
  std::shared_ptr<const CalibrationTable> calibration;  ///< nullptr: ranges are invented, with a warning
  std::shared_ptr<const QuantizeOptions> quantization;  ///< nullptr: defaults
  /// A build that quantises also tunes the float form, and puts layers back into float where the whole is faster that
  /// way. Not without timing (level 0); a model that brings Q/DQ is obeyed.
  bool float_fallback = true;
  /// From level 3 on, builds in FP32 let runs of the whole network decide between close choices of tactics and layouts;
  /// other builds do so at level 5.
  bool whole_runs = true;
  PrecisionConstraints precision_constraints = PrecisionConstraints::none;
  std::vector<std::pair<std::string, DType>> layer_precisions;    ///< name or pattern with one '*'; later entries win
  std::vector<std::pair<std::string, DType>> layer_output_types;  ///< the same for what layers write
  std::map<std::string, IoFormat> io_formats;                     ///< by name of a network input or output
  int optimization_level = 3;
  int avg_timing = 8;
  int max_tactics = -1;
  int threads = 0;  ///< 0: all cores
  size_t memory_limit_bytes = SIZE_MAX;
  std::vector<std::string> disabled_tactics;  ///< providers (onednn, planish, reference) or prefixes of tactic ids
  bool prune_two_of_four = false;             ///< set two of every four weights to zero
  std::vector<std::string> debug_tensors;     ///< tensors to keep: output() of a context returns them
  bool debug_unfused_tensors = false;         ///< the same for every tensor that is there after the passes
  std::vector<std::string> disabled_passes;
  std::string stop_after_pass;
  std::string dump_passes_to;  ///< folder; "" does not
  bool use_timing_cache = true;
  std::optional<std::filesystem::path> timing_cache_file;
  bool error_on_timing_cache_miss = false;
  std::string profiling_verbosity = "detailed";
  bool refittable = false;
  std::string options_json;  ///< stored in the engine for people
  std::function<void(std::string_view stage, size_t done, size_t total)> progress;
  std::function<void(const std::string&)> warn;
};

struct PassTime {
  std::string name;
  double time_ms = 0;
  size_t nodes_before = 0;
  size_t nodes_after = 0;
};

/// Whether INT8 lost against float anywhere in a build that quantised.
struct FloatFallback {
  bool compared = false;
  std::vector<std::string> slower;    ///< INT8 nodes whose layers alone take longer than in float, by tuned times
  std::vector<std::string> in_float;  ///< nodes that were put back into float
  double int8_ms = 0;                 ///< medians of whole runs in turns; 0: no mix promised to be faster
  double mix_ms = 0;
};

/// What a build did.
struct BuildStats {
  std::vector<PassTime> passes;
  size_t tactics_timed = 0;
  size_t tactics_from_cache = 0;
  double tuned_total_ms = 0;
  double tuned_reformat_ms = 0;
  double seconds = 0;
  size_t sparse_layers = 0;      ///< products whose weights have the 2:4 pattern
  size_t sparse_eligible = 0;    ///< products whose weights could have it
  size_t tuning_peak_bytes = 0;  ///< most memory that timing one tactic took: operands and workspace
  std::string tuning_peak_layer;
  std::shared_ptr<const QuantizeReport> quantization;  ///< of builds that quantised
  FloatFallback float_fallback;
};

using AttributeValue = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>, std::vector<double>,
                                    std::vector<std::string>>;

/// One layer as it is executed.
struct LayerInfo {
  std::string name;  ///< the same text in profiles and layer information
  std::string op;    ///< "planish.FusedConv", "MaxPool"
  std::vector<TensorInfo> inputs;
  std::vector<TensorInfo> outputs;
  std::vector<bool> constant_inputs;  ///< weights and biases among the inputs
  std::vector<std::pair<std::string, AttributeValue>> attributes;
  std::vector<std::string> onnx_nodes;
  std::string tactic;
  std::string detail;     ///< implementation below the tactic ("brgconv:avx512_core")
  std::string precision;  ///< "fp32", "fp16", "bf16", "int8"
  std::string note;
  int64_t weight_bytes = 0;
  int64_t workspace_bytes = 0;
  int64_t input_bytes = 0;   ///< activations read
  int64_t output_bytes = 0;  ///< activations written
  double flops = 0;          ///< multiply-adds count twice; 0 where not worth counting
  double tuned_time_ms = 0;
  std::vector<std::pair<std::string, double>> candidates;  ///< tactic, ms; fastest first
};

struct EngineSummary {
  std::string name;
  std::string producer;
  std::string source;
  std::string device;
  std::string device_fingerprint;
  std::string precision;
  std::string calibration;
  std::string build_options;
  std::string profiling_verbosity;
  int threads = 0;
  int64_t opset = 0;
  bool refittable = false;
  bool weights_stripped = false;
  double build_seconds = 0;
  int64_t weight_bytes = 0;
};

/// A tensor in host memory with its own copy or a view of somebody else's.
struct HostTensor {
  DType dtype = DType::undefined;
  std::vector<int64_t> dims;
  std::span<const std::byte> data;
};

/// One constant of a layer that a refit replaces.
struct RefittableWeight {
  std::string layer;
  std::string role;  ///< kernel, bias, constant
  DType dtype = DType::undefined;
  std::vector<int64_t> dims;
};

class ExecutionContext;

/// A built network. Copies share it; all functions may be called from several threads.
class Engine {
 public:
  static Result<Engine> build(Model model, const BuildConfig& config, BuildStats* stats = nullptr);
  /// Errors: not_found, version (newer format, a TensorRT plan), corrupt.
  static Result<Engine> load(const std::filesystem::path& file);
  /// The same network with layouts and tactics chosen again on this machine; of `config` the effort, threads, limits
  /// and timing cache count.
  Result<Engine> retuned(const BuildConfig& config, BuildStats* stats = nullptr) const;
  /// The same layers with the weights of `model`, which must be the same network; nothing is timed. Of `config` the
  /// disabled passes and `warn` count. Error invalid_argument names the first layer that differs.
  Result<Engine> refitted(Model model, const BuildConfig& config) const;
  /// The same engine without weights: small to store, to be refitted before it runs.
  Result<Engine> stripped() const;
  [[nodiscard]] std::vector<RefittableWeight> refittable_weights() const;
  /// Tensors that were marked for debugging; they are no outputs(), output() of a context returns them after a run.
  [[nodiscard]] std::vector<TensorInfo> debug_tensors() const;
  /// Atomic: a kill leaves the old file. Returns the number of bytes.
  Result<uint64_t> save(const std::filesystem::path& file) const;

  [[nodiscard]] const EngineSummary& summary() const;
  [[nodiscard]] const std::vector<TensorInfo>& inputs() const;
  [[nodiscard]] const std::vector<TensorInfo>& outputs() const;
  /// Complete profiles: every input in min, opt and max.
  [[nodiscard]] const std::vector<ProfileRanges>& profiles() const;
  /// Layers in the order of execution at the opt shapes of `profile`. Prepares a context the first time.
  Result<std::vector<LayerInfo>> layers(int profile = 0) const;
  /// Bytes of activation memory at the opt shapes of `profile`, and the layer where most of it is alive.
  Result<std::pair<int64_t, std::string>> activation_bytes(int profile = 0) const;
  /// What loading had to replace; one sentence each.
  [[nodiscard]] std::vector<std::string> warnings() const;
  /// threads 0: all cores of the process.
  Result<std::unique_ptr<ExecutionContext>> create_context(int profile = 0, int threads = 0,
                                                           size_t memory_limit_bytes = SIZE_MAX) const;

 private:
  friend class ExecutionContext;
  struct Impl;
  explicit Engine(std::shared_ptr<const Impl> impl);
  std::shared_ptr<const Impl> impl_;
};

/// One execution at a time, with its own activation memory. Used by one thread at a time.
class ExecutionContext {
 public:
  ~ExecutionContext();
  ExecutionContext(const ExecutionContext&) = delete;
  ExecutionContext& operator=(const ExecutionContext&) = delete;

  /// Shape of the input for the next runs, and its memory, which must hold the shape's bytes and outlive the runs.
  Status set_input(std::string_view name, std::span<const int64_t> dims, std::span<const std::byte> data);
  /// Memory for an output; optional. Ignored for outputs whose shape depends on data.
  Status set_output(std::string_view name, std::span<std::byte> data);
  /// Keeps the thread that runs, and its helpers, on cores of their own from the next run on: the `first`-th core that
  /// the process may use and the following ones. A thread's contexts share its cores: the last call counts.
  void pin(int first);
  /// Runs once; returns when the outputs are there.
  Status run();
  /// Runs once and times every layer: layer_ms[i] belongs to layers()[i] of the engine at these shapes.
  Status run_profiled(std::vector<double>& layer_ms);
  /// An output of the last run; `data` stays valid until the next run. Before a run: its dims where they are known.
  Result<HostTensor> output(std::string_view name) const;
  /// Layers that a run executes at the current shapes.
  Result<std::vector<LayerInfo>> layers();
  [[nodiscard]] size_t activation_bytes() const;

 private:
  friend class Engine;
  struct Impl;
  explicit ExecutionContext(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace planish::api
