// planish.QuantizedInvertedResidual: see inverted_residual.h.

#include "planish/ops/inverted_residual.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "planish/ops/checks.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

constexpr size_t kPartInputs = 5;  // X, W, w_scale, B, R

/// Which input of the node is input `slot` of part `i`; nothing where another part makes it or the part has none.
std::optional<size_t> input_of(size_t i, size_t slot) {
  const bool last = i + 1 == kInvertedResidualParts;
  if (slot == 0) return i == 0 ? std::optional<size_t>(0) : std::nullopt;
  if (slot == kPartInputs - 1) return last ? std::optional<size_t>(kInvertedResidualR) : std::nullopt;
  return inverted_residual_weights(i) + slot - 1;
}

/// X, and the weights and scales of every part; biases and R may be absent.
template <typename Context>
Status check_inputs(const Context& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  for (size_t i = 0; i < kInvertedResidualParts; ++i)
    for (const size_t input : {inverted_residual_weights(i), inverted_residual_weights(i) + 1})
      if (!ctx.has(input)) return ctx.error("input " + std::to_string(input) + " is missing");
  return {};
}

const OpDecl& part_decl() { return *find_op("planish", "QuantizedConv"); }

Status infer(InferContext& ctx) {
  PLANISH_TRY(check_inputs(ctx));
  InferContext::Known x{ctx.dtype(0), ctx.shape(0), nullptr};
  for (size_t i = 0; i < kInvertedResidualParts; ++i) {
    const Node part = inverted_residual_part(ctx.node(), i);
    std::vector<InferContext::Known> inputs(kPartInputs);
    inputs[0] = x;
    for (size_t slot = 1; slot < kPartInputs; ++slot)
      if (const auto from = input_of(i, slot); from && ctx.has(*from))
        inputs[slot] = {ctx.dtype(*from), ctx.shape(*from), ctx.value(*from)};
    InferContext sub(part, std::move(inputs));
    PLANISH_TRY(part_decl().infer(sub));
    x = sub.outputs()[0];
  }
  ctx.set(0, x.dtype, x.shape);
  return {};
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(check_inputs(ctx));
  Tensor x = ctx.in(0);
  for (size_t i = 0; i < kInvertedResidualParts; ++i) {
    const Node part = inverted_residual_part(ctx.node(), i);
    std::array<const Tensor*, kPartInputs> inputs{&x};
    for (size_t slot = 1; slot < kPartInputs; ++slot)
      if (const auto from = input_of(i, slot); from && ctx.has(*from)) inputs[slot] = &ctx.in(*from);
    std::array<Tensor, 1> y;
    PLANISH_TRY(run_reference(part, inputs, y));
    x = y[0];
  }
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), x.shape()));
  std::copy_n(static_cast<const std::byte*>(x.raw()), x.bytes(), static_cast<std::byte*>(y->raw()));
  return {};
}

constexpr std::array kOps{
    OpDecl{
        .name = "QuantizedInvertedResidual", .domain = "planish", .since = 1, .infer = infer, .reference = reference},
};

}  // namespace

Node inverted_residual_part(const Node& node, size_t i) {
  const std::string prefix = kInvertedResidualPrefixes[i];
  Node part;
  part.op = "QuantizedConv";
  part.domain = "planish";
  part.name = node.name;
  part.origins = node.origins;
  for (const auto& [key, value] : node.attrs)
    if (key.starts_with(prefix)) part.attrs[key.substr(prefix.size())] = value;
  for (size_t slot = 0; slot < kPartInputs; ++slot) {
    const auto from = input_of(i, slot);
    part.inputs.push_back(from ? node.in(*from) : kNoValue);
  }
  part.outputs = {node.out(0)};
  return part;
}

std::span<const OpDecl> inverted_residual_ops() { return kOps; }

}  // namespace planish
