#include "planish/ops/infer_graph.h"

#include <fmt/format.h>

#include <algorithm>

namespace planish {
namespace {

/// Largest tensor that shape arithmetic carries along; shapes, axes and small index tables are far below it.
constexpr int64_t kMaxCarriedElements = 4096;

class Inference {
 public:
  explicit Inference(const Graph& graph) : graph_(graph) {
    const size_t n = graph.values.size();
    facts_.dtypes.resize(n);
    facts_.shapes.resize(n);
    facts_.values.resize(n);
    for (size_t i = 0; i < n; ++i) {
      facts_.dtypes[i] = graph.values[i].dtype;
      if (graph.values[i].is_constant()) facts_.shapes[i] = graph.values[i].constant->shape();
    }
  }

  Status run(std::span<const std::optional<Shape>> input_shapes, std::span<const Tensor> input_values) {
    for (size_t i = 0; i < graph_.inputs.size(); ++i) {
      const auto v = static_cast<size_t>(graph_.inputs[i]);
      facts_.shapes[v] = i < input_shapes.size() && input_shapes[i] ? input_shapes[i] : graph_.values[v].shape;
      if (i < input_values.size() && input_values[i].defined()) facts_.values[v] = input_values[i];
    }
    for (const auto& capture : graph_.captures)
      facts_.shapes[static_cast<size_t>(capture.second)] = graph_.value(capture.second).shape;
    for (const Node& node : graph_.nodes) PLANISH_TRY(visit(node));
    return {};
  }

  Status run_body(std::span<const InferContext::Known> inputs, std::span<const InferContext::Known> captured) {
    for (size_t i = 0; i < graph_.inputs.size(); ++i)
      seed(graph_.inputs[i], i < inputs.size() ? inputs[i] : InferContext::Known{});
    for (size_t i = 0; i < graph_.captures.size(); ++i)
      seed(graph_.captures[i].second, i < captured.size() ? captured[i] : InferContext::Known{});
    for (const Node& node : graph_.nodes) PLANISH_TRY(visit(node));
    return {};
  }

  ShapeFacts take() && { return std::move(facts_); }

 private:
  void seed(ValueId id, const InferContext::Known& known) {
    const auto v = static_cast<size_t>(id);
    if (known.dtype != DType::undefined) facts_.dtypes[v] = known.dtype;
    facts_.shapes[v] = known.shape ? known.shape : graph_.values[v].shape;
    if (known.value != nullptr) facts_.values[v] = *known.value;
  }

  [[nodiscard]] const Tensor* known(ValueId v) const {
    if (v == kNoValue) return nullptr;
    // A constant that a tactic packed away has a shape but no data.
    if (const Tensor* c = graph_.constant_of(v)) return c->raw() != nullptr || c->size() == 0 ? c : nullptr;
    const auto& value = facts_.values[static_cast<size_t>(v)];
    return value ? &*value : nullptr;
  }

  Status visit(const Node& node) {
    const OpDecl* op = find_op(node.domain, node.op);
    if (op == nullptr || op->infer == nullptr) return {};
    std::vector<InferContext::Known> in(node.inputs.size());
    for (size_t i = 0; i < in.size(); ++i) {
      const ValueId v = node.inputs[i];
      if (v == kNoValue) continue;
      const auto k = static_cast<size_t>(v);
      if (facts_.dtypes[k] == DType::undefined || !facts_.shapes[k]) return {};
      in[i] = {facts_.dtypes[k], facts_.shapes[k], known(v)};
    }
    InferContext ctx(node, std::move(in));
    PLANISH_TRY(op->infer(ctx));
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (node.outputs[i] == kNoValue) continue;
      const auto k = static_cast<size_t>(node.outputs[i]);
      const auto& out = ctx.outputs()[i];
      if (out.dtype != DType::undefined) facts_.dtypes[k] = out.dtype;
      facts_.shapes[k] = out.shape;
    }
    return evaluate(node, *op);
  }

