#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "planish/ops/op.h"

namespace planish::test {

/// Inference and reference of one node on concrete inputs (an undefined Tensor is an absent input). Checks on the way
/// that inference agrees with the reference, both with all shapes known and with every dimension unknown.
inline Result<std::vector<Tensor>> run_node(Node node, const std::vector<Tensor>& inputs, size_t num_outputs = 1) {
  const OpDecl* op = find_op(node.domain, node.op);
  if (op == nullptr) return Error{.what = "no operator " + node.op};
  std::vector<const Tensor*> in;
  std::vector<InferContext::Known> known;
  std::vector<InferContext::Known> vague;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const bool present = inputs[i].defined();
    node.inputs.push_back(present ? static_cast<ValueId>(i) : kNoValue);
    in.push_back(present ? &inputs[i] : nullptr);
    known.emplace_back();
    vague.emplace_back();
    if (!present) continue;
    known.back() = {inputs[i].dtype(), inputs[i].shape(), &inputs[i]};
    vague.back() = {inputs[i].dtype(), Shape(inputs[i].shape().size(), kUnknownDim), nullptr};
  }
  for (size_t i = 0; i < num_outputs; ++i) node.outputs.push_back(static_cast<ValueId>(100 + i));
  std::vector<Tensor> out(num_outputs);
  PLANISH_TRY(run_reference(node, in, out));
  for (auto& facts : {known, vague}) {
    InferContext ctx(node, facts);
    PLANISH_TRY(op->infer(ctx));
    for (size_t i = 0; i < num_outputs; ++i) {
      EXPECT_EQ(ctx.outputs()[i].dtype, out[i].dtype()) << node.op << " output " << i;
      if (!ctx.outputs()[i].shape) continue;
      const Shape& shape = *ctx.outputs()[i].shape;
      EXPECT_EQ(shape.size(), out[i].shape().size()) << node.op << " output " << i;
      for (size_t d = 0; d < std::min(shape.size(), out[i].shape().size()); ++d)
        if (shape[d] != kUnknownDim) {
          EXPECT_EQ(shape[d], out[i].shape()[d]) << node.op << " output " << i << " dimension " << d;
        }
    }
  }
  return out;
}

/// The only output of a node that must succeed.
inline Tensor run_one(Node node, const std::vector<Tensor>& inputs) {
  auto out = run_node(std::move(node), inputs);
  EXPECT_TRUE(out.ok()) << (out.ok() ? std::string() : out.error().message());
  return out.ok() ? (*out)[0] : Tensor();
}

/// Uniform values in [-1, 1); the seed is part of the test, so that a failure repeats.
inline Tensor random_tensor(Shape shape, uint32_t seed, DType dtype = DType::f32) {
  Tensor t(dtype, std::move(shape));
  std::mt19937 engine(seed);
  std::uniform_real_distribution<double> uniform(-1.0, 1.0);
  for (int64_t i = 0; i < t.size(); ++i) t.set(i, uniform(engine));
  return t;
}

inline Tensor tensor_of(Shape shape, const std::vector<double>& values, DType dtype = DType::f32) {
  Tensor t(dtype, std::move(shape));
  EXPECT_EQ(t.size(), static_cast<int64_t>(values.size()));
  for (int64_t i = 0; i < t.size(); ++i) t.set(i, values[static_cast<size_t>(i)]);
  return t;
}

inline void expect_near(const Tensor& got, const Tensor& want, double tolerance) {
  ASSERT_EQ(got.shape(), want.shape());
  for (int64_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got.at(i), want.at(i), tolerance) << "element " << i;
}

}  // namespace planish::test
