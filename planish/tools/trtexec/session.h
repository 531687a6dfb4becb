#pragma once
// The narrow seam between the command line and the library: plain records and two interfaces. Golden tests drive the
// whole flow through a fake; session_planish.cpp implements it over planish/api.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "planish/base/dtype.h"
#include "planish/base/status.h"
#include "planish/tools/trtexec/options.h"

namespace planish::tools {

/// An input or output of a model or engine, or an operand of a layer. A dimension of -1 is unknown.
struct TensorRecord {
  std::string name;
  DType dtype = DType::undefined;
  Dims dims;
  int channel_block = 1;       ///< channels stored side by side: 1 row-major, 16 for nChw16c
  bool channels_last = false;  ///< NHWC and its kin
  bool holds_shape = false;    ///< a shape tensor
};

/// `{"Type": ..., "Count": ...}` of a weight or bias.
struct WeightsRecord {
  DType dtype = DType::undefined;
  int64_t count = 0;
};

using AttributeValue = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>, std::vector<double>,
                                    std::vector<std::string>, WeightsRecord>;

/// One executable layer of an engine.
struct LayerRecord {
  std::string name;            ///< the same text in profile and layer info
  std::string type;            ///< TensorRT's LayerType where one exists, else the operator
  std::string parameter_type;  ///< "Convolution", "Pooling", ...; "" repeats `type`
  std::vector<TensorRecord> inputs, outputs;
  std::vector<std::pair<std::string, AttributeValue>> attributes;  ///< in printing order
  std::string tactic;                                              ///< id of the chosen tactic
  uint64_t tactic_hash = 0;
  std::vector<std::string> onnx_nodes;
  std::string precision;  ///< "FP32", "FP16", ...
  std::string device = "CPU";
  int stream = 0;
  int64_t weight_bytes = 0;
  int64_t workspace_bytes = 0;
  int64_t output_bytes = 0;
  double tuned_time_ms = 0;  ///< time of the tactic in the builder; 0 when not timed
  std::string remark;        ///< why a precision or layout was kept; asymmetric quantisation
};

struct ModelRecord {
  std::vector<TensorRecord> inputs, outputs;
  bool has_quantize_nodes = false;
  int64_t node_count = 0;
  std::string producer;
  int64_t opset = 0;
};

struct EngineRecord {
  std::vector<TensorRecord> inputs, outputs;
  std::vector<TensorRecord> debug_tensors;  ///< marked when the engine was built; RunContext::output() returns them
  bool weights_stripped = false;
  std::vector<ProfileShapes> profiles;  ///< complete: every input in min, opt and max
  std::vector<LayerRecord> layers;      ///< in execution order
  int64_t size_bytes = 0;
  int64_t weight_bytes = 0;
  int64_t activation_bytes = 0;
  std::string activation_peak_layer;
  std::string precision;
  std::string calibration = "none";
  std::string verbosity = "detailed";
  std::vector<std::string> notes;  ///< what loading replaced, what the range check kept in FP32
};

struct DeviceRecord {
  std::string name;  ///< as the processor calls itself
  std::string isa;   ///< "AVX-512 VNNI"
  int cores = 0;
  int64_t memory_bytes = 0;
  std::string library_version;  ///< "0.1.0"
};

struct BuildProgress {
  std::string phase;  ///< "passes", "timing tactics", "packing weights"
  int64_t done = 0;
  int64_t total = 0;
};

struct BuildResult {
  std::vector<std::string> notes;     ///< [I]
  std::vector<std::string> warnings;  ///< [W]
  int64_t peak_memory_bytes = 0;
  int64_t tuning_peak_bytes = 0;  ///< most that timing one tactic took
  std::string tuning_peak_layer;
  int64_t timing_cache_hits = 0;
  int64_t timing_cache_misses = 0;
};

/// Everything that a build needs beyond the option structs.
struct BuildRequest {
  const Options& options;
  std::vector<ProfileShapes> profiles;                 ///< complete for every dynamic input
  std::function<void(const BuildProgress&)> progress;  ///< may be empty
};

/// An output after a run; `data` stays valid until the next run.
struct OutputView {
  Dims dims;
  std::span<const std::byte> data;
};

/// One execution context with its own activation memory. Used by one thread at a time.
class RunContext {
 public:
  virtual ~RunContext() = default;
  /// Sets shape and values of an input; `data` must hold the shape's bytes and outlive the runs.
  virtual Status set_input(const std::string& name, const Dims& dims, std::span<const std::byte> data) = 0;
  /// One query; returns when the outputs are there.
  virtual Status run() = 0;
  /// One query; `layer_ms[i]` becomes the time of layers()[i].
  virtual Status run_profiled(std::vector<double>& layer_ms) = 0;
  [[nodiscard]] virtual Result<OutputView> output(const std::string& name) const = 0;
  /// The layers that a run executes at the current shapes, in execution order.
  virtual Result<std::vector<LayerRecord>> layers() = 0;
};

class Session {
 public:
  virtual ~Session() = default;
  [[nodiscard]] virtual DeviceRecord device() const = 0;
  /// Parses the model; required before build().
  virtual Result<ModelRecord> read_model(const std::string& path) = 0;
  virtual Result<BuildResult> build(const BuildRequest& request) = 0;
  /// Writes the engine, without its weights when `strip_weights`.
  virtual Status save(const std::string& path, bool strip_weights) = 0;
  virtual Status load(const std::string& path) = 0;
  /// Version text stored in an engine file.
  virtual Result<std::string> engine_version(const std::string& path) = 0;
  /// Times the tactics of the loaded engine again on this machine.
  virtual Status retune(const Options& options) = 0;
  /// Replaces the weights of the loaded engine by those of the model.
  virtual Status refit(const std::string& onnx_path, const Options& options) = 0;
  /// Names of weights that refit() replaces.
  [[nodiscard]] virtual std::vector<std::string> refittable_weights() const = 0;
  /// The built or loaded engine.
  [[nodiscard]] virtual const EngineRecord& engine() const = 0;
  /// `thread_count` 0: all cores. The limit caps activations and workspace of the context; absent: no cap.
  virtual Result<std::unique_ptr<RunContext>> create_context(int profile_index, int thread_count,
                                                             std::optional<int64_t> memory_limit_bytes) = 0;
};

}  // namespace planish::tools
