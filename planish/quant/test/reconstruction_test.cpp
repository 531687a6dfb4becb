#include "planish/quant/reconstruction.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>

#include "planish/ir/text.h"
#include "planish/ops/op.h"
#include "planish/quant/cholesky.h"
#include "planish/quant/output_threshold.h"

namespace planish {
namespace {

constexpr std::string_view kGraph =
    "graph \"g\" (x: f32[16,16,12,12]) -> (y) {\n"
    "  const w: f32[8,16,3,3] = seed(1)\n"
    "  const b: f32[8] = seed(2)\n"
    "  y = Conv(x, w, b) {pads = [1, 1, 1, 1], strides = [2, 2]} @conv1\n"
    "}\n";

QuantisedProduct product_of(const Graph& g) { return {0, g.nodes[0].inputs[0], g.nodes[0].inputs[1], 0}; }

/// Channels that vary together, as real ones do.
Tensor correlated_input(uint32_t seed) {
  Tensor x(DType::f32, {16, 16, 12, 12});
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (int64_t n = 0; n < 16; ++n)
    for (int64_t p = 0; p < 144; ++p) {
      const float common = 1 + normal(random);
      for (int64_t c = 0; c < 16; ++c) x.data<float>()[(n * 16 + c) * 144 + p] = common + 0.2F * normal(random);
    }
  return x;
}

Tensor coarse(const Tensor& x, const TensorQuantization& q) {
  Tensor y = x.clone();
  round_to_steps({y.data<float>(), static_cast<size_t>(y.size())}, q);
  return y;
}

InputRows rows_of(const Graph& g, const Tensor& x) {
  InputRows rows(g, product_of(g));
  rows.add(x.data<float>(), x.shape(), Layout::row_major, 1000);
  return rows;
}

/// Squared error of the layer with quantised input and weights on fresh data.
double output_error(const Graph& g, const QuantisedWeights& w, const TensorQuantization& q) {
  const Tensor x = correlated_input(99);
  const Tensor want = (*interpret(g, std::vector{x.clone()}))[0];
  Graph other = g;
  other.value(other.nodes[0].inputs[1]).constant = dequantise(w, 0);
  if (w.bias) other.value(other.nodes[0].inputs[2]).constant = w.bias->clone();
  const Tensor got = (*interpret(other, std::vector{coarse(x, q)}))[0];
  double error = 0;
  for (int64_t i = 0; i < want.size(); ++i) error += std::pow(want.at(i) - got.at(i), 2);
  return error;
}

TEST(Reconstruction, ErrsLessThanRoundingToNearestOnDataThatItHasNotSeen) {
  const Graph g = *parse_text(kGraph);
  const Tensor x = correlated_input(7);
  for (const float scale : {0.02F, 0.1F}) {  // the second clips nothing but rounds coarsely
    const TensorQuantization q{.scale = scale};
    const QuantisedWeights nearest = quantise_weights(*g.constant_of(product_of(g).weights), 0, true);
    const auto made = reconstruct_weights(g, product_of(g), rows_of(g, x), rows_of(g, coarse(x, q)), {}, gram_by_loops);
    ASSERT_TRUE(made.has_value());
    ASSERT_TRUE(made->bias.has_value());
    EXPECT_LT(output_error(g, *made, q), 0.99 * output_error(g, nearest, q)) << scale;
  }
}

TEST(Reconstruction, MakesUpForClippingAndKeepsToSevenBits) {
  const Graph g = *parse_text(kGraph);
  const Tensor x = correlated_input(7);
  const TensorQuantization q{.scale = 0.01F};  // cuts at 1.27, where a fifth of the values lies beyond
  const WeightLimit seven_bits{.largest = kNarrowWeight};
  const auto made =
      reconstruct_weights(g, product_of(g), rows_of(g, x), rows_of(g, coarse(x, q)), seven_bits, gram_by_loops);
  ASSERT_TRUE(made.has_value());
  for (int64_t i = 0; i < made->q.size(); ++i) EXPECT_LE(std::abs(made->q.at(i)), kNarrowWeight);
  const QuantisedWeights nearest = quantise_weights(*g.constant_of(product_of(g).weights), 0, true, seven_bits);
  EXPECT_LT(output_error(g, *made, q), 0.8 * output_error(g, nearest, q));
}

TEST(Reconstruction, KeepsPairsOfNeighboursSmallAndErrsLessThanWithSevenBits) {
  const Graph g = *parse_text(kGraph);
  const Tensor x = correlated_input(7);
  const TensorQuantization q{.scale = 0.01F};
  const auto made_with = [&](const WeightLimit& limit) {
    return *reconstruct_weights(g, product_of(g), rows_of(g, x), rows_of(g, coarse(x, q)), limit, gram_by_loops);
  };
  const WeightLimit pairs{kLargestWeight, kPairOfWeights, weight_neighbours(g, product_of(g))};
  const QuantisedWeights made = made_with(pairs);
  int largest = 0;
  for (int64_t i = 0; i < made.q.size(); ++i) {
    const int a = static_cast<int>(made.q.at(i));
    const int64_t j = pairs.neighbours[static_cast<size_t>(i % 144)][0];
    const int b = static_cast<int>(made.q.at(i - i % 144 + j));
    if (a * b > 0) {
      EXPECT_LE(std::abs(a + b), kPairOfWeights) << i;
    }
    largest = std::max(largest, std::abs(a));
  }
  EXPECT_GT(largest, kNarrowWeight);
  EXPECT_LT(output_error(g, made, q), output_error(g, made_with({.largest = kNarrowWeight}), q));
}

TEST(Reconstruction, HandlesGroupsAndRefusesWhatDoesNotMatch) {
  const Graph g = *parse_text(
      "graph \"g\" (x: f32[4,8,6,6]) -> (y) {\n"
      "  const w: f32[8,1,3,3] = seed(1)\n"
      "  y = Conv(x, w) {group = 8, pads = [1, 1, 1, 1]} @conv1\n"
      "}\n");
  const Tensor x = seeded_tensor(DType::f32, {4, 8, 6, 6}, 3, -1, 1);
  const TensorQuantization q{.scale = 1.0F / 127};
  const InputRows rows = rows_of(g, x);
  EXPECT_EQ(rows.groups(), 8);
  EXPECT_EQ(rows.k(), 9);
  EXPECT_EQ(rows.rows(), 4 * 36);
  const auto made = reconstruct_weights(g, product_of(g), rows, rows_of(g, coarse(x, q)), {}, gram_by_loops);
  ASSERT_TRUE(made.has_value());
  const QuantisedWeights nearest = quantise_weights(*g.constant_of(product_of(g).weights), 0, true);
  for (int64_t i = 0; i < nearest.q.size(); ++i) EXPECT_LE(std::abs(made->q.at(i) - nearest.q.at(i)), 12) << i;
  const InputRows none(g, product_of(g));
  EXPECT_FALSE(reconstruct_weights(g, product_of(g), none, none, {}, gram_by_loops).has_value());
  EXPECT_FALSE(reconstruct_weights(g, product_of(g), rows, none, {}, gram_by_loops).has_value());
}

TEST(InputRows, AreAsManyAsAskedForAndComeFromEveryPlaceOfSmallImages) {
  const Graph g = *parse_text(
      "graph \"g\" (x: f32[98,1,7,7]) -> (y) {\n"
      "  const w: f32[1,1,1,1] = seed(1)\n"
      "  y = Conv(x, w) {} @conv1\n"
      "}\n");
  Tensor x(DType::f32, {98, 1, 7, 7});
  for (int64_t i = 0; i < x.size(); ++i) x.data<float>()[i] = static_cast<float>(i % 49);
  for (const int64_t positions : {1, 16, 32, 49, 60}) {
    InputRows rows(g, product_of(g));
    rows.add(x.data<float>(), x.shape(), Layout::row_major, positions);
    const int64_t of_each = std::min<int64_t>(positions, 49);
    ASSERT_EQ(rows.rows(), 98 * of_each);
    std::vector<int64_t> seen(49);
    for (const float v : rows.values()) ++seen[static_cast<size_t>(v)];
    EXPECT_EQ(seen, std::vector<int64_t>(49, 2 * of_each)) << positions;
  }
}

/// Channel `c` of an input of 20 alone, as the input of one of the convolutions that a depthwise one consists of.
Tensor channel_of(const Tensor& x, int64_t c) {
  Tensor out(DType::f32, {x.dim(0), 1, x.dim(2), x.dim(3)});
  const int64_t plane = x.dim(2) * x.dim(3);
  for (int64_t n = 0; n < x.dim(0); ++n)
    std::copy_n(x.data<float>() + (n * x.dim(1) + c) * plane, plane, out.data<float>() + n * plane);
  return out;
}

constexpr int64_t kChannels = 20;  // more than the lanes of one block, and no multiple of them

Graph depthwise(int64_t channels) {
  const std::string c = std::to_string(channels);
  return *parse_text("graph \"g\" (x: f32[8," + c + ",6,6]) -> (y) {\n  const w: f32[" + c +
                     ",1,3,3] = seed(1)\n  const b: f32[" + c + "] = seed(2)\n  y = Conv(x, w, b) {group = " + c +
                     ", pads = [1, 1, 1, 1]} @conv1\n}\n");
}

Graph one_channel_of(const Graph& g, int64_t c) {
  Graph one = depthwise(1);
  Tensor w(DType::f32, {1, 1, 3, 3});
  std::copy_n(g.constant_of(g.nodes[0].inputs[1])->data<float>() + c * 9, 9, w.data<float>());
  one.value(one.nodes[0].inputs[1]).constant = w;
  one.value(one.nodes[0].inputs[2]).constant =
      Tensor::from_f32(std::vector<float>{g.constant_of(g.nodes[0].inputs[2])->data<float>()[c]});
  return one;
}

TEST(Reconstruction, LeavesOutSamplesThatAreNotFiniteInFloat) {
  const Graph g = *parse_text(kGraph);
  const Tensor x = correlated_input(7);
  const TensorQuantization q{.scale = 0.02F};
  Tensor with_infinity = x.clone();
  with_infinity.set(3 * 16 * 144 + 500, INFINITY);  // in sample 3
  const InputRows quantised = rows_of(g, coarse(x, q));
  const auto made = reconstruct_weights(g, product_of(g), rows_of(g, with_infinity), quantised, {}, gram_by_loops);
  ASSERT_TRUE(made.has_value());
  // The same as without that sample.
  InputRows in_float(g, product_of(g));
  InputRows others(g, product_of(g));
  const InputRows all = rows_of(g, x);
  for (int64_t i = 0; i < all.rows(); ++i)
    if (all.samples()[static_cast<size_t>(i)] != 3) {
      in_float.append(all, i, i + 1);
      others.append(quantised, i, i + 1);
    }
  ASSERT_LT(others.rows(), quantised.rows());
  const auto want = reconstruct_weights(g, product_of(g), in_float, others, {}, gram_by_loops);
  ASSERT_TRUE(want.has_value());
  for (int64_t i = 0; i < want->q.size(); ++i) ASSERT_EQ(made->q.at(i), want->q.at(i)) << i;
}

TEST(Reconstruction, GroupsSideBySideGiveWhatEachOfThemGives) {
  const Graph g = depthwise(kChannels);
  const Tensor x = seeded_tensor(DType::f32, {8, kChannels, 6, 6}, 3, -1, 1);
  const TensorQuantization q{.scale = 0.05F};
  const auto made = reconstruct_weights(g, product_of(g), rows_of(g, x), rows_of(g, coarse(x, q)), {}, gram_by_loops);
  ASSERT_TRUE(made.has_value());
  int64_t other = 0;
  for (int64_t c = 0; c < kChannels; ++c) {
    const Graph one = one_channel_of(g, c);
    const Tensor part = channel_of(x, c);
    const auto alone =
        reconstruct_weights(one, product_of(one), rows_of(one, part), rows_of(one, coarse(part, q)), {}, gram_by_loops);
    ASSERT_TRUE(alone.has_value());
    for (int64_t i = 0; i < 9; ++i) other += made->q.at(c * 9 + i) != alone->q.at(i) ? 1 : 0;
    EXPECT_NEAR(made->bias->at(c), alone->bias->at(0), 1e-3) << c;
  }
  EXPECT_LE(other, 2);  // of 180: single precision may fall to the other side of a half
}

/// The same convolution without groups: zeros where other channels are.
Graph without_groups(const Graph& g) {
  Graph dense = g;
  const Tensor& w = *g.constant_of(g.nodes[0].inputs[1]);
  Tensor all(DType::f32, {kChannels, kChannels, 3, 3});
  for (int64_t c = 0; c < kChannels; ++c)
    std::copy_n(w.data<float>() + c * 9, 9, all.data<float>() + (c * kChannels + c) * 9);
  dense.value(dense.nodes[0].inputs[1]).constant = all;
  dense.nodes[0].attrs.erase("group");
  return dense;
}

TEST(ChooseByOutput, JudgesGroupsSideBySideAsOneConvolution) {
  const Graph g = depthwise(kChannels);
  const Graph dense = without_groups(g);
  Tensor x = seeded_tensor(DType::f32, {8, kChannels, 6, 6}, 3, -1, 1);
  for (int64_t i = 0; i < x.size(); i += 97) x.data<float>()[i] *= 30;  // a threshold has something to weigh
  InputRows rows(g, product_of(g));
  InputRows dense_rows(dense, product_of(dense));
  rows.add(x.data<float>(), x.shape(), Layout::row_major, 10);
  dense_rows.add(x.data<float>(), x.shape(), Layout::row_major, 10);
  ASSERT_LE(rows.rows(), 256);  // all are looked at
  const QuantisedProduct product = product_of(g);
  std::set<float> scales;
  for (const float scale : {0.3F / 127, 1.0F / 127, 3.0F / 127, 20.0F / 127}) {
    const TensorQuantization first{.scale = scale};
    const auto grouped = choose_by_output(g, {{&product, &rows}}, first, -30, 30, gram_by_loops);
    EXPECT_EQ(grouped, choose_by_output(dense, {{&product, &dense_rows}}, first, -30, 30, gram_by_loops)) << scale;
    scales.insert(grouped.scale / scale);
  }
  EXPECT_GT(scales.size(), 1U);  // not always the first
}

TEST(InputRows, SeesTheSameWindowsInEveryLayoutAndLeavesOutWhatIsNotFinite) {
  const Graph g = *parse_text(kGraph);
  EXPECT_TRUE(InputRows::possible(g, product_of(g), 144));
  EXPECT_FALSE(InputRows::possible(g, product_of(g), 100));
  Tensor x = correlated_input(7);
  std::vector<float> last(static_cast<size_t>(x.size()));
  for (int64_t n = 0; n < 16; ++n)
    for (int64_t c = 0; c < 16; ++c)
      for (int64_t p = 0; p < 144; ++p)
        last[static_cast<size_t>((n * 144 + p) * 16 + c)] = x.data<float>()[(n * 16 + c) * 144 + p];
  InputRows a(g, product_of(g));
  InputRows b(g, product_of(g));
  InputRows c(g, product_of(g));
  a.add(x.data<float>(), x.shape(), Layout::row_major, 10);
  b.add(last.data(), x.shape(), Layout::channels_last, 10);
  c.add(last.data(), x.shape(), Layout::blocked16, 10);
  EXPECT_GE(a.rows(), 16 * 9);
  EXPECT_TRUE(std::ranges::equal(a.values(), b.values()));
  EXPECT_TRUE(std::ranges::equal(a.values(), c.values()));
  for (const TensorQuantization& q :
       {TensorQuantization{.scale = 0.05F}, TensorQuantization{.scale = 0.03F, .zero = 17, .type = DType::u8}}) {
    std::vector<uint8_t> bytes;
    for (const float v : last)
      bytes.push_back(static_cast<uint8_t>(static_cast<int>(std::nearbyint(Steps(q).nearest(v) / q.scale)) + q.zero));
    InputRows rounded(g, product_of(g));
    rounded.add(bytes.data(), q, x.shape(), Layout::channels_last, 10);
    std::vector<float> nearest(a.values().begin(), a.values().end());
    round_to_steps(nearest, q);
    ASSERT_EQ(rounded.values().size(), nearest.size());
    for (size_t i = 0; i < nearest.size(); ++i) ASSERT_FLOAT_EQ(rounded.values()[i], nearest[i]);
  }
  x.data<float>()[5] = NAN;
  InputRows d(g, product_of(g));
  d.add(x.data<float>(), x.shape(), Layout::row_major, 1000);
  EXPECT_LT(d.rows(), 16 * 36);
  for (const float v : d.values()) EXPECT_TRUE(std::isfinite(v));
}

void expect_solved(int64_t k) {
  constexpr int64_t kSides = 19;
  SCOPED_TRACE(k);
  std::mt19937 random(3);
  std::normal_distribution<double> normal;
  std::vector<double> r(static_cast<size_t>(k * k));
  for (double& v : r) v = normal(random);
  std::vector<float> a(r.size());
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = 0; j < k; ++j) {
      double sum = i == j ? 1.0 : 0.0;
      for (int64_t n = 0; n < k; ++n)
        sum += r[static_cast<size_t>(i * k + n)] * r[static_cast<size_t>(j * k + n)] / static_cast<double>(k);
      a[static_cast<size_t>(i * k + j)] = static_cast<float>(sum);
    }
  std::vector<float> x(static_cast<size_t>(k * kSides));
  for (float& v : x) v = static_cast<float>(normal(random));
  std::vector<float> b(x.size());
  gram_by_loops(k, k, kSides, {a.data(), k}, {x.data(), kSides}, b.data());
  ASSERT_TRUE(cholesky(a, k, gram_by_loops));
  solve_cholesky(a, k, b, kSides, gram_by_loops);
  for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(b[i], x[i], 1e-4) << i;
}

TEST(Cholesky, SolvesAndRefusesWhatIsNotPositive) {
  for (const int64_t k : {1, 7, 32, 33, 39, 64, 75}) expect_solved(k);
  std::vector<float> negative{1, 2, 2, 1};
  EXPECT_FALSE(cholesky(negative, 2, gram_by_loops));
}

}  // namespace
}  // namespace planish
