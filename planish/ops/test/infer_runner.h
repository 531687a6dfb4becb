#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "planish/ops/op.h"

namespace planish::test {

/// An input of inference: its shape (with -1 for unknown dimensions) and, when known, its value.
struct Seen {
  Shape shape;
  std::optional<Tensor> value;
  DType dtype = DType::f32;
};

inline Seen known(Tensor t) { return {t.shape(), t, t.dtype()}; }
inline Seen known(std::vector<int64_t> list) { return known(Tensor::from_i64(list)); }
inline Seen hidden(DType dtype, Shape shape) { return {std::move(shape), std::nullopt, dtype}; }

/// Shape that inference gives output `i`, as text: "[1,?]", "unknown" without a rank, "error" when inference fails.
inline std::string inferred(const Node& attributes, const std::vector<Seen>& inputs, size_t outputs = 1, size_t i = 0) {
  Node node = attributes;
  std::vector<InferContext::Known> in;
  for (const Seen& s : inputs) {
    node.inputs.push_back(s.dtype == DType::undefined ? kNoValue : static_cast<ValueId>(in.size()));
    in.push_back({s.dtype, s.shape, s.value ? &*s.value : nullptr});
  }
  for (size_t k = 0; k < outputs; ++k) node.outputs.push_back(static_cast<ValueId>(100 + k));
  const OpDecl* op = find_op("", node.op);
  if (op == nullptr) return "no operator";
  InferContext ctx(node, std::move(in));
  if (!op->infer(ctx).ok()) return "error";
  const auto& shape = ctx.outputs()[i].shape;
  return shape ? to_string(*shape) : "unknown";
}

}  // namespace planish::test
