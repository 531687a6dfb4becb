// What timings of similar nodes leave out, and when a tactic is given up.

#include "planish/builder/tactic_order.h"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <limits>

#include "planish/ir/text.h"
#include "planish/ops/infer_graph.h"
#include "planish/tactics/node_view.h"
#include "planish/tactics/timing.h"

namespace planish {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::infinity();

/// Takes a twentieth of a millisecond, and counts.
class Spinning final : public Kernel {
 public:
  static inline int runs = 0;
  Status run(const Bindings&) override {
    using Clock = std::chrono::steady_clock;
    const auto end = Clock::now() + std::chrono::microseconds(50);
    while (Clock::now() < end) {
    }
    ++runs;
    return {};
  }
};
constexpr std::array<std::string_view, 1> kOps{"planish.FusedConv"};
constinit const Tactic kSpinning{
    .id = "test.spinning",
    .ops = kOps,
    .supports = [](const NodeView&, const Target&) -> WhyNot { return std::nullopt; },
    .prepare = [](const NodeView&, std::span<const PackedConstant>, const Target&) -> Result<std::unique_ptr<Kernel>> {
      return std::unique_ptr<Kernel>(std::make_unique<Spinning>());
    }};

/// A convolution of 16 channels with windows of `side`.
struct Convolution {
  Graph graph;
  NodeView view;

  Convolution(int64_t side, int64_t pixels) {
    const std::string text = "graph \"g\" (x: f32[1,16," + std::to_string(pixels) +
                             ",32]) -> (y) {\n const w: f32[16,16," + std::to_string(side) + "," +
                             std::to_string(side) + "] = seed(1)\n y = planish.FusedConv(x, w) @c\n}";
    auto parsed = parse_text(text);
    EXPECT_TRUE(parsed.ok());
    graph = std::move(*parsed);
    const auto facts = infer_shapes(graph);
    EXPECT_TRUE(facts.ok());
    view = node_view(graph, graph.nodes[0], facts->dtypes, facts->shapes, facts->values);
  }
};

class Order : public testing::Test {
 protected:
  Order() { options_.use_timing_cache = false; }

  BuildOptions options_;
  Target target_{.device = &host_device(), .threads = 1};
};

TEST_F(Order, LeavesOutWhatWasFarBehindOnSimilarNodes) {
  TacticTimer timer(options_, target_);
  TacticOrder order(timer);
  const Convolution a(3, 32);
  const Convolution b(3, 33);
  const Convolution other(5, 32);
  EXPECT_EQ(order.ratio(a.view, kSpinning), 1.0);
  order.learn(a.view, kSpinning, 4.0, 1.0);
  EXPECT_FALSE(order.is_hopeless(b.view, kSpinning, 1.0, 1.0)) << "one node is no rule";
  order.learn(b.view, kSpinning, 6.0, 2.0);
  EXPECT_EQ(order.ratio(b.view, kSpinning), 3.0);
  EXPECT_TRUE(order.is_hopeless(b.view, kSpinning, 1.0, 1.0));
  EXPECT_FALSE(order.is_hopeless(b.view, kSpinning, 1.0, 2.5)) << "it may be within reach";
  EXPECT_FALSE(order.is_hopeless(b.view, kSpinning, kUnknown, kUnknown)) << "nothing else has been timed";
  EXPECT_FALSE(order.is_hopeless(other.view, kSpinning, 1.0, 1.0)) << "another window";
  order.learn(b.view, kSpinning, 2.0, 2.0);
  EXPECT_FALSE(order.is_hopeless(b.view, kSpinning, 1.0, 1.0)) << "it has won once";
}

TEST_F(Order, OtherBuildsRememberIt) {
  TacticTimer timer(options_, target_);
  const Convolution a(3, 32);
  {
    TacticOrder order(timer);
    order.learn(a.view, kSpinning, 4.0, 1.0);
    order.learn(a.view, kSpinning, 5.0, 1.0);
    order.save();
  }
  TacticOrder later(timer);
  EXPECT_EQ(later.ratio(a.view, kSpinning), 4.0);
  EXPECT_TRUE(later.is_hopeless(a.view, kSpinning, 1.0, 1.0));
}

TEST_F(Order, AHopelessTacticIsGivenUp) {
  const Convolution a(3, 32);
  TimingEffort effort{.min_runs = 3, .max_runs = 6, .budget_ms = 1000};
  const auto whole = time_tactic(a.view, kSpinning, target_, effort);
  ASSERT_TRUE(whole.ok());
  EXPECT_FALSE(whole->given_up);
  EXPECT_GE(Spinning::runs, 7) << "with the warm-up";
  effort.to_beat_ms = 0;
  const auto rough = time_tactic(a.view, kSpinning, target_, effort);
  ASSERT_TRUE(rough.ok());
  // Runs that something else interrupted prove nothing.
  EXPECT_TRUE(rough->given_up || !rough->stable);
}

}  // namespace
}  // namespace planish
