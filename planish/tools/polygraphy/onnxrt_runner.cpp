#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "planish/api/model_summary.h"
#include "planish/tools/polygraphy/numpy_text.h"
#include "planish/tools/polygraphy/onnxrt_child.h"
#include "planish/tools/polygraphy/runner.h"
#include "planish/tools/polygraphy/tool.h"
#include "planish/tools/python_child.h"

namespace planish::tools {
namespace {

using Json = nlohmann::json;

constexpr double kAnswerTimeout_s = 3600;

std::string text_of(const ChildFrame& frame) { return {frame.payload.begin(), frame.payload.end()}; }

template <typename Integer>
void append_integer(std::vector<uint8_t>& to, Integer value) {
  for (size_t i = 0; i < sizeof value; ++i) to.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

Error onnxrt_error(Code code, const std::string& file, std::string what, std::string fix) {
  return Error{.code = code, .file = file, .what = std::move(what), .fix = std::move(fix)};
}

/// What an 'E' frame says.
Error failure(const std::string& model, const std::string& text) {
  const size_t line_end = std::min(text.find('\n'), text.size());
  const std::string word = text.substr(0, line_end);
  const std::string rest = text.substr(std::min(line_end + 1, text.size()));
  if (word == "numpy" || word == "onnxruntime")
    return onnxrt_error(Code::not_found, "--onnxrt", fmt::format("your python3 has no package {} ({})", word, rest),
                        fmt::format("python3 -m pip install {}, or put a Python that has it first on PATH", word));
  if (word == "level")
    return onnxrt_error(Code::invalid_argument, "--graph-optimization-level", "ONNX Runtime has no such level",
                        "use one of " + rest);
  if (word == "provider") {
    const size_t end = std::min(rest.find('\n'), rest.size());
    return onnxrt_error(Code::invalid_argument, "--providers",
                        fmt::format("ONNX Runtime has no provider '{}' here", rest.substr(0, end)),
                        "available: " + rest.substr(std::min(end + 1, rest.size())));
  }
  return onnxrt_error(Code::unsupported, model, "ONNX Runtime: " + rest,
                      "run the model alone in ONNX Runtime to see why");
}

class OnnxrtRunner : public Runner {
 public:
  OnnxrtRunner(std::string name, std::string model, const ParsedOptions& options)
      : Runner(std::move(name)), model_(std::move(model)), options_(options) {}

  Status activate(PolygraphyLog& log) override {
    log_ = &log;
    if (PLANISH_TRY(polygraphy_model(model_, options_.text("--model-type"))) != PolygraphyModel::onnx)
      return onnxrt_error(Code::invalid_argument, model_, "ONNX Runtime cannot run an engine",
                          "give the ONNX model, or leave --onnxrt out");
    const auto outputs = PLANISH_TRY(selected_outputs(model_, options_, "--onnx", log));
    Json settings{{"providers", options_.values("--providers")},
                  {"level", options_.text("--graph-optimization-level")},
                  {"outputs", outputs.value_or(std::vector<std::string>())},
                  {"added", Json::array()}};
    if (outputs) {
      log.print(PolygraphyLog::info, "Loading model: " + model_);
      settings["added"] = PLANISH_TRY(added_outputs(*outputs));
    }
    child_ = PLANISH_TRY(PythonChild::start("python3", onnxrt_child_source(),
                                            {model_, settings.dump(-1, ' ', true, Json::error_handler_t::replace)}));
    const ChildFrame providers = PLANISH_TRY(frame('P'));
    std::vector<std::string> names;
    for (const Json& provider : Json::parse(text_of(providers), nullptr, false))
      if (provider.is_string()) names.push_back(provider.get<std::string>());
    log.print(PolygraphyLog::info, "Creating ONNX-Runtime Inference Session with providers: " + python_list(names));
    return read_inputs(text_of(PLANISH_TRY(frame('R'))));
  }

  [[nodiscard]] const std::vector<RunnerInput>& inputs() const override { return inputs_; }

  Result<Inference> infer(const NamedTensors& feed) override {
    PLANISH_TRY(send(feed));
    Inference out;
    while (true) {
      const ChildFrame answer = PLANISH_TRY(frame('A'));
      if (answer.kind == 'N') {
        if (answer.payload.size() == sizeof out.runtime_s)
          std::memcpy(&out.runtime_s, answer.payload.data(), sizeof out.runtime_s);
        return out;
      }
      if (answer.kind == 'S') {
        log_->print_once(
            PolygraphyLog::warning,
            fmt::format("{:35} | Output: {} is no array of numbers and is left out", name(), text_of(answer)));
        continue;
      }
      out.outputs.push_back(PLANISH_TRY(array_of(answer)));
    }
  }

 private:
  /// Those of `outputs` that the file does not declare as outputs.
  [[nodiscard]] Result<std::vector<std::string>> added_outputs(const std::vector<std::string>& outputs) const {
    const OnnxSummary summary = PLANISH_TRY(summarise_onnx(model_));
    std::vector<std::string> added;
    for (const std::string& name : outputs)
      if (std::none_of(summary.graph.outputs.begin(), summary.graph.outputs.end(),
                       [&](const OnnxTensorInfo& o) { return o.name == name; }))
        added.push_back(name);
    return added;
  }

  /// The next frame, of `kind` or one that goes with it.
  Result<ChildFrame> frame(char kind) {
    auto received = PLANISH_TRY(child_->next(kAnswerTimeout_s));
    if (!received)
      return onnxrt_error(Code::io, "--onnxrt", fmt::format("Python ended with {}", child_->end_text()),
                          "see what it wrote above");
    if (received->kind == 'E') return failure(model_, text_of(*received));
    const bool part_of_answer = kind == 'A' && (received->kind == 'N' || received->kind == 'S');
    if (received->kind != kind && !part_of_answer)
      return onnxrt_error(Code::internal, "--onnxrt", "Python said something unexpected", "try again");
    return *std::move(received);
  }

  Status read_inputs(const std::string& text) {
    const Json json = Json::parse(text, nullptr, false);
    if (!json.is_object())
      return onnxrt_error(Code::internal, "--onnxrt", "Python said something unexpected", "try again");
    for (const Json& entry : json["inputs"]) {
      RunnerInput input;
      input.info.name = entry[0].get<std::string>();
      const auto dtype = dtype_from_name(entry[1].get<std::string>());
      if (!dtype)
        return Error{.code = Code::unsupported,
                     .tensor = input.info.name,
                     .file = model_,
                     .what = "the input is no tensor of numbers",
                     .fix = "only such models can be run here"};
      input.info.dtype = *dtype;
      for (const Json& d : entry[2]) {
        input.info.dims.push_back(d.is_number_integer() ? d.get<int64_t>() : -1);
        input.info.dim_names.push_back(d.is_string() ? d.get<std::string>() : "");
      }
      inputs_.push_back(std::move(input));
    }
    return {};
  }

  Status send(const NamedTensors& feed) {
    std::vector<uint8_t> head;
    append_integer(head, static_cast<uint32_t>(feed.size()));
    PLANISH_TRY(child_->send(head));
    for (const auto& [name, tensor] : feed) {
      const auto bytes = PLANISH_TRY(npy_encode(tensor));
      head.clear();
      append_integer(head, static_cast<uint32_t>(name.size()));
      head.insert(head.end(), name.begin(), name.end());
      append_integer(head, static_cast<uint64_t>(bytes.size()));
      PLANISH_TRY(child_->send(head));
      PLANISH_TRY(child_->send(bytes));
    }
    return {};
  }

  Result<std::pair<std::string, Tensor>> array_of(const ChildFrame& answer) {
    const std::span<const uint8_t> bytes(answer.payload);
    uint32_t name_bytes = 0;
    if (bytes.size() >= sizeof name_bytes) std::memcpy(&name_bytes, bytes.data(), sizeof name_bytes);
    if (bytes.size() < sizeof name_bytes || bytes.size() - sizeof name_bytes < name_bytes)
      return onnxrt_error(Code::corrupt, "--onnxrt", "Python sent half an array", "try again");
    const auto rest = bytes.subspan(sizeof name_bytes);
    std::string output(rest.begin(), rest.begin() + name_bytes);
    Tensor tensor = PLANISH_TRY(npy_decode(rest.subspan(name_bytes), output));
    return std::pair{std::move(output), std::move(tensor)};
  }

  std::string model_;
  const ParsedOptions& options_;
  PolygraphyLog* log_ = nullptr;
  std::unique_ptr<PythonChild> child_;
  std::vector<RunnerInput> inputs_;
};

}  // namespace

std::unique_ptr<Runner> make_onnxrt_runner(std::string name, std::string model, const ParsedOptions& options) {
  return std::make_unique<OnnxrtRunner>(std::move(name), std::move(model), options);
}

}  // namespace planish::tools
