#include "planish/ops/op.h"

#include <fmt/format.h>

#include <new>
#include <stdexcept>

namespace planish {
namespace {

Error error_at(const Node& node, std::string what, std::string fix) {
  return Error{.code = Code::invalid_model,
               .node = node.name,
               .what = fmt::format("{}: {}", node.op, what),
               .fix = std::move(fix)};
}

}  // namespace

std::optional<std::vector<int64_t>> InferContext::ints(size_t i) const {
  const Tensor* t = value(i);
  if (t == nullptr) return std::nullopt;
  return t->to_i64();
}

Error InferContext::error(std::string what, std::string fix) const {
  return error_at(node_, std::move(what), std::move(fix));
}

Error RefContext::error(std::string what, std::string fix) const {
  return error_at(node_, std::move(what), std::move(fix));
}

Result<Tensor*> RefContext::output(size_t i, DType dtype, Shape shape) {
  if (i >= outputs_.size()) return error(fmt::format("output {} does not exist", i));
  if (!is_static(shape))
    return error(fmt::format("output {} would have a negative dimension: {}", i, to_string(shape)));
  Tensor& t = outputs_[i];
  if (t.defined()) {
    if (t.dtype() != dtype || t.shape() != shape)
      return error(fmt::format("output {} is {}{}, planned was {}{}", i, dtype_name(dtype), to_string(shape),
                               dtype_name(t.dtype()), to_string(t.shape())));
    return &t;
  }
  // A shape computed from hostile input must not take the machine down before the allocator can say no.
  constexpr int64_t kMaxElements = int64_t{1} << 36;
  if (element_count(shape) > kMaxElements)
    return error(fmt::format("output {} would have shape {}, which is too large", i, to_string(shape)));
  try {
    t = Tensor(dtype, std::move(shape));
  } catch (const std::bad_alloc&) {
    Error e = error(fmt::format("not enough memory for output {}", i), "use a smaller batch or input");
    e.code = Code::out_of_memory;
    return e;
  }
  return &t;
}

Status run_reference(const Node& node, std::span<const Tensor* const> inputs, std::span<Tensor> outputs) {
  const OpDecl* op = find_op(node.domain, node.op);
  if (op == nullptr || op->reference == nullptr)
    return Error{.code = Code::unsupported,
                 .node = node.name,
                 .what = fmt::format("operator {} has no implementation", node.op),
                 .fix = fmt::format("nearest known operator: {}", nearest_op(node.domain, node.op))};
  RefContext ctx(node, inputs, outputs);
  // References keep intermediate results in vectors, whose sizes follow from the model's shapes.
  try {
    return op->reference(ctx);
  } catch (const std::bad_alloc&) {
  } catch (const std::length_error&) {
  }
  Error e = ctx.error("not enough memory for intermediate results", "use a smaller batch or input");
  e.code = Code::out_of_memory;
  return e;
}

Result<std::vector<Tensor>> interpret(const Graph& graph, std::span<const Tensor> inputs,
                                      std::span<const Tensor> captured) {
  std::vector<Tensor> values(graph.values.size());
  for (size_t i = 0; i < graph.values.size(); ++i)
    if (graph.values[i].is_constant()) values[i] = *graph.values[i].constant;
  if (inputs.size() > graph.inputs.size() || captured.size() != graph.captures.size())
    return Error{.code = Code::internal,
                 .what = fmt::format("graph '{}' was given {} inputs and {} captures, it has {} and {}", graph.name,
                                     inputs.size(), captured.size(), graph.inputs.size(), graph.captures.size())};
  for (size_t i = 0; i < inputs.size(); ++i) values[static_cast<size_t>(graph.inputs[i])] = inputs[i];
  for (size_t i = 0; i < captured.size(); ++i) values[static_cast<size_t>(graph.captures[i].second)] = captured[i];

  // Values are dropped after their last use, so that the oracle fits in memory for large models.
  std::vector<size_t> last_use(graph.values.size(), 0);
  for (size_t n = 0; n < graph.nodes.size(); ++n)
    for (const ValueId v : graph.nodes[n].inputs)
      if (v != kNoValue) last_use[static_cast<size_t>(v)] = n;
  for (const ValueId v : graph.outputs) last_use[static_cast<size_t>(v)] = graph.nodes.size();

  std::vector<const Tensor*> in;
  std::vector<Tensor> out;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    in.clear();
    for (const ValueId v : node.inputs) {
      const Tensor* t = v == kNoValue ? nullptr : &values[static_cast<size_t>(v)];
      in.push_back(t != nullptr && t->defined() ? t : nullptr);
    }
    out.assign(node.outputs.size(), Tensor());
    PLANISH_TRY(run_reference(node, in, out));
    for (size_t i = 0; i < out.size(); ++i)
      if (node.outputs[i] != kNoValue) values[static_cast<size_t>(node.outputs[i])] = std::move(out[i]);
    for (const ValueId v : node.inputs)
      if (v != kNoValue && last_use[static_cast<size_t>(v)] == n) values[static_cast<size_t>(v)] = Tensor();
  }
  std::vector<Tensor> results;
  for (const ValueId v : graph.outputs) results.push_back(values[static_cast<size_t>(v)]);
  return results;
}

}  // namespace planish
