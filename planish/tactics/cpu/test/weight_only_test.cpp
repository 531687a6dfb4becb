// Products with constant integers on what a damaged engine file may hold: refused, with nothing read or written out of
// bounds (which sanitizers see).

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>

#include "planish/ir/text.h"
#include "planish/tactics/cpu/cpu_tactics.h"

namespace planish::test {
namespace {

enum Input : size_t { kA, kB, kBias, kResidual, kScale, kZero };

constexpr std::string_view kGraph =
    "graph \"g\" (a: f32[3,32], r: f32[3,20]) -> (y) {\n const b: u8[32,20] = seed(1, 0, 255)\n"
    " const c: f32[20] = seed(2)\n const s: f32[4,20] = seed(3, 0.01, 0.1)\n const z: u8[4,20] = seed(4, 0, 255)\n"
    " y = planish.WeightOnlyMatMul(a, b, c, r, s, z) {block_size = 8} @m\n}";

/// One of each sort: "cpu.widened.strassen" differs from the others only in the product that it makes.
constexpr std::string_view kTactics[] = {"cpu.weight_only", "cpu.widened.onednn", "cpu.widened.gemm"};

/// A sound node, to be damaged.
class WeightOnlyTactics : public testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override {
    auto graph = parse_text(kGraph, "test");
    ASSERT_TRUE(graph.ok()) << graph.error().message();
    graph_ = std::move(*graph);
    view_.node = &graph_.nodes[0];
    for (const ValueId v : view_.node->inputs) {
      const Tensor* constant = graph_.constant_of(v);
      const Value& value = graph_.value(v);
      view_.inputs.push_back({value.dtype, constant != nullptr ? constant->shape() : *value.shape});
      view_.constants.push_back(constant);
      view_.constant_inputs.push_back(constant != nullptr);
    }
    view_.outputs.push_back({DType::f32, {3, 20}});
    tactic_ = cpu_tactics().find(GetParam());
    ASSERT_NE(tactic_, nullptr);
  }

  /// The node with another constant.
  NodeView with(Input input, DType type, const Shape& shape) {
    NodeView view = view_;
    view.inputs[input] = {type, shape};
    view.constants[input] = &tensors_.emplace_back(type, shape);
    return view;
  }

  /// What the tactic packs of the sound node, where it takes the node here.
  std::vector<PackedConstant> packed() {
    auto made = tactic_->pack(view_, target_);
    EXPECT_TRUE(made.ok()) << made.error().message();
    return made.ok() ? std::move(*made) : std::vector<PackedConstant>{};
  }

  /// Neither function may look at what does not fit the node; `packed` is what an engine claims to be its weights.
  void expect_refused(const NodeView& view, const std::vector<PackedConstant>& packed) {
    EXPECT_TRUE(tactic_->supports(view, target_).has_value());
    EXPECT_FALSE(tactic_->pack(view, target_).ok());
    EXPECT_FALSE(tactic_->prepare(view, packed, target_).ok());
    for (const PackedConstant& p : packed) EXPECT_FALSE(tactic_->unpack(view, p).ok()) << p.format;
  }

  void expect_not_prepared(const std::vector<PackedConstant>& packed) {
    EXPECT_FALSE(tactic_->prepare(view_, packed, target_).ok());
  }

