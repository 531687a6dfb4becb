#include "planish/tools/trtexec/layer_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <string_view>

namespace planish::tools {
namespace {

enum class Family { convolution, pooling, matrix, other };

struct OpName {
  std::string_view op;  ///< without domain
  std::string_view layer_type;
  Family family;
};

constexpr OpName kOps[] = {
    {"FusedConv", "Convolution", Family::convolution},
    {"QuantizedConv", "Convolution", Family::convolution},
    {"QuantizedInvertedResidual", "Convolution", Family::other},
    {"QuantizedFork", "Convolution", Family::other},
    {"Conv", "Convolution", Family::convolution},
    {"FusedConvTranspose", "Deconvolution", Family::convolution},
    {"ConvTranspose", "Deconvolution", Family::convolution},
    {"MaxPool", "Pooling", Family::pooling},
    {"AveragePool", "Pooling", Family::pooling},
    {"LpPool", "Pooling", Family::pooling},
    {"GlobalAveragePool", "Pooling", Family::pooling},
    {"GlobalMaxPool", "Pooling", Family::pooling},
    {"FusedMatMul", "MatrixMultiply", Family::matrix},
    {"WeightOnlyMatMul", "MatrixMultiply", Family::matrix},
    {"QuantizedMatMul", "MatrixMultiply", Family::matrix},
    {"QuantizedAveragePool", "Pooling", Family::pooling},
    {"QuantizedGlobalAveragePool", "Pooling", Family::pooling},
    {"MatMul", "MatrixMultiply", Family::matrix},
    {"Gemm", "MatrixMultiply", Family::matrix},
    {"Pointwise", "PointWiseV2", Family::other},
    {"Concat", "Concat", Family::other},
    {"Reshape", "Shuffle", Family::other},
    {"Transpose", "Shuffle", Family::other},
    {"Softmax", "SoftMax", Family::other},
    {"LayerNormalization", "Normalization", Family::other},
    {"QuantizeLinear", "Quantize", Family::other},
    {"DequantizeLinear", "Dequantize", Family::other},
};

std::string_view without_domain(std::string_view op) {
  const size_t dot = op.rfind('.');
  return dot == std::string_view::npos ? op : op.substr(dot + 1);
}

const api::AttributeValue* find(const api::LayerInfo& layer, std::string_view key) {
  for (const auto& [name, value] : layer.attributes) {
    if (name == key) return &value;
  }
  return nullptr;
}

std::vector<int64_t> ints(const api::LayerInfo& layer, std::string_view key, std::vector<int64_t> fallback) {
  const auto* value = find(layer, key);
  const auto* list = value == nullptr ? nullptr : std::get_if<std::vector<int64_t>>(value);
  return list == nullptr || list->empty() ? fallback : *list;
}

int64_t whole(const api::LayerInfo& layer, std::string_view key, int64_t fallback) {
  const auto* value = find(layer, key);
  const auto* number = value == nullptr ? nullptr : std::get_if<int64_t>(value);
  return number == nullptr ? fallback : *number;
}

std::string text(const api::LayerInfo& layer, std::string_view key) {
  const auto* value = find(layer, key);
  const auto* string = value == nullptr ? nullptr : std::get_if<std::string>(value);
  return string == nullptr ? "" : *string;
}

WeightsRecord weights_of(const api::TensorInfo& tensor) {
  return {tensor.dtype, std::accumulate(tensor.dims.begin(), tensor.dims.end(), int64_t{1}, std::multiplies<>())};
}

std::string upper(std::string word) {
  std::transform(word.begin(), word.end(), word.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  return word;
}

void add_window(const api::LayerInfo& layer, size_t spatial_rank, LayerRecord& out) {
  const std::vector<int64_t> ones(spatial_rank, 1);
  const std::vector<int64_t> pads = ints(layer, "pads", std::vector<int64_t>(2 * spatial_rank, 0));
  const auto middle = pads.begin() + static_cast<std::ptrdiff_t>(pads.size() / 2);
  const std::string mode = text(layer, "auto_pad");
  out.attributes.emplace_back("PaddingMode",
                              mode.empty() || mode == "NOTSET" ? std::string("kEXPLICIT_ROUND_DOWN") : mode);
  out.attributes.emplace_back("PrePadding", std::vector<int64_t>(pads.begin(), middle));
  out.attributes.emplace_back("PostPadding", std::vector<int64_t>(middle, pads.end()));
  out.attributes.emplace_back("Stride", ints(layer, "strides", ones));
}

/// Bias and weights that are constants, by their place among the inputs.
void add_weights(const api::LayerInfo& layer, LayerRecord& out) {
  const auto constant = [&](size_t i) {
    return i < layer.inputs.size() && i < layer.constant_inputs.size() && layer.constant_inputs[i];
  };
  if (constant(1)) out.attributes.emplace_back("Weights", weights_of(layer.inputs[1]));
  if (constant(2)) out.attributes.emplace_back("Bias", weights_of(layer.inputs[2]));
  const bool has_bias = layer.inputs.size() > 2 && !layer.inputs[2].name.empty();
  const std::string activation = text(layer, "activation");
  out.attributes.emplace_back("HasSparseWeights", false);
  out.attributes.emplace_back("Activation", activation.empty() ? std::string("NONE") : upper(activation));
  out.attributes.emplace_back("HasBias", has_bias);
  out.attributes.emplace_back("HasReLU", activation == "Relu");
  if (layer.inputs.size() > 3 && !layer.inputs[3].name.empty()) {
    out.attributes.emplace_back("ResidualLast", whole(layer, "residual_last", 0) != 0);
  }
}

void add_convolution(const api::LayerInfo& layer, LayerRecord& out) {
  if (layer.inputs.size() < 2 || layer.inputs[1].dims.size() < 3) return;
  const std::vector<int64_t>& filter = layer.inputs[1].dims;
  const size_t spatial_rank = filter.size() - 2;
  const int64_t groups = whole(layer, "group", 1);
  out.attributes.emplace_back("Kernel", std::vector<int64_t>(filter.begin() + 2, filter.end()));
  add_window(layer, spatial_rank, out);
  out.attributes.emplace_back("Dilation", ints(layer, "dilations", std::vector<int64_t>(spatial_rank, 1)));
  // Transposed filters are [C, K/G, R, S].
  const bool transposed = without_domain(layer.op).ends_with("ConvTranspose");
  out.attributes.emplace_back("OutMaps", transposed ? filter[1] * groups : filter[0]);
  out.attributes.emplace_back("Groups", groups);
  add_weights(layer, out);
}

void add_pooling(const api::LayerInfo& layer, std::string_view op, LayerRecord& out) {
  const bool is_max = op.find("Max") != std::string_view::npos;
  out.attributes.emplace_back("PoolingType", std::string(is_max ? "MAX" : op == "LpPool" ? "LP" : "AVERAGE"));
  std::vector<int64_t> window;
  if (!layer.inputs.empty() && layer.inputs[0].dims.size() > 2) {
    window.assign(layer.inputs[0].dims.begin() + 2, layer.inputs[0].dims.end());
  }
  window = ints(layer, "kernel_shape", window);
  out.attributes.emplace_back("WindowSize", window);
  add_window(layer, window.size(), out);
  out.attributes.emplace_back("BlendFactor", 0.0);
  out.attributes.emplace_back("AverageCountExcludesPadding", whole(layer, "count_include_pad", 0) == 0);
}

void add_plain(const api::LayerInfo& layer, LayerRecord& out) {
  for (const auto& [key, value] : layer.attributes) {
    std::visit([&, name = key](const auto& plain) { out.attributes.emplace_back(name, plain); }, value);
  }
}

TensorRecord operand(const api::TensorInfo& info) {
  return {.name = info.name,
          .dtype = info.dtype,
          .dims = info.dims,
          .channel_block = info.channel_block,
          .channels_last = info.layout == "channels_last",
          .holds_shape = info.holds_shape};
}

/// FNV-1a, a stable number for a tactic's name.
uint64_t hash_of(std::string_view words) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (char c : words) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return hash;
}

void add_costs(const api::LayerInfo& layer, LayerRecord& out) {
  if (!layer.detail.empty()) out.attributes.emplace_back("Implementation", layer.detail);
  if (layer.flops > 0) out.attributes.emplace_back("Flops", layer.flops);
  std::vector<std::string> candidates;
  for (const auto& [tactic, ms] : layer.candidates) candidates.push_back(fmt::format("{}: {:.4g} ms", tactic, ms));
  if (!candidates.empty()) out.attributes.emplace_back("Candidates", candidates);
}

LayerRecord layer_record(const api::LayerInfo& layer) {
  const std::string_view op = without_domain(layer.op);
  const auto* row = std::find_if(std::begin(kOps), std::end(kOps), [&](const OpName& name) { return name.op == op; });
  LayerRecord out{.name = layer.name, .type = std::string(row == std::end(kOps) ? op : row->layer_type)};
  for (size_t i = 0; i < layer.inputs.size(); ++i) {
    const bool constant = i < layer.constant_inputs.size() && layer.constant_inputs[i];
    if (!constant && !layer.inputs[i].name.empty()) out.inputs.push_back(operand(layer.inputs[i]));
  }
  for (const api::TensorInfo& info : layer.outputs) out.outputs.push_back(operand(info));
  const Family family = row == std::end(kOps) ? Family::other : row->family;
  if (family == Family::convolution) add_convolution(layer, out);
  if (family == Family::pooling) add_pooling(layer, op, out);
  if (family == Family::matrix) add_weights(layer, out);
  if (family == Family::other) add_plain(layer, out);
  if (op == "Reformat") out.attributes.emplace_back("Origin", std::string("REFORMAT"));
  if (op == "QuantizeLinear" || op == "DequantizeLinear") out.attributes.emplace_back("Origin", std::string("QDQ"));
  add_costs(layer, out);
  out.tactic = layer.tactic;
  out.tactic_hash = hash_of(layer.tactic + ' ' + layer.detail);
  out.onnx_nodes = layer.onnx_nodes;
  out.precision = upper(layer.precision);
  out.weight_bytes = layer.weight_bytes;
  out.workspace_bytes = layer.workspace_bytes;
  out.output_bytes = layer.output_bytes;
  out.tuned_time_ms = layer.tuned_time_ms;
  out.remark = layer.note;
  return out;
}

}  // namespace

std::vector<LayerRecord> layer_records(const std::vector<api::LayerInfo>& layers) {
  std::vector<LayerRecord> records;
  records.reserve(layers.size());
  for (const api::LayerInfo& layer : layers) records.push_back(layer_record(layer));
  return records;
}

}  // namespace planish::tools
