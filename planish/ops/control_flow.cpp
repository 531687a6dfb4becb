// If, Loop, Scan: operators that own graphs. Captured values are inputs behind the node's own ones (attribute
// own_inputs); see Graph::captures. https://onnx.ai/onnx/operators/onnx__If.html (and Loop, Scan)

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "planish/ops/checks.h"
#include "planish/ops/control_flow.h"
#include "planish/ops/elements.h"
#include "planish/ops/infer_graph.h"
#include "planish/ops/registry.h"
#include "planish/ops/strided_copy.h"

namespace planish {
namespace {

using Known = InferContext::Known;

/// Types and shapes that two branches have in common.
Known merge(const Known& a, const Known& b) {
  Known out{a.dtype, std::nullopt, nullptr};
  if (!a.shape || !b.shape || a.shape->size() != b.shape->size()) return out;
  out.shape = a.shape;
  for (size_t i = 0; i < out.shape->size(); ++i)
    if ((*a.shape)[i] != (*b.shape)[i]) (*out.shape)[i] = kUnknownDim;
  return out;
}

Result<std::shared_ptr<const Graph>> branch_of(const Node& node, const char* name, size_t outputs) {
  auto graph = node.attr_graph(name);
  if (graph == nullptr || graph->outputs.size() != outputs)
    return Error{.code = Code::invalid_model,
                 .node = node.name,
                 .what = fmt::format("If: {} is missing or does not have {} outputs", name, outputs)};
  return graph;
}

Result<std::vector<Known>> infer_branch(InferContext& ctx, const char* name) {
  const auto graph = PLANISH_TRY(branch_of(ctx.node(), name, ctx.num_outputs()));
  return infer_body_outputs(ctx, *graph, {});
}

Status infer_if(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  std::vector<Known> out;
  const Tensor* cond = ctx.value(0);
  if (cond != nullptr && cond->size() == 1) {
    out = PLANISH_TRY(infer_branch(ctx, cond->at(0) != 0 ? "then_branch" : "else_branch"));
  } else {
    for (const char* name : {"then_branch", "else_branch"}) PLANISH_TRY(branch_of(ctx.node(), name, ctx.num_outputs()));
    // Exporters write branches for other input sizes, which these shapes do not fit: such a branch says nothing about
    // the outputs, and fails only if it is taken.
    auto taken = infer_branch(ctx, "then_branch");
    auto other = infer_branch(ctx, "else_branch");
    if (!taken.ok() && !other.ok()) return std::move(taken).take_error();
    out = std::move(taken.ok() ? taken : other).take_value();
    if (taken.ok() && other.ok())
      for (size_t i = 0; i < out.size(); ++i) out[i] = merge(out[i], (*other)[i]);
  }
  for (size_t i = 0; i < out.size(); ++i) ctx.set(i, out[i].dtype, out[i].shape);
  return {};
}

Status run_if(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  if (ctx.in(0).size() != 1) return ctx.error("the condition must be one element");
  const char* name = ctx.in(0).at(0) != 0 ? "then_branch" : "else_branch";
  const auto graph = PLANISH_TRY(branch_of(ctx.node(), name, ctx.num_outputs()));
  const auto results = PLANISH_TRY(run_body(ctx, *graph, {}));
  for (size_t i = 0; i < results.size(); ++i) PLANISH_TRY(copy_to_output(ctx, i, results[i]));
  return {};
}

/// The body of a Loop with its counts checked.
struct LoopBody {
  std::shared_ptr<const Graph> graph;
  size_t states;
  size_t scans;
};

template <typename Ctx>
Result<LoopBody> loop_body(const Ctx& ctx) {
  const auto graph = ctx.node().attr_graph("body");
  const size_t own = own_inputs(ctx.node());
  if (graph == nullptr || own < 2) return ctx.error("body, M or cond is missing");
  const size_t states = own - 2;
  if (graph->inputs.size() != states + 2 || graph->outputs.size() < states + 1 ||
      ctx.num_outputs() != graph->outputs.size() - 1)
    return ctx.error(fmt::format("{} loop variables do not fit a body with {} inputs and {} outputs", states,
                                 graph->inputs.size(), graph->outputs.size()));
  return LoopBody{graph, states, graph->outputs.size() - 1 - states};
}

/// Bodies declare the counter and the condition as scalars or as tensors of one element.
Shape one_element_shape(const Graph& body, size_t input) {
  const auto& shape = body.value(body.inputs[input]).shape;
  return shape ? Shape(shape->size(), 1) : Shape{};
}

/// Trip count when it is certain: M known and the condition stays true whatever happens.
int64_t certain_trips(const InferContext& ctx, const Known& next_cond) {
  const Tensor* cond = ctx.value(1);
  const bool starts = !ctx.has(1) || (cond != nullptr && cond->size() == 1 && cond->at(0) != 0);
  if (cond != nullptr && cond->size() == 1 && cond->at(0) == 0) return 0;
  const Tensor* limit = ctx.value(0);
  if (limit == nullptr || limit->size() != 1) return kUnknownDim;
  const int64_t trips = std::max<int64_t>(limit->int_at(0), 0);
  if (trips == 0) return 0;
  const bool stays = next_cond.value != nullptr && next_cond.value->size() == 1 && next_cond.value->at(0) != 0;
  return starts && stays ? trips : kUnknownDim;
}

Status infer_loop(InferContext& ctx) {
  const LoopBody body = PLANISH_TRY(loop_body(ctx));
  const Graph& graph = *body.graph;
  Tensor truth(DType::boolean, one_element_shape(graph, 1));
  truth.data<bool>()[0] = true;
  std::vector<Known> in(body.states + 2);
  in[0] = {DType::i64, one_element_shape(graph, 0), nullptr};
  in[1] = {DType::boolean, truth.shape(), &truth};
  for (size_t i = 0; i < body.states; ++i) {
    PLANISH_TRY(require_inputs_at(ctx, i + 2));
    in[i + 2] = {ctx.dtype(i + 2), ctx.shape(i + 2), nullptr};
  }
  // A loop variable may change its shape from one iteration to the next: widen until nothing changes. Each round
  // loses at least one dimension or rank, so it ends.
  std::vector<Tensor> kept;
  std::vector<Known> out = PLANISH_TRY(infer_body_outputs(ctx, graph, in, &kept));
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t i = 0; i < body.states; ++i) {
      const Known merged = merge(in[i + 2], out[i + 1]);
      if (merged.shape == in[i + 2].shape) continue;
      in[i + 2].shape = merged.shape;
      changed = true;
    }
    if (changed) out = PLANISH_TRY(infer_body_outputs(ctx, graph, in, &kept));
  }
  const int64_t trips = certain_trips(ctx, out[0]);
  for (size_t i = 0; i < body.states; ++i)
    ctx.set(i, in[i + 2].dtype, trips == 0 ? std::optional(ctx.shape(i + 2)) : in[i + 2].shape);
  for (size_t i = body.states; i < ctx.num_outputs(); ++i) {
    std::optional<Shape> shape = out[i + 1].shape;
    if (shape) shape->insert(shape->begin(), trips);
    ctx.set(i, out[i + 1].dtype, shape);
  }
  return {};
}

