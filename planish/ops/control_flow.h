#pragma once

#include <span>
#include <vector>

#include "planish/ops/op.h"

namespace planish {

/// Number of the node's own inputs; the captured values of its bodies come behind them.
size_t own_inputs(const Node& node);

/// Types and shapes of a body's outputs. `inputs` follow body.inputs (may be empty), captured values come from `ctx`.
/// With `values`, outputs that inference could compute point into it.
Result<std::vector<InferContext::Known>> infer_body_outputs(const InferContext& ctx, const Graph& body,
                                                            std::span<const InferContext::Known> inputs,
                                                            std::vector<Tensor>* values = nullptr);

/// Interprets a body with the captured inputs of `ctx`; every output is defined.
Result<std::vector<Tensor>> run_body(RefContext& ctx, const Graph& body, std::span<const Tensor> inputs);

/// Output `i` = a copy of `value`; nothing when nobody reads it.
Status copy_to_output(RefContext& ctx, size_t i, const Tensor& value);

/// Output `i` = the slices stacked along a new axis (negative: counted from the end of the result). With no slice at
/// all the type and the other dimensions come from `declared`, unknown dimensions as 0.
Status stack_to_output(RefContext& ctx, size_t i, std::span<const Tensor> slices, int64_t axis, const Value& declared);

/// The input must be present.
template <typename Context>
Status require_inputs_at(const Context& ctx, size_t i) {
  if (!ctx.has(i)) return ctx.error("input " + std::to_string(i) + " is missing");
  return {};
}

}  // namespace planish
