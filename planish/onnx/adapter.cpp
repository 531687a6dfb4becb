#include "planish/onnx/adapter.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "planish/ops/infer_graph.h"

namespace planish {
namespace {

/// The table of adapter files.
constexpr std::array kFiles{shape_adapters,           reduce_adapters, nn_adapters,         resize_adapters,
                            broadcast_adapters,       scan_adapters,   quantised_adapters,  quantised_matmul_adapters,
                            block_quantised_adapters, fused_adapters,  transformer_adapters};

std::vector<Adapter> build() {
  std::vector<Adapter> all;
  for (const auto file : kFiles)
    for (const Adapter& row : file()) all.push_back(row);
  std::ranges::stable_sort(all, {}, &Adapter::op);
  return all;
}

}  // namespace

ValueId AdaptContext::constant(std::string_view stem, Tensor tensor) {
  return graph.add_constant(names_.fresh_value_name(fmt::format("{}/{}", node.name, stem)), std::move(tensor));
}

ValueId AdaptContext::value(std::string_view stem) {
  Value v;
  v.name = names_.fresh_value_name(fmt::format("{}/{}", node.name, stem));
  return graph.add_value(std::move(v));
}

ValueId AdaptContext::emit(std::string_view op, std::vector<ValueId> inputs, std::map<std::string, Attr> attrs) {
  const ValueId out = value(fmt::format("{}_output", op));
  emit_into(op, std::move(inputs), {out}, std::move(attrs));
  return out;
}

void AdaptContext::emit_into(std::string_view op, std::vector<ValueId> inputs, std::vector<ValueId> outputs,
                             std::map<std::string, Attr> attrs) {
  Node n;
  n.op = op;
  n.name = names_.fresh_node_name(fmt::format("{}/{}", node.name, op));
  n.inputs = std::move(inputs);
  n.outputs = std::move(outputs);
  n.attrs = std::move(attrs);
  n.origins = node.origins;
  graph.nodes.push_back(std::move(n));
}

void AdaptContext::set_input(size_t i, ValueId v) {
  if (node.inputs.size() <= i) node.inputs.resize(i + 1, kNoValue);
  node.inputs[i] = v;
}

void AdaptContext::ints_attr_to_input(const std::string& attr, size_t i) {
  if (!node.has_attr(attr)) return;
  if (!has_input(i)) set_input(i, constant(attr, Tensor::from_i64(node.attr_ints(attr))));
  node.attrs.erase(attr);
}

int64_t AdaptContext::declared_rank(ValueId v) const {
  if (v == kNoValue) return -1;
  const auto& shape = graph.value(v).shape;
  return shape ? static_cast<int64_t>(shape->size()) : -1;
}

Error AdaptContext::error(std::string what, std::string fix) const {
  return Error{.code = Code::unsupported,
               .node = node.name,
               .what = fmt::format("{} (opset {}): {}", node.op, opset, what),
               .fix = std::move(fix)};
}

std::span<const Adapter> all_adapters() {
  static const std::vector<Adapter> rows = build();
  return rows;
}

namespace {

bool fits(const Adapter& row, const Node& node, int64_t opset, bool late) {
  return row.domain == node.domain && row.needs_ranks == late && opset >= row.from && opset <= row.to;
}

std::span<const Adapter> rows_of(const std::string& op) {
  // Not std::ranges::equal_range: the subranges of libstdc++ 12 do not compile with clang 14.
  const auto rows = all_adapters();
  return {std::ranges::lower_bound(rows, op, {}, &Adapter::op), std::ranges::upper_bound(rows, op, {}, &Adapter::op)};
}

Status apply(const Adapter& row, AdaptContext& ctx) {
  for (size_t i = 0; i < 32; ++i)
    if ((row.required >> i & 1U) != 0 && !ctx.has_input(i))
      return Error{.code = Code::invalid_model,
                   .node = ctx.node.name,
                   .what = fmt::format("{} lacks its input {}", ctx.node.op, i),
                   .fix = "export the model again; onnx.checker.check_model finds such cases"};
  if (!row.domain.empty() && !ctx.has_output(0)) {
    if (ctx.node.outputs.empty()) return {};
    ctx.node.outputs[0] = ctx.value("unused");
  }
  return row.adapt(ctx);
}

Status apply_rows(AdaptContext& ctx, bool late) {
  const std::string op = ctx.node.op;  // an adapter may rename the node
  const std::string domain = ctx.node.domain;
  for (const Adapter& row : rows_of(op))
    if (ctx.node.domain == domain && fits(row, ctx.node, ctx.opset, late)) PLANISH_TRY(apply(row, ctx));
  return {};
}

}  // namespace

Status adapt_node(AdaptContext& ctx) { return apply_rows(ctx, false); }

bool adapts_late(const Node& node, int64_t opset) {
  return std::ranges::any_of(rows_of(node.op), [&](const Adapter& row) { return fits(row, node, opset, true); });
}

Status adapt_late(Graph& graph, NameSource& names, std::span<const LateNode> nodes) {
  std::map<std::string_view, int64_t> waiting;
  for (const LateNode& n : nodes) waiting.emplace(n.name, n.opset);
  while (!waiting.empty()) {
    // Inference needs an order; a graph with a cycle is refused by the caller.
    if (!sort_topologically(graph).ok()) return {};
    const auto facts = infer_shapes(graph);
    if (facts.ok())
      for (size_t v = 0; v < facts->shapes.size(); ++v) {
        Value& value = graph.values[v];
        if (!value.shape && facts->shapes[v]) value.shape = facts->shapes[v];
        if (value.dtype == DType::undefined) value.dtype = facts->dtypes[v];
      }
    // What stands behind a waiting node is known only after it; the first one always has its turn.
    bool first = true;
    for (size_t i = 0, n = graph.nodes.size(); i < n; ++i) {
      const auto it = waiting.find(graph.nodes[i].name);
      if (it == waiting.end()) continue;
      Node node = graph.nodes[i];
      const bool ranks_known =
          std::ranges::all_of(node.inputs, [&](ValueId v) { return v == kNoValue || graph.value(v).shape; });
      if (!first && !ranks_known) continue;
      first = false;
      AdaptContext ctx(graph, names, node, it->second);
      waiting.erase(it);
      PLANISH_TRY(apply_rows(ctx, true));
      graph.nodes[i] = std::move(node);
    }
    if (first) return {};  // their nodes are gone: nobody reads their results
  }
  return {};
}

}  // namespace planish
