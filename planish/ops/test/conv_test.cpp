#include "planish/ops/conv_geometry.h"
#include "planish/ops/test/node_runner.h"

namespace planish {
namespace {

using test::expect_near;
using test::random_tensor;
using test::run_node;
using test::run_one;
using test::tensor_of;

/// Two-dimensional convolution straight from its definition, in double.
Tensor naive_conv2d(const Tensor& x, const Tensor& w, const WindowGeometry& g, int64_t groups) {
  const int64_t K = w.dim(0);
  const int64_t C = w.dim(1);
  Tensor y(x.dtype(), {x.dim(0), K, g.out[0], g.out[1]});
  int64_t i = 0;
  for (int64_t n = 0; n < x.dim(0); ++n)
    for (int64_t k = 0; k < K; ++k)
      for (int64_t p = 0; p < g.out[0]; ++p)
        for (int64_t q = 0; q < g.out[1]; ++q, ++i) {
          double sum = 0;
          for (int64_t c = 0; c < C; ++c)
            for (int64_t r = 0; r < g.kernel[0]; ++r)
              for (int64_t s = 0; s < g.kernel[1]; ++s) {
                const int64_t h = p * g.strides[0] - g.pads_begin[0] + r * g.dilations[0];
                const int64_t v = q * g.strides[1] - g.pads_begin[1] + s * g.dilations[1];
                if (h < 0 || v < 0 || h >= g.in[0] || v >= g.in[1]) continue;
                const int64_t channel = k / (K / groups) * C + c;
                sum += x.at(((n * x.dim(1) + channel) * g.in[0] + h) * g.in[1] + v) *
                       w.at(((k * C + c) * g.kernel[0] + r) * g.kernel[1] + s);
              }
          y.set(i, sum);
        }
  return y;
}

struct ConvCase {
  Shape x;
  Shape w;
  int64_t group;
  std::vector<int64_t> strides;
  std::vector<int64_t> dilations;
  std::vector<int64_t> pads;
};

TEST(Conv, MatchesItsDefinition) {
  const std::vector<ConvCase> cases{
      {{2, 3, 9, 11}, {8, 3, 3, 3}, 1, {1, 1}, {1, 1}, {1, 1, 1, 1}},
      {{1, 8, 7, 8}, {8, 1, 3, 5}, 8, {2, 1}, {1, 1}, {1, 2, 1, 2}},
      {{1, 6, 30, 40}, {4, 3, 2, 3}, 2, {1, 2}, {2, 1}, {0, 1, 3, 2}},
      {{1, 260, 5, 5}, {5, 260, 1, 1}, 1, {1, 1}, {1, 1}, {0, 0, 0, 0}},
      {{1, 2, 4, 4}, {4, 2, 3, 3}, 1, {3, 3}, {2, 2}, {4, 4, 4, 4}},
  };
  uint32_t seed = 1;
  for (const ConvCase& c : cases) {
    Node node{.op = "Conv"};
    node.attrs = {{"group", c.group}, {"strides", c.strides}, {"dilations", c.dilations}, {"pads", c.pads}};
    const Tensor x = random_tensor(c.x, seed++);
    const Tensor w = random_tensor(c.w, seed++);
    const auto shape = resolve_conv(node, c.x, c.w);
    ASSERT_TRUE(shape.ok()) << shape.error().message();
    expect_near(run_one(node, {x, w}), naive_conv2d(x, w, shape->window, c.group), 1e-4);
  }
}

TEST(Conv, HandlesOneAndThreeSpatialAxesAndBias) {
  const Tensor line = run_one({.op = "Conv", .attrs = {{"pads", std::vector<int64_t>{1, 0}}}},
                              {tensor_of({1, 1, 4}, {1, 2, 3, 4}), tensor_of({1, 1, 2}, {1, 10}), tensor_of({1}, {5})});
  expect_near(line, tensor_of({1, 1, 4}, {15, 26, 37, 48}), 0);
  const Tensor ones = tensor_of({1, 1, 2, 2, 2}, {1, 1, 1, 1, 1, 1, 1, 1});
  expect_near(run_one({.op = "Conv"}, {ones, ones}), tensor_of({1, 1, 1, 1, 1}, {8}), 0);
}

TEST(Conv, RoundsHalfPrecisionOnce) {
  // 2048 + 1 is not an f16: a running f16 sum would lose every one of the 16 ones.
  Tensor x(DType::f16, {1, 17, 1});
  for (int64_t i = 0; i < 17; ++i) x.set(i, i == 0 ? 2048 : 1);
  Tensor w(DType::f16, {1, 17, 1});
  for (int64_t i = 0; i < 17; ++i) w.set(i, 1);
  EXPECT_EQ(run_one({.op = "Conv"}, {x, w}).at(0), 2064);
}

TEST(Conv, RefusesWhatDoesNotFitAndSaysWhy) {
  const auto wrong_channels =
      run_node({.op = "Conv", .name = "c1"}, {random_tensor({1, 1, 8, 8}, 1), random_tensor({4, 3, 3, 3}, 2)});
  ASSERT_FALSE(wrong_channels.ok());
  EXPECT_NE(wrong_channels.error().message().find("c1"), std::string::npos);
  EXPECT_NE(wrong_channels.error().message().find("C=3"), std::string::npos);
  EXPECT_FALSE(run_node({.op = "Conv"}, {random_tensor({1, 1, 2, 2}, 1), random_tensor({1, 1, 3, 3}, 2)}).ok());
  EXPECT_FALSE(run_node({.op = "Conv", .attrs = {{"strides", std::vector<int64_t>{0, 1}}}},
                        {random_tensor({1, 1, 4, 4}, 1), random_tensor({1, 1, 3, 3}, 2)})
                   .ok());
  EXPECT_FALSE(run_node({.op = "Conv", .attrs = {{"group", int64_t{3}}}},
                        {random_tensor({1, 4, 4, 4}, 1), random_tensor({4, 1, 3, 3}, 2)})
                   .ok());
}

TEST(Conv, AutoPadKeepsTheSizeAndPutsTheOddElementWhereAsked) {
  const Tensor x = tensor_of({1, 1, 3}, {1, 2, 3});
  const Tensor w = tensor_of({1, 1, 2}, {1, 100});
  Node node{.op = "Conv", .attrs = {{"auto_pad", std::string("SAME_UPPER")}}};
  expect_near(run_one(node, {x, w}), tensor_of({1, 1, 3}, {201, 302, 3}), 0);
  node.attrs["auto_pad"] = std::string("SAME_LOWER");
  expect_near(run_one(node, {x, w}), tensor_of({1, 1, 3}, {100, 201, 302}), 0);
}

TEST(ConvTranspose, IsTheAdjointOfConv) {
  // <conv(x), y> = <x, conv_transpose(y)> for the same weight and geometry.
  Node node;
  node.attrs = {{"group", int64_t{2}},
                {"strides", std::vector<int64_t>{2, 1}},
                {"dilations", std::vector<int64_t>{1, 2}},
                {"pads", std::vector<int64_t>{1, 0, 1, 2}}};
  const Tensor x = random_tensor({1, 4, 9, 8}, 5);
  const Tensor w = random_tensor({6, 2, 3, 2}, 6);
  Node forward = node;
  forward.op = "Conv";
  const Tensor cx = run_one(forward, {x, w});
  const Tensor y = random_tensor(cx.shape(), 7);
  Node backward = node;
  backward.op = "ConvTranspose";
  const Tensor ty = run_one(backward, {y, w});
  ASSERT_EQ(ty.shape(), x.shape());
  double left = 0;
  double right = 0;
  for (int64_t i = 0; i < cx.size(); ++i) left += cx.at(i) * y.at(i);
  for (int64_t i = 0; i < x.size(); ++i) right += x.at(i) * ty.at(i);
  EXPECT_NEAR(left, right, 1e-3);
}

TEST(FusedConv, AddsTheResidualBeforeOrBehindTheActivation) {
  Node node{.op = "FusedConv", .domain = "planish", .attrs = {{"activation", std::string("Relu")}}};
  const std::vector<Tensor> inputs{tensor_of({1, 1, 2}, {1, -2}), tensor_of({1, 1, 1}, {3}), tensor_of({1}, {1}),
                                   tensor_of({1, 1, 2}, {-5, 10})};
  expect_near(run_one(node, inputs), tensor_of({1, 1, 2}, {0, 5}), 0);
  node.attrs["residual_last"] = int64_t{1};
  expect_near(run_one(node, inputs), tensor_of({1, 1, 2}, {-1, 10}), 0);
}

TEST(FusedConv, ReadsActivationParametersAndRefusesUnknownOnes) {
  const std::vector<Tensor> inputs{tensor_of({1, 1, 2}, {1, -2}), tensor_of({1, 1, 1}, {3})};
  Node node{.op = "FusedConv", .domain = "planish"};
  node.attrs = {{"activation", std::string("Clip")}, {"act_alpha", -1.0F}, {"act_beta", 2.0F}};
  expect_near(run_one(node, inputs), tensor_of({1, 1, 2}, {2, -1}), 0);
  node.attrs["activation"] = std::string("LeakyRelu");
  node.attrs["act_alpha"] = 0.5F;
  expect_near(run_one(node, inputs), tensor_of({1, 1, 2}, {3, -3}), 0);
  node.attrs["activation"] = std::string("Nonsense");
  EXPECT_FALSE(run_node(node, inputs).ok());
}

TEST(DeformConv, WithZeroOffsetsIsConv) {
  const Tensor x = random_tensor({2, 4, 6, 7}, 11);
  const Tensor w = random_tensor({4, 2, 3, 3}, 12);
  Node node{.op = "Conv", .attrs = {{"group", int64_t{2}}, {"pads", std::vector<int64_t>{1, 1, 1, 1}}}};
  const Tensor want = run_one(node, {x, w});
  node.op = "DeformConv";
  node.attrs["offset_group"] = int64_t{2};
  expect_near(run_one(node, {x, w, Tensor(DType::f32, {2, 36, 6, 7})}), want, 1e-5);
}

TEST(DeformConv, SamplesBetweenElements) {
  // One tap moved by half a column: the mean of two neighbours; outside counts as 0.
  const Tensor y = run_one({.op = "DeformConv"},
                           {tensor_of({1, 1, 1, 2}, {4, 8}), tensor_of({1, 1, 1, 1}, {1}),
                            tensor_of({1, 2, 1, 2}, {0, 0, 0.5, 0.5}), Tensor(), tensor_of({1, 1, 1, 2}, {1, 0.5})});
  expect_near(y, tensor_of({1, 1, 1, 2}, {6, 2}), 1e-6);
}

}  // namespace
}  // namespace planish
