#pragma once

#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "planish/tools/test/golden.h"
#include "planish/tools/trtexec/text.h"
#include "planish/tools/trtexec/trtexec.h"

namespace planish::tools {

/// Time that only the fake session moves.
struct FakeTime {
  double now_ms = 0;
  [[nodiscard]] Clock clock() {
    return {[this] { return now_ms; }, [this](double ms) { now_ms += ms; }};
  }
};

/// A network of three layers: Conv+Relu, Pool, Gemm. The output is the mean of the input, once per class.
class FakeSession final : public Session {
 public:
  explicit FakeSession(FakeTime& time) : time_(time) {
    model.inputs = {{.name = "input", .dtype = DType::f32, .dims = {-1, 3, 2, 2}}};
    model.outputs = {{.name = "prob", .dtype = DType::f32, .dims = {-1, 4}}};
    model.node_count = 4;
    model.opset = 17;
    model.producer = "test";
  }

  ModelRecord model;
  std::vector<std::string> saved, loaded;
  Options last_build;
  bool refuses_random_integers = false;

  [[nodiscard]] DeviceRecord device() const override {
    return {
        .name = "Test CPU", .isa = "AVX2", .cores = 4, .memory_bytes = int64_t{8} << 30, .library_version = "0.1.0"};
  }
  Result<ModelRecord> read_model(const std::string& path) override {
    time_.now_ms += 12;
    if (path.find("missing") != std::string::npos) {
      Error error;
      error.code = Code::not_found;
      error.file = path;
      error.what = "cannot be opened";
      error.fix = "give an existing ONNX file";
      return error;
    }
    return model;
  }
  Result<BuildResult> build(const BuildRequest& request) override {
    time_.now_ms += 1500 + 100.0 * request.options.build.tactics.optimization_level;
    last_build = request.options;
    speed_ = request.options.build.precision.fp16 ? 0.5 : 1;
    make_engine(request.profiles, request.options.build.profiling_verbosity);
    return BuildResult{.notes = {"layer fc1 stays in FP32"},
                       .warnings = {},
                       .peak_memory_bytes = 5 << 20,
                       .timing_cache_hits = 2,
                       .timing_cache_misses = 7};
  }
  Status save(const std::string& path, bool) override {
    saved.push_back(path);
    return {};
  }
  Status load(const std::string& path) override {
    time_.now_ms += 3;
    loaded.push_back(path);
    const ShapeList shapes{{"input", {1, 3, 2, 2}}};
    make_engine({{.min = shapes, .opt = shapes, .max = {{"input", {8, 3, 2, 2}}}}}, "detailed");
    return {};
  }
  Result<std::string> engine_version(const std::string&) override { return std::string("planish 0.1.0, format 1"); }
  Status retune(const Options&) override { return {}; }
  Status refit(const std::string&, const Options&) override { return {}; }
  [[nodiscard]] std::vector<std::string> refittable_weights() const override { return {"conv1.weight", "fc1.weight"}; }
  [[nodiscard]] const EngineRecord& engine() const override { return engine_; }
  Result<std::unique_ptr<RunContext>> create_context(int, int thread_count, std::optional<int64_t>) override;
  int last_thread_count = 0;

