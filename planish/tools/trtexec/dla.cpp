#include "planish/tools/trtexec/dla.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

template <typename T>
const T* attribute(const LayerRecord& layer, std::string_view key) {
  for (const auto& [name, value] : layer.attributes)
    if (name == key) return std::get_if<T>(&value);
  return nullptr;
}

std::optional<std::string> outside(const LayerRecord& layer, std::string_view key, int64_t low, int64_t high) {
  const auto* list = attribute<std::vector<int64_t>>(layer, key);
  const auto* number = attribute<int64_t>(layer, key);
  std::vector<int64_t> values = list != nullptr ? *list : std::vector<int64_t>{};
  if (number != nullptr) values.push_back(*number);
  for (const int64_t v : values)
    if (v < low || v > high) return fmt::format("{} {} is outside [{}, {}]", key, v, low, high);
  return std::nullopt;
}

/// Limits of one attribute for one type of layer.
struct Limit {
  std::string_view layer_type;
  std::string_view key;
  int64_t low, high;
};

constexpr Limit kLimits[] = {
    {"Convolution", "Kernel", 1, 32},       {"Convolution", "PrePadding", 0, 31}, {"Convolution", "PostPadding", 0, 31},
    {"Convolution", "Stride", 1, 8},        {"Convolution", "Dilation", 1, 32},   {"Convolution", "OutMaps", 1, 8192},
    {"Convolution", "Groups", 1, 8192},     {"Deconvolution", "Kernel", 1, 32},   {"Deconvolution", "PrePadding", 0, 0},
    {"Deconvolution", "PostPadding", 0, 0}, {"Deconvolution", "Dilation", 1, 1},  {"Deconvolution", "Groups", 1, 1},
    {"Deconvolution", "OutMaps", 1, 8192},  {"Pooling", "WindowSize", 1, 8},      {"Pooling", "PrePadding", 0, 7},
    {"Pooling", "PostPadding", 0, 7},       {"Pooling", "Stride", 1, 16},
};

constexpr std::array<std::string_view, 26> kRunnable{
    "Convolution", "Deconvolution", "Pooling", "PointWiseV2", "Concat", "SoftMax", "Relu", "Sigmoid", "Tanh",
    "Clip",        "LeakyRelu",     "Add",     "Sub",         "Mul",    "Div",     "Pow",  "Min",     "Max",
    "Resize",      "LRN",           "PRelu",   "Slice",       "Equal",  "Greater", "Less", "Reformat"};

constexpr std::array<std::string_view, 8> kRunnableActivations{"",     "NONE", "RELU",      "SIGMOID",
                                                               "TANH", "CLIP", "LEAKYRELU", "ELU"};

}  // namespace

std::string dla_refusal(const LayerRecord& layer) {
  if (std::ranges::find(kRunnable, layer.type) == kRunnable.end())
    return fmt::format("a DLA has no layer of type {}", layer.type);
  for (const auto* list : {&layer.inputs, &layer.outputs})
    for (const TensorRecord& t : *list) {
      if (t.dims.size() != 4) return fmt::format("'{}' has {} dimensions, a DLA takes 4", t.name, t.dims.size());
      if (std::ranges::any_of(t.dims, [](int64_t d) { return d < 0; }))
        return fmt::format("'{}' has a dynamic dimension", t.name);
      if (!dtype_is_float(t.dtype) && t.dtype != DType::i8) return fmt::format("'{}' is neither FP16 nor INT8", t.name);
    }
  for (const Limit& limit : kLimits)
    if (limit.layer_type == layer.type)
      if (auto why = outside(layer, limit.key, limit.low, limit.high)) return *why;
  if (layer.type == "Pooling") {
    const auto* kind = attribute<std::string>(layer, "PoolingType");
    if (kind != nullptr && *kind == "LP") return "a DLA has no LP pooling";
  }
  if (const auto* act = attribute<std::string>(layer, "Activation");
      act != nullptr && std::ranges::find(kRunnableActivations, *act) == kRunnableActivations.end())
    return fmt::format("a DLA has no activation {}", *act);
  if (layer.type == "Concat") {
    const auto* axis = attribute<int64_t>(layer, "axis");
    if (axis != nullptr && *axis != 1) return fmt::format("a DLA concatenates along channels only, not axis {}", *axis);
  }
  return {};
}

DlaPartition partition_for_dla(std::vector<LayerRecord>& layers, bool use_dla, const PairList& layer_devices) {
  struct Share {
    size_t layers = 0;
    double ms = 0;
    int64_t bytes = 0;
  };
  Share dla;
  Share cpu;
  size_t transitions = 0;
  DlaPartition out;
  std::string previous;
  for (LayerRecord& layer : layers) {
    std::string wanted = use_dla ? "DLA" : "CPU";
    for (const auto& [pattern, device] : layer_devices) {
      const auto names = [&pattern](const std::string& name) { return wildcard_matches(pattern, name); };
      if (names(layer.name) || std::ranges::any_of(layer.onnx_nodes, names)) wanted = device;
    }
    if (wanted == "DLA") {
      if (const std::string why = dla_refusal(layer); !why.empty()) {
        out.refusals.push_back(
            fmt::format("Layer '{}' ({}): Unsupported on DLA. Switching this layer's device type to GPU. Reason: {}",
                        layer.name, layer.type, why));
        wanted = "GPU";
      }
    }
    // There is one real device: what a GPU would run, the CPU runs.
    layer.device = wanted == "DLA" ? "DLA" : "CPU";
    Share& share = layer.device == "DLA" ? dla : cpu;
    ++share.layers;
    share.ms += layer.tuned_time_ms;
    share.bytes += layer.weight_bytes + layer.output_bytes;
    if (!previous.empty() && previous != layer.device) ++transitions;
    previous = layer.device;
  }
  const auto line = [](std::string_view device, const Share& s) {
    return fmt::format("  {}: {} layers, {} ms on this CPU, {} MiB of weights and outputs", device, s.layers,
                       number_text(s.ms), number_text(static_cast<double>(s.bytes) / (1 << 20)));
  };
  out.summary = {"DLA partition (simulated: every layer runs on the CPU):", line("DLA", dla), line("GPU fallback", cpu),
                 fmt::format("  {} transitions between the devices", transitions)};
  return out;
}

}  // namespace planish::tools
