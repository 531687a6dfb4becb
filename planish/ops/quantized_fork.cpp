// planish.QuantizedFork: see quantized_fork.h.

#include "planish/ops/quantized_fork.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "planish/ops/checks.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

constexpr size_t kPartInputs = 4;  // X, W, w_scale, B

size_t input_of(size_t i, size_t slot) { return slot == 0 ? 0 : fork_weights(i) + slot - 1; }

template <typename Context>
Status check_inputs(const Context& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  if (ctx.num_inputs() > fork_weights(kForkParts)) return ctx.error("there are too many inputs");
  for (size_t i = 0; i < kForkParts; ++i)
    for (const size_t input : {fork_weights(i), fork_weights(i) + 1})
      if (!ctx.has(input)) return ctx.error("input " + std::to_string(input) + " is missing");
  return {};
}

/// The two results side by side; nothing where they do not fit.
std::optional<Shape> joined(const Shape& a, const Shape& b) {
  if (a.size() != b.size() || a.size() < 3) return std::nullopt;
  Shape y = a;
  for (size_t d = 0; d < a.size(); ++d) {
    if (d == 1)
      y[d] = a[d] < 0 || b[d] < 0 ? kUnknownDim : a[d] + b[d];
    else if (a[d] >= 0 && b[d] >= 0 && a[d] != b[d])
      return std::nullopt;
    else
      y[d] = a[d] < 0 ? b[d] : a[d];
  }
  return y;
}

Status infer(InferContext& ctx) {
  PLANISH_TRY(check_inputs(ctx));
  std::vector<InferContext::Known> results;
  for (size_t i = 0; i < kForkParts; ++i) {
    const Node part = fork_part(ctx.node(), i);
    std::vector<InferContext::Known> inputs(kPartInputs);
    for (size_t slot = 0; slot < kPartInputs; ++slot)
      if (const size_t from = input_of(i, slot); ctx.has(from))
        inputs[slot] = {ctx.dtype(from), ctx.shape(from), ctx.value(from)};
    InferContext sub(part, std::move(inputs));
    PLANISH_TRY(find_op("planish", "QuantizedConv")->infer(sub));
    results.push_back(sub.outputs()[0]);
  }
  if (!results[0].shape || !results[1].shape || results[0].dtype != results[1].dtype)
    return ctx.error("the parts make different types");
  auto y = joined(*results[0].shape, *results[1].shape);
  if (!y) return ctx.error("the parts make " + to_string(*results[0].shape) + " and " + to_string(*results[1].shape));
  ctx.set(0, results[0].dtype, std::move(*y));
  return {};
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(check_inputs(ctx));
  std::array<Tensor, kForkParts> parts;
  for (size_t i = 0; i < kForkParts; ++i) {
    const Node part = fork_part(ctx.node(), i);
    std::array<const Tensor*, kPartInputs> inputs{};
    for (size_t slot = 0; slot < kPartInputs; ++slot)
      if (const size_t from = input_of(i, slot); ctx.has(from)) inputs[slot] = &ctx.in(from);
    PLANISH_TRY(run_reference(part, inputs, std::span(parts).subspan(i, 1)));
  }
  auto shape = joined(parts[0].shape(), parts[1].shape());
  if (!shape || parts[0].dtype() != parts[1].dtype()) return ctx.error("the parts do not fit together");
  Tensor* y = PLANISH_TRY(ctx.output(0, parts[0].dtype(), *shape));
  auto* to = static_cast<std::byte*>(y->raw());
  for (int64_t n = 0; n < shape->front(); ++n)
    for (const Tensor& part : parts) {
      const size_t bytes = part.bytes() / static_cast<size_t>(shape->front());
      to = std::copy_n(static_cast<const std::byte*>(part.raw()) + static_cast<size_t>(n) * bytes, bytes, to);
    }
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "QuantizedFork", .domain = "planish", .since = 1, .infer = infer, .reference = reference},
};

}  // namespace

Node fork_part(const Node& node, size_t i) {
  const std::string prefix = kForkPrefixes[i];
  Node part;
  part.op = "QuantizedConv";
  part.domain = "planish";
  part.name = node.name;
  part.origins = node.origins;
  for (const auto& [key, value] : node.attrs)
    if (key.starts_with(prefix)) part.attrs[key.substr(prefix.size())] = value;
  for (size_t slot = 0; slot < kPartInputs; ++slot) part.inputs.push_back(node.in(input_of(i, slot)));
  part.outputs = {node.out(0)};
  return part;
}

std::span<const OpDecl> quantized_fork_ops() { return kOps; }

}  // namespace planish