 private:
  void make_engine(const std::vector<ProfileShapes>& profiles, const std::string& verbosity) {
    engine_ = {};
    engine_.inputs = model.inputs;
    engine_.outputs = model.outputs;
    engine_.profiles = profiles;
    engine_.size_bytes = 123456;
    engine_.activation_bytes = 65536;
    engine_.activation_peak_layer = "conv1 + relu1";
    engine_.verbosity = verbosity;
    const TensorRecord conv_out{.name = "relu1_out", .dtype = DType::f32, .dims = {1, 16, 2, 2}, .channel_block = 16};
    const TensorRecord pool_out{.name = "pool1_out", .dtype = DType::f16, .dims = {1, 16, 1, 1}};
    LayerRecord conv{.name = "conv1 + relu1", .type = "Convolution", .parameter_type = "Convolution"};
    conv.inputs = model.inputs;
    conv.inputs[0].dims[0] = 1;
    conv.outputs = {conv_out};
    conv.attributes = {{"Kernel", std::vector<int64_t>{3, 3}},
                       {"OutMaps", int64_t{16}},
                       {"Groups", int64_t{1}},
                       {"Weights", WeightsRecord{DType::f32, 432}},
                       {"Bias", WeightsRecord{DType::f32, 16}},
                       {"HasBias", true},
                       {"Activation", std::string("RELU")}};
    conv.tactic = "cpu.conv.nchw16_avx512";
    conv.tactic_hash = 0x1234abcd;
    conv.onnx_nodes = {"/conv1/Conv", "/relu1/Relu"};
    conv.precision = "FP32";
    conv.weight_bytes = 1792;
    conv.output_bytes = 256;
    conv.tuned_time_ms = 0.6;
    LayerRecord pool{.name = "pool1", .type = "Pooling", .inputs = {conv_out}, .outputs = {pool_out}};
    pool.attributes = {{"PoolingType", std::string("AVERAGE")}, {"WindowSize", std::vector<int64_t>{2, 2}}};
    pool.onnx_nodes = {"/pool\"1\"/GlobalAveragePool"};
    pool.precision = "FP16";
    LayerRecord fc{.name = "fc1", .type = "MatrixMultiply", .inputs = {pool_out}, .outputs = model.outputs};
    fc.outputs[0].dims[0] = 1;
    fc.onnx_nodes = {"/fc/Gemm"};
    fc.precision = "FP32";
    fc.remark = "FP16 range exceeded";
    engine_.layers = {conv, pool, fc};
  }

  FakeTime& time_;
  EngineRecord engine_;
  double speed_ = 1;
  friend class FakeContext;
};

class FakeContext final : public RunContext {
 public:
  explicit FakeContext(FakeSession& session) : session_(session) {}
  Status set_input(const std::string&, const Dims& dims, std::span<const std::byte> data) override {
    dims_ = dims;
    data_ = data;
    return {};
  }
  Status run() override {
    session_.time_.now_ms += session_.speed_ * (2 + 0.01 * static_cast<double>(runs_++ % 7));
    const DType dtype = session_.model.inputs[0].dtype;
    double sum = 0;
    const int64_t count = static_cast<int64_t>(data_.size() * 8) / dtype_bits(dtype);
    for (int64_t i = 0; i < count; ++i) {
      const double value = load_element(dtype, data_.data(), i);
      if (session_.refuses_random_integers && (value < 0 || value > 1)) {
        Error error;
        error.node = "/embed/Gather";
        error.what = "index is out of range";
        return error;
      }
      sum += value;
    }
    output_.assign(static_cast<size_t>(4 * dims_[0]), static_cast<float>(sum / static_cast<double>(count)));
    return {};
  }
  Status run_profiled(std::vector<double>& layer_ms) override {
    const double jitter = 0.001 * static_cast<double>(runs_++ % 3);
    layer_ms = {1.5 + jitter, 0, 0.5};
    session_.time_.now_ms += 2;
    return {};
  }
  [[nodiscard]] Result<OutputView> output(const std::string&) const override {
    return OutputView{{dims_[0], 4}, std::as_bytes(std::span(output_))};
  }

  Result<std::vector<LayerRecord>> layers() override { return session_.engine().layers; }

 private:
  FakeSession& session_;
  Dims dims_;
  std::span<const std::byte> data_;
  std::vector<float> output_;
  int runs_ = 0;
};

inline Result<std::unique_ptr<RunContext>> FakeSession::create_context(int, int thread_count, std::optional<int64_t>) {
  last_thread_count = thread_count;
  return std::unique_ptr<RunContext>(std::make_unique<FakeContext>(*this));
}

/// Exit code and everything printed, standard output and error in one text.
struct FakeRun {
  int exit_code = 0;
  std::string out;
};

inline FakeRun run_fake(FakeSession& session, FakeTime& time, std::vector<std::string> arguments) {
  std::ostringstream out;
  Log log(out, out);
  log.clock = [] { return std::string("11/21/2026-10:00:00"); };
  arguments.insert(arguments.begin(), "trtexec");
  const int code = run_trtexec(arguments, session, log, time.clock());
  return {code, out.str()};
}

inline FakeRun run_fake(std::vector<std::string> arguments) {
  FakeTime time;
  FakeSession session(time);
  return run_fake(session, time, std::move(arguments));
}

}  // namespace planish::tools
