// Timing a layer one of whose operands shape arithmetic knows: the known tensor lies in row-major order, whatever
// layout the layer reads, and belongs to somebody else.

#include <gtest/gtest.h>

#include "planish/ir/text.h"
#include "planish/ops/op.h"
#include "planish/tactics/cpu/cpu_tactics.h"
#include "planish/tactics/layout_choice.h"
#include "planish/tactics/timing.h"

namespace planish {
namespace {

TEST(KnownOperands, AreLeftAloneByTimingInEveryLayout) {
  auto graph = parse_text(
      "graph \"g\" (x: f32[1,24,7,6], r: f32[1,24,7,6]) -> (y) {\n const w: f32[24,24,3,3] = seed(1)\n"
      " y = planish.FusedConv(x, w, _, r) {pads = [1,1,1,1], activation = \"Relu\"} @c\n}");
  ASSERT_TRUE(graph.ok()) << graph.error().message();
  const Node& node = graph->nodes[0];
  const Tensor residual = seeded_tensor(DType::f32, {1, 24, 7, 6}, 5, -1, 1);
  const Tensor before = residual.clone();
  const TensorDesc image{DType::f32, {1, 24, 7, 6}};
  NodeView view;
  view.node = &node;
  view.inputs = {image, {DType::f32, {24, 24, 3, 3}}, {}, image};
  view.outputs = {image};
  view.constants = {nullptr, graph->constant_of(node.inputs[1]), nullptr, &residual};
  view.constant_inputs = {false, true, false, false};
  const Target target{.device = &host_device(), .threads = 2};
  int timed = 0;
  for (const Layout layout : {Layout::row_major, Layout::channels_last, Layout::blocked8, Layout::blocked16}) {
    const NodeView form = with_layouts(view, layout, layout);
    for (const Tactic* tactic : supporting_tactics(cpu_tactics(), form, target)) {
      SCOPED_TRACE(std::string(tactic->id) + " " + std::string(layout_name(layout)));
      const auto timing = time_tactic(form, *tactic, target, {.min_runs = 2, .max_runs = 2, .budget_ms = 1});
      ASSERT_TRUE(timing.ok()) << timing.error().message();
      EXPECT_TRUE(bitwise_equal(residual, before));
      ++timed;
    }
  }
  EXPECT_GT(timed, 4);
}

}  // namespace
}  // namespace planish