Status run_loop(RefContext& ctx) {
  const LoopBody body = PLANISH_TRY(loop_body(ctx));
  const Graph& graph = *body.graph;
  if ((ctx.has(0) && ctx.in(0).size() != 1) || (ctx.has(1) && ctx.in(1).size() != 1))
    return ctx.error("M and cond must be one element each");
  const int64_t limit = ctx.has(0) ? ctx.in(0).int_at(0) : INT64_MAX;
  bool go_on = !ctx.has(1) || ctx.in(1).at(0) != 0;
  std::vector<Tensor> in(body.states + 2);
  for (size_t i = 0; i < body.states; ++i) {
    PLANISH_TRY(require_inputs_at(ctx, i + 2));
    in[i + 2] = ctx.in(i + 2);
  }
  std::vector<std::vector<Tensor>> scans(body.scans);
  for (int64_t trip = 0; trip < limit && go_on; ++trip) {
    in[0] = Tensor(DType::i64, one_element_shape(graph, 0));
    in[0].data<int64_t>()[0] = trip;
    in[1] = Tensor(DType::boolean, one_element_shape(graph, 1));
    in[1].data<bool>()[0] = go_on;
    auto out = PLANISH_TRY(run_body(ctx, graph, in));
    if (out[0].size() != 1) return ctx.error("the body's condition is not one element");
    go_on = out[0].at(0) != 0;
    for (size_t i = 0; i < body.states; ++i) in[i + 2] = std::move(out[i + 1]);
    for (size_t i = 0; i < body.scans; ++i) scans[i].push_back(std::move(out[body.states + 1 + i]));
  }
  for (size_t i = 0; i < body.states; ++i) PLANISH_TRY(copy_to_output(ctx, i, in[i + 2]));
  for (size_t i = 0; i < body.scans; ++i) {
    const Value& declared = graph.value(graph.outputs[body.states + 1 + i]);
    PLANISH_TRY(stack_to_output(ctx, body.states + i, scans[i], 0, declared));
  }
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "If", .since = 1, .traits = kTraitDynamicShape, .infer = infer_if, .reference = run_if},
    OpDecl{.name = "Loop", .since = 1, .traits = kTraitDynamicShape, .infer = infer_loop, .reference = run_loop},
};

}  // namespace

