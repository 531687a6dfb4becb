// planish.WeightOnlyMatMul on operands that do not fit: a model or an engine file may hold anything.

#include "planish/ops/weight_only.h"

#include <gtest/gtest.h>

#include "planish/ops/test/node_runner.h"

namespace planish::test {
namespace {

/// Inputs of the operator; an undefined tensor is absent.
struct Operands {
  Tensor a = Tensor(DType::f32, {3, 32});
  Tensor b = Tensor(DType::u8, {32, 6});
  Tensor bias;
  Tensor residual;
  Tensor scale = Tensor(DType::f32, {4, 6});
  Tensor zero = Tensor(DType::u8, {4, 6});
  int64_t block_size = 8;
};

Node product(const Operands& o) {
  Node node{.op = "WeightOnlyMatMul", .domain = "planish"};
  node.name = "m";
  node.attrs["block_size"] = o.block_size;
  return node;
}

bool reference_takes(const Operands& o) {
  const Tensor* all[] = {&o.a, &o.b, &o.bias, &o.residual, &o.scale, &o.zero};
  Node node = product(o);
  std::vector<const Tensor*> in;
  for (const Tensor* t : all) {
    node.inputs.push_back(t->defined() ? static_cast<ValueId>(in.size()) : kNoValue);
    in.push_back(t->defined() ? t : nullptr);
  }
  node.outputs.push_back(100);
  std::vector<Tensor> out(1);
  return run_reference(node, in, out).ok();
}

bool infer_takes(const Operands& o) {
  const Tensor* all[] = {&o.a, &o.b, &o.bias, &o.residual, &o.scale, &o.zero};
  Node node = product(o);
  std::vector<InferContext::Known> in;
  for (const Tensor* t : all) {
    node.inputs.push_back(t->defined() ? static_cast<ValueId>(in.size()) : kNoValue);
    in.push_back(t->defined() ? InferContext::Known{t->dtype(), t->shape(), nullptr} : InferContext::Known{});
  }
  node.outputs.push_back(100);
  InferContext ctx(node, in);
  return find_op("planish", node.op)->infer(ctx).ok();
}

void expect_taken(const Operands& o) {
  EXPECT_TRUE(infer_takes(o));
  EXPECT_TRUE(reference_takes(o));
}

void expect_refused(const Operands& o) {
  EXPECT_FALSE(infer_takes(o));
  EXPECT_FALSE(reference_takes(o));
}

TEST(WeightOnlyMatMul, TakesIntegersOfFourAndEightBits) {
  for (const DType type : {DType::i4, DType::u4, DType::i8, DType::u8}) {
    SCOPED_TRACE(dtype_name(type));
    expect_taken({.b = Tensor(type, {32, 6}), .zero = Tensor(type, {4, 6})});
    expect_taken({.b = Tensor(type, {32, 6}), .zero = Tensor()});
  }
}

TEST(WeightOnlyMatMul, RefusesOtherTypes) {
  for (const DType type :
       {DType::f32, DType::f16, DType::f8e4m3fn, DType::f4e2m1, DType::boolean, DType::i16, DType::u2, DType::i64}) {
    SCOPED_TRACE(dtype_name(type));
    expect_refused({.b = Tensor(type, {32, 6}), .zero = Tensor()});
    expect_refused({.b = Tensor(type, {32, 6}), .zero = Tensor(type, {4, 6})});
    expect_refused({.zero = Tensor(type, {4, 6})});
    if (type != DType::f32) expect_refused({.scale = Tensor(type, {4, 6})});
    if (!dtype_is_float(type)) expect_refused({.a = Tensor(type, {3, 32})});
  }
}

TEST(WeightOnlyMatMul, RefusesParametersOfOtherShapes) {
  for (const Shape& shape : {Shape{}, Shape{1}, Shape{6}, Shape{24}, Shape{1, 6}, Shape{6, 4}, Shape{4, 6, 1}}) {
    SCOPED_TRACE(to_string(shape));
    expect_refused({.scale = Tensor(DType::f32, shape)});
    expect_refused({.zero = Tensor(DType::u8, shape)});
  }
}

TEST(WeightOnlyMatMul, RefusesSizesThatDoNotFit) {
  for (const Shape& shape : {Shape{}, Shape{32}, Shape{3, 31}, Shape{32, 3}, Shape{3, 0}})
    expect_refused({.a = Tensor(DType::f32, shape)});
  for (const Shape& shape : {Shape{}, Shape{192}, Shape{32, 0}, Shape{0, 6}, Shape{2, 16, 6}})
    expect_refused({.b = Tensor(DType::u8, shape)});
  for (const int64_t block : {int64_t{-1}, int64_t{7}, INT64_MIN, INT64_MAX}) expect_refused({.block_size = block});
  expect_refused({.bias = Tensor(DType::f32, {5})});
  expect_refused({.residual = Tensor(DType::f32, {2, 6})});
  expect_taken({.bias = Tensor(DType::f32, {6}), .residual = Tensor(DType::f32, {3, 6})});
}

TEST(WeightOnlyMatMul, RefusesMatricesWhoseBytesCannotBeCounted) {
  const Node node{.op = "WeightOnlyMatMul", .domain = "planish"};
  const int64_t n = int64_t{1} << 60;
  EXPECT_FALSE(weight_only_matrix(node, {DType::u8, {16, n}}, {DType::f32, {1, n}}, {}).ok());
  EXPECT_FALSE(weight_only_matrix(node, {DType::u8, {n, n}}, {DType::f32, {1, n}}, {}).ok());
}

TEST(WeightOnlyMatMul, IgnoresWhatItHasNoAttributesFor) {
  Node node = product({});
  node.inputs = {0, 1, kNoValue, kNoValue, 2};
  node.outputs = {3};
  const Tensor a = random_tensor({3, 32}, 1);
  const Tensor b = tensor_of({32, 6}, std::vector<double>(192, 5), DType::u8);
  const Tensor scale = random_tensor({4, 6}, 2);
  const std::vector<const Tensor*> in{&a, &b, nullptr, nullptr, &scale};
  std::vector<Tensor> plain(1);
  ASSERT_TRUE(run_reference(node, in, plain).ok());
  node.attrs["trans_a"] = int64_t{1};
  node.attrs["alpha"] = 3.0F;
  std::vector<Tensor> got(1);
  ASSERT_TRUE(run_reference(node, in, got).ok());
  expect_near(got[0], plain[0], 0);
}

}  // namespace
}  // namespace planish::test
