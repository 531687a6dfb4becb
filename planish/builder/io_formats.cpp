#include "planish/builder/io_formats.h"

#include <fmt/format.h>

#include <algorithm>

#include "planish/ops/infer_graph.h"

namespace planish {
namespace {

Error bad_format(const std::string& name, std::string what, std::string fix) {
  return Error{.code = Code::invalid_argument, .tensor = name, .what = std::move(what), .fix = std::move(fix)};
}

bool is_int8(DType dtype) { return dtype == DType::i8 || dtype == DType::u8; }

class BoundaryEditor {
 public:
  explicit BoundaryEditor(Graph& graph) : graph_(graph) {}

  Status apply(const std::string& name, const IoFormat& format) {
    for (size_t i = 0; i < graph_.inputs.size(); ++i)
      if (graph_.name_of(graph_.inputs[i]) == name) return input(i, format);
    for (size_t i = 0; i < graph_.outputs.size(); ++i)
      if (graph_.name_of(graph_.outputs[i]) == name) return output(i, format);
    return bad_format(name, "the network has no input or output of this name",
                      "list its tensors with: planish inspect");
  }

 private:
  Status input(size_t i, const IoFormat& format) {
    const ValueId inner = graph_.inputs[i];
    const DType from = graph_.value(inner).dtype;
    if (format.dtype != DType::undefined && format.dtype != from) {
      const ValueId outer = detach(inner, format.dtype);
      Node node = PLANISH_TRY(conversion(outer, inner, graph_.name_of(outer), is_int8(format.dtype)));
      graph_.nodes.insert(graph_.nodes.begin(), std::move(node));
      graph_.inputs[i] = outer;
    }
    return set_layout(graph_.inputs[i], format.layout);
  }

  Status output(size_t i, const IoFormat& format) {
    const ValueId inner = graph_.outputs[i];
    const DType from = graph_.value(inner).dtype;
    if (format.dtype != DType::undefined && format.dtype != from) {
      if (std::ranges::find(graph_.inputs, inner) != graph_.inputs.end() || graph_.value(inner).is_constant())
        return bad_format(std::string(graph_.name_of(inner)), "an output that is an input or a constant keeps its type",
                          "leave its type out");
      const ValueId outer = detach(inner, format.dtype);
      Node node = PLANISH_TRY(conversion(inner, outer, graph_.name_of(outer), is_int8(format.dtype)));
      graph_.nodes.push_back(std::move(node));
      for (ValueId& v : graph_.outputs)
        if (v == inner) v = outer;
    }
    return set_layout(graph_.outputs[i], format.layout);
  }

  /// A value of type `dtype` that takes over the name of `inner`, which is renamed.
  ValueId detach(ValueId inner, DType dtype) {
    Value outer = graph_.value(inner);
    outer.dtype = dtype;
    outer.constant.reset();
    graph_.value(inner).name = graph_.unique_name(outer.name + "_inside");
    return graph_.add_value(std::move(outer));
  }

  Result<Node> conversion(ValueId from, ValueId to, std::string_view name, bool quantised) {
    Node node{.op = "Cast",
              .domain = "",
              .name = fmt::format("IO format of {}", name),
              .inputs = {from},
              .outputs = {to},
              .attrs = {},
              .origins = {}};
    if (!quantised) {
      node.attrs["to"] = static_cast<int64_t>(graph_.value(to).dtype);
      return node;
    }
    // Q/DQ beside the boundary: an input goes straight into QuantizeLinear, an output comes straight out of
    // DequantizeLinear. The same scale makes the pair at the boundary the identity on integers.
    const bool is_input = is_int8(graph_.value(from).dtype);
    const Node* beside = nullptr;
    for (const Node& n : graph_.nodes) {
      if (is_input && n.op == "QuantizeLinear" && n.in(0) == to) beside = &n;
      if (!is_input && n.op == "DequantizeLinear" && n.out(0) == from) beside = &n;
    }
    if (beside == nullptr || graph_.constant_of(beside->in(1)) == nullptr)
      return bad_format(std::string(name),
                        "an INT8 input or output needs a scale, and no Q/DQ node beside it gives one",
                        "quantise the model first (planish quantize), or ask for fp32 or fp16");
    node.op = is_input ? "DequantizeLinear" : "QuantizeLinear";
    node.inputs = {from, beside->in(1)};
    if (beside->in(2) != kNoValue) node.inputs.push_back(beside->in(2));
    return node;
  }

  Status set_layout(ValueId v, Layout layout) {
    Value& value = graph_.value(v);
    if (layout == Layout::row_major) return {};
    const Shape& shape = value.shape ? *value.shape : Shape{};
    const bool is_image = shape.size() >= 3 && shape.size() <= 5;
    const bool fits = is_image && ((dtype_is_byte_sized(value.dtype) && dtype_is_float(value.dtype)) ||
                                   (is_int8(value.dtype) && layout == Layout::channels_last));
    if (!fits)
      return bad_format(value.name,
                        fmt::format("{} {} does not come in that layout", dtype_name(value.dtype), to_string(shape)),
                        "give chw; images of floating-point numbers have others, and those of bytes hwc");
    value.layout = layout;
    return {};
  }

  Graph& graph_;
};

}  // namespace

Status apply_io_formats(Graph& graph, const BuildOptions& options) {
  if (options.io_formats.empty()) return {};
  PLANISH_TRY(annotate_shapes(graph));
  BoundaryEditor editor(graph);
  for (const auto& [name, format] : options.io_formats) PLANISH_TRY(editor.apply(name, format));
  return {};
}

std::map<std::string, IoFormat> io_formats_of(const Graph& engine, const Graph& model) {
  std::map<std::string, IoFormat> out;
  const auto compare = [&](const std::vector<ValueId>& ours, const std::vector<ValueId>& theirs) {
    for (const ValueId v : ours)
      for (const ValueId w : theirs) {
        const Value& a = engine.value(v);
        const Value& b = model.value(w);
        if (a.name == b.name && (a.dtype != b.dtype || a.layout != Layout::row_major))
          out[a.name] = IoFormat{.dtype = a.dtype, .layout = a.layout};
      }
  };
  compare(engine.inputs, model.inputs);
  compare(engine.outputs, model.outputs);
  return out;
}

}  // namespace planish
