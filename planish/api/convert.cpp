#include "planish/api/convert.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "planish/api/model_impl.h"
#include "planish/ops/infer_graph.h"
#include "planish/passes/narrow_half.h"

namespace planish::api {
namespace {

Error unfit(const Model& model, std::string what, std::string fix) {
  return Error{.code = Code::invalid_argument,
               .file = ModelAccess::impl(model).file_name,
               .what = std::move(what),
               .fix = std::move(fix)};
}

/// The type of a layer with weights that computes in 16 bits already; nullopt without any.
std::optional<DType> half_products(const Graph& graph) {
  for (const Node& node : graph.nodes) {
    if (!node.is("Conv") && !node.is("ConvTranspose") && !node.is("Gemm") && !node.is("MatMul")) continue;
    for (const ValueId v : node.inputs) {
      if (v == kNoValue) continue;
      const DType dtype = graph.value(v).dtype;
      if (dtype == DType::f16 || dtype == DType::bf16) return dtype;
    }
  }
  return std::nullopt;
}

}  // namespace

Result<Model> convert_to_half(const Model& model, const HalfOptions& options, HalfReport* report) {
  if (options.type != DType::f16 && options.type != DType::bf16)
    return unfit(model, fmt::format("{} is no half-precision type", dtype_name(options.type)), "use FP16 or BF16");
  if (model.has_quantize_nodes())
    return unfit(model, "the model is quantised (it has QuantizeLinear nodes)", "give the FP32 model");
  Graph graph = ModelAccess::impl(model).model.graph;
  PLANISH_TRY(annotate_shapes(graph));
  if (const auto half = half_products(graph))
    return unfit(model, fmt::format("the model is {} already", *half == DType::f16 ? "FP16" : "BF16"),
                 "give the FP32 model");
  NarrowReport narrowed;
  graph = PLANISH_TRY(narrow_to_half(
      graph, {.type = options.type, .keep_float = options.keep_float, .half_io = options.half_io}, &narrowed));
  PLANISH_TRY(annotate_shapes(graph));
  // Conv, pooling and other operators take bfloat16 from opset 22 on.
  constexpr int64_t kBf16Opset = 22;
  if (options.type == DType::bf16) graph.opset = std::max(graph.opset, kBf16Opset);
  if (report != nullptr) {
    report->half_nodes = narrowed.narrowed_nodes;
    report->float_nodes.clear();
    for (auto& [node, reason] : narrowed.float_nodes) report->float_nodes.push_back({node, reason});
  }
  Model converted = ModelAccess::with_graph(model, std::move(graph));
  if (options.half_io)
    for (auto* tensors : {&ModelAccess::impl(converted).inputs, &ModelAccess::impl(converted).outputs})
      for (TensorInfo& t : *tensors)
        if (t.dtype == DType::f32) t.dtype = options.type;
  return converted;
}

}  // namespace planish::api
