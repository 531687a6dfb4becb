#include "planish/tactics/contiguous_parts.h"

#include <gtest/gtest.h>

namespace planish {
namespace {

struct ViewMaker {
  Node node;
  std::vector<Tensor> constants;
  NodeView view;

  ViewMaker(std::string op, std::vector<TensorDesc> inputs, std::vector<TensorDesc> outputs,
            std::map<std::string, Attr> attrs = {}) {
    node.op = std::move(op);
    node.attrs = std::move(attrs);
    view.inputs = std::move(inputs);
    view.outputs = std::move(outputs);
    view.constants.resize(view.inputs.size(), nullptr);
  }
  ViewMaker& add_constant(std::vector<int64_t> values) {
    constants.push_back(Tensor::from_i64(values));
    view.inputs.push_back({DType::i64, constants.back().shape()});
    return *this;
  }
  std::optional<std::vector<Part>> parts() {
    view.node = &node;
    view.constants.resize(view.inputs.size(), nullptr);
    const size_t first = view.inputs.size() - constants.size();
    for (size_t i = 0; i < constants.size(); ++i) view.constants[first + i] = &constants[i];
    return contiguous_parts(view);
  }
};

TensorDesc f32(Shape shape, Layout layout = Layout::row_major) { return {DType::f32, std::move(shape), layout}; }

TEST(ContiguousParts, ConcatOfChannelsAtBatchOne) {
  ViewMaker v("Concat", {f32({1, 3, 4, 4}), f32({1, 5, 4, 4})}, {f32({1, 8, 4, 4})}, {{"axis", int64_t{1}}});
  const auto parts = v.parts();
  ASSERT_TRUE(parts);
  ASSERT_EQ(parts->size(), 2U);
  EXPECT_EQ((*parts)[0].offset_bytes, 0U);
  EXPECT_EQ((*parts)[1].offset_bytes, 3U * 16 * 4);
  EXPECT_EQ((*parts)[1].bytes, 5U * 16 * 4);
  EXPECT_EQ((*parts)[1].whole_is_output, 1U);
}

TEST(ContiguousParts, ConcatMustNotShareWhereItsPartsInterleave) {
  EXPECT_FALSE(
      ViewMaker("Concat", {f32({2, 3, 4, 4}), f32({2, 5, 4, 4})}, {f32({2, 8, 4, 4})}, {{"axis", int64_t{1}}}).parts());
  const auto last = Layout::channels_last;
  EXPECT_FALSE(ViewMaker("Concat", {f32({1, 3, 4, 4}, last), f32({1, 5, 4, 4}, last)}, {f32({1, 8, 4, 4}, last)},
                         {{"axis", int64_t{1}}})
                   .parts());
  EXPECT_FALSE(
      ViewMaker("Concat", {f32({1, 8, 4, 4}), f32({1, 8, 4, 4}, last)}, {f32({1, 16, 4, 4})}, {{"axis", int64_t{1}}})
          .parts())
      << "parts in different layouts";
}

TEST(ContiguousParts, BlockedConcatNeedsWholeBlocks) {
  const auto b = Layout::blocked8;
  const auto whole = ViewMaker("Concat", {f32({1, 8, 2, 2}, b), f32({1, 16, 2, 2}, b)}, {f32({1, 24, 2, 2}, b)},
                               {{"axis", int64_t{1}}})
                         .parts();
  ASSERT_TRUE(whole);
  EXPECT_EQ((*whole)[1].offset_bytes, 8U * 4 * 4);
  EXPECT_FALSE(ViewMaker("Concat", {f32({1, 4, 2, 2}, b), f32({1, 16, 2, 2}, b)}, {f32({1, 20, 2, 2}, b)},
                         {{"axis", int64_t{1}}})
                   .parts());
}

TEST(ContiguousParts, SplitAndSliceLieWithinTheirInput) {
  const auto split =
      ViewMaker("Split", {f32({1, 6, 5})}, {f32({1, 2, 5}), f32({1, 4, 5})}, {{"axis", int64_t{1}}}).parts();
  ASSERT_TRUE(split);
  EXPECT_EQ((*split)[1].offset_bytes, 2U * 5 * 4);
  EXPECT_EQ((*split)[1].whole_is_output, 0U);
  const auto slice =
      ViewMaker("Slice", {f32({6, 5})}, {f32({2, 5})}).add_constant({-4}).add_constant({4}).add_constant({0}).parts();
  ASSERT_TRUE(slice);
  EXPECT_EQ((*slice)[0].offset_bytes, 2U * 5 * 4);
}

TEST(ContiguousParts, SliceMustNotShareWithStepsOrCutsInside) {
  EXPECT_FALSE(ViewMaker("Slice", {f32({6, 5})}, {f32({3, 5})})
                   .add_constant({0})
                   .add_constant({6})
                   .add_constant({0})
                   .add_constant({2})
                   .parts());
  EXPECT_FALSE(
      ViewMaker("Slice", {f32({6, 5})}, {f32({6, 2})}).add_constant({0}).add_constant({2}).add_constant({1}).parts());
  EXPECT_FALSE(ViewMaker("Slice", {f32({6}), {DType::i64, {1}}, {DType::i64, {1}}}, {f32({2})}).parts())
      << "where it begins is not known";
}

TEST(ContiguousParts, ReshapeSharesOnlyRowMajorMemory) {
  EXPECT_TRUE(ViewMaker("Reshape", {f32({2, 3, 4}), {DType::i64, {2}}}, {f32({6, 4})}).parts());
  const auto last = Layout::channels_last;
  EXPECT_FALSE(ViewMaker("Reshape", {f32({1, 3, 4, 4}, last), {DType::i64, {2}}}, {f32({1, 48})}).parts());
  EXPECT_TRUE(ViewMaker("Flatten", {f32({1, 32, 1, 1}, last)}, {f32({1, 32})}).parts());
  EXPECT_TRUE(ViewMaker("Flatten", {f32({1, 32, 1, 1}, Layout::blocked16)}, {f32({1, 32})}).parts());
  EXPECT_FALSE(ViewMaker("Flatten", {f32({1, 20, 1, 1}, Layout::blocked16)}, {f32({1, 20})}).parts())
      << "padded blocks at the end of every image";
}

TEST(ContiguousParts, ReshapeOfPixelsKeepsEveryLayout) {
  for (const Layout l : {Layout::channels_last, Layout::blocked16}) {
    EXPECT_TRUE(ViewMaker("Reshape", {f32({1, 20, 3, 4}, l), {DType::i64, {3}}}, {f32({1, 20, 12}, l)}).parts());
    EXPECT_FALSE(ViewMaker("Reshape", {f32({1, 20, 3, 4}, l), {DType::i64, {3}}}, {f32({1, 10, 24}, l)}).parts());
  }
}

TEST(ContiguousParts, TransposeBetweenLayoutsThatMakeUpForIt) {
  const auto last = Layout::channels_last;
  const std::map<std::string, Attr> to_last{{"perm", std::vector<int64_t>{0, 2, 3, 1}}};
  const std::map<std::string, Attr> to_first{{"perm", std::vector<int64_t>{0, 3, 1, 2}}};
  EXPECT_TRUE(ViewMaker("Transpose", {f32({2, 5, 3, 4}, last)}, {f32({2, 3, 4, 5})}, to_last).parts());
  EXPECT_TRUE(ViewMaker("Transpose", {f32({2, 3, 4, 5})}, {f32({2, 5, 3, 4}, last)}, to_first).parts());
  EXPECT_FALSE(ViewMaker("Transpose", {f32({2, 5, 3, 4})}, {f32({2, 3, 4, 5})}, to_last).parts());
  EXPECT_FALSE(ViewMaker("Transpose", {f32({2, 5, 3, 4}, last)}, {f32({2, 4, 5, 3})}, to_first).parts());
  EXPECT_FALSE(ViewMaker("Transpose", {f32({2, 16, 3, 4}, Layout::blocked16)}, {f32({2, 3, 4, 16})}, to_last).parts());
  EXPECT_TRUE(ViewMaker("Transpose", {f32({2, 1, 3, 4})}, {f32({2, 3, 4, 1})}, to_last).parts()) << "one channel";
}

TEST(ContiguousParts, ComputingNodesHaveNone) {
  EXPECT_FALSE(ViewMaker("Relu", {f32({4})}, {f32({4})}).parts());
  EXPECT_FALSE(ViewMaker("Transpose", {f32({4, 5})}, {f32({5, 4})}).parts());
}

TEST(WorkKey, TellsShapesLayoutsTypesAttributesAndConstantsApart) {
  const auto key = [](ViewMaker v) {
    v.view.node = &v.node;
    return work_key(v.view);
  };
  const std::string base = key(ViewMaker("Conv", {f32({1, 8, 4, 4})}, {f32({1, 8, 4, 4})}));
  EXPECT_EQ(base, key(ViewMaker("Conv", {f32({1, 8, 4, 4})}, {f32({1, 8, 4, 4})})));
  EXPECT_NE(base, key(ViewMaker("Conv", {f32({2, 8, 4, 4})}, {f32({1, 8, 4, 4})})));
  EXPECT_NE(base, key(ViewMaker("Conv", {f32({1, 8, 4, 4}, Layout::blocked8)}, {f32({1, 8, 4, 4})})));
  EXPECT_NE(base, key(ViewMaker("Conv", {{DType::f16, {1, 8, 4, 4}}}, {f32({1, 8, 4, 4})})));
  EXPECT_NE(base, key(ViewMaker("Conv", {f32({1, 8, 4, 4})}, {f32({1, 8, 4, 4})}, {{"group", int64_t{8}}})));
  ViewMaker constant("Conv", {f32({1, 8, 4, 4})}, {f32({1, 8, 4, 4})});
  constant.view.constant_inputs = {true};
  EXPECT_NE(base, key(constant));
}

TEST(NoTacticError, ListsEveryRefusal) {
  ViewMaker v("Conv", {f32({1, 8, 4, 4})}, {f32({1, 8, 4, 4})});
  v.node.name = "conv1";
  v.view.node = &v.node;
  const std::vector<Refusal> refusals{{"cpu.a", "needs C % 16 == 0, got C=8"}, {"cpu.b", "computes in f16"}};
  const std::string text = no_tactic_error(v.view, refusals).message();
  for (const char* part : {"conv1", "f32[1,8,4,4]", "cpu.a: needs C % 16 == 0, got C=8", "cpu.b: computes in f16"})
    EXPECT_NE(text.find(part), std::string::npos) << text;
}

}  // namespace
}  // namespace planish
