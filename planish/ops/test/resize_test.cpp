#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "planish/ops/resize_axis.h"
#include "planish/ops/test/infer_runner.h"
#include "planish/ops/test/node_runner.h"
#include "planish/ops/test/tensor_values.h"

namespace planish::test {
namespace {

using Values = std::vector<double>;

Tensor floats(Shape shape, const Values& v) { return tensor(DType::f32, std::move(shape), v); }

TEST(Resize, NearestDoublesAnyType) {
  const Node n{.op = "Resize", .attrs = {{"coordinate_transformation_mode", std::string("asymmetric")}}};
  const Tensor x = tensor(DType::u4, {1, 1, 1, 2}, {3, 12});
  EXPECT_EQ(values_of(run_node(n, {x, {}, floats({4}, {1, 1, 2, 2})})), (Values{3, 3, 12, 12, 3, 3, 12, 12}));
}

TEST(Resize, LinearIsExactOnRamps) {
  const Node n{
      .op = "Resize",
      .attrs = {{"mode", std::string("linear")}, {"coordinate_transformation_mode", std::string("align_corners")}}};
  const Tensor x = floats({1, 1, 2, 2}, {0, 3, 6, 9});
  const auto out = run_node(n, {x, {}, {}, Tensor::from_i64(std::vector<int64_t>{1, 1, 3, 4})});
  ASSERT_TRUE(out.ok());
  for (int64_t i = 0; i < 12; ++i) EXPECT_NEAR(out.value()[0].at(i), i / 4 * 3 + i % 4, 1e-5);
}

/// Weights of every rule sum to 1, so constants stay constant.
TEST(Resize, KeepsConstants) {
  for (const char* mode : {"nearest", "linear", "cubic"})
    for (const int64_t antialias : {0, 1})
      for (const int64_t size : {2, 5, 7, 13}) {
        const Node n{.op = "Resize", .attrs = {{"mode", std::string(mode)}, {"antialias", antialias}}};
        const auto out = run_node(n, {floats({7}, Values(7, 2.5)), {}, {}, Tensor::from_i64(std::vector{size})});
        ASSERT_TRUE(out.ok());
        for (int64_t i = 0; i < size; ++i) EXPECT_NEAR(out.value()[0].at(i), 2.5, 1e-5) << mode << size;
      }
}

TEST(Resize, AxesPoliciesAndUnknownDimensions) {
  Node n{.op = "Resize",
         .attrs = {{"axes", std::vector<int64_t>{2, 3}}, {"keep_aspect_ratio_policy", std::string("not_larger")}}};
  const Seen none{{}, {}, DType::undefined};
  EXPECT_EQ(inferred(n, {{{1, 3, 20, 40}, {}}, none, none, known({10, 10})}), "[1,3,5,10]");
  EXPECT_EQ(inferred(n, {{{-1, 3, 20, -1}, {}}, none, none, known({10, 10})}), "[?,3,?,?]");
  n.attrs.erase("keep_aspect_ratio_policy");
  EXPECT_EQ(inferred(n, {{{-1, 3, 20, -1}, {}}, none, none, known({10, 12})}), "[?,3,10,12]");
  EXPECT_EQ(inferred(n, {{{-1, 3, 20, -1}, {}}, none, known(floats({2}, {0.5, 2}))}), "[?,3,10,?]");
  EXPECT_EQ(inferred(n, {{{-1, 3, 20, 9}, {}}, none, hidden(DType::f32, {2})}), "[?,3,?,?]");
  EXPECT_EQ(inferred(n, {{{-1, 3, 20, 9}, {}}, none, known(floats({2}, {-1, 2}))}), "error");
  EXPECT_EQ(inferred(n, {{{-1, 3, 20, 9}, {}}}), "error");
}

TEST(Resize, CropExtrapolates) {
  const Node n{.op = "Resize",
               .attrs = {{"mode", std::string("linear")},
                         {"coordinate_transformation_mode", std::string("tf_crop_and_resize")},
                         {"extrapolation_value", 10.0F}}};
  const auto out =
      run_node(n, {floats({3}, {1, 2, 3}), floats({2}, {0.5, 1.5}), {}, Tensor::from_i64(std::vector<int64_t>{3})});
  EXPECT_EQ(values_of(out), (Values{2, 3, 10}));
}

TEST(Resize, RefusesUnknownModes) {
  const Tensor x = floats({2}, {1, 2});
  const Tensor sizes = Tensor::from_i64(std::vector<int64_t>{3});
  for (const char* key : {"mode", "nearest_mode", "coordinate_transformation_mode"})
    EXPECT_FALSE(run_node({.op = "Resize", .attrs = {{key, std::string("odd")}}}, {x, {}, {}, sizes}).ok()) << key;
  EXPECT_FALSE(resize_axis({.mode = "linear", .antialias = true}, 5, 1, 1e-12, 0, 1).ok());
}

TEST(GridSample, IdentityGridGivesTheImage) {
  const auto grid = run_node({.op = "AffineGrid"}, {floats({1, 2, 3}, {1, 0, 0, 0, 1, 0}),
                                                    Tensor::from_i64(std::vector<int64_t>{1, 1, 3, 4})});
  ASSERT_TRUE(grid.ok());
  const Tensor x = random_tensor({1, 2, 3, 4}, 5);
  for (const char* mode : {"nearest", "linear", "cubic"}) {
    const auto out = run_node({.op = "GridSample", .attrs = {{"mode", std::string(mode)}}}, {x, grid.value()[0]});
    ASSERT_TRUE(out.ok());
    expect_near(out.value()[0], x, 1e-5);
  }
}

TEST(GridSample, PaddingModesOutside) {
  const Tensor x = floats({1, 1, 1, 3}, {1, 2, 4});
  const Tensor grid = floats({1, 1, 2, 2}, {2, 0, NAN, 0});
  const auto sample = [&](const char* padding) {
    return values_of(run_node(
        {.op = "GridSample", .attrs = {{"mode", std::string("nearest")}, {"padding_mode", std::string(padding)}}},
        {x, grid}));
  };
  EXPECT_EQ(sample("zeros"), (Values{0, 0}));
  EXPECT_EQ(sample("border")[0], 4);
  EXPECT_EQ(sample("reflection")[0], 2);
  EXPECT_EQ(sample("odd"), Values{});
}

TEST(RegionPooling, WholeImage) {
  const Tensor x = floats({1, 1, 2, 2}, {1, 2, 3, 6});
  const Node align{.op = "RoiAlign", .attrs = {{"sampling_ratio", int64_t{2}}}};
  EXPECT_EQ(values_of(run_node(align, {x, floats({1, 4}, {0.5, 0.5, 1.5, 1.5}), tensor(DType::i64, {1}, {0})})),
            (Values{3}));
  EXPECT_FALSE(run_node(align, {x, floats({1, 4}, {0, 0, 1, 1}), tensor(DType::i64, {1}, {1})}).ok());
  const Node pool{.op = "MaxRoiPool", .attrs = {{"pooled_shape", std::vector<int64_t>{2, 1}}}};
  EXPECT_EQ(values_of(run_node(pool, {x, floats({1, 5}, {0, 0, 0, 1, 1})})), (Values{2, 6}));
}

TEST(Col2Im, SumsOverlaps) {
  const auto list = [](std::vector<int64_t> v) { return Tensor::from_i64(v); };
  EXPECT_EQ(values_of(run_node({.op = "Col2Im"}, {floats({1, 2, 2}, {1, 2, 3, 4}), list({3}), list({2})})),
            (Values{1, 5, 4}));
  EXPECT_FALSE(run_node({.op = "Col2Im"}, {floats({1, 2, 3}, Values(6, 1)), list({3}), list({2})}).ok());
}

}  // namespace
}  // namespace planish::test
