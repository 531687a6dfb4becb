#include "planish/ops/test/node_runner.h"

namespace planish {
namespace {

using test::expect_near;
using test::run_node;
using test::run_one;
using test::tensor_of;

Node pool(const std::string& op, std::vector<int64_t> kernel, std::vector<int64_t> strides = {}) {
  Node node{.op = op, .attrs = {{"kernel_shape", std::move(kernel)}}};
  if (!strides.empty()) node.attrs["strides"] = std::move(strides);
  return node;
}

TEST(MaxPool, GivesValuesAndIndicesInBothStorageOrders) {
  const Tensor x = tensor_of({1, 1, 2, 3}, {1, 5, 2, 7, 3, 9});
  Node node = pool("MaxPool", {2, 2});
  auto out = run_node(node, {x}, 2);
  ASSERT_TRUE(out.ok()) << out.error().message();
  expect_near((*out)[0], tensor_of({1, 1, 1, 2}, {7, 9}), 0);
  expect_near((*out)[1], tensor_of({1, 1, 1, 2}, {3, 5}, DType::i64), 0);
  node.attrs["storage_order"] = int64_t{1};
  out = run_node(node, {x}, 2);
  ASSERT_TRUE(out.ok());
  expect_near((*out)[1], tensor_of({1, 1, 1, 2}, {1, 5}, DType::i64), 0);
}

TEST(MaxPool, CeilModeDropsWindowsThatStartBehindTheInput) {
  const Tensor x = tensor_of({1, 1, 5}, {1, 2, 3, 4, 5});
  Node node = pool("MaxPool", {2}, {2});
  node.attrs["ceil_mode"] = int64_t{1};
  expect_near(run_one(node, {x}), tensor_of({1, 1, 3}, {2, 4, 5}), 0);
  node.attrs["kernel_shape"] = std::vector<int64_t>{1};
  node.attrs["strides"] = std::vector<int64_t>{3};
  expect_near(run_one(node, {x}), tensor_of({1, 1, 2}, {1, 4}), 0);
}

TEST(AveragePool, CountsPaddingOnlyWhenAsked) {
  const Tensor x = tensor_of({1, 1, 3}, {2, 4, 6});
  Node node = pool("AveragePool", {3});
  node.attrs["pads"] = std::vector<int64_t>{1, 1};
  expect_near(run_one(node, {x}), tensor_of({1, 1, 3}, {3, 4, 5}), 1e-6);
  node.attrs["count_include_pad"] = int64_t{1};
  expect_near(run_one(node, {x}), tensor_of({1, 1, 3}, {2, 4, 10.0 / 3}), 1e-6);
}

TEST(LpPool, IsTheNormOfTheWindow) {
  expect_near(run_one(pool("LpPool", {2}), {tensor_of({1, 1, 2}, {3, -4})}), tensor_of({1, 1, 1}, {5}), 1e-6);
}

TEST(GlobalPool, ReducesEveryPlane) {
  const Tensor x = tensor_of({1, 2, 2, 1}, {1, 3, -4, -2});
  expect_near(run_one({.op = "GlobalAveragePool"}, {x}), tensor_of({1, 2, 1, 1}, {2, -3}), 1e-6);
  expect_near(run_one({.op = "GlobalMaxPool"}, {x}), tensor_of({1, 2, 1, 1}, {3, -2}), 0);
  expect_near(run_one({.op = "GlobalLpPool", .attrs = {{"p", int64_t{1}}}}, {x}), tensor_of({1, 2, 1, 1}, {4, 6}),
              1e-6);
}

TEST(MaxUnpool, UndoesMaxPoolAndRefusesForeignIndices) {
  const Tensor x = tensor_of({1, 1, 4}, {1, 5, 7, 2});
  auto pooled = run_node(pool("MaxPool", {2}, {2}), {x}, 2);
  ASSERT_TRUE(pooled.ok());
  const Node node = pool("MaxUnpool", {2}, {2});
  expect_near(run_one(node, {(*pooled)[0], (*pooled)[1]}), tensor_of({1, 1, 4}, {0, 5, 7, 0}), 0);
  EXPECT_FALSE(run_node(node, {(*pooled)[0], tensor_of({1, 1, 2}, {1, 4}, DType::i64)}).ok());
}

TEST(Pool, RefusesWindowsThatDoNotFit) {
  const Tensor x = tensor_of({1, 1, 2}, {1, 2});
  EXPECT_FALSE(run_node(pool("MaxPool", {3}), {x}).ok());
  EXPECT_FALSE(run_node(pool("MaxPool", {2, 2}), {x}).ok());
  EXPECT_FALSE(run_node({.op = "AveragePool"}, {x}).ok());
}

}  // namespace
}  // namespace planish
