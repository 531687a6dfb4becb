#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "planish/base/parallel.h"
#include "planish/runtime/executable.h"

namespace planish {

struct Plan;

/// Time of one layer in one run.
struct LayerTime {
  int32_t node = 0;  ///< index into Graph::nodes
  double ms = 0;
};

/// One thing that a run executes, for people.
struct StepInfo {
  int32_t node = 0;          ///< index into Graph::nodes
  bool copies_only = false;  ///< moves memory without a kernel
  bool deferred = false;     ///< its shapes are known during the run only
  std::string tactic;        ///< id of what really runs ("" for copies and deferred steps)
  std::string detail;
  size_t workspace_bytes = 0;
};

/// A tensor that a run has just computed.
struct Observation {
  ValueId value = kNoValue;  ///< of the engine's graph
  std::string_view name;
  TensorDesc desc;             ///< with the physical layout: blocked layouts hold padding channels
  const void* data = nullptr;  ///< host memory, desc.bytes() long, valid during the call
};

struct ContextOptions {
  int32_t profile = 0;                   ///< optimisation profile whose ranges the shapes must keep
  size_t memory_limit_bytes = SIZE_MAX;  ///< cap on activations and workspace together
};

/// One execution of an engine at a time: owns the activation arena. Not thread-safe; make one per thread or stream.
class Context {
 public:
  static Result<std::unique_ptr<Context>> create(std::shared_ptr<const Executable> executable,
                                                 const ContextOptions& options = {});
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  /// Shape of a network input for the next runs; must lie within the profile. Error: names input, axis, given, allowed.
  Status set_input_shape(std::string_view name, const Shape& shape);
  /// Value of an input that shapes depend on (a shape tensor), so that shapes are known before the run. Optional.
  Status set_input_value(std::string_view name, const Tensor& value);
  /// Device memory of a network input or output. Outputs whose shape depends on data have memory of their own (see
  /// output_address); others fall back to memory of the context when none is given.
  Status bind(std::string_view name, DevicePtr address);

  /// Plans memory and kernels for the current shapes (done by run() when needed).
  Status plan();
  /// Runs once. With `times`, every layer is timed (and appended in order of execution).
  Status run(std::vector<LayerTime>* times = nullptr);

  /// Runs once and shows every value that a node makes and `wanted` asks for, as soon as it is complete: views and
  /// concats in place too, but not what fusing removed or shape arithmetic computed. An error of `show` ends the run.
  Status run_observed(FunctionRef<bool(ValueId)> wanted, FunctionRef<Status(const Observation&)> show);

  /// Shape of a network output: after plan(), or after run() where it depends on data.
  Result<Shape> output_shape(std::string_view name) const;
  /// Where the output lies after a run.
  Result<DevicePtr> output_address(std::string_view name) const;

  /// Copies host tensors in, runs, and copies all outputs back, in the order of Graph::outputs. For tests and tools.
  Result<std::vector<Tensor>> run_host(std::span<const Tensor> inputs);

  [[nodiscard]] const Executable& executable() const { return *executable_; }
  [[nodiscard]] Stream& stream() { return *stream_; }
  /// Bytes of the activation arena, workspace included, for the current shapes.
  [[nodiscard]] size_t arena_bytes() const;
  /// Most activation bytes alive at once (lower bound of any arena), and the layer where that is.
  [[nodiscard]] size_t largest_live_bytes() const;
  [[nodiscard]] int32_t largest_live_node() const;
  /// What a run executes, in order, under the current plan.
  [[nodiscard]] std::vector<StepInfo> steps() const;
  /// Concrete shapes of all values under the current plan; nullopt where data decides.
  [[nodiscard]] const std::vector<std::optional<Shape>>& shapes() const;

 private:
  Context() = default;
  Result<size_t> input_index(std::string_view name) const;
  Result<size_t> output_index(std::string_view name) const;
  Status resolve_bindings();
  Status copy_outputs_elsewhere();
  Status run_step(size_t step, std::vector<LayerTime>* times);
  Status run_step_named(size_t step, std::vector<LayerTime>* times);
  [[nodiscard]] DevicePtr address_of(ValueId v) const;

  std::shared_ptr<const Executable> executable_;
  ContextOptions options_;
  std::unique_ptr<Stream> stream_;
  std::vector<std::optional<Shape>> input_shapes_;
  std::vector<Tensor> input_values_;
  std::vector<DevicePtr> input_bindings_;
  std::vector<DevicePtr> output_bindings_;   ///< as the user bound them
  std::vector<DevicePtr> output_addresses_;  ///< the same, with memory of our own where none is bound
  std::vector<DeviceBuffer> own_io_;
  DeviceBuffer arena_;                        ///< shared by all plans, as large as the largest
  std::vector<std::unique_ptr<Plan>> plans_;  ///< most recently used first
  bool stale_ = true;
  bool bindings_changed_ = true;
};

}  // namespace planish