  /// Carries small values along, so that Shape -> Gather -> Concat -> Reshape gives a known shape.
  Status evaluate(const Node& node, const OpDecl& op) {
    if (op.reference == nullptr || (op.traits & kTraitRandom) != 0) return {};
    // A loop may run long, or for ever: only the run itself may do that.
    if (node.is("Loop")) return {};
    for (const ValueId v : node.outputs) {
      if (v == kNoValue) continue;
      // Values that are carried lie in row-major order: what turns them into another layout is left to the run.
      if (graph_.value(v).layout != Layout::row_major) return {};
      const auto& shape = facts_.shapes[static_cast<size_t>(v)];
      const bool dynamic = (op.traits & kTraitDynamicShape) != 0;
      if (!dynamic && (!shape || !is_static(*shape) || element_count(*shape) > kMaxCarriedElements)) return {};
    }
    const bool from_shape = node.domain.empty() && (node.op == "Shape" || node.op == "Size");
    std::vector<Tensor> stand_ins(node.inputs.size());
    std::vector<const Tensor*> in(node.inputs.size(), nullptr);
    for (size_t i = 0; i < in.size(); ++i) {
      const ValueId v = node.inputs[i];
      if (v == kNoValue) continue;
      in[i] = known(v);
      if (in[i] != nullptr) {
        if (in[i]->size() > kMaxCarriedElements && !from_shape) return {};
        continue;
      }
      if (!from_shape || !is_static(*facts_.shapes[static_cast<size_t>(v)])) return {};
      // Shape and Size look at the shape only: a tensor without memory will do.
      stand_ins[i] =
          Tensor::borrow(facts_.dtypes[static_cast<size_t>(v)], *facts_.shapes[static_cast<size_t>(v)], nullptr);
      in[i] = &stand_ins[i];
    }
    std::vector<Tensor> out(node.outputs.size());
    PLANISH_TRY(run_reference(node, in, out));
    for (size_t i = 0; i < out.size(); ++i) {
      if (node.outputs[i] == kNoValue || !out[i].defined()) continue;
      const auto k = static_cast<size_t>(node.outputs[i]);
      facts_.shapes[k] = out[i].shape();
      facts_.dtypes[k] = out[i].dtype();
      facts_.values[k] = std::move(out[i]);
    }
    return {};
  }

  const Graph& graph_;
  ShapeFacts facts_;
};

}  // namespace

Status check_operand_types(const Graph& graph) {
  Inference inference(graph);
  // Other faults are found when the shapes that the user gives are known. What comes behind one has no types yet.
  (void)inference.run({}, {});
  const ShapeFacts facts = std::move(inference).take();
  const auto type = [&](ValueId v) { return facts.dtypes[static_cast<size_t>(v)]; };
  constexpr size_t kMostBit = 31;
  for (const Node& node : graph.nodes) {
    const OpDecl* op = find_op(node.domain, node.op);
    if (op == nullptr) continue;
    size_t first = node.inputs.size();
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId v = node.inputs[i];
      const bool marked = (op->one_type >> std::min(i, kMostBit) & 1U) != 0;
      if (!marked || v == kNoValue || type(v) == DType::undefined) continue;
      first = std::min(first, i);
      const ValueId other = node.inputs[first];
      if (type(v) == type(other)) continue;
      return Error{.code = Code::invalid_model,
                   .node = node.name,
                   .what = fmt::format("{}: inputs {} ('{}') and {} ('{}') have types {} and {}", node.op, first,
                                       graph.value(other).name, i, graph.value(v).name, dtype_name(type(other)),
                                       dtype_name(type(v))),
                   .fix = "insert a Cast so that both have the same type"};
    }
  }
  return {};
}

Result<ShapeFacts> infer_shapes(const Graph& graph, std::span<const std::optional<Shape>> input_shapes,
                                std::span<const Tensor> input_values) {
  Inference inference(graph);
  PLANISH_TRY(inference.run(input_shapes, input_values));
  return std::move(inference).take();
}

Result<ShapeFacts> infer_body(const Graph& body, std::span<const InferContext::Known> inputs,
                              std::span<const InferContext::Known> captured) {
  Inference inference(body);
  PLANISH_TRY(inference.run_body(inputs, captured));
  return std::move(inference).take();
}

Status annotate_shapes(Graph& graph, std::span<const std::optional<Shape>> input_shapes) {
  ShapeFacts facts = PLANISH_TRY(infer_shapes(graph, input_shapes));
  for (size_t i = 0; i < graph.values.size(); ++i) {
    graph.values[i].dtype = facts.dtypes[i];
    graph.values[i].shape = std::move(facts.shapes[i]);
  }
  return {};
}

std::optional<Shape> broadcast_shapes(const Shape& a, const Shape& b) {
  Shape out(std::max(a.size(), b.size()));
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t x = i < a.size() ? a[a.size() - 1 - i] : 1;
    const int64_t y = i < b.size() ? b[b.size() - 1 - i] : 1;
    int64_t d = 0;
    if (x == y || y == 1)
      d = x;
    else if (x == 1)
      d = y;
    else if (x < 0)
      d = y;  // an unknown dimension can only be 1 or y
    else if (y < 0)
      d = x;
    else
      return std::nullopt;
    out[out.size() - 1 - i] = d;
  }
  return out;
}

}  // namespace planish
