#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>

#include "planish/tools/polygraphy/engine_build.h"
#include "planish/tools/polygraphy/runner.h"
#include "planish/tools/polygraphy/tool.h"

namespace planish::tools {
namespace {

class TrtRunner : public Runner {
 public:
  TrtRunner(std::string name, std::string model, const ParsedOptions& options)
      : Runner(std::move(name)), model_(std::move(model)), options_(options) {}

  Status activate(PolygraphyLog& log) override {
    const bool is_engine =
        PLANISH_TRY(polygraphy_model(model_, options_.text("--model-type"))) == PolygraphyModel::engine;
    if (is_engine) {
      log.print(PolygraphyLog::info, "Loading bytes from " + model_);
      engine_ = PLANISH_TRY(api::Engine::load(model_));
      for (const std::string& text : engine_->warnings()) log.print(PolygraphyLog::warning, text);
    } else {
      engine_ = PLANISH_TRY(build_polygraphy_engine(model_, options_, log));
    }
    if (options_.has("--save-engine"))
      PLANISH_TRY(save_polygraphy_engine(*engine_, options_.text("--save-engine"), log));
    const auto count = static_cast<int64_t>(engine_->profiles().size());
    const int64_t profile =
        PLANISH_TRY(options_.integer("--optimization-profile", 0, 0, std::max<int64_t>(count - 1, 0)));
    context_ = PLANISH_TRY(engine_->create_context(static_cast<int>(profile)));
    for (const api::TensorInfo& info : engine_->inputs()) {
      RunnerInput input{info, std::nullopt};
      if (profile < count)
        if (const auto& ranges = engine_->profiles()[static_cast<size_t>(profile)]; ranges.contains(info.name))
          input.range = ranges.at(info.name);
      inputs_.push_back(std::move(input));
    }
    return {};
  }

  [[nodiscard]] const std::vector<RunnerInput>& inputs() const override { return inputs_; }

  Result<Inference> infer(const NamedTensors& feed) override {
    for (const auto& [name, tensor] : feed)
      PLANISH_TRY(
          context_->set_input(name, tensor.shape(), {static_cast<const std::byte*>(tensor.raw()), tensor.bytes()}));
    const auto begin = std::chrono::steady_clock::now();
    PLANISH_TRY(context_->run());
    Inference out;
    out.runtime_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    for (const api::TensorInfo& info : engine_->outputs()) {
      const api::HostTensor host = PLANISH_TRY(context_->output(info.name));
      Tensor tensor(host.dtype, Shape(host.dims.begin(), host.dims.end()));
      if (!host.data.empty()) std::memcpy(tensor.raw(), host.data.data(), std::min(host.data.size(), tensor.bytes()));
      out.outputs.emplace_back(info.name, std::move(tensor));
    }
    return out;
  }

 private:
  std::string model_;
  const ParsedOptions& options_;
  std::optional<api::Engine> engine_;
  std::unique_ptr<api::ExecutionContext> context_;
  std::vector<RunnerInput> inputs_;
};

}  // namespace

std::unique_ptr<Runner> make_trt_runner(std::string name, std::string model, const ParsedOptions& options) {
  return std::make_unique<TrtRunner>(std::move(name), std::move(model), options);
}

}  // namespace planish::tools
