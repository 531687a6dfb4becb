// Runs the onnx package's backend test cases: onnx_backend_runner CASES [--round-trip] [--executor=engine]
//
// --round-trip exports every model and imports it again before it runs. --executor: `engine` builds an engine for the
// CPU and runs it (the default), `test-device` does so on the device whose memory cannot be dereferenced, `interpreter`
// runs the reference operators over the imported graph.
//
// CASES has one line per case: name, folder, rtol, atol, separated by tabs. A folder holds model.onnx and
// test_data_set_*/{input,output}_*.pb. Prints per case: name, "pass" or the stage that failed, detail.
// Every case runs in a process of its own, so that a crash or an endless loop is the failure of one case.

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "compare.h"
#include "onnx.pb.h"
#include "planish/builder/builder.h"
#include "planish/onnx/export.h"
#include "planish/onnx/import.h"
#include "planish/onnx/tensor_proto.h"
#include "planish/ops/infer_graph.h"
#include "planish/ops/op.h"
#include "planish/runtime/context.h"
#include "planish/tactics/cpu/cpu_tactics.h"

namespace planish {
namespace {

namespace fs = std::filesystem;

constexpr unsigned kCaseTimeoutSeconds = 120;

struct Case {
  std::string name;
  fs::path folder;
  double rtol = 1e-3;
  double atol = 1e-7;
};

struct Outcome {
  std::string stage = "pass";
  std::string detail;
};

Result<Tensor> read_tensor(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  onnx::TensorProto proto;
  if (!in || !proto.ParseFromIstream(&in))
    return Error{.code = Code::io, .file = file.string(), .what = "is no TensorProto"};
  TensorReader reader{fs::path()};
  return reader.read(proto);
}

Result<std::vector<Tensor>> read_tensors(const fs::path& folder, const char* kind) {
  std::vector<Tensor> out;
  for (int i = 0;; ++i) {
    const fs::path file = folder / fmt::format("{}_{}.pb", kind, i);
    if (!fs::exists(file)) return out;
    out.push_back(PLANISH_TRY(read_tensor(file)));
  }
}

enum class Executor : uint8_t { engine, test_device, interpreter };

struct RunOptions {
  bool round_trip = false;
  Executor executor = Executor::engine;
};

/// Builds at the shapes of the inputs and runs once.
Result<std::vector<Tensor>> run_engine(const ImportedModel& model, std::span<const Tensor> inputs, Device& device,
                                       const TacticTable& table) {
  BuildOptions options;
  options.optimization_level = 1;
  options.use_timing_cache = false;
  options.threads = 1;
  auto& profile = options.profiles.emplace_back();
  for (size_t i = 0; i < inputs.size() && i < model.graph.inputs.size(); ++i) {
    const Shape& shape = inputs[i].shape();
    profile[model.graph.value(model.graph.inputs[i]).name] = {shape, shape, shape};
  }
  auto engine = std::make_shared<const Engine>(PLANISH_TRY(build_engine(model.graph, options, device, table)));
  auto executable = PLANISH_TRY(Executable::create(engine, device, table, 1));
  auto context = PLANISH_TRY(Context::create(executable));
  return context->run_host(inputs);
}

/// The one place that says how a model is executed.
Result<std::vector<Tensor>> run_model(const ImportedModel& model, std::span<const Tensor> inputs, Executor executor) {
  if (executor == Executor::interpreter) return interpret(model.graph, inputs);
  if (executor == Executor::test_device) return run_engine(model, inputs, opaque_test_device(), opaque_test_tactics());
  return run_engine(model, inputs, host_device(), cpu_tactics());
}

/// What inference promises about the outputs must be what execution gives.
WhyNot why_inference_is_wrong(const Graph& graph, const ShapeFacts& facts, std::span<const Tensor> outputs) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const auto v = static_cast<size_t>(graph.outputs[i]);
    const Tensor& actual = outputs[i];
    if (facts.dtypes[v] != DType::undefined && facts.dtypes[v] != actual.dtype())
      return fmt::format("output {} was inferred as {} and is {}", i, dtype_name(facts.dtypes[v]),
                         dtype_name(actual.dtype()));
    if (!facts.shapes[v]) continue;
    const Shape& shape = *facts.shapes[v];
    bool fits = shape.size() == actual.shape().size();
    for (size_t d = 0; fits && d < shape.size(); ++d) fits = shape[d] < 0 || shape[d] == actual.shape()[d];
    if (!fits)
      return fmt::format("output {} was inferred as {} and is {}", i, to_string(shape), to_string(actual.shape()));
  }
  return std::nullopt;
}

Outcome failed(std::string stage, const Error& e) { return {std::move(stage), e.message()}; }

