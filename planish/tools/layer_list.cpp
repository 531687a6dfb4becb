#include "planish/tools/layer_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "planish/tools/trtexec/json_text.h"

namespace planish::tools {
namespace {

using Json = nlohmann::ordered_json;

double sum(const LayerTimes& times) { return std::accumulate(times.begin(), times.end(), 0.0); }

double percent(double part, double whole) { return whole > 0 ? part / whole * 100 : 0; }

/// Shapes of the activations that a layer reads; constants are weights.
std::string input_shapes(const api::LayerInfo& layer) {
  std::string out;
  for (size_t i = 0; i < layer.inputs.size(); ++i) {
    const bool constant = i < layer.constant_inputs.size() && layer.constant_inputs[i];
    if (constant || layer.inputs[i].name.empty()) continue;
    out += (out.empty() ? "" : " ") + extents_text(layer.inputs[i].dims);
  }
  return out;
}

std::string output_shapes(const api::LayerInfo& layer) {
  std::string out;
  for (const api::TensorInfo& t : layer.outputs) out += (out.empty() ? "" : " ") + extents_text(t.dims);
  return out;
}

Json tensor_json(const api::TensorInfo& t) {
  return {{"name", t.name}, {"type", dtype_numpy_name(t.dtype)}, {"shape", t.dims}, {"layout", t.layout}};
}

Json layer_json(const api::LayerInfo& layer, double time_ms, double total_ms) {
  Json json;
  json["name"] = layer.name;
  json["op"] = layer.op;
  json["tactic"] = layer.tactic;
  json["implementation"] = layer.detail;
  json["precision"] = layer.precision;
  json["onnx_nodes"] = layer.onnx_nodes;
  json["inputs"] = Json::array();
  for (size_t i = 0; i < layer.inputs.size(); ++i)
    if (!layer.inputs[i].name.empty()) json["inputs"].push_back(tensor_json(layer.inputs[i]));
  json["outputs"] = Json::array();
  for (const api::TensorInfo& t : layer.outputs) json["outputs"].push_back(tensor_json(t));
  json["weight_bytes"] = layer.weight_bytes;
  json["input_bytes"] = layer.input_bytes;
  json["output_bytes"] = layer.output_bytes;
  json["workspace_bytes"] = layer.workspace_bytes;
  json["flops"] = layer.flops;
  json["time_ms"] = to_nanoseconds(time_ms);
  json["share_percent"] = std::round(percent(time_ms, total_ms) * 100) / 100;
  if (!layer.note.empty()) json["note"] = layer.note;
  json["candidates"] = Json::array();
  for (const auto& [tactic, ms] : layer.candidates)
    json["candidates"].push_back({{"tactic", tactic}, {"time_ms", to_nanoseconds(ms)}});
  return json;
}

}  // namespace

LayerTimes tuned_times(const std::vector<api::LayerInfo>& layers) {
  LayerTimes times;
  for (const api::LayerInfo& layer : layers) times.push_back(layer.tuned_time_ms);
  return times;
}

std::string onnx_nodes_text(const std::vector<std::string>& nodes, size_t shown) {
  if (nodes.size() <= shown) return fmt::format("{}", fmt::join(nodes, " + "));
  return fmt::format("{} + {} more",
                     fmt::join(nodes.begin(), nodes.begin() + static_cast<std::ptrdiff_t>(shown), " + "),
                     nodes.size() - shown);
}

Table layer_table(const std::vector<api::LayerInfo>& layers, const LayerTimes& times_ms) {
  Table table({{"#", true},
               {"Layer", false, 40},
               {"Op", false, 24},
               {"Tactic", false, 40},
               {"Type"},
               {"Input", false, 32},
               {"Output", false, 24},
               {"Weights", true},
               {"Output size", true},
               {"Time (ms)", true},
               {"%", true},
               {"ONNX nodes", false, 60}});
  const double total = sum(times_ms);
  for (size_t i = 0; i < layers.size(); ++i) {
    const api::LayerInfo& layer = layers[i];
    const double time = i < times_ms.size() ? times_ms[i] : 0;
    table.add({fmt::format("{}", i), layer.name, layer.op, layer.tactic, layer.precision, input_shapes(layer),
               output_shapes(layer), layer.weight_bytes > 0 ? bytes_text(layer.weight_bytes) : "",
               bytes_text(layer.output_bytes), fmt::format("{:.4f}", time), fmt::format("{:.1f}", percent(time, total)),
               onnx_nodes_text(layer.onnx_nodes)});
  }
  return table;
}

std::string slowest_layers_text(const std::vector<api::LayerInfo>& layers, const LayerTimes& times_ms, size_t count) {
  std::vector<size_t> order(std::min(layers.size(), times_ms.size()));
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return times_ms[a] > times_ms[b]; });
  order.resize(std::min(order.size(), count));
  const double total = sum(times_ms);
  std::string out;
  for (const size_t i : order) {
    if (times_ms[i] <= 0) break;
    out += fmt::format("  {:9.4f} ms {:5.1f} %  {}  [{}, {}]\n", times_ms[i], percent(times_ms[i], total),
                       layers[i].name, layers[i].tactic, layers[i].precision);
  }
  return out;
}

double reformat_share(const std::vector<api::LayerInfo>& layers, const LayerTimes& times_ms) {
  double reformats = 0;
  for (size_t i = 0; i < layers.size() && i < times_ms.size(); ++i)
    if (layers[i].op.find("Reformat") != std::string::npos) reformats += times_ms[i];
  return percent(reformats, sum(times_ms)) / 100;
}

std::string layers_json(const std::vector<api::LayerInfo>& layers, const LayerTimes& times_ms) {
  Json json = Json::array();
  const double total = sum(times_ms);
  for (size_t i = 0; i < layers.size(); ++i)
    json.push_back(layer_json(layers[i], i < times_ms.size() ? times_ms[i] : 0, total));
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace planish::tools
