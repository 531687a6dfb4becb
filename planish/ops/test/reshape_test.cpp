#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "planish/ops/test/infer_runner.h"
#include "planish/ops/test/node_runner.h"
#include "planish/ops/test/tensor_values.h"

namespace planish::test {
namespace {

using Values = std::vector<double>;

Tensor iota(DType dtype, Shape shape) {
  Values v(static_cast<size_t>(element_count(shape)));
  std::iota(v.begin(), v.end(), 0);
  return tensor(dtype, std::move(shape), v);
}

Tensor ints(std::vector<int64_t> v) { return Tensor::from_i64(v); }

TEST(Reshape, CopiesZeroAndSolvesMinusOne) {
  const auto out = run_node({.op = "Reshape"}, {iota(DType::f32, {2, 3, 4}), ints({0, -1})});
  ASSERT_TRUE(out.ok());
  EXPECT_EQ(out.value()[0].shape(), (Shape{2, 12}));
  EXPECT_EQ(out.value()[0].at(23), 23);
  const auto empty =
      run_node({.op = "Reshape", .attrs = {{"allowzero", int64_t{1}}}}, {iota(DType::f32, {0, 3}), ints({3, 0})});
  ASSERT_TRUE(empty.ok());
  EXPECT_EQ(empty.value()[0].shape(), (Shape{3, 0}));
}

TEST(Reshape, InfersThroughUnknownDimensions) {
  const Node n{.op = "Reshape"};
  EXPECT_EQ(inferred(n, {{{-1, 12, 64}, {}}, known({0, -1})}), "[?,768]");
  EXPECT_EQ(inferred(n, {{{-1, 12, 64}, {}}, known({-1, 64})}), "[?,64]");
  EXPECT_EQ(inferred(n, {{{2, 12}, {}}, hidden(DType::i64, {3})}), "[?,?,?]");
  EXPECT_EQ(inferred(n, {{{2, 12}, {}}, hidden(DType::i64, {-1})}), "unknown");
  EXPECT_EQ(inferred(n, {{{2, 12}, {}}, known({5, -1})}), "error");
}

TEST(Reshape, RefusesWrongCountsAndDoubleMinusOne) {
  EXPECT_FALSE(run_node({.op = "Reshape"}, {iota(DType::f32, {4}), ints({3})}).ok());
  EXPECT_FALSE(run_node({.op = "Reshape"}, {iota(DType::f32, {4}), ints({-1, -1})}).ok());
  EXPECT_FALSE(run_node({.op = "Reshape"}, {iota(DType::f32, {4}), ints({2, 0})}).ok());
  EXPECT_FALSE(run_node({.op = "Reshape"}, {iota(DType::f32, {4})}).ok());
}

TEST(Squeeze, TakesAxesOrAllOnes) {
  EXPECT_EQ(inferred({.op = "Squeeze"}, {{{1, -1, 1}, {}}, known({-1})}), "[1,?]");
  EXPECT_EQ(inferred({.op = "Squeeze"}, {{{1, -1, 1}, {}}}), "unknown");
  EXPECT_EQ(inferred({.op = "Squeeze"}, {{{1, 5, 1}, {}}}), "[5]");
  EXPECT_EQ(inferred({.op = "Squeeze"}, {{{1, 5, 1}, {}}, hidden(DType::i64, {1})}), "[?,?]");
  EXPECT_EQ(inferred({.op = "Squeeze"}, {{{1, 5, 1}, {}}, known({1})}), "error");
}

TEST(Unsqueeze, CountsAxesInTheResult) {
  EXPECT_EQ(inferred({.op = "Unsqueeze"}, {{{3, -1}, {}}, known({0, -1})}), "[1,3,?,1]");
  EXPECT_EQ(inferred({.op = "Unsqueeze"}, {{{3}, {}}, known({1, 1})}), "error");
}

TEST(Flatten, SplitsAtTheAxis) {
  EXPECT_EQ(inferred({.op = "Flatten"}, {{{-1, 3, 4}, {}}}), "[?,12]");
  EXPECT_EQ(inferred({.op = "Flatten", .attrs = {{"axis", int64_t{0}}}}, {{{2, 3}, {}}}), "[1,6]");
  EXPECT_EQ(inferred({.op = "Flatten", .attrs = {{"axis", int64_t{4}}}}, {{{2, 3}, {}}}), "error");
}

/// Every permutation of four dimensions, elements of 1, 2, 4, 8, 16 bytes and packed ones, against plain indexing.
TEST(Transpose, MatchesPlainIndexing) {
  const Shape in{3, 5, 2, 18};
  const auto strides = row_major_strides(in);
  for (const DType t : {DType::u8, DType::f16, DType::f32, DType::i64, DType::u4, DType::i2}) {
    const Tensor x = iota(t, in);
    std::vector<int64_t> perm{0, 1, 2, 3};
    do {
      const auto out = run_node({.op = "Transpose", .attrs = {{"perm", perm}}}, {x});
      ASSERT_TRUE(out.ok());
      const Tensor& y = out.value()[0];
      const auto to = row_major_strides(y.shape());
      for (int64_t i = 0; i < y.size(); ++i) {
        int64_t from = 0;
        for (size_t d = 0; d < 4; ++d) from += i / to[d] % y.shape()[d] * strides[static_cast<size_t>(perm[d])];
        ASSERT_EQ(y.at(i), x.at(from)) << dtype_name(t) << to_string(perm) << i;
      }
    } while (std::next_permutation(perm.begin(), perm.end()));
  }
  EXPECT_FALSE(
      run_node({.op = "Transpose", .attrs = {{"perm", std::vector<int64_t>{0, 0}}}}, {iota(DType::f32, {2, 2})}).ok());
  EXPECT_EQ(inferred({.op = "Transpose"}, {{{-1, 3}, {}}}), "[3,?]");
}

TEST(Concat, JoinsPackedTypesAndChecksShapes) {
  const Node n{.op = "Concat", .attrs = {{"axis", int64_t{-1}}}};
  const auto out = run_node(n, {tensor(DType::i4, {2, 1}, {-8, 7}), tensor(DType::i4, {2, 2}, {1, 2, 3, 4})});
  EXPECT_EQ(values_of(out), (Values{-8, 1, 2, 7, 3, 4}));
  EXPECT_EQ(inferred(n, {{{-1, 2}, {}}, {{4, -1}, {}}}), "[4,?]");
  EXPECT_EQ(inferred(n, {{{3, 2}, {}}, {{4, 2}, {}}}), "error");
  EXPECT_FALSE(run_node(n, {iota(DType::f32, {2}), iota(DType::f16, {2})}).ok());
}

TEST(Split, LastPartTakesTheRest) {
  const Node n{.op = "Split", .attrs = {{"num_outputs", int64_t{3}}}};
  const auto out = run_node(n, {iota(DType::f32, {7, 2})}, 3);
  ASSERT_TRUE(out.ok());
  EXPECT_EQ(out.value()[2].shape(), (Shape{1, 2}));
  EXPECT_EQ(out.value()[2].at(0), 12);
  EXPECT_EQ(inferred({.op = "Split"}, {{{-1, 4}, {}}, known({1, 2})}, 2, 1), "[2,4]");
  EXPECT_FALSE(run_node({.op = "Split"}, {iota(DType::f32, {4}), ints({1, 2})}, 2).ok());
}

TEST(Slice, ClampsReversesAndTakesNothing) {
  const Tensor x = iota(DType::f32, {5});
  const auto slice = [&](int64_t start, int64_t end, int64_t step) {
    return values_of(run_node({.op = "Slice"}, {x, ints({start}), ints({end}), ints({0}), ints({step})}));
  };
  EXPECT_EQ(slice(1, 100, 2), (Values{1, 3}));
  EXPECT_EQ(slice(-1, INT64_MIN, -2), (Values{4, 2, 0}));
  EXPECT_EQ(slice(100, 0, -1), (Values{4, 3, 2, 1}));
  EXPECT_EQ(slice(4, INT64_MIN, INT64_MIN), (Values{4}));
  EXPECT_EQ(slice(3, 3, 1), Values{});
  EXPECT_FALSE(run_node({.op = "Slice"}, {x, ints({0}), ints({1}), ints({0}), ints({0})}).ok());
  EXPECT_FALSE(run_node({.op = "Slice"}, {x, ints({0, 0}), ints({1})}).ok());
}

TEST(Slice, InfersWhatTheBoundsSay) {
  const Node n{.op = "Slice"};
  EXPECT_EQ(inferred(n, {{{-1, 9}, {}}, known({2}), known({5}), known({1})}), "[?,3]");
  EXPECT_EQ(inferred(n, {{{-1, 9}, {}}, known({0}), known({INT64_MAX}), known({0})}), "[?,9]");
  EXPECT_EQ(inferred(n, {{{4, 9}, {}}, hidden(DType::i64, {1}), known({5}), known({1})}), "[4,?]");
  EXPECT_EQ(inferred(n, {{{4, 9}, {}}, hidden(DType::i64, {1}), known({5})}), "[?,?]");
}

TEST(Expand, RepeatsAndKeepsLargerDimensions) {
  const auto out = run_node({.op = "Expand"}, {tensor(DType::u8, {3, 1}, {1, 2, 3}), ints({2, 1, 2})});
  EXPECT_EQ(values_of(out), (Values{1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 3}));
  EXPECT_EQ(inferred({.op = "Expand"}, {{{3, 1}, {}}, hidden(DType::i64, {3})}), "[?,3,?]");
  EXPECT_FALSE(run_node({.op = "Expand"}, {iota(DType::f32, {3}), ints({2})}).ok());
}

TEST(Tile, RepeatsEveryAxis) {
  const auto out = run_node({.op = "Tile"}, {tensor(DType::f32, {2, 2}, {1, 2, 3, 4}), ints({2, 2})});
  EXPECT_EQ(values_of(out), (Values{1, 2, 1, 2, 3, 4, 3, 4, 1, 2, 1, 2, 3, 4, 3, 4}));
  EXPECT_EQ(inferred({.op = "Tile"}, {{{-1, 3}, {}}, known({2, 2})}), "[?,6]");
  EXPECT_EQ(inferred({.op = "Tile"}, {{{4, 3}, {}}, known({INT64_MAX, 2})}), "error");
}

TEST(Pad, EveryModeInOneDimension) {
  const auto pad = [](const char* mode, std::vector<int64_t> pads) {
    return values_of(
        run_node({.op = "Pad", .attrs = {{"mode", std::string(mode)}}},
                 {tensor(DType::f32, {3}, {1, 2, 3}), ints(std::move(pads)), tensor(DType::f32, {}, {9})}));
  };
  EXPECT_EQ(pad("constant", {2, 1}), (Values{9, 9, 1, 2, 3, 9}));
  EXPECT_EQ(pad("constant", {-1, 1}), (Values{2, 3, 9}));
  EXPECT_EQ(pad("reflect", {2, 2}), (Values{3, 2, 1, 2, 3, 2, 1}));
  EXPECT_EQ(pad("reflect", {5, 0}), (Values{2, 1, 2, 3, 2, 1, 2, 3}));
  EXPECT_EQ(pad("edge", {1, 2}), (Values{1, 1, 2, 3, 3, 3}));
  EXPECT_EQ(pad("wrap", {4, 1}), (Values{3, 1, 2, 3, 1, 2, 3, 1}));
  EXPECT_EQ(pad("mirror", {1, 1}), Values{});
  EXPECT_EQ(inferred({.op = "Pad"}, {{{-1, 3}, {}}, known({0, 1, 0, 1})}), "[?,5]");
  EXPECT_EQ(inferred({.op = "Pad"}, {{{-1, 3}, {}}, hidden(DType::i64, {4})}), "[?,?]");
}

TEST(ShapeOf, SizesAndConstants) {
  const Node n{.op = "Shape", .attrs = {{"start", int64_t{-2}}, {"end", int64_t{9}}}};
  EXPECT_EQ(values_of(run_node(n, {iota(DType::f32, {2, 3, 4})})), (Values{3, 4}));
  EXPECT_EQ(inferred({.op = "Shape"}, {{{-1, 3}, {}}}), "[2]");
  EXPECT_EQ(values_of(run_node({.op = "Size"}, {iota(DType::f32, {2, 3})})), (Values{6}));
  EXPECT_EQ(values_of(run_node({.op = "Constant", .attrs = {{"value_ints", std::vector<int64_t>{4, 5}}}}, {})),
            (Values{4, 5}));
  EXPECT_FALSE(run_node({.op = "Constant"}, {}).ok());
  const Node fill{.op = "ConstantOfShape", .attrs = {{"value", tensor(DType::u4, {1}, {11})}}};
  EXPECT_EQ(values_of(run_node(fill, {ints({3})})), (Values{11, 11, 11}));
  EXPECT_FALSE(run_node(fill, {ints({-3})}).ok());
  EXPECT_EQ(inferred(fill, {hidden(DType::i64, {2})}), "[?,?]");
}

}  // namespace
}  // namespace planish::test