  Graph graph_;
  NodeView view_;
  const Tactic* tactic_ = nullptr;
  Target target_{.device = &host_device(), .threads = 2};
  std::deque<Tensor> tensors_;
};

#define SKIP_WHERE_REFUSED() \
  if (const WhyNot why = tactic_->supports(view_, target_)) GTEST_SKIP() << *why

TEST_P(WeightOnlyTactics, RefuseParametersThatDoNotFit) {
  SKIP_WHERE_REFUSED();
  const auto sound = packed();
  ASSERT_TRUE(tactic_->prepare(view_, sound, target_).ok());
  for (const Shape& shape : {Shape{}, Shape{1}, Shape{20}, Shape{1, 20}, Shape{20, 4}, Shape{4, 20, 1}}) {
    SCOPED_TRACE(to_string(shape));
    expect_refused(with(kZero, DType::u8, shape), sound);
    expect_refused(with(kScale, DType::f32, shape), sound);
  }
  for (const DType type : {DType::f16, DType::i8, DType::u4, DType::boolean, DType::f64}) {
    SCOPED_TRACE(dtype_name(type));
    expect_refused(with(kZero, type, {4, 20}), sound);
    expect_refused(with(kScale, type, {4, 20}), sound);
  }
  expect_refused(with(kZero, DType::f32, {4, 20}), sound);
}

TEST_P(WeightOnlyTactics, RefuseWeightsThatAreNoSmallIntegers) {
  SKIP_WHERE_REFUSED();
  const auto sound = packed();
  for (const DType type : {DType::f32, DType::f16, DType::f8e4m3fn, DType::f4e2m1, DType::boolean, DType::i16}) {
    SCOPED_TRACE(dtype_name(type));
    expect_refused(with(kB, type, {32, 20}), sound);
    NodeView without_zero = with(kB, type, {32, 20});
    without_zero.inputs[kZero] = {};
    expect_refused(without_zero, sound);
  }
  for (const Shape& shape : {Shape{}, Shape{640}, Shape{32, 0}, Shape{31, 20}, Shape{20, 32}})
    expect_refused(with(kB, DType::u8, shape), sound);
}

TEST_P(WeightOnlyTactics, RefuseActivationsAndOutputsThatDoNotFit) {
  SKIP_WHERE_REFUSED();
  const auto sound = packed();
  for (const Shape& shape : {Shape{32}, Shape{3, 31}, Shape{2, 32}}) {
    NodeView view = view_;
    view.inputs[kA].shape = shape;
    expect_refused(view, sound);
  }
  NodeView view = view_;
  view.outputs.clear();
  expect_refused(view, sound);
  view = view_;
  view.inputs.resize(kScale);
  expect_refused(view, sound);
}

TEST_P(WeightOnlyTactics, RefuseConstantsWithoutAValue) {
  SKIP_WHERE_REFUSED();
  const auto sound = packed();
  const Tensor empty = Tensor::share(DType::u8, {32, 20}, nullptr, nullptr);
  for (const Input input : {kB, kScale, kZero}) {
    NodeView view = view_;
    view.constants[input] = nullptr;
    EXPECT_FALSE(tactic_->pack(view, target_).ok()) << "input " << input;
    view.constants[input] = &tensors_.emplace_back(DType::u8, Shape{1});
    EXPECT_FALSE(tactic_->pack(view, target_).ok()) << "input " << input;
  }
  NodeView view = view_;
  view.constants[kB] = &empty;
  EXPECT_FALSE(tactic_->pack(view, target_).ok());
  view = view_;
  view.constants[kBias] = nullptr;
  EXPECT_FALSE(tactic_->prepare(view, sound, target_).ok());
}

TEST_P(WeightOnlyTactics, RefusePackedWeightsOfOtherInputs) {
  SKIP_WHERE_REFUSED();
  const auto sound = packed();
  for (size_t i = 0; i < sound.size(); ++i) {
    for (const int32_t input : {-1, 0, 1, 2, 3, 4, 5, 6, 1000}) {
      if (input == sound[i].input) continue;
      auto damaged = sound;
      damaged[i].input = input;
      expect_not_prepared(damaged);
      EXPECT_FALSE(tactic_->unpack(view_, damaged[i]).ok()) << sound[i].input << " as " << input;
    }
    auto cut = sound;
    cut[i].data = Tensor(DType::u8, {1});
    expect_not_prepared(cut);
    auto absent = sound;
    absent[i].data = Tensor::share(sound[i].data.dtype(), sound[i].data.shape(), nullptr, nullptr);
    EXPECT_FALSE(tactic_->unpack(view_, absent[i]).ok());
    // The last of two for one input would be read.
    auto twice = sound;
    twice.push_back(cut[i]);
    expect_not_prepared(twice);
    auto less = sound;
    less.erase(less.begin() + static_cast<std::ptrdiff_t>(i));
    expect_not_prepared(less);
  }
  auto more = sound;
  more.push_back({static_cast<int32_t>(kBias), "", Tensor(DType::f32, {1})});
  expect_not_prepared(more);
}

TEST_P(WeightOnlyTactics, RefuseWidenedWeightsOfAnotherType) {
  SKIP_WHERE_REFUSED();
  if (GetParam() == "cpu.weight_only") GTEST_SKIP() << "packs integers";
  for (const auto& [type, shape] : {std::pair{DType::f64, Shape{320}}, std::pair{DType::i32, Shape{32, 20}},
                                    std::pair{DType::f32, Shape{639}}, std::pair{DType::u8, Shape{2560}}}) {
    SCOPED_TRACE(dtype_name(type));
    const PackedConstant damaged{static_cast<int32_t>(kB), "widened:", Tensor(type, shape)};
    expect_not_prepared({damaged});
    EXPECT_FALSE(tactic_->unpack(view_, damaged).ok());
  }
  // What 16 bits were widened to has lost its shape.
  const PackedConstant flat{static_cast<int32_t>(kB), "widened:", Tensor(DType::f32, {640})};
  const auto back = tactic_->unpack(view_, flat);
  ASSERT_TRUE(back.ok()) << back.error().message();
  EXPECT_EQ(back->shape(), view_.inputs[kB].shape);
}

TEST_P(WeightOnlyTactics, RefuseABiasWithoutDimensions) {
  if (GetParam() != "cpu.weight_only") GTEST_SKIP() << "other kernels read it";
  NodeView view = with(kBias, DType::f32, {});
  view.inputs[kB].shape = {32, 1};
  view.inputs[kScale].shape = view.inputs[kZero].shape = {4, 1};
  view.inputs[kResidual].shape = view.outputs[0].shape = {3, 1};
  EXPECT_EQ(tactic_->supports(view, target_), "needs one bias per column, in f32");
}

TEST_P(WeightOnlyTactics, DoNotTransposeActivations) {
  SKIP_WHERE_REFUSED();
  Node node = graph_.nodes[0];
  node.attrs["trans_a"] = int64_t{1};
  NodeView view = view_;
  view.node = &node;
  EXPECT_EQ(tactic_->supports(view, target_), std::nullopt);
  EXPECT_TRUE(tactic_->prepare(view, packed(), target_).ok());
}

INSTANTIATE_TEST_SUITE_P(Damaged, WeightOnlyTactics, testing::ValuesIn(kTactics), [](const auto& row) {
  std::string name(row.param);
  std::ranges::replace(name, '.', '_');
  return name;
});

}  // namespace
}  // namespace planish::test
