// Normalisations, attention, recurrent layers and Fourier transforms.

#include <cmath>
#include <complex>
#include <memory>
#include <numbers>

#include "planish/ops/fourier.h"
#include "planish/ops/test/node_runner.h"

namespace planish {
namespace {

using test::expect_near;
using test::random_tensor;
using test::run_node;
using test::run_one;
using test::tensor_of;

TEST(LayerNormalization, GivesZeroMeanUnitVarianceRowsAndTheMoments) {
  const Tensor x = tensor_of({2, 2}, {1, 3, -5, 5});
  auto out = run_node({.op = "LayerNormalization", .attrs = {{"epsilon", 0.0F}}},
                      {x, tensor_of({2}, {2, 3}), tensor_of({2}, {0, 1})}, 3);
  ASSERT_TRUE(out.ok()) << out.error().message();
  expect_near((*out)[0], tensor_of({2, 2}, {-2, 4, -2, 4}), 1e-6);
  expect_near((*out)[1], tensor_of({2, 1}, {2, 0}), 1e-6);
  expect_near((*out)[2], tensor_of({2, 1}, {1, 0.2}), 1e-6);
}

TEST(RmsNormalization, DoesNotCentre) {
  expect_near(run_one({.op = "RMSNormalization", .attrs = {{"epsilon", 0.0F}}},
                      {tensor_of({1, 2}, {3, -3}), tensor_of({2}, {1, 2})}),
              tensor_of({1, 2}, {1, -2}), 1e-6);
}

TEST(BatchNormalization, TrainingUsesTheBatchAndUpdatesRunningMoments) {
  const Tensor x = tensor_of({2, 1, 2}, {1, 3, 1, 3});
  const Tensor one = tensor_of({1}, {1});
  const Tensor zero = tensor_of({1}, {0});
  Node node{.op = "BatchNormalization", .attrs = {{"epsilon", 0.0F}, {"momentum", 0.75F}}};
  expect_near(run_one(node, {x, one, zero, tensor_of({1}, {1}), tensor_of({1}, {4})}),
              tensor_of({2, 1, 2}, {0, 1, 0, 1}), 1e-6);
  node.attrs["training_mode"] = int64_t{1};
  auto out = run_node(node, {x, one, zero, tensor_of({1}, {4}), tensor_of({1}, {5})}, 3);
  ASSERT_TRUE(out.ok()) << out.error().message();
  expect_near((*out)[0], tensor_of({2, 1, 2}, {-1, 1, -1, 1}), 1e-6);
  expect_near((*out)[1], tensor_of({1}, {3.5}), 1e-6);
  expect_near((*out)[2], tensor_of({1}, {4}), 1e-6);
}

TEST(GroupNormalization, WithOneChannelPerGroupIsInstanceNormalization) {
  const Tensor x = random_tensor({2, 4, 3}, 3);
  const Tensor scale = random_tensor({4}, 4);
  const Tensor bias = random_tensor({4}, 5);
  const Tensor group = run_one({.op = "GroupNormalization", .attrs = {{"num_groups", int64_t{4}}}}, {x, scale, bias});
  expect_near(group, run_one({.op = "InstanceNormalization"}, {x, scale, bias}), 1e-6);
  EXPECT_FALSE(run_node({.op = "GroupNormalization", .attrs = {{"num_groups", int64_t{3}}}}, {x, scale, bias}).ok());
}

TEST(MergedAttention, IsAttentionBehindASplit) {
  const Tensor q = random_tensor({2, 3, 16}, 1);
  const Tensor k = random_tensor({2, 3, 8}, 2);
  const Tensor v = random_tensor({2, 3, 8}, 3);
  const Tensor mask = random_tensor({3, 3}, 4);
  const Tensor merged = run_one({.op = "Concat", .attrs = {{"axis", int64_t{2}}}}, {q, k, v});
  Node node{.op = "MergedAttention",
            .domain = "planish",
            .attrs = {{"q_num_heads", int64_t{4}}, {"kv_num_heads", int64_t{2}}, {"scale", 0.3F}}};
  Node apart = node;
  apart.op = "Attention";
  apart.domain.clear();
  expect_near(run_one(node, {merged, mask}), run_one(apart, {q, k, v, mask}), 1e-6);
  expect_near(run_one(node, {merged}), run_one(apart, {q, k, v}), 1e-6);
  node.attrs["kv_num_heads"] = int64_t{3};
  EXPECT_FALSE(run_node(node, {merged}).ok()) << "32 columns do not divide into 10 heads";
}

TEST(Attention, PackedAndUnpackedHeadsAgree) {
  const Tensor q = random_tensor({2, 3, 8}, 1);
  const Tensor k = random_tensor({2, 5, 4}, 2);
  const Tensor v = random_tensor({2, 5, 6}, 3);
  Node node{.op = "Attention", .attrs = {{"q_num_heads", int64_t{4}}, {"kv_num_heads", int64_t{2}}}};
  const Tensor packed = run_one(node, {q, k, v});
  ASSERT_EQ(packed.shape(), (Shape{2, 3, 12}));
  const auto unpack = [](const Tensor& t, int64_t heads) {
    const int64_t size = t.dim(2) / heads;
    Tensor y(t.dtype(), {t.dim(0), heads, t.dim(1), size});
    for (int64_t i = 0; i < y.size(); ++i) {
      const int64_t d = i % size;
      const int64_t s = i / size % t.dim(1);
      const int64_t h = i / size / t.dim(1) % heads;
      y.set(i, t.at(((i / (size * t.dim(1) * heads)) * t.dim(1) + s) * t.dim(2) + h * size + d));
    }
    return y;
  };
  expect_near(run_one({.op = "Attention"}, {unpack(q, 4), unpack(k, 2), unpack(v, 2)}), unpack(packed, 4), 1e-6);
}

TEST(Attention, DecodingStepByStepEqualsOneCausalPass) {
  const Tensor q = random_tensor({1, 1, 3, 4}, 1);
  const Tensor k = random_tensor({1, 1, 3, 4}, 2);
  const Tensor v = random_tensor({1, 1, 3, 4}, 3);
  Node node{.op = "Attention", .attrs = {{"is_causal", int64_t{1}}}};
  const Tensor whole = run_one(node, {q, k, v});
  Tensor past_k(DType::f32, {1, 1, 0, 4});
  Tensor past_v(DType::f32, {1, 1, 0, 4});
  for (int64_t t = 0; t < 3; ++t) {
    const auto token = [t](const Tensor& x) {
      Tensor y(DType::f32, {1, 1, 1, 4});
      for (int64_t i = 0; i < 4; ++i) y.set(i, x.at(t * 4 + i));
      return y;
    };
    auto out = run_node(node, {token(q), token(k), token(v), Tensor(), past_k, past_v}, 3);
    ASSERT_TRUE(out.ok()) << out.error().message();
    expect_near((*out)[0], token(whole), 1e-6);
    past_k = (*out)[1];
    past_v = (*out)[2];
  }
  expect_near(past_k, k, 0);
}

TEST(Attention, RowsWithoutAnyVisibleKeyAreZero) {
  const Tensor x = random_tensor({1, 1, 2, 2}, 1);
  const Tensor mask = tensor_of({2, 2}, {0, 0, 1, 0}, DType::boolean);
  const Tensor y = run_one({.op = "Attention"}, {x, x, x, mask});
  expect_near(y, tensor_of({1, 1, 2, 2}, {0, 0, x.at(0), x.at(1)}), 1e-6);
}

TEST(FlexAttention, WithoutSubgraphsIsAttentionAndAppliesThemOtherwise) {
  const Tensor q = random_tensor({1, 4, 3, 4}, 1);
  const Tensor k = random_tensor({1, 2, 5, 4}, 2);
  const Tensor v = random_tensor({1, 2, 5, 4}, 3);
  Node node{.op = "FlexAttention", .domain = "ai.onnx.preview"};
  expect_near(run_one(node, {q, k, v}), run_one({.op = "Attention"}, {q, k, v}), 1e-6);
  Graph negate;
  negate.inputs = {negate.add_value({.name = "p", .dtype = DType::f32})};
  negate.outputs = {negate.add_value({.name = "y"})};
  negate.nodes = {{.op = "Neg", .inputs = negate.inputs, .outputs = negate.outputs}};
  const Tensor plain = run_one(node, {q, k, v});
  node.attrs["prob_mod"] = std::make_shared<const Graph>(negate);
  expect_near(run_one(node, {q, k, v}), run_one({.op = "Neg"}, {plain}), 1e-6);
}

TEST(RotaryEmbedding, TurnsPairsByTheirAngle) {
  const Tensor x = tensor_of({1, 1, 1, 4}, {1, 2, 3, 4});
  const Tensor cosine = tensor_of({1, 2}, {0, 1});
  const Tensor sine = tensor_of({1, 2}, {1, 0});
  const Tensor position = tensor_of({1, 1}, {0}, DType::i64);
  Node node{.op = "RotaryEmbedding"};
  expect_near(run_one(node, {x, cosine, sine, position}), tensor_of({1, 1, 1, 4}, {-3, 2, 1, 4}), 0);
  node.attrs["interleaved"] = int64_t{1};
  expect_near(run_one(node, {x, cosine, sine, position}), tensor_of({1, 1, 1, 4}, {-2, 1, 3, 4}), 0);
  EXPECT_FALSE(run_node(node, {x, cosine, sine, tensor_of({1, 1}, {1}, DType::i64)}).ok());
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

TEST(Lstm, FollowsItsEquations) {
  // One unit, one step, every gate with its own weight: i, o, f, c.
  const Tensor x = tensor_of({1, 1, 1}, {0.5});
  const Tensor w = tensor_of({1, 4, 1}, {1, 2, 3, 4});
  const Tensor r = tensor_of({1, 4, 1}, {0.1, 0.2, 0.3, 0.4});
  const Tensor h0 = tensor_of({1, 1, 1}, {-1});
  const Tensor c0 = tensor_of({1, 1, 1}, {2});
  const Tensor p = tensor_of({1, 3}, {0.5, 0.25, -0.5});
  auto out = run_node({.op = "LSTM"}, {x, w, r, Tensor(), Tensor(), h0, c0, p}, 3);
  ASSERT_TRUE(out.ok()) << out.error().message();
  const double c = sigmoid(1.5 - 0.3 - 1.0) * 2 + sigmoid(0.5 - 0.1 + 1.0) * std::tanh(2 - 0.4);
  const double h = sigmoid(1 - 0.2 + 0.25 * c) * std::tanh(c);
  EXPECT_NEAR((*out)[1].at(0), h, 1e-6);
  EXPECT_NEAR((*out)[2].at(0), c, 1e-6);
}

TEST(Recurrent, ReverseSkipsThePaddingOfShortSequences) {
  // h(t) = x(t) + 2 h(t+1) with a linear activation, lengths 2 and 3.
  Node node{.op = "RNN"};
  node.attrs = {{"direction", std::string("reverse")}, {"activations", std::vector<std::string>{"Affine"}}};
  const Tensor x = tensor_of({3, 2, 1}, {1, 1, 10, 10, 100, 100});
  auto out = run_node(
      node, {x, tensor_of({1, 1, 1}, {1}), tensor_of({1, 1, 1}, {2}), Tensor(), tensor_of({2}, {2, 3}, DType::i32)}, 2);
  ASSERT_TRUE(out.ok()) << out.error().message();
  expect_near((*out)[0], tensor_of({3, 1, 2, 1}, {21, 421, 10, 210, 0, 100}), 0);
  expect_near((*out)[1], tensor_of({1, 2, 1}, {21, 421}), 0);
}

TEST(Recurrent, BatchFirstLayoutIsATransposition) {
  const Tensor w = random_tensor({2, 9, 2}, 1);
  const Tensor r = random_tensor({2, 9, 3}, 2);
  const Tensor b = random_tensor({2, 18}, 3);
  const Tensor x = random_tensor({1, 4, 2}, 4);  // batch 1: both layouts have the same bytes
  Node node{.op = "GRU", .attrs = {{"direction", std::string("bidirectional")}, {"layout", int64_t{1}}}};
  const Tensor batch_first = run_one(node, {x, w, r, b});
  node.attrs.erase("layout");
  const Tensor time_first = run_one(node, {x.reshaped({4, 1, 2}), w, r, b});
  expect_near(batch_first, time_first.reshaped({1, 4, 2, 3}), 0);
}

TEST(Recurrent, RefusesUnknownActivationsAndWrongWeights) {
  const Tensor one = tensor_of({1, 1, 1}, {1});
  Node node{.op = "RNN", .attrs = {{"activations", std::vector<std::string>{"Nonsense"}}}};
  EXPECT_FALSE(run_node(node, {one, one, one}).ok());
  EXPECT_FALSE(run_node({.op = "LSTM"}, {one, one, one}).ok());
}

TEST(Fourier, MatchesTheDefinitionForPrimeAndCompositeLengths) {
  for (const int64_t n : {1, 2, 7, 12, 30, 64}) {
    std::vector<std::complex<double>> x;
    for (int64_t i = 0; i < n; ++i) x.emplace_back(std::sin(static_cast<double>(i * i)), std::cos(3.0 * i));
    auto y = x;
    fourier_transform(y, false);
    for (int64_t k = 0; k < n; ++k) {
      std::complex<double> sum = 0;
      for (int64_t i = 0; i < n; ++i)
        sum += x[static_cast<size_t>(i)] *
               std::polar(1.0, -2 * std::numbers::pi * static_cast<double>(i * k) / static_cast<double>(n));
      EXPECT_NEAR(std::abs(sum - y[static_cast<size_t>(k)]), 0, 1e-10) << n;
    }
    fourier_transform(y, true);
    for (int64_t i = 0; i < n; ++i)
      EXPECT_NEAR(std::abs(x[static_cast<size_t>(i)] - y[static_cast<size_t>(i)]), 0, 1e-12);
  }
}

TEST(Dft, OneSidedThereAndBackIsTheSignal) {
  const Tensor x = random_tensor({2, 10, 1}, 9);
  Node node{.op = "DFT", .attrs = {{"onesided", int64_t{1}}}};
  const Tensor spectrum = run_one(node, {x});
  EXPECT_EQ(spectrum.shape(), (Shape{2, 6, 2}));
  node.attrs["inverse"] = int64_t{1};
  expect_near(run_one(node, {spectrum}), x, 1e-6);
}

TEST(TfIdfVectorizer, CountsGramsWithGaps) {
  Node node{.op = "TfIdfVectorizer"};
  node.attrs = {{"mode", std::string("TF")},
                {"min_gram_length", int64_t{1}},
                {"max_gram_length", int64_t{2}},
                {"max_skip_count", int64_t{1}},
                {"ngram_counts", std::vector<int64_t>{0, 2}},
                {"ngram_indexes", std::vector<int64_t>{0, 1, 2}},
                {"pool_int64s", std::vector<int64_t>{5, 6, 5, 6}}};
  // Tokens 5 9 6 5 6: "5 6" once as neighbours and once over a gap.
  expect_near(run_one(node, {tensor_of({5}, {5, 9, 6, 5, 6}, DType::i64)}), tensor_of({3}, {2, 2, 2}), 0);
}

TEST(Contrib, SkipLayerNormalizationIsAddThenLayerNormalization) {
  const Tensor x = random_tensor({2, 3, 4}, 1);
  const Tensor skip = random_tensor({2, 3, 4}, 2);
  const Tensor gamma = random_tensor({4}, 3);
  const Tensor beta = random_tensor({4}, 4);
  Node node{.op = "SkipLayerNormalization", .domain = "com.microsoft", .attrs = {{"epsilon", 1e-5F}}};
  auto out = run_node(node, {x, skip, gamma, beta}, 4);
  ASSERT_TRUE(out.ok()) << out.error().message();
  const Tensor sum = run_one({.op = "Add"}, {x, skip});
  expect_near((*out)[3], sum, 0);
  expect_near((*out)[0], run_one({.op = "LayerNormalization"}, {sum, gamma, beta}), 1e-6);
}

}  // namespace
}  // namespace planish
