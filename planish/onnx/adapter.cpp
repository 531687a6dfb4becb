#include "planish/onnx/adapter.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace planish {
namespace {

/// The table of adapter files.
constexpr std::array kFiles{shape_adapters,  reduce_adapters,    nn_adapters,
                            resize_adapters, broadcast_adapters, scan_adapters};

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

Status adapt_node(AdaptContext& ctx) {
  const std::string op = ctx.node.op;  // an adapter may rename the node
  const auto rows = all_adapters();
  for (auto row = std::ranges::lower_bound(rows, op, {}, &Adapter::op); row != rows.end() && row->op == op; ++row)
    if (ctx.opset >= row->from && ctx.opset <= row->to) PLANISH_TRY(row->adapt(ctx));
  return {};
}

}  // namespace planish
