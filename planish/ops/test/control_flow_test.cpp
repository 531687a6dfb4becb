#include <gtest/gtest.h>

#include "planish/ops/infer_graph.h"
#include "planish/ops/test/node_runner.h"
#include "planish/ops/test/tensor_values.h"

namespace planish::test {
namespace {

ValueId add(Graph& g, const char* name, DType dtype, std::optional<Shape> shape = {}) {
  return g.add_value({.name = name, .dtype = dtype, .shape = std::move(shape)});
}

using Body = std::shared_ptr<const Graph>;

/// A branch that returns its captured input 1 through `op`.
Body branch(const char* op) {
  Graph g;
  const ValueId in = add(g, "captured", DType::f32);
  const ValueId out = add(g, "out", DType::f32);
  g.captures = {{1, in}};
  g.nodes = {{.op = op, .inputs = {in}, .outputs = {out}}};
  g.outputs = {out};
  return std::make_shared<const Graph>(std::move(g));
}

Graph if_graph(const char* else_op) {
  Graph g;
  const ValueId cond = add(g, "cond", DType::boolean, Shape{});
  const ValueId x = add(g, "x", DType::f32, Shape{2, -1});
  const ValueId y = add(g, "y", DType::undefined);
  g.inputs = {cond, x};
  g.outputs = {y};
  g.nodes = {
      {.op = "If",
       .inputs = {cond, x},
       .outputs = {y},
       .attrs = {{"own_inputs", int64_t{1}}, {"then_branch", branch("Identity")}, {"else_branch", branch(else_op)}}}};
  return g;
}

TEST(If, RunsTheChosenBranchOnCapturedValues) {
  const Tensor x = tensor(DType::f32, {2, 1}, {4, 5});
  for (const bool chosen : {true, false}) {
    const auto out = interpret(if_graph("Transpose"), std::vector{tensor(DType::boolean, {}, {chosen ? 1.0 : 0.0}), x});
    ASSERT_TRUE(out.ok());
    EXPECT_EQ(out.value()[0].shape(), chosen ? (Shape{2, 1}) : (Shape{1, 2}));
  }
}

TEST(If, InferenceMergesBranchesUnlessTheConditionIsKnown) {
  const Graph g = if_graph("Transpose");
  auto facts = infer_shapes(g);
  ASSERT_TRUE(facts.ok());
  EXPECT_EQ(facts->dtypes[2], DType::f32);
  EXPECT_EQ(facts->shapes[2], (Shape{-1, -1}));
  const std::vector<Tensor> values{tensor(DType::boolean, {}, {0})};
  facts = infer_shapes(g, {}, values);
  ASSERT_TRUE(facts.ok());
  EXPECT_EQ(facts->shapes[2], (Shape{-1, 2}));
  facts = infer_shapes(if_graph("Shape"));
  ASSERT_TRUE(facts.ok());
  EXPECT_FALSE(facts->shapes[2].has_value());
}

/// Loop over [counter, cond, sum] that adds the captured step; scan output: the sum so far. `grow` concatenates.
Graph loop_graph(bool grow) {
  Graph b;
  const ValueId i = add(b, "i", DType::i64, Shape{});
  const ValueId c = add(b, "c", DType::boolean, Shape{});
  const ValueId sum = add(b, "sum", DType::f32);
  const ValueId step = add(b, "step", DType::f32);
  const ValueId next_c = add(b, "next_c", DType::boolean);
  const ValueId next = add(b, "next", DType::f32);
  const ValueId shape = add(b, "scan", DType::i64);
  b.inputs = {i, c, sum};
  b.outputs = {next_c, next, shape};
  b.captures = {{3, step}};
  b.nodes = {{.op = "Identity", .inputs = {c}, .outputs = {next_c}}};
  if (grow)
    b.nodes.push_back({.op = "Concat", .inputs = {sum, step}, .outputs = {next}, .attrs = {{"axis", int64_t{0}}}});
  else
    b.nodes.push_back({.op = "Expand", .inputs = {step, shape}, .outputs = {next}});
  b.nodes.insert(b.nodes.begin() + 1, {.op = "Shape", .inputs = {sum}, .outputs = {shape}});

  Graph g;
  const ValueId trips = add(g, "trips", DType::i64, Shape{});
  const ValueId initial = add(g, "initial", DType::f32, Shape{1});
  const ValueId outer_step = add(g, "step", DType::f32, Shape{1});
  const ValueId last = add(g, "last", DType::undefined);
  const ValueId scan = add(g, "scan", DType::undefined);
  g.inputs = {trips, initial, outer_step};
  g.outputs = {last, scan};
  g.nodes = {{.op = "Loop",
              .inputs = {trips, kNoValue, initial, outer_step},
              .outputs = {last, scan},
              .attrs = {{"own_inputs", int64_t{3}}, {"body", Body(std::make_shared<const Graph>(std::move(b)))}}}};
  return g;
}

TEST(If, ABranchThatDoesNotFitTheShapesFailsOnlyWhereItIsTaken) {
  const Graph g = if_graph("DepthToSpace");  // of an image, which x is not
  const auto facts = infer_shapes(g);
  ASSERT_TRUE(facts.ok()) << facts.error().message();
  EXPECT_EQ(facts->shapes[2], (Shape{2, -1}));
  const Tensor x = tensor(DType::f32, {2, 1}, {4, 5});
  EXPECT_TRUE(interpret(g, std::vector{tensor(DType::boolean, {}, {1}), x}).ok());
  const auto refused = interpret(g, std::vector{tensor(DType::boolean, {}, {0}), x});
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message().find("DepthToSpace"), std::string::npos) << refused.error().message();
  const std::vector<Tensor> values{tensor(DType::boolean, {}, {0})};
  EXPECT_FALSE(infer_shapes(g, {}, values).ok());
}

TEST(Loop, CarriesStateAndCollectsScans) {
  const std::vector<Tensor> in{tensor(DType::i64, {}, {3}), tensor(DType::f32, {1}, {1}), tensor(DType::f32, {1}, {7})};
  const auto out = interpret(loop_graph(true), in);
  ASSERT_TRUE(out.ok()) << out.error().message();
  EXPECT_EQ(out.value()[0].to_i64(), (std::vector<int64_t>{1, 7, 7, 7}));
  EXPECT_EQ(out.value()[1].shape(), (Shape{3, 1}));
  EXPECT_EQ(out.value()[1].to_i64(), (std::vector<int64_t>{1, 2, 3}));
}

TEST(Loop, NoTripsGiveTheInitialStateAndAnEmptyScan) {
  const std::vector<Tensor> in{tensor(DType::i64, {}, {0}), tensor(DType::f32, {1}, {1}), tensor(DType::f32, {1}, {7})};
  const auto out = interpret(loop_graph(true), in);
  ASSERT_TRUE(out.ok()) << out.error().message();
  EXPECT_EQ(out.value()[0].to_i64(), (std::vector<int64_t>{1}));
  EXPECT_EQ(out.value()[1].size(), 0);
}

TEST(Loop, InferenceWidensWhatChanges) {
  auto facts = infer_shapes(loop_graph(true));
  ASSERT_TRUE(facts.ok());
  EXPECT_EQ(facts->shapes[3], (Shape{-1}));
  EXPECT_EQ(facts->shapes[4], (Shape{-1, 1}));
  const std::vector<Tensor> values{tensor(DType::i64, {}, {5})};
  facts = infer_shapes(loop_graph(false), {}, values);
  ASSERT_TRUE(facts.ok());
  EXPECT_EQ(facts->shapes[3], (Shape{1}));
  EXPECT_EQ(facts->shapes[4], (Shape{5, 1}));
}

/// Scan that adds up its input from the back and returns every partial sum.
Node scan_node(bool backwards) {
  Graph b;
  const ValueId sum = add(b, "sum", DType::f32);
  const ValueId x = add(b, "x", DType::f32);
  const ValueId next = add(b, "next", DType::f32);
  const ValueId part = add(b, "part", DType::f32);
  b.inputs = {sum, x};
  b.outputs = {next, part};
  b.nodes = {{.op = "Add", .inputs = {sum, x}, .outputs = {next}},
             {.op = "Identity", .inputs = {next}, .outputs = {part}}};
  const int64_t direction = backwards ? 1 : 0;
  return {.op = "Scan",
          .attrs = {{"own_inputs", int64_t{2}},
                    {"num_scan_inputs", int64_t{1}},
                    {"scan_input_axes", std::vector<int64_t>{1}},
                    {"scan_output_axes", std::vector<int64_t>{-1}},
                    {"scan_input_directions", std::vector{direction}},
                    {"body", Body(std::make_shared<const Graph>(std::move(b)))}}};
}

TEST(Scan, RunsAlongAnyAxisInEitherDirection) {
  const Tensor zero = tensor(DType::f32, {2}, {0, 0});
  const Tensor x = tensor(DType::f32, {2, 3}, {1, 2, 3, 10, 20, 30});
  const auto forward = run_node(scan_node(false), {zero, x}, 2);
  ASSERT_TRUE(forward.ok());
  EXPECT_EQ(forward.value()[0].to_i64(), (std::vector<int64_t>{6, 60}));
  EXPECT_EQ(forward.value()[1].to_i64(), (std::vector<int64_t>{1, 3, 6, 10, 30, 60}));
  const auto backward = run_node(scan_node(true), {zero, x}, 2);
  ASSERT_TRUE(backward.ok());
  EXPECT_EQ(backward.value()[1].to_i64(), (std::vector<int64_t>{3, 5, 6, 30, 50, 60}));
}

TEST(Scan, RefusesABodyThatDoesNotFit) {
  const Tensor x = tensor(DType::f32, {2, 3}, {1, 2, 3, 10, 20, 30});
  EXPECT_FALSE(run_node(scan_node(false), {x}, 2).ok());
  EXPECT_FALSE(run_node(scan_node(false), {x, x}, 1).ok());
}

}  // namespace
}  // namespace planish::test