Outcome run_data_set(const ImportedModel& model, const Case& c, const fs::path& data, Executor executor) {
  const auto inputs = read_tensors(data, "input");
  if (!inputs.ok()) return failed("data", inputs.error());
  const auto expected = read_tensors(data, "output");
  if (!expected.ok()) return failed("data", expected.error());
  std::vector<std::optional<Shape>> shapes;
  for (const Tensor& t : *inputs) shapes.emplace_back(t.shape());

  const auto by_shape = infer_shapes(model.graph, shapes);
  if (!by_shape.ok()) return failed("inference", by_shape.error());
  const auto by_value = infer_shapes(model.graph, shapes, *inputs);
  if (!by_value.ok()) return failed("inference", by_value.error());
  const auto outputs = run_model(model, *inputs, executor);
  if (!outputs.ok()) return failed("run", outputs.error());
  if (outputs->size() != expected->size())
    return {"compare", fmt::format("{} outputs instead of {}", outputs->size(), expected->size())};
  for (size_t i = 0; i < outputs->size(); ++i)
    if (const WhyNot reason = why_different((*expected)[i], (*outputs)[i], c.rtol, c.atol))
      return {"compare", fmt::format("output {}: {}", i, *reason)};
  for (const auto* facts : {&*by_shape, &*by_value})
    if (const WhyNot reason = why_inference_is_wrong(model.graph, *facts, *outputs)) return {"inference", *reason};
  return {};
}

Result<ImportedModel> load(const Case& c, bool round_trip) {
  auto model = PLANISH_TRY(import_onnx(c.folder / "model.onnx"));
  if (!round_trip) return model;
  const std::string bytes = PLANISH_TRY(export_onnx(model.graph));
  return import_onnx(std::as_bytes(std::span(bytes)));
}

Outcome run_case(const Case& c, const RunOptions& options) {
  const auto model = load(c, options.round_trip);
  if (!model.ok()) return failed("import", model.error());
  if (const auto status = verify(model->graph); !status.ok()) return failed("verify", status.error());
  int data_sets = 0;
  for (const auto& entry : fs::directory_iterator(c.folder)) {
    if (!entry.path().filename().string().starts_with("test_data_set_")) continue;
    ++data_sets;
    Outcome outcome = run_data_set(*model, c, entry.path(), options.executor);
    if (outcome.stage != "pass") return outcome;
  }
  if (data_sets == 0) return {"data", "no test_data_set_* folder"};
  return {};
}

Outcome run_case_guarded(const Case& c, const RunOptions& options) {
  try {
    return run_case(c, options);
  } catch (const std::exception& e) {
    return {"exception", e.what()};
  }
}

/// Runs the case in a child process and collects what it writes.
Outcome run_isolated(const Case& c, const RunOptions& options) {
  int ends[2];
  if (pipe(ends) != 0) return {"system", "no pipe"};
  const pid_t child = fork();
  if (child < 0) return {"system", "no process"};
  if (child == 0) {
    close(ends[0]);
    alarm(kCaseTimeoutSeconds);
    const Outcome o = run_case_guarded(c, options);
    const std::string text = o.stage + "\t" + o.detail;
    const ssize_t written = write(ends[1], text.data(), std::min<size_t>(text.size(), 4096));
    _exit(written < 0 ? 1 : 0);
  }
  close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t n = 0; (n = read(ends[0], buffer, sizeof(buffer))) > 0;) text.append(buffer, static_cast<size_t>(n));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status))
    return WTERMSIG(status) == SIGALRM ? Outcome{"timeout", fmt::format("after {} s", kCaseTimeoutSeconds)}
                                       : Outcome{"crash", strsignal(WTERMSIG(status))};
  const size_t tab = text.find('\t');
  if (tab == std::string::npos) return {"crash", "no result"};
  return {text.substr(0, tab), text.substr(tab + 1)};
}

std::vector<Case> read_cases(const char* file) {
  std::vector<Case> cases;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    std::istringstream fields(line);
    Case c;
    std::string folder;
    std::string rtol;
    std::string atol;
    std::getline(fields, c.name, '\t');
    std::getline(fields, folder, '\t');
    std::getline(fields, rtol, '\t');
    std::getline(fields, atol, '\t');
    c.folder = folder;
    if (!rtol.empty()) c.rtol = std::strtod(rtol.c_str(), nullptr);
    if (!atol.empty()) c.atol = std::strtod(atol.c_str(), nullptr);
    if (!c.name.empty()) cases.push_back(std::move(c));
  }
  return cases;
}

/// nullopt: an unknown option.
std::optional<RunOptions> read_options(std::span<char* const> args) {
  RunOptions options;
  for (const std::string_view arg : args) {
    if (arg == "--round-trip")
      options.round_trip = true;
    else if (arg == "--executor=engine")
      options.executor = Executor::engine;
    else if (arg == "--executor=test-device")
      options.executor = Executor::test_device;
    else if (arg == "--executor=interpreter")
      options.executor = Executor::interpreter;
    else
      return std::nullopt;
  }
  return options;
}

}  // namespace
}  // namespace planish

int main(int argc, char** argv) {
  const auto options =
      planish::read_options(std::span<char* const>(argv, static_cast<size_t>(argc)).subspan(std::min(argc, 2)));
  if (argc < 2 || !options) {
    std::fputs("usage: onnx_backend_runner CASES [--round-trip] [--executor=engine|test-device|interpreter]\n", stderr);
    return 2;
  }
  bool all = true;
  for (const auto& c : planish::read_cases(argv[1])) {
    planish::Outcome o = planish::run_isolated(c, *options);
    std::ranges::replace(o.detail, '\n', ' ');
    std::ranges::replace(o.detail, '\t', ' ');
    std::printf("%s\t%s\t%s\n", c.name.c_str(), o.stage.c_str(), o.detail.c_str());
    std::fflush(stdout);
    all = all && o.stage == "pass";
  }
  return all ? 0 : 1;
}
