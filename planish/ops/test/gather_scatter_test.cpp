#include <gtest/gtest.h>

#include <cmath>

#include "planish/ops/test/infer_runner.h"
#include "planish/ops/test/node_runner.h"
#include "planish/ops/test/tensor_values.h"

namespace planish::test {
namespace {

using Values = std::vector<double>;

Tensor ints(Shape shape, const Values& v) { return tensor(DType::i64, std::move(shape), v); }
Tensor floats(Shape shape, const Values& v) { return tensor(DType::f32, std::move(shape), v); }

TEST(Gather, ReadsBlocksAndRefusesBadIndices) {
  const Node n{.op = "Gather", .attrs = {{"axis", int64_t{1}}}};
  const Tensor x = floats({2, 3}, {0, 1, 2, 10, 11, 12});
  EXPECT_EQ(values_of(run_node(n, {x, ints({2}, {-1, 0})})), (Values{2, 0, 12, 10}));
  EXPECT_FALSE(run_node(n, {x, ints({1}, {3})}).ok());
  EXPECT_FALSE(run_node(n, {x, ints({1}, {-4})}).ok());
  EXPECT_EQ(inferred(n, {{{-1, 3, 5}, {}}, hidden(DType::i64, {2, -1})}), "[?,2,?,5]");
}

TEST(GatherElements, FollowsTheAxis) {
  const Node n{.op = "GatherElements", .attrs = {{"axis", int64_t{1}}}};
  EXPECT_EQ(values_of(run_node(n, {floats({2, 2}, {1, 2, 3, 4}), ints({2, 2}, {0, 0, -1, 0})})), (Values{1, 1, 4, 3}));
  EXPECT_FALSE(run_node(n, {floats({2, 2}, {1, 2, 3, 4}), ints({3, 1}, {0, 0, 0})}).ok());
}

TEST(GatherND, TuplesAndBatches) {
  const Tensor x = ints({2, 2, 2}, {0, 1, 2, 3, 4, 5, 6, 7});
  EXPECT_EQ(values_of(run_node({.op = "GatherND"}, {x, ints({2, 2}, {0, 1, 1, 0})})), (Values{2, 3, 4, 5}));
  const Node batched{.op = "GatherND", .attrs = {{"batch_dims", int64_t{1}}}};
  EXPECT_EQ(values_of(run_node(batched, {x, ints({2, 1}, {1, 0})})), (Values{2, 3, 4, 5}));
  EXPECT_FALSE(run_node({.op = "GatherND"}, {x, ints({1, 4}, {0, 0, 0, 0})}).ok());
  EXPECT_EQ(inferred({.op = "GatherND"}, {{{4, 5}, {}}, hidden(DType::i64, {3, -1})}), "unknown");
}

TEST(ScatterElements, WritesAndReduces) {
  const auto scatter = [](const char* reduction, DType t) {
    return values_of(run_node({.op = "ScatterElements", .attrs = {{"reduction", std::string(reduction)}}},
                              {tensor(t, {3}, {1, 2, 3}), ints({3}, {0, 0, -1}), tensor(t, {3}, {5, 7, 2})}));
  };
  EXPECT_EQ(scatter("none", DType::f32), (Values{7, 2, 2}));
  EXPECT_EQ(scatter("none", DType::u4), (Values{7, 2, 2}));
  EXPECT_EQ(scatter("add", DType::f32), (Values{13, 2, 5}));
  EXPECT_EQ(scatter("mul", DType::i64), (Values{35, 2, 6}));
  EXPECT_EQ(scatter("max", DType::f16), (Values{7, 2, 3}));
  EXPECT_EQ(scatter("min", DType::i64), (Values{1, 2, 2}));
  EXPECT_EQ(scatter("median", DType::f32), Values{});
}

TEST(ScatterND, ReplacesSlices) {
  const Tensor x = floats({3, 2}, {0, 0, 0, 0, 0, 0});
  EXPECT_EQ(values_of(run_node({.op = "ScatterND"}, {x, ints({2, 1}, {2, 0}), floats({2, 2}, {1, 2, 3, 4})})),
            (Values{3, 4, 0, 0, 1, 2}));
  EXPECT_FALSE(run_node({.op = "ScatterND"}, {x, ints({1, 1}, {3}), floats({1, 2}, {1, 2})}).ok());
  EXPECT_FALSE(run_node({.op = "ScatterND"}, {x, ints({1, 1}, {0}), floats({1, 3}, {1, 2, 3})}).ok());
}

TEST(TensorScatter, WrapsInCircularMode) {
  const Tensor cache = floats({1, 3, 1}, {1, 2, 3});
  const Tensor update = floats({1, 2, 1}, {8, 9});
  const Node circular{.op = "TensorScatter", .attrs = {{"mode", std::string("circular")}}};
  EXPECT_EQ(values_of(run_node(circular, {cache, update, ints({1}, {2})})), (Values{9, 2, 8}));
  EXPECT_FALSE(run_node({.op = "TensorScatter"}, {cache, update, ints({1}, {2})}).ok());
}

TEST(TopK, TiesGoToTheSmallerIndexAndNanIsLargest) {
  const Tensor x = floats({1, 5}, {2, NAN, 7, 7, -0.0});
  const auto top = run_node({.op = "TopK"}, {x, ints({1}, {3})}, 2);
  ASSERT_TRUE(top.ok());
  EXPECT_EQ(top.value()[1].to_i64(), (std::vector<int64_t>{1, 2, 3}));
  const auto low = run_node({.op = "TopK", .attrs = {{"largest", int64_t{0}}}}, {x, ints({1}, {2})}, 2);
  EXPECT_EQ(low.value()[1].to_i64(), (std::vector<int64_t>{4, 0}));
  EXPECT_FALSE(run_node({.op = "TopK"}, {x, ints({1}, {6})}, 2).ok());
  EXPECT_EQ(inferred({.op = "TopK"}, {{{-1, 9}, {}}, known({4})}, 2, 1), "[?,4]");
  EXPECT_EQ(inferred({.op = "TopK"}, {{{-1, 9}, {}}, hidden(DType::i64, {1})}, 2), "[?,?]");
}

TEST(TopK, Tells64BitIntegersApart) {
  Tensor x(DType::i64, {2});
  x.data<int64_t>()[0] = (int64_t{1} << 60);
  x.data<int64_t>()[1] = (int64_t{1} << 60) + 1;
  const auto top = run_node({.op = "TopK"}, {x, ints({1}, {1})}, 2);
  EXPECT_EQ(top.value()[1].int_at(0), 1);
}

/// Outputs of a node that must succeed.
std::vector<Tensor> run(Node node, const std::vector<Tensor>& inputs, size_t outputs = 1) {
  auto out = run_node(std::move(node), inputs, outputs);
  EXPECT_TRUE(out.ok()) << (out.ok() ? std::string() : out.error().message());
  return out.ok() ? *out : std::vector<Tensor>(outputs, Tensor::from_i64({}));
}

TEST(Select, NonZeroCompressUnique) {
  EXPECT_EQ(run({.op = "NonZero"}, {floats({2, 2}, {1, 0, 3, 4})})[0].to_i64(),
            (std::vector<int64_t>{0, 1, 1, 0, 0, 1}));
  const Node compress{.op = "Compress", .attrs = {{"axis", int64_t{1}}}};
  EXPECT_EQ(run(compress, {floats({2, 2}, {1, 2, 3, 4}), tensor(DType::boolean, {2}, {0, 1})})[0].to_i64(),
            (std::vector<int64_t>{2, 4}));
  const auto unique = run({.op = "Unique", .attrs = {{"sorted", int64_t{0}}}}, {floats({5}, {2, 1, 1, 3, 2})}, 4);
  EXPECT_EQ(unique[0].to_i64(), (std::vector<int64_t>{2, 1, 3}));
  EXPECT_EQ(unique[1].to_i64(), (std::vector<int64_t>{0, 1, 3}));
  EXPECT_EQ(unique[2].to_i64(), (std::vector<int64_t>{0, 1, 1, 2, 0}));
  EXPECT_EQ(unique[3].to_i64(), (std::vector<int64_t>{2, 2, 1}));
  EXPECT_EQ(inferred({.op = "NonZero"}, {{{2, -1}, {}}}), "[2,?]");
  EXPECT_EQ(inferred(compress, {{{2, 3}, {}}, hidden(DType::boolean, {3})}), "[2,?]");
}

TEST(OneHot, EyeLikeTrilu) {
  const auto hot = run_node({.op = "OneHot"}, {ints({3}, {0, -1, 5}), ints({}, {2}), floats({2}, {1, 3})});
  EXPECT_EQ(values_of(hot), (Values{3, 1, 1, 3, 1, 1}));
  EXPECT_EQ(inferred({.op = "OneHot"}, {{{-1}, {}}, hidden(DType::i64, {}), {{2}, {}}}), "[?,?]");
  EXPECT_EQ(values_of(run_node({.op = "EyeLike", .attrs = {{"k", int64_t{1}}}}, {floats({2, 3}, {})})),
            (Values{0, 1, 0, 0, 0, 1}));
  const Tensor x = floats({2, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(values_of(run_node({.op = "Trilu"}, {x, ints({}, {1})})), (Values{0, 2, 3, 0, 0, 6}));
  EXPECT_EQ(values_of(run_node({.op = "Trilu", .attrs = {{"upper", int64_t{0}}}}, {x})), (Values{1, 0, 0, 4, 5, 0}));
}

TEST(DepthToSpace, InvertsSpaceToDepth) {
  Values v(16);
  for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<double>(i);
  for (const char* mode : {"DCR", "CRD"}) {
    const std::map<std::string, Attr> attrs{{"blocksize", int64_t{2}}, {"mode", std::string(mode)}};
    const auto deep = run_node({.op = "SpaceToDepth", .attrs = attrs}, {floats({1, 2, 2, 4}, v)});
    ASSERT_TRUE(deep.ok());
    EXPECT_EQ(deep.value()[0].shape(), (Shape{1, 8, 1, 2}));
    EXPECT_EQ(deep.value()[0].at(2), std::string(mode) == "DCR" ? 8 : 1);
    EXPECT_EQ(values_of(run_node({.op = "DepthToSpace", .attrs = attrs}, {deep.value()[0]})), v);
  }
  EXPECT_EQ(inferred({.op = "DepthToSpace", .attrs = {{"blocksize", int64_t{2}}}}, {{{-1, 8, -1, 3}, {}}}),
            "[?,2,?,6]");
  EXPECT_EQ(inferred({.op = "DepthToSpace", .attrs = {{"blocksize", int64_t{0}}}}, {{{1, 8, 1, 3}, {}}}), "error");
}

TEST(Sequences, ReverseAndCenterCropPad) {
  EXPECT_EQ(values_of(run_node({.op = "ReverseSequence"}, {floats({3, 2}, {0, 1, 2, 3, 4, 5}), ints({2}, {3, 2})})),
            (Values{4, 3, 2, 1, 0, 5}));
  EXPECT_EQ(values_of(run_node({.op = "CenterCropPad"}, {floats({4, 1}, {1, 2, 3, 4}), ints({2}, {3, 2})})),
            (Values{1, 0, 2, 0, 3, 0}));
}

TEST(Dropout, IsIdentityUntilItTrains) {
  const Tensor x = floats({1000}, Values(1000, 1));
  const auto idle = run_node({.op = "Dropout"}, {x, floats({}, {0.75})}, 2);
  EXPECT_TRUE(bitwise_equal(idle.value()[0], x));
  const Node seeded{.op = "Dropout", .attrs = {{"seed", int64_t{3}}}};
  const auto trained = run_node(seeded, {x, floats({}, {0.75}), tensor(DType::boolean, {}, {1})}, 2);
  int64_t kept = 0;
  for (int64_t i = 0; i < 1000; ++i) {
    kept += trained.value()[1].at(i) != 0;
    EXPECT_EQ(trained.value()[0].at(i), trained.value()[1].at(i) * 4);
  }
  EXPECT_NEAR(static_cast<double>(kept), 250, 60);
}

}  // namespace
}  // namespace planish::test
