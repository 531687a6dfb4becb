#include "planish/api/layer_info.h"

#include <algorithm>
#include <numeric>

#include "planish/ops/chain.h"
#include "planish/ops/conv_geometry.h"
#include "planish/ops/inverted_residual.h"
#include "planish/ops/op.h"
#include "planish/ops/quantized_fork.h"

namespace planish::api {
namespace {

std::optional<AttributeValue> attribute(const Attr& attr) {
  return std::visit(
      [](const auto& v) -> std::optional<AttributeValue> {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, float>)
          return AttributeValue(static_cast<double>(v));
        else if constexpr (std::is_same_v<T, std::vector<float>>)
          return AttributeValue(std::vector<double>(v.begin(), v.end()));
        else if constexpr (std::is_same_v<T, Tensor> || std::is_same_v<T, std::shared_ptr<const Graph>>)
          return std::nullopt;
        else
          return AttributeValue(v);
      },
      attr);
}

int64_t product(const Shape& s, size_t from) {
  return std::accumulate(s.begin() + static_cast<std::ptrdiff_t>(std::min(from, s.size())), s.end(), int64_t{1},
                         std::multiplies<>());
}

/// Multiply-adds of convolutions and matrix products, counted twice.
double flops_of(const Node& node, const std::vector<TensorInfo>& in, const std::vector<TensorInfo>& out) {
  if (in.size() < 2 || out.empty()) return 0;
  const double outputs = static_cast<double>(product(out[0].dims, 0));
  if (node.op == "FusedConv" || node.op == "QuantizedConv" || node.op == "Conv")
    return 2.0 * outputs * static_cast<double>(product(in[1].dims, 1));
  if (node.op == "QuantizedFork") {
    double sum = 0;
    for (size_t i = 0; i < kForkParts; ++i) {
      const Shape& w = in[fork_weights(i)].dims;
      const auto conv = resolve_conv(fork_part(node, i), in[0].dims, w);
      if (!conv.ok()) return 0;
      sum += 2.0 * static_cast<double>(product(conv->output(), 0)) * static_cast<double>(product(w, 1));
    }
    return sum;
  }
  if (node.op == "QuantizedInvertedResidual") {
    Shape x = in[0].dims;
    double sum = 0;
    for (size_t i = 0; i < kInvertedResidualParts; ++i) {
      const Shape& w = in[inverted_residual_weights(i)].dims;
      const auto conv = resolve_conv(inverted_residual_part(node, i), x, w);
      if (!conv.ok()) return 0;
      x = conv->output();
      sum += 2.0 * static_cast<double>(product(x, 0)) * static_cast<double>(product(w, 1));
    }
    return sum;
  }
  if (node.op == "FusedConvTranspose" || node.op == "ConvTranspose")
    return 2.0 * static_cast<double>(product(in[0].dims, 0)) * static_cast<double>(product(in[1].dims, 1));
  if ((node.op == "FusedMatMul" || node.op == "QuantizedMatMul" || node.op == "WeightOnlyMatMul" ||
       node.op == "MatMul" || node.op == "Gemm") &&
      !in[0].dims.empty()) {
    const bool trans = node.attr_int("trans_a", 0) != 0 && in[0].dims.size() >= 2;
    return 2.0 * outputs * static_cast<double>(in[0].dims[in[0].dims.size() - (trans ? 2 : 1)]);
  }
  if (node.op == "Attention" && in.size() >= 3 && in[0].dims.size() == 4 && in[1].dims.size() == 4 &&
      in[2].dims.size() == 4) {
    const double scores = static_cast<double>(product(in[0].dims, 0)) * static_cast<double>(in[1].dims[2]);
    return 2.0 * scores + 2.0 * scores / static_cast<double>(in[0].dims[3]) * static_cast<double>(in[2].dims[3]);
  }
  return 0;
}

/// The sum over the steps of a chain.
double chain_flops(const Node& node, const std::vector<TensorInfo>& in) {
  const auto steps = chain_steps(node);
  if (!steps.ok()) return 0;
  std::vector<TensorInfo> values = in;
  double sum = 0;
  for (const ChainStep& step : *steps) {
    std::vector<TensorInfo> operands;
    std::vector<InferContext::Known> known;
    for (const int32_t operand : step.operands) {
      operands.push_back(operand < 0 ? TensorInfo{} : values[static_cast<size_t>(operand)]);
      known.push_back(operand < 0 ? InferContext::Known{}
                                  : InferContext::Known{DType::f32, operands.back().dims, nullptr});
    }
    InferContext ctx(step.node, std::move(known));
    const OpDecl* op = find_op(step.node.domain, step.node.op);
    if (op == nullptr || !op->infer(ctx).ok() || !ctx.outputs()[0].shape) return 0;
    TensorInfo result;
    result.dims = *ctx.outputs()[0].shape;
    sum += flops_of(step.node, operands, {result});
    values.push_back(std::move(result));
  }
  return sum;
}

/// The node that makes `v`, reformats skipped; nullptr for inputs and constants.
const Node* maker_of(const Graph& graph, ValueId v) {
  for (auto it = graph.nodes.rbegin(); it != graph.nodes.rend(); ++it) {
    if (v == kNoValue || std::ranges::find(it->outputs, v) == it->outputs.end()) continue;
    if (!it->is("Reformat", "planish")) return &*it;
    v = it->in(0);
  }
  return nullptr;
}

/// Why a product among integer layers computes in float, from what is left of Q/DQ around it; "" where nobody asks.
std::string float_reason(const Graph& graph, const Node& node) {
  const bool product =
      node.is("FusedConv", "planish") || node.is("FusedMatMul", "planish") || node.is("WeightOnlyMatMul", "planish");
  const auto integer = [](const Node& n) { return n.domain == "planish" && n.op.starts_with("Quantized"); };
  const bool transposed = node.is("FusedConvTranspose", "planish") || node.is("ConvTranspose");
  if ((!product && !transposed) || std::ranges::none_of(graph.nodes, integer)) return {};
  if (!product) return "there is no integer kernel for ConvTranspose";
  const auto dequantised = [&graph](ValueId v) {
    const Node* maker = maker_of(graph, v);
    if (maker == nullptr || !maker->is("Pointwise", "planish")) return false;
    const auto it = maker->attrs.find("steps");
    const auto* steps = it == maker->attrs.end() ? nullptr : std::get_if<std::vector<std::string>>(&it->second);
    return steps != nullptr && !steps->empty() && steps->back().starts_with("DequantizeLinear");
  };
  if (!dequantised(node.in(0))) return "the model does not quantise its input, or not with one scale";
  return "the model does not quantise its second operand, or not with one scale per output channel";
}

}  // namespace

