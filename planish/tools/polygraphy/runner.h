#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "planish/api/data.h"
#include "planish/api/engine.h"
#include "planish/base/status.h"
#include "planish/tools/polygraphy/logger.h"
#include "planish/tools/polygraphy/options.h"

namespace planish::tools {

/// An input that a runner wants. A dimension of -1 is open; then `range` bounds it where the runner knows bounds.
struct RunnerInput {
  api::TensorInfo info;
  std::optional<api::ShapeRange> range;
};

/// Something that computes a model's outputs.
class Runner {
 public:
  virtual ~Runner() = default;
  /// Loads or builds the model. Called once, before the other functions.
  virtual Status activate(PolygraphyLog& log) = 0;
  [[nodiscard]] virtual const std::vector<RunnerInput>& inputs() const = 0;
  struct Inference {
    NamedTensors outputs;
    double runtime_s = 0;
  };
  /// Inputs in the order of inputs(), of their types.
  virtual Result<Inference> infer(const NamedTensors& feed) = 0;
  [[nodiscard]] const std::string& name() const { return name_; }

 protected:
  explicit Runner(std::string name) : name_(std::move(name)) {}

 private:
  std::string name_;
};

/// "trt-runner-N0-11/21/26-14:11:56"
std::string runner_name(const std::string& kind, int number);

/// Runs `model` with planish, built as the options say. An engine is loaded.
std::unique_ptr<Runner> make_trt_runner(std::string name, std::string model, const ParsedOptions& options);
/// Runs `model` with ONNX Runtime in the user's python3.
std::unique_ptr<Runner> make_onnxrt_runner(std::string name, std::string model, const ParsedOptions& options);

/// The feed that `runner` takes out of `inputs`: by name, in its order, types converted where nothing is lost. Errors
/// name the input: missing, another type or shape.
Result<NamedTensors> feed_for(const Runner& runner, const NamedTensors& inputs);

/// Tensors of an ONNX model that --onnx-outputs/--trt-outputs and their kin select, in the model's order; nullopt when
/// no option was given. `prefix` is "--onnx" or "--trt". Warnings for names that nothing has.
Result<std::optional<std::vector<std::string>>> selected_outputs(const std::string& model, const ParsedOptions& options,
                                                                 const std::string& prefix, PolygraphyLog& log);

}  // namespace planish::tools
