#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "planish/api/engine.h"
#include "planish/api/file_kind.h"
#include "planish/api/model_summary.h"
#include "planish/tools/command_line.h"
#include "planish/tools/console.h"
#include "planish/tools/layer_list.h"
#include "planish/tools/measurement.h"
#include "planish/tools/planish_commands.h"
#include "planish/tools/trtexec/json_text.h"

namespace planish::tools {
namespace {

using Json = nlohmann::ordered_json;

struct InspectCommand {
  std::string path;
  std::string shapes;
  bool layers = false;
  bool json = false;
  bool profile = false;
  int64_t rounds = 30;
  int64_t threads = 0;
  CommandLine line;

  InspectCommand()
      : line("inspect", "Shows what an engine or an ONNX model holds.",
             "  planish inspect resnet50.engine --profile      # every layer with its time, measured now\n"
             "  planish inspect resnet50.onnx --layers         # every node") {
    line.positional("FILE", path, "Engine file or ONNX model");
    line.flag("--layers", layers, "List the layers of an engine (times are the builder's) or the nodes of a model");
    line.flag("--profile", profile, "Measure the layers' times now; implies --layers");
    line.integer("--rounds", rounds, 1, 1000000, "Profiled runs (default 30)");
    line.text("--shapes", shapes, "NAME:DIMS",
              "Input shapes of the profiled runs (default: what the engine is tuned for)");
    line.integer("--threads", threads, 0, 4096, "Threads of the profiled runs; 0: all cores (default)");
    line.flag("--json", json, "Print JSON");
  }
};

std::string dump(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

// --- engines ---

struct EngineView {
  std::vector<api::LayerInfo> layers;
  LayerTimes times;
  double run_ms = 0;
  int64_t activation_bytes = 0;
  std::string activation_peak;
  int64_t file_bytes = 0;
};

Result<EngineView> view_of(const api::Engine& engine, const InspectCommand& command) {
  EngineView view;
  if (command.profile) {
    const InputTensors inputs = PLANISH_TRY(random_inputs(engine, command.shapes, 1));
    auto profiles = PLANISH_TRY(profile_layers({&engine}, {inputs}, command.rounds, command.threads));
    view.layers = std::move(profiles[0].layers);
    view.times = std::move(profiles[0].layer_ms);
    view.run_ms = profiles[0].run_ms;
  } else {
    view.layers = PLANISH_TRY(engine.layers());
    view.times = tuned_times(view.layers);
  }
  std::tie(view.activation_bytes, view.activation_peak) = PLANISH_TRY(engine.activation_bytes());
  std::error_code error;
  const auto size = std::filesystem::file_size(command.path, error);
  view.file_bytes = error ? 0 : static_cast<int64_t>(size);
  return view;
}

std::string engine_tensor_text(const api::TensorInfo& t) {
  return fmt::format("{} {} {}", t.name, dtype_numpy_name(t.dtype), tuple_text(t.dims));
}

void print_engine(const api::Engine& engine, const EngineView& view, const InspectCommand& command) {
  const api::EngineSummary& s = engine.summary();
  fmt::print("Engine {}: {}, from {} (opset {}), by {}\n", s.name, bytes_text(view.file_bytes), s.source, s.opset,
             s.producer);
  fmt::print("Tuned for {} with {} threads in {:.1f} s; precisions {}, calibration {}\n", s.device, s.threads,
             s.build_seconds, s.precision, s.calibration.empty() ? "none" : s.calibration);
  if (!s.build_options.empty()) fmt::print("Build options: {}\n", s.build_options);
  for (const api::TensorInfo& t : engine.inputs()) fmt::print("Input  {}\n", engine_tensor_text(t));
  for (const api::TensorInfo& t : engine.outputs()) fmt::print("Output {}\n", engine_tensor_text(t));
  for (size_t p = 0; p < engine.profiles().size(); ++p)
    for (const auto& [name, r] : engine.profiles()[p])
      fmt::print("Profile {} {}: min {}, opt {}, max {}\n", p, name, extents_text(r.min), extents_text(r.opt),
                 extents_text(r.max));
  fmt::print("Weights: {}. Activations: {} at the tuned shapes{}\n", bytes_text(s.weight_bytes),
             bytes_text(view.activation_bytes),
             view.activation_peak.empty() ? "" : ", most at " + view.activation_peak);
  double sum = 0;
  for (const double ms : view.times) sum += ms;
  fmt::print("{} layers; sum of their times {} ({}), {:.1f} % of it changes layouts\n", view.layers.size(),
             milliseconds_text(sum), command.profile ? "measured now" : "when built",
             reformat_share(view.layers, view.times) * 100);
  if (command.profile) fmt::print("A whole run without the profiler: {}\n", milliseconds_text(view.run_ms));
  if (command.layers || command.profile) fmt::print("\n{}", layer_table(view.layers, view.times).text());
}

Json tensors_json(const std::vector<api::TensorInfo>& tensors) {
  Json out = Json::array();
  for (const api::TensorInfo& t : tensors)
    out.push_back({{"name", t.name}, {"type", dtype_numpy_name(t.dtype)}, {"shape", t.dims}});
  return out;
}

Json engine_json(const api::Engine& engine, const EngineView& view, const InspectCommand& command) {
  const api::EngineSummary& s = engine.summary();
  Json json{{"kind", "engine"},
            {"name", s.name},
            {"source", s.source},
            {"producer", s.producer},
            {"opset", s.opset},
            {"device", s.device},
            {"device_fingerprint", s.device_fingerprint},
            {"threads", s.threads},
            {"precision", s.precision},
            {"calibration", s.calibration},
            {"build_options", s.build_options},
            {"build_seconds", s.build_seconds},
            {"file_bytes", view.file_bytes},
            {"weight_bytes", s.weight_bytes},
            {"activation_bytes", view.activation_bytes},
            {"activation_peak_layer", view.activation_peak}};
  json["inputs"] = tensors_json(engine.inputs());
  json["outputs"] = tensors_json(engine.outputs());
  json["profiles"] = Json::array();
  for (const api::ProfileRanges& ranges : engine.profiles()) {
    Json profile;
    for (const auto& [name, r] : ranges) profile[name] = {{"min", r.min}, {"opt", r.opt}, {"max", r.max}};
    json["profiles"].push_back(std::move(profile));
  }
  if (command.profile) json["run_ms"] = view.run_ms;
  json["layers"] = Json::parse(layers_json(view.layers, view.times));
  return json;
}

Status inspect_engine(const InspectCommand& command) {
  const api::Engine engine = PLANISH_TRY(api::Engine::load(command.path));
  if (!command.json)
    for (const std::string& text : engine.warnings()) warn("inspect", text);
  const EngineView view = PLANISH_TRY(view_of(engine, command));
  if (command.json)
    fmt::print("{}", dump(engine_json(engine, view, command)));
  else
    print_engine(engine, view, command);
  return {};
}

// --- models ---

std::string onnx_shape(const OnnxTensorInfo& info) {
  if (!info.dims) return "(any rank)";
  std::vector<std::string> dims;
  for (const OnnxDim& d : *info.dims)
    dims.push_back(d.size >= 0 ? fmt::format("{}", d.size) : d.name.empty() ? "?" : d.name);
  return fmt::format("({})", fmt::join(dims, ", "));
}

int64_t elements_of(const OnnxTensorInfo& info) {
  int64_t count = 1;
  if (info.dims)
    for (const OnnxDim& d : *info.dims) count *= std::max<int64_t>(d.size, 0);
  return count;
}

struct Parameters {
  int64_t elements = 0;
  int64_t bytes = 0;
};

Parameters parameters_of(const OnnxGraphSummary& graph) {
  Parameters sum;
  for (const OnnxInitialiser& init : graph.initialisers) {
    const int64_t count = elements_of(init.info);
    sum.elements += count;
    if (const auto dtype = dtype_from_name(init.info.dtype))
      sum.bytes += static_cast<int64_t>(dtype_bytes(*dtype, count));
  }
  return sum;
}

std::vector<std::pair<std::string, int64_t>> operator_counts(const OnnxGraphSummary& graph) {
  std::map<std::string, int64_t> counts;
  for (const OnnxNodeSummary& node : graph.nodes) ++counts[node.domain.empty() ? node.op : node.domain + "." + node.op];
  std::vector<std::pair<std::string, int64_t>> sorted(counts.begin(), counts.end());
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  return sorted;
}

std::string attributes_text(const OnnxNodeSummary& node) {
  std::string out;
  for (const OnnxAttribute& a : node.attributes) out += fmt::format("{}{}={}", out.empty() ? "" : " ", a.name, a.text);
  return out;
}

Table node_table(const OnnxGraphSummary& graph) {
  Table table({{"#", true},
               {"Node", false, 48},
               {"Op"},
               {"Inputs", false, 56},
               {"Outputs", false, 40},
               {"Attributes", false, 80}});
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const OnnxNodeSummary& node = graph.nodes[i];
    table.add({fmt::format("{}", i), node.name, node.domain.empty() ? node.op : node.domain + "." + node.op,
               fmt::format("{}", fmt::join(node.inputs, " ")), fmt::format("{}", fmt::join(node.outputs, " ")),
               attributes_text(node)});
  }
  return table;
}

void print_model(const OnnxSummary& model, const InspectCommand& command) {
  const OnnxGraphSummary& graph = model.graph;
  std::string opsets;
  for (const auto& [domain, opset] : model.opset_imports)
    opsets += fmt::format("{}{} {}", opsets.empty() ? "" : ", ", domain.empty() ? "opset" : domain, opset);
  fmt::print("ONNX model {}: IR version {}, {}, by {} {}\n", graph.name, model.ir_version, opsets,
             model.producer_name.empty() ? "(unknown)" : model.producer_name, model.producer_version);
  for (const OnnxTensorInfo& t : graph.inputs) fmt::print("Input  {} {} {}\n", t.name, t.dtype, onnx_shape(t));
  for (const OnnxTensorInfo& t : graph.outputs) fmt::print("Output {} {} {}\n", t.name, t.dtype, onnx_shape(t));
  const Parameters parameters = parameters_of(graph);
  fmt::print("{} initialisers with {} values, {}\n", graph.initialisers.size(), parameters.elements,
             bytes_text(parameters.bytes));
  std::vector<std::string> operators;
  for (const auto& [op, count] : operator_counts(graph)) operators.push_back(fmt::format("{} {}", count, op));
  fmt::print("{} nodes: {}\n", graph.nodes.size(), fmt::join(operators, ", "));
  if (!model.functions.empty()) fmt::print("Functions: {}\n", fmt::join(model.functions, ", "));
  if (command.layers) fmt::print("\n{}", node_table(graph).text());
}

Json onnx_tensors_json(const std::vector<OnnxTensorInfo>& tensors) {
  Json out = Json::array();
  for (const OnnxTensorInfo& t : tensors) {
    Json dims = Json::array();
    if (t.dims)
      for (const OnnxDim& d : *t.dims)
        dims.push_back(d.size >= 0 ? Json(d.size) : d.name.empty() ? Json() : Json(d.name));
    out.push_back({{"name", t.name}, {"type", t.dtype}, {"shape", t.dims ? dims : Json()}});
  }
  return out;
}

Json model_json(const OnnxSummary& model) {
  const Parameters parameters = parameters_of(model.graph);
  Json json{{"kind", "onnx"},
            {"name", model.graph.name},
            {"ir_version", model.ir_version},
            {"opset_imports", model.opset_imports},
            {"producer", model.producer_name},
            {"producer_version", model.producer_version},
            {"parameters", parameters.elements},
            {"parameter_bytes", parameters.bytes},
            {"inputs", onnx_tensors_json(model.graph.inputs)},
            {"outputs", onnx_tensors_json(model.graph.outputs)}};
  json["nodes"] = Json::array();
  for (const OnnxNodeSummary& node : model.graph.nodes) {
    Json attributes = Json::object();
    for (const OnnxAttribute& a : node.attributes) attributes[a.name] = a.text;
    json["nodes"].push_back({{"name", node.name},
                             {"op", node.op},
                             {"domain", node.domain},
                             {"inputs", node.inputs},
                             {"outputs", node.outputs},
                             {"attributes", attributes}});
  }
  return json;
}

Status inspect_model(const InspectCommand& command) {
  if (command.profile)
    return Error{.code = Code::invalid_argument,
                 .file = "--profile",
                 .what = "needs an engine, and the file is a model",
                 .fix = fmt::format("planish build {} -o model.engine, then inspect that", command.path)};
  const OnnxSummary model = PLANISH_TRY(summarise_onnx(command.path));
  if (command.json)
    fmt::print("{}", dump(model_json(model)));
  else
    print_model(model, command);
  return {};
}

Status inspect(const InspectCommand& command) {
  const bool is_engine = PLANISH_TRY(api::file_kind(command.path)) == api::FileKind::engine;
  return is_engine ? inspect_engine(command) : inspect_model(command);
}

}  // namespace

int inspect_main(int argc, char** argv) {
  InspectCommand command;
  if (const auto code = command.line.parse(argc, argv)) return *code;
  const Status status = inspect(command);
  return status.ok() ? 0 : fail("inspect", status.error());
}

std::vector<std::string> inspect_words() { return InspectCommand().line.words(); }

}  // namespace planish::tools