TensorInfo tensor_info(const Graph& graph, ValueId v, const std::optional<Shape>& shape, std::optional<DType> dtype) {
  TensorInfo t;
  if (v == kNoValue) return t;
  const Value& value = graph.value(v);
  t.name = value.name;
  t.dtype = dtype.value_or(value.dtype);
  if (value.constant)
    t.dims = value.constant->shape();
  else if (shape)
    t.dims = *shape;
  else if (value.shape)
    t.dims = *value.shape;
  t.dim_names = value.dim_names;
  t.layout = std::string(layout_name(value.layout));
  t.channel_block = static_cast<int>(layout_block(value.layout));
  return t;
}

LayerInfo layer_info(const planish::Engine& engine, const StepInfo& step,
                     const std::vector<std::optional<Shape>>& shapes) {
  const auto n = static_cast<size_t>(step.node);
  const Graph& graph = engine.graph;
  const Node& node = graph.nodes[n];
  const LayerPlan& plan = engine.layers[n];
  LayerInfo info;
  info.name = node.name;
  info.op = op_key(node);
  const auto shape_of = [&](ValueId v) { return v == kNoValue ? std::nullopt : shapes[static_cast<size_t>(v)]; };
  for (const ValueId v : node.inputs) {
    info.inputs.push_back(tensor_info(graph, v, shape_of(v), std::nullopt));
    const bool constant = graph.constant_of(v) != nullptr;
    info.constant_inputs.push_back(constant);
    if (v == kNoValue) continue;
    const TensorInfo& t = info.inputs.back();
    const auto bytes =
        element_count(t.dims) < 0 ? 0 : static_cast<int64_t>(dtype_bytes(t.dtype, element_count(t.dims)));
    (constant ? info.weight_bytes : info.input_bytes) += bytes;
  }
  for (const ValueId v : node.outputs) {
    if (v == kNoValue) continue;
    info.outputs.push_back(tensor_info(graph, v, shape_of(v), std::nullopt));
    const TensorInfo& t = info.outputs.back();
    if (element_count(t.dims) >= 0)
      info.output_bytes += static_cast<int64_t>(layout_bytes(t.dtype, t.dims, graph.value(v).layout));
  }
  for (const auto& [key, attr] : node.attrs)
    if (auto value = attribute(attr)) info.attributes.emplace_back(key, std::move(*value));
  info.onnx_nodes = node.origins;
  info.tactic = step.copies_only ? "copy" : (step.deferred ? "deferred" : step.tactic);
  info.detail = step.detail;
  info.precision = plan.precision;
  info.note = plan.note.empty() ? float_reason(graph, node) : plan.note;
  info.workspace_bytes = static_cast<int64_t>(step.workspace_bytes);
  info.tuned_time_ms = static_cast<double>(plan.time_ms);
  for (const Candidate& c : plan.candidates) info.candidates.emplace_back(c.tactic, static_cast<double>(c.time_ms));
  info.flops = node.is("Chain", "planish") ? chain_flops(node, info.inputs) : flops_of(node, info.inputs, info.outputs);
  return info;
}

}  // namespace planish::api
