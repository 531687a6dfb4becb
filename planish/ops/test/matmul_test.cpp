#include "planish/ops/gemm.h"
#include "planish/ops/test/node_runner.h"

namespace planish {
namespace {

using test::expect_near;
using test::random_tensor;
using test::run_node;
using test::run_one;
using test::tensor_of;

TEST(Gemm, BlockedProductMatchesADoubleSumAtEdgesOfEveryBlock) {
  for (const auto& [m, n, k] :
       {std::array<int64_t, 3>{1, 1, 1}, {5, 97, 257}, {4, 96, 256}, {3, 7, 600}, {1, 2051, 263}}) {
    const Tensor a = random_tensor({m, k}, 1);
    const Tensor b = random_tensor({k, n}, 2);
    Tensor want(DType::f32, {m, n});
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (int64_t x = 0; x < k; ++x) sum += a.at(i * k + x) * b.at(x * n + j);
        want.set(i * n + j, sum);
      }
    expect_near(run_one({.op = "MatMul"}, {a, b}), want, 2e-5);
  }
}

TEST(MatMul, BroadcastsBatchesAndTakesVectors) {
  const Tensor a = tensor_of({2, 1, 1, 2}, {1, 2, 3, 4});
  const Tensor b = tensor_of({3, 2, 1}, {1, 0, 0, 1, 1, 1});
  expect_near(run_one({.op = "MatMul"}, {a, b}), tensor_of({2, 3, 1, 1}, {1, 2, 3, 3, 4, 7}), 0);
  const Tensor v = tensor_of({2}, {3, 4});
  expect_near(run_one({.op = "MatMul"}, {v, v}), tensor_of({}, {25}), 0);
}

TEST(MatMul, IntegersAreExactAndWrap) {
  Tensor a(DType::i64, {1, 2});
  a.data<int64_t>()[0] = (int64_t{1} << 53) + 1;
  a.data<int64_t>()[1] = -1;
  const Tensor b = tensor_of({2, 1}, {1, 3}, DType::i64);
  EXPECT_EQ(run_one({.op = "MatMul"}, {a, b}).int_at(0), (int64_t{1} << 53) - 2);
  const Tensor big = tensor_of({1, 1}, {2147483647}, DType::i32);
  EXPECT_EQ(run_one({.op = "MatMul"}, {big, tensor_of({1, 1}, {2}, DType::i32)}).int_at(0), -2);
}

TEST(MatMul, RefusesShapesThatDoNotMultiply) {
  EXPECT_FALSE(run_node({.op = "MatMul"}, {random_tensor({2, 3}, 1), random_tensor({2, 3}, 2)}).ok());
  EXPECT_FALSE(run_node({.op = "MatMul"}, {random_tensor({}, 1), random_tensor({3}, 2)}).ok());
  EXPECT_FALSE(run_node({.op = "MatMul"}, {random_tensor({2, 2, 3}, 1), random_tensor({3, 3, 2}, 2)}).ok());
}

TEST(GemmOp, ScalesTransposesAndBroadcastsC) {
  Node node{.op = "Gemm"};
  node.attrs = {{"transA", int64_t{1}}, {"transB", int64_t{1}}, {"alpha", 2.0F}, {"beta", 10.0F}};
  const Tensor a = tensor_of({2, 1}, {1, 2});
  const Tensor b = tensor_of({2, 2}, {1, 0, 1, 1});
  expect_near(run_one(node, {a, b, tensor_of({2}, {1, 2})}), tensor_of({1, 2}, {12, 26}), 0);
  EXPECT_FALSE(run_node(node, {a, b, tensor_of({3}, {1, 2, 3})}).ok());
}

TEST(FusedMatMul, AppliesBiasResidualAndActivation) {
  Node node{.op = "FusedMatMul", .domain = "planish"};
  node.attrs = {{"trans_b", int64_t{1}}, {"alpha", 0.5F}, {"activation", std::string("Relu")}};
  const Tensor a = tensor_of({1, 2}, {2, 4});
  const Tensor b = tensor_of({2, 2}, {1, 1, -1, -1});
  const Tensor bias = tensor_of({2}, {1, 1});
  const Tensor r = tensor_of({1, 2}, {-10, 10});
  expect_near(run_one(node, {a, b, bias}), tensor_of({1, 2}, {4, 0}), 0);
  expect_near(run_one(node, {a, b, bias, r}), tensor_of({1, 2}, {0, 8}), 0);
  node.attrs["residual_last"] = int64_t{1};
  expect_near(run_one(node, {a, b, bias, r}), tensor_of({1, 2}, {-6, 10}), 0);
}

TEST(Einsum, CoversDiagonalsEllipsisAndImplicitOutput) {
  const auto einsum = [](const std::string& equation, const std::vector<Tensor>& inputs) {
    return run_one({.op = "Einsum", .attrs = {{"equation", equation}}}, inputs);
  };
  const Tensor m = tensor_of({2, 2}, {1, 2, 3, 4});
  const Tensor v = tensor_of({2}, {10, 100});
  expect_near(einsum("ii", {m}), tensor_of({}, {5}), 0);
  expect_near(einsum("ii->i", {m}), tensor_of({2}, {1, 4}), 0);
  expect_near(einsum("ji", {m}), tensor_of({2, 2}, {1, 3, 2, 4}), 0);
  expect_near(einsum("i j , j", {m, v}), tensor_of({2}, {210, 430}), 0);
  expect_near(einsum("i,j,ij->", {v, v, m}), tensor_of({}, {100 + 2000 + 3000 + 40000}), 0);
  expect_near(einsum("...ij,...j->...i", {m, tensor_of({3, 2}, {1, 0, 0, 1, 1, 1})}),
              tensor_of({3, 2}, {1, 3, 2, 4, 3, 7}), 0);
  expect_near(einsum("ij,ij->i", {m, tensor_of({1, 2}, {1, 10})}), tensor_of({2}, {21, 43}), 0);
  const Tensor a = random_tensor({3, 4, 5}, 1);
  const Tensor b = random_tensor({3, 5, 6}, 2);
  expect_near(einsum("bij,bjk->bik", {a, b}), run_one({.op = "MatMul"}, {a, b}), 1e-5);
  for (const char* bad : {"ij->k", "i,j", "i.j", "ij->ii", "ijk"})
    EXPECT_FALSE(run_node({.op = "Einsum", .attrs = {{"equation", std::string(bad)}}}, {m}).ok()) << bad;
}

}  // namespace
}  // namespace planish
