#include "planish/runtime/adapted_kernel.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "planish/tactics/layout_choice.h"

namespace planish {
namespace {

/// [N,C,H,W] between row-major and channels-last, with workspace that it checks to be its own.
class TransposingKernel final : public Kernel {
 public:
  explicit TransposingKernel(const NodeView& view)
      : shape_(view.inputs[0].shape), to_last_(view.outputs[0].layout == Layout::channels_last) {}
  size_t workspace_bytes() const override { return 16; }
  Status run(const Bindings& b) override {
    const auto* x = host_ptr<const float>(b.inputs[0]);
    auto* y = host_ptr<float>(b.outputs[0]);
    std::fill_n(host_ptr<uint8_t>(b.workspace), workspace_bytes(), uint8_t{0xAB});
    const int64_t c_count = shape_[1];
    const int64_t area = shape_[2] * shape_[3];
    for (int64_t n = 0; n < shape_[0]; ++n)
      for (int64_t c = 0; c < c_count; ++c)
        for (int64_t p = 0; p < area; ++p) {
          const int64_t plain = (n * c_count + c) * area + p;
          const int64_t last = (n * area + p) * c_count + c;
          y[to_last_ ? last : plain] = x[to_last_ ? plain : last];
        }
    return {};
  }

 private:
  Shape shape_;
  bool to_last_;
};

/// y[c] = a[c] + (c + 1) * b[c] on channels-last data, so that a wrong layout of any operand shows.
class ChannelsLastKernel final : public Kernel {
 public:
  explicit ChannelsLastKernel(Shape shape) : shape_(std::move(shape)) {}
  size_t workspace_bytes() const override { return 40; }
  std::string detail() const override { return "inner"; }
  Status run(const Bindings& b) override {
    std::fill_n(host_ptr<uint8_t>(b.workspace), workspace_bytes(), uint8_t{0xCD});
    const auto* p = host_ptr<const float>(b.inputs[0]);
    const auto* q = host_ptr<const float>(b.inputs[1]);
    auto* y = host_ptr<float>(b.outputs[0]);
    for (int64_t i = 0; i < element_count(shape_); ++i) y[i] = p[i] + static_cast<float>(i % shape_[1] + 1) * q[i];
    return {};
  }

 private:
  Shape shape_;
};

constexpr std::array<std::string_view, 1> kReformatOps{"planish.Reformat"};
constexpr Tactic kTransposing{.id = "test.reformat",
                              .ops = kReformatOps,
                              .supports = [](const NodeView&, const Target&) -> WhyNot { return std::nullopt; },
                              .prepare = [](const NodeView& view, std::span<const PackedConstant>,
                                            const Target&) -> Result<std::unique_ptr<Kernel>> {
                                return std::unique_ptr<Kernel>(new TransposingKernel(view));
                              }};

class AdaptedKernelTest : public testing::Test {
 protected:
  AdaptedKernelTest() {
    node_.op = "Add";
    node_.name = "add";
    outer_.node = &node_;
    const TensorDesc plain{DType::f32, shape_, Layout::row_major};
    outer_.inputs = {plain, plain};
    outer_.outputs = {plain};
    outer_.constants = {nullptr, nullptr};
    outer_.constant_inputs = {false, false};
  }
  const Shape shape_{2, 3, 2, 5};
  Node node_;
  NodeView outer_;
  const Target target_{.device = &host_device()};
};

TEST_F(AdaptedKernelTest, ComputesInTheOtherLayout) {
  static const TacticTable table{{&kTransposing}};
  // One operand arrives in the kernel's own layout already and must not be copied.
  NodeView outer = outer_;
  outer.inputs[1].layout = Layout::channels_last;
  const NodeView inner = with_layouts(outer, Layout::channels_last, Layout::channels_last);
  auto kernel = adapt_forms(std::make_unique<ChannelsLastKernel>(shape_), inner, outer, {}, table, target_);
  ASSERT_TRUE(kernel.ok()) << kernel.error().message();
  EXPECT_EQ((*kernel)->detail(), "inner");
  EXPECT_GE((*kernel)->workspace_bytes(), 2 * 60 * sizeof(float) + 40);
  std::vector<float> a(60);
  std::vector<float> b(60);
  std::vector<float> y(60, -1);
  for (size_t i = 0; i < 60; ++i) {
    a[i] = static_cast<float>(i);
    b[i] = static_cast<float>(1000 + i * 7);
  }
  const size_t guard = 64;
  std::vector<uint8_t> workspace((*kernel)->workspace_bytes() + guard, 0x11);
  const auto address = [](auto& v) { return DevicePtr{reinterpret_cast<uintptr_t>(v.data())}; };
  const std::array inputs{address(a), address(b)};
  const std::array outputs{address(y)};
  for (int run = 0; run < 2; ++run) {
    std::ranges::fill(y, -1.0F);
    ASSERT_TRUE((*kernel)->run({inputs, outputs, address(workspace), nullptr}).ok());
    for (int64_t n = 0; n < 2; ++n)
      for (int64_t c = 0; c < 3; ++c)
        for (int64_t p = 0; p < 10; ++p) {
          const auto plain = static_cast<size_t>((n * 3 + c) * 10 + p);
          const auto last = static_cast<size_t>((n * 10 + p) * 3 + c);
          EXPECT_EQ(y[plain], a[plain] + static_cast<float>(c + 1) * b[last]) << n << " " << c << " " << p;
        }
  }
  for (size_t i = 0; i < guard; ++i) EXPECT_EQ(workspace[(*kernel)->workspace_bytes() + i], 0x11) << "wrote behind it";
}

TEST_F(AdaptedKernelTest, SaysWhichReformatHasNoTactic) {
  static const TacticTable empty{{}};
  const NodeView inner = with_layouts(outer_, Layout::channels_last, Layout::channels_last);
  auto kernel = adapt_forms(std::make_unique<ChannelsLastKernel>(shape_), inner, outer_, {}, empty, target_);
  ASSERT_FALSE(kernel.ok());
  EXPECT_NE(kernel.error().message().find("Reformat"), std::string::npos) << kernel.error().message();
}

}  // namespace
}  // namespace planish
