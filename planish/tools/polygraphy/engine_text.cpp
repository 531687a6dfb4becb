#include <fmt/format.h>

#include <algorithm>

#include "planish/tools/polygraphy/model_text.h"
#include "planish/tools/polygraphy/numpy_text.h"
#include "planish/tools/trtexec/layer_names.h"

namespace planish::tools {
namespace {

/// Formats in TensorRT's words.
std::string format_text(const TensorRecord& t) {
  const std::string type = t.dtype == DType::f32   ? "FP32"
                           : t.dtype == DType::f16 ? "FP16"
                                                   : std::string(dtype_numpy_name(t.dtype));
  if (t.channels_last) return "Channel major " + type + " format where channel % 1 == 0";
  if (t.channel_block > 1) return fmt::format("{}-wide channel vectorized row major {} format", t.channel_block, type);
  return "Row major linear " + type;
}

TensorLine io_line(const api::TensorInfo& t) {
  return {t.name, fmt::format("[dtype={}, shape={}]", dtype_numpy_name(t.dtype), python_tuple(t.dims))};
}

std::vector<TensorLine> layer_lines(const std::vector<TensorRecord>& tensors) {
  std::vector<TensorLine> lines;
  for (const TensorRecord& t : tensors)
    lines.push_back({t.name, fmt::format("[dtype={}, shape={}, Format: {}]", dtype_numpy_name(t.dtype),
                                         python_tuple(t.dims), format_text(t))});
  return lines;
}

std::string profiles_text(const api::Engine& engine) {
  const size_t count = engine.inputs().size() + engine.outputs().size();
  size_t width = 0;
  for (const auto* tensors : {&engine.inputs(), &engine.outputs()})
    for (const api::TensorInfo& t : *tensors) width = std::max(width, t.name.size());
  width += 8;
  std::string out = fmt::format("---- {} Profile(s) ({} Tensor(s) Each) ----\n", engine.profiles().size(), count);
  for (size_t p = 0; p < engine.profiles().size(); ++p) {
    out += fmt::format("- Profile: {}\n", p);
    size_t index = 0;
    for (const api::TensorInfo& t : engine.inputs()) {
      const auto it = engine.profiles()[p].find(t.name);
      const api::ShapeRange range =
          it == engine.profiles()[p].end() ? api::ShapeRange{t.dims, t.dims, t.dims} : it->second;
      out += fmt::format("    Tensor: {:<{}}  (Input), Index: {} | Shapes: min={}, opt={}, max={}\n", t.name, width,
                         index++, python_tuple(range.min), python_tuple(range.opt), python_tuple(range.max));
    }
    for (const api::TensorInfo& t : engine.outputs())
      out += fmt::format("    Tensor: {:<{}} (Output), Index: {} | Shape: {}\n", t.name, width, index++,
                         python_tuple(t.dims));
    out += '\n';
  }
  return out;
}

std::string layers_text(const std::vector<LayerRecord>& layers, const Shown& shown, int level) {
  std::string out;
  for (size_t i = 0; i < layers.size(); ++i) {
    const LayerRecord& layer = layers[i];
    out +=
        indented(node_text("Layer", i, layer.name, layer.type, layer_lines(layer.inputs), layer_lines(layer.outputs)),
                 level) +
        '\n';
    if (shown.attributes) {
      const std::string origin =
          layer.onnx_nodes.empty() ? "REFORMAT" : fmt::format("{}", fmt::join(layer.onnx_nodes, " + "));
      out += indented(
                 fmt::format("---- Attributes ----\nOrigin = {}\nTactic = 0x{:016x}\nTactic Name = {}\nPrecision = {}",
                             origin, layer.tactic_hash, layer.tactic, layer.precision),
                 level + 1) +
             '\n';
    }
    out += '\n';
  }
  return out;
}

}  // namespace

Result<std::string> engine_text(const api::Engine& engine, const Shown& shown) {
  const api::EngineSummary& summary = engine.summary();
  std::vector<TensorLine> inputs, outputs;
  for (const api::TensorInfo& t : engine.inputs()) inputs.push_back(io_line(t));
  for (const api::TensorInfo& t : engine.outputs()) outputs.push_back(io_line(t));
  const size_t profiles = engine.profiles().size();
  std::vector<std::vector<LayerRecord>> layers;
  int64_t memory_bytes = 0;
  for (size_t p = 0; p < std::max<size_t>(profiles, 1); ++p) {
    const auto infos = PLANISH_TRY(engine.layers(static_cast<int>(p)));
    layers.push_back(layer_records(infos));
    memory_bytes = std::max(memory_bytes, PLANISH_TRY(engine.activation_bytes(static_cast<int>(p))).first);
  }
  std::string out =
      fmt::format("Name: {} | {}Explicit Batch Engine\n\n", summary.name, summary.refittable ? "Refittable " : "");
  out += fmt::format("---- {} Engine Input(s) ----\n{}\n\n", inputs.size(), tensor_set(inputs));
  out += fmt::format("---- {} Engine Output(s) ----\n{}\n\n", outputs.size(), tensor_set(outputs));
  out += fmt::format("---- Memory ----\nDevice Memory: {} bytes\n\n", memory_bytes);
  out += profiles_text(engine);
  const bool per_profile = layers.size() > 1;
  out += fmt::format("---- {} Layer(s){} ----\n", layers[0].size(), per_profile ? " Per Profile" : "");
  for (size_t p = 0; shown.layers && p < layers.size(); ++p) {
    if (per_profile) out += fmt::format("- Profile: {}\n", p);
    out += layers_text(layers[p], shown, per_profile ? 1 : 0);
  }
  return out;
}

}  // namespace planish::tools