std::span<const OpDecl> control_flow_ops() { return kOps; }

size_t own_inputs(const Node& node) {
  const auto count = node.attr_int("own_inputs", static_cast<int64_t>(node.inputs.size()));
  return count < 0 ? 0 : std::min(static_cast<size_t>(count), node.inputs.size());
}

Result<std::vector<InferContext::Known>> infer_body_outputs(const InferContext& ctx, const Graph& body,
                                                            std::span<const InferContext::Known> inputs,
                                                            std::vector<Tensor>* values) {
  std::vector<Known> captured;
  for (const auto& [index, inner] : body.captures) {
    const auto i = static_cast<size_t>(index);
    if (index < 0 || !ctx.has(i)) return ctx.error(fmt::format("a body captures input {}, which is missing", index));
    captured.push_back({ctx.dtype(i), ctx.shape(i), ctx.value(i)});
  }
  auto facts = infer_body(body, inputs, captured);
  if (!facts.ok())
    return std::move(facts).take_error().with_context(fmt::format("inferring the body of '{}'", ctx.node().name));
  std::vector<Known> out;
  if (values != nullptr) values->resize(body.outputs.size());
  for (size_t i = 0; i < body.outputs.size(); ++i) {
    const auto v = static_cast<size_t>(body.outputs[i]);
    out.push_back({facts->dtypes[v], facts->shapes[v] ? facts->shapes[v] : body.values[v].shape, nullptr});
    if (values == nullptr) continue;
    const Tensor* constant = body.constant_of(body.outputs[i]);
    (*values)[i] = constant != nullptr ? *constant : facts->values[v].value_or(Tensor());
    if ((*values)[i].defined()) out.back().value = &(*values)[i];
  }
  return out;
}

Result<std::vector<Tensor>> run_body(RefContext& ctx, const Graph& body, std::span<const Tensor> inputs) {
  std::vector<Tensor> captured;
  for (const auto& [index, inner] : body.captures) {
    const auto i = static_cast<size_t>(index);
    if (index < 0 || !ctx.has(i)) return ctx.error(fmt::format("a body captures input {}, which is missing", index));
    captured.push_back(ctx.in(i));
  }
  auto results = interpret(body, inputs, captured);
  if (!results.ok())
    return std::move(results).take_error().with_context(fmt::format("running the body of '{}'", ctx.node().name));
  for (const Tensor& t : *results)
    if (!t.defined()) return ctx.error("a body does not compute one of its outputs");
  return results;
}

Status copy_to_output(RefContext& ctx, size_t i, const Tensor& value) {
  if (!ctx.wants(i)) return {};
  Tensor* y = PLANISH_TRY(ctx.output(i, value.dtype(), value.shape()));
  if (value.bytes() != 0 && y->raw() != value.raw()) std::memcpy(y->raw(), value.raw(), value.bytes());
  return {};
}

Status stack_to_output(RefContext& ctx, size_t i, std::span<const Tensor> slices, int64_t axis, const Value& declared) {
  if (!ctx.wants(i)) return {};
  const DType dtype = slices.empty() ? declared.dtype : slices[0].dtype();
  if (dtype == DType::undefined) return ctx.error(fmt::format("the type of output {} is not known", i));
  Shape slice = slices.empty() ? declared.shape.value_or(Shape{}) : slices[0].shape();
  for (int64_t& d : slice) d = std::max<int64_t>(d, 0);
  const int64_t at = PLANISH_TRY(normalize_axis(ctx, axis, static_cast<int64_t>(slice.size()) + 1));
  Shape shape = slice;
  shape.insert(shape.begin() + at, static_cast<int64_t>(slices.size()));
  Tensor* y = PLANISH_TRY(ctx.output(i, dtype, shape));
  ElementWriter out(*y);
  auto strides = row_major_strides(shape);
  const int64_t step = strides[static_cast<size_t>(at)];
  strides.erase(strides.begin() + at);
  for (size_t k = 0; k < slices.size(); ++k) {
    if (slices[k].shape() != slice || slices[k].dtype() != dtype)
      return ctx.error(fmt::format("scan output {} changes its shape or type between iterations", i));
    const ElementReader in(slices[k]);
    strided_copy(in.width(), slice, in.data(), row_major_strides(slice),
                 out.data() + static_cast<int64_t>(k) * step * out.width(), strides);
  }
  return {};
}

}  // namespace planish
