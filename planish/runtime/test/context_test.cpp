#include "planish/runtime/context.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "planish/base/subnormals.h"
#include "planish/runtime/test/allocation_count.h"
#include "planish/runtime/test/runner.h"

namespace planish::test {
namespace {

Tensor random(const Shape& shape, uint64_t seed = 3, DType dtype = DType::f32) {
  return seeded_tensor(dtype, shape, seed, -2, 2);
}

struct GraphCase {
  const char* label;
  const char* text;
  std::vector<std::vector<Shape>> runs;  ///< input shapes of consecutive runs of one context
  size_t most_steps = SIZE_MAX;          ///< of the last plan: shows that views and concats cost nothing
};

const GraphCase kGraphs[] = {
    {"concat_of_results",
     "graph \"g\" (x: f32[1,4,3]) -> (y) {\n a = Relu(x)\n b = Neg(x)\n c = Concat(a, b) {axis = 1}\n y = Abs(c)\n}",
     {{{1, 4, 3}}},
     3},
    {"concat_is_output",
     "graph \"g\" (x: f32[1,4,3]) -> (c) {\n a = Relu(x)\n b = Neg(x)\n c = Concat(a, b) {axis = 1}\n}",
     {{{1, 4, 3}}},
     2},
    {"concat_of_input_and_constant",
     "graph \"g\" (x: f32[2,3]) -> (c) {\n const k: f32[1,3] = seed(1)\n c = Concat(x, k, x) {axis = 0}\n}",
     {{{2, 3}}}},
    {"concat_twice_the_same",
     "graph \"g\" (x: f32[2,3]) -> (y) {\n a = Relu(x)\n c = Concat(a, a) {axis = 0}\n y = Neg(c)\n}",
     {{{2, 3}}}},
    {"one_value_in_two_concats",
     "graph \"g\" (x: f32[2,3]) -> (y, z) {\n a = Relu(x)\n b = Neg(x)\n c = Concat(a, b) {axis = 0}\n d = Concat(b, "
     "a) "
     "{axis = 0}\n y = Neg(c)\n z = Abs(d)\n}",
     {{{2, 3}}}},
    {"concat_of_concat",
     "graph \"g\" (x: f32[2,3]) -> (y) {\n a = Relu(x)\n b = Neg(x)\n c = Concat(a, b) {axis = 0}\n d = Abs(x)\n e = "
     "Concat(d, c) {axis = 0}\n y = Neg(e)\n}",
     {{{2, 3}}},
     4},
    {"concat_part_is_output_too",
     "graph \"g\" (x: f32[2,3]) -> (a, c) {\n a = Relu(x)\n b = Neg(x)\n c = Concat(a, b) {axis = 0}\n}",
     {{{2, 3}}}},
    {"split_of_input",
     "graph \"g\" (x: f32[4,3]) -> (y, z) {\n a, b = Split(x) {axis = 0, num_outputs = 2}\n y = Neg(a)\n z = Abs(b)\n}",
     {{{4, 3}}},
     2},
    {"split_into_outputs",
     "graph \"g\" (x: f32[4,3]) -> (a, b) {\n r = Relu(x)\n a, b = Split(r) {axis = 0, num_outputs = 2}\n}",
     {{{4, 3}}}},
    {"split_of_constant",
     "graph \"g\" (x: f32[2,3]) -> (y, z) {\n const k: f32[4,3] = seed(1)\n a, b = Split(k) {axis = 0, num_outputs = "
     "2}\n y = Add(a, x)\n z = Add(b, x)\n}",
     {{{2, 3}}},
     2},
    {"split_of_large_constant",
     "graph \"g\" (x: f32[1,5000]) -> (y) {\n const k: f32[4,5000] = seed(1)\n a, b = Split(k) {axis = 0, num_outputs "
     "= "
     "2}\n c, d = Split(b) {axis = 0, num_outputs = 2}\n y = Add(d, x)\n}",
     {{{1, 5000}}}},
    {"reshape_to_output",
     "graph \"g\" (x: f32[4,3]) -> (y) {\n const s: i64[1] = [12]\n r = Relu(x)\n y = Reshape(r, s)\n}",
     {{{4, 3}}},
     1},
    {"reshape_of_input_is_output",
     "graph \"g\" (x: f32[4,3]) -> (y) {\n const s: i64[1] = [12]\n y = Reshape(x, s)\n}",
     {{{4, 3}}}},
    {"input_is_output", "graph \"g\" (x: f32[4,3]) -> (x, y) {\n y = Relu(x)\n}", {{{4, 3}}}},
    {"constant_is_output", "graph \"g\" (x: f32[4]) -> (k, y) {\n const k: f32[3] = seed(1)\n y = Relu(x)\n}", {{{4}}}},
    {"output_twice", "graph \"g\" (x: f32[4]) -> (y, y) {\n y = Relu(x)\n}", {{{4}}}},
    {"output_read_on", "graph \"g\" (x: f32[4]) -> (y, z) {\n y = Relu(x)\n z = Neg(y)\n}", {{{4}}}},
    {"dynamic_batch",
     "graph \"g\" (x: f32[N,3]) -> (y) {\n a = Relu(x)\n b = Neg(x)\n c = Concat(a, b) {axis = 0}\n y = Abs(c)\n}",
     {{{2, 3}}, {{64, 3}}, {{1, 3}}, {{2, 3}}, {{0, 3}}, {{64, 3}}}},
    {"shape_arithmetic",
     "graph \"g\" (x: f32[N,6]) -> (y, s) {\n const i: i64[1] = [0]\n const m: i64[1] = [3]\n s = Shape(x)\n n = "
     "Gather(s, i) {axis = 0}\n t = Concat(n, m, m) {axis = 0}\n const two: i64[1] = [2]\n u = Concat(n, two, m) {axis "
     "= 0}\n y = Reshape(x, u)\n}",
     {{{4, 6}}, {{5, 6}}, {{0, 6}}}},
    {"non_zero",
     "graph \"g\" (x: f32[N]) -> (y, i) {\n r = Relu(x)\n i = NonZero(r)\n f = Cast(i) {to = 1}\n y = Neg(f)\n}",
     {{{10}}, {{33}}, {{0}}, {{10}}}},
    {"non_zero_reshaped",
     "graph \"g\" (x: f32[N]) -> (y) {\n const s: i64[1] = [-1]\n r = Relu(x)\n i = NonZero(r)\n j = Reshape(i, s)\n g "
     "= "
     "Gather(x, j) {axis = 0}\n c = Concat(g, x) {axis = 0}\n y = Abs(c)\n}",
     {{{10}}, {{40}}}},
};

/// Control flow and detection: shapes that only the run knows, layers behind them, bodies that read from outside.
const GraphCase kDataDependent[] = {
    {"if_with_branches_of_different_shapes",
     "graph \"g\" (c: bool[], x: f32[N,3]) -> (y) {\n t = If(c, x) {own_inputs = 1, then_branch = graph \"t\" () "
     "captures "
     "(1 a: f32) -> (b) { b = Relu(a) }, else_branch = graph \"e\" () captures (1 a: f32) -> (b) { b = Transpose(a) "
     "}}\n "
     "y = Neg(t)\n}",
     {{{}, {2, 3}}, {{}, {5, 3}}, {{}, {2, 3}}}},
    {"loop_that_grows",
     "graph \"g\" (x: f32[2]) -> (last, y) {\n const trips: i64[] = [3]\n s = Relu(x)\n last, sums = Loop(trips, _, x, "
     "s) "
     "{own_inputs = 3, body = graph \"b\" (i: i64[], c: bool[], sum: f32) captures (3 step: f32) -> (c2, next, out) { "
     "c2 = "
     "Identity(c)\n next = Concat(sum, step) {axis = 0}\n const k: i64[1] = [0]\n out = ReduceSum(sum, k) {keepdims = "
     "1} "
     "}}\n y = Neg(sums)\n}",
     {{{2}}}},
    {"non_max_suppression",
     "graph \"g\" (boxes: f32[1,M,4], scores: f32[1,2,M]) -> (picked, best) {\n const most: i64[] = [4]\n const iou: "
     "f32[] "
     "= [0.5]\n const least: f32[] = [0.1]\n const col: i64[1] = [2]\n const shape: i64[1] = [-1]\n const b: i64[1] = "
     "[0]\n picked = NonMaxSuppression(boxes, scores, most, iou, least)\n i = Gather(picked, col) {axis = 1}\n j = "
     "Reshape(i, shape)\n flat = Squeeze(boxes, b)\n best = Gather(flat, j) {axis = 0}\n}",
     {{{1, 6, 4}, {1, 2, 6}}, {{1, 40, 4}, {1, 2, 40}}, {{1, 6, 4}, {1, 2, 6}}, {{1, 0, 4}, {1, 2, 0}}}},
    {"product_of_what_is_found",
     "graph \"g\" (x: f32[N]) -> (y) {\n const w: f32[1,40] = seed(1)\n const b: f32[40] = seed(2)\n r = Relu(x)\n i "
     "= NonZero(r)\n t = Transpose(i) {perm = [1, 0]}\n f = Cast(t) {to = 1}\n y = planish.FusedMatMul(f, w, b)\n}",
     {{{10}}, {{33}}, {{10}}, {{0}}, {{33}}}},
    {"unique_and_compress",
     "graph \"g\" (x: f32[N], c: bool[N]) -> (y, n) {\n k = Compress(x, c)\n y, i, j, n = Unique(k)\n}",
     {{{9}, {9}}, {{30}, {30}}, {{9}, {9}}}},
};

class Graphs : public testing::TestWithParam<std::tuple<GraphCase, bool>> {};

TEST_P(Graphs, RunLikeTheInterpreter) {
  const auto& [c, opaque] = GetParam();
  auto context = context_of(c.text, opaque);
  for (size_t r = 0; r < c.runs.size(); ++r)
    for (uint64_t seed : {1, 2}) {
      SCOPED_TRACE("run " + std::to_string(r));
      std::vector<Tensor> inputs;
      for (const Shape& s : c.runs[r]) inputs.push_back(random(s, seed + r));
      expect_like_interpreter(*context, inputs);
    }
  EXPECT_LE(context->steps().size(), c.most_steps);
}

INSTANTIATE_TEST_SUITE_P(Devices, Graphs, testing::Combine(testing::ValuesIn(kGraphs), testing::Bool()),
                         [](const auto& row) {
                           return std::string(std::get<0>(row.param).label) +
                                  (std::get<1>(row.param) ? "_opaque" : "_host");
                         });

class DataDependent : public testing::TestWithParam<std::tuple<GraphCase, bool>> {};

TEST_P(DataDependent, RunLikeTheInterpreter) {
  const auto& [c, opaque] = GetParam();
  auto context = context_of(c.text, opaque);
  const Graph& graph = context->executable().graph();
  for (size_t r = 0; r < c.runs.size(); ++r)
    for (uint64_t seed : {1, 2, 3}) {
      SCOPED_TRACE("run " + std::to_string(r) + ", seed " + std::to_string(seed));
      std::vector<Tensor> inputs;
      for (size_t i = 0; i < c.runs[r].size(); ++i) {
        const DType dtype = graph.value(graph.inputs[i]).dtype;
        inputs.push_back(random(c.runs[r][i], seed * 10 + i, dtype == DType::boolean ? DType::f32 : dtype));
        if (dtype != DType::boolean) continue;
        Tensor chosen(DType::boolean, c.runs[r][i]);
        for (int64_t e = 0; e < chosen.size(); ++e) chosen.set(e, inputs.back().at(e) > 0 ? 1 : 0);
        inputs.back() = chosen;
      }
      expect_like_interpreter(*context, inputs);
    }
}

INSTANTIATE_TEST_SUITE_P(Devices, DataDependent, testing::Combine(testing::ValuesIn(kDataDependent), testing::Bool()),
                         [](const auto& row) {
                           return std::string(std::get<0>(row.param).label) +
                                  (std::get<1>(row.param) ? "_opaque" : "_host");
                         });

TEST(Context, FillsMemoryThatTheUserBound) {
  for (const char* text : {"graph \"g\" (x: f32[4]) -> (x, k, y) {\n const k: f32[4] = seed(1)\n y = Relu(x)\n}",
                           "graph \"g\" (x: f32[4]) -> (s, k, y) {\n const k: f32[4] = seed(1)\n y = Relu(x)\n s = "
                           "Identity(x)\n}"}) {
    auto context = context_of(text);
    const Graph& graph = context->executable().graph();
    const Tensor x = random({4});
    Tensor in = x.clone();
    ASSERT_TRUE(context->bind("x", {reinterpret_cast<uintptr_t>(in.raw())}).ok());
    std::vector<Tensor> out;
    for (const ValueId v : graph.outputs) {
      if (graph.value(v).name == "x") continue;
      out.emplace_back(DType::f32, Shape{4});
      ASSERT_TRUE(context->bind(graph.value(v).name, {reinterpret_cast<uintptr_t>(out.back().raw())}).ok());
    }
    ASSERT_TRUE(context->run().ok());
    EXPECT_TRUE(bitwise_equal(out[out.size() - 2], *graph.constant_of(*graph.find_value("k"))));
    for (int64_t i = 0; i < 4; ++i) EXPECT_EQ(out.back().at(i), std::max(0.0, x.at(i)));
  }
}

TEST(Context, OwnOutputMemoryGrowsWithTheShape) {
  auto context = context_of("graph \"g\" (x: f32[N]) -> (y) {\n y = Relu(x)\n}");
  for (const int64_t n : {2, 64, 3}) {
    const Tensor x = random({n});
    Tensor in = x.clone();
    ASSERT_TRUE(context->set_input_shape("x", {n}).ok());
    ASSERT_TRUE(context->bind("x", {reinterpret_cast<uintptr_t>(in.raw())}).ok());
    ASSERT_TRUE(context->run().ok());
    auto address = context->output_address("y");
    ASSERT_TRUE(address.ok());
    EXPECT_EQ(context->output_shape("y").value(), Shape{n});
    for (int64_t i = 0; i < n; ++i)
      EXPECT_EQ(host_ptr<float>(*address)[i], std::max(0.0F, x.data<float>()[i])) << "n=" << n;
  }
}

TEST(Context, ErrorsNameInputAxisGivenAndAllowed) {
  auto context = context_of("graph \"g\" (data: f32[N,3]) -> (y) {\n y = Relu(data)\n}");
  const auto expect_parts = [](const Status& status, std::initializer_list<const char*> parts) {
    ASSERT_FALSE(status.ok());
    const std::string text = status.error().message();
    for (const char* part : parts) EXPECT_NE(text.find(part), std::string::npos) << part << " is not in: " << text;
  };
  expect_parts(context->set_input_shape("data", {65, 3}), {"data", "dimension 0", "65", "0 to 64"});
  expect_parts(context->set_input_shape("data", {4, 4}), {"data", "dimension 1", "4", "3 to 3"});
  expect_parts(context->set_input_shape("data", {3}), {"data", "1 dimensions", "2"});
  expect_parts(context->set_input_shape("date", {3}), {"date", "'data'"});
  expect_parts(context->run(), {"data", "no memory is bound"});
  auto outputs = context->run_host(std::vector<Tensor>{random({2, 3}, 1, DType::i64)});
  ASSERT_FALSE(outputs.ok());
  EXPECT_NE(outputs.error().message().find("i64"), std::string::npos);
  EXPECT_FALSE(context->run_host({}).ok());
  EXPECT_FALSE(Context::create(executable_of(engine_of("graph \"g\" (x: f32[1]) -> (y) {\n y = Relu(x)\n}",
                                                       host_reference_table())),
                               {.profile = 1})
                   .ok());
}

TEST(Context, KeepsTheMemoryLimit) {
  const char* text = "graph \"g\" (x: f32[1000]) -> (y) {\n a = Relu(x)\n b = Neg(a)\n y = Add(a, b) @sum\n}";
  auto context = context_of(text, false, {.memory_limit_bytes = 5000});
  const Status status = context->plan();
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, Code::out_of_memory);
  EXPECT_FALSE(status.error().node.empty() && status.error().message().find("layer") == std::string::npos);
  auto enough = context_of(text, false, {.memory_limit_bytes = 8192});
  EXPECT_TRUE(enough->plan().ok());
  EXPECT_LE(enough->arena_bytes(), 8192U);
}

TEST(Context, ValueOfAShapeInputIsTakenFromEveryRun) {
  auto context = context_of("graph \"g\" (x: f32[12], s: i64[2]) -> (y) {\n r = Reshape(x, s)\n y = Relu(r)\n}");
  const Tensor x = random({12});
  ASSERT_TRUE(context->set_input_value("s", Tensor::from_i64(std::vector<int64_t>{3, 4})).ok());
  ASSERT_TRUE(context->plan().ok());
  EXPECT_EQ(context->output_shape("y").value(), (Shape{3, 4}));
  for (const auto& shape : {std::vector<int64_t>{3, 4}, {2, 6}, {12, 1}})
    expect_like_interpreter(*context, {x, Tensor::from_i64(shape)});
  auto without = context_of("graph \"g\" (x: f32[12], s: i64[2]) -> (y) {\n r = Reshape(x, s)\n y = Relu(r)\n}", true);
  for (const auto& shape : {std::vector<int64_t>{3, 4}, {2, 6}, {12, 1}})
    expect_like_interpreter(*without, {x, Tensor::from_i64(shape)});
}

TEST(Context, TwoThreadsShareAnExecutable) {
  auto executable =
      executable_of(engine_of("graph \"g\" (x: f32[N,3]) -> (y) {\n const k: f32[3] = seed(1)\n a = "
                              "Add(x, k)\n b = Neg(a)\n y = Concat(a, b) {axis = 0}\n}",
                              host_reference_table()));
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 2; ++t)
    threads.emplace_back([&executable, t] {
      auto context = Context::create(executable);
      ASSERT_TRUE(context.ok());
      for (uint64_t i = 0; i < 50; ++i)
        expect_like_interpreter(**context, {random({static_cast<int64_t>(1 + (i + t) % 5), 3}, i * 2 + t)});
    });
  for (std::thread& t : threads) t.join();
}

class NegKernel final : public Kernel {
 public:
  explicit NegKernel(int64_t n) : n_(n) {}
  Status run(const Bindings& b) override {
    for (int64_t i = 0; i < n_; ++i) host_ptr<float>(b.outputs[0])[i] = -host_ptr<float>(b.inputs[0])[i];
    return {};
  }

 private:
  int64_t n_;
};

TEST(Context, DoesNotAllocateAfterItsFirstRun) {
  static constexpr Tactic kNeg{.id = "test.neg",
                               .supports = [](const NodeView&, const Target&) -> WhyNot { return std::nullopt; },
                               .prepare = [](const NodeView& view, std::span<const PackedConstant>,
                                             const Target&) -> Result<std::unique_ptr<Kernel>> {
                                 return std::unique_ptr<Kernel>(new NegKernel(view.outputs[0].size()));
                               }};
  static const TacticTable table{{&kNeg}};
  auto engine = engine_of(
      "graph \"g\" (x: f32[N]) -> (y, z) {\n a = Neg(x)\n b = Neg(a)\n c = Concat(a, b, x) {axis = 0}\n y = Neg(c)\n z "
      "= "
      "Concat(y, y) {axis = 0}\n}",
      table);
  auto executable = Executable::create(engine, host_device(), table, 1);
  ASSERT_TRUE(executable.ok());
  auto made = Context::create(*executable);
  ASSERT_TRUE(made.ok());
  Context& context = **made;
  Tensor x = random({64});
  ASSERT_TRUE(context.bind("x", {reinterpret_cast<uintptr_t>(x.raw())}).ok());
  const Shape shapes[] = {{64}, {5}};
  for (const Shape& shape : shapes) {
    ASSERT_TRUE(context.set_input_shape("x", shape).ok());
    ASSERT_TRUE(context.run().ok());
  }
  const int64_t before = allocation_count();
  bool ok = true;
  for (int i = 0; i < 20; ++i) ok = context.run().ok() && ok;
  EXPECT_EQ(allocation_count() - before, 0) << "a repeated run allocates";
  EXPECT_TRUE(ok);
  EXPECT_GT(before, 0) << "allocations are not counted";
}

TEST(Context, NoThreadsMeansAllCores) {
  const auto engine = engine_of("graph \"g\" (x: f32[8]) -> (y) {\n y = Relu(x)\n}", host_reference_table());
  const auto executable = Executable::create(engine, host_device(), host_reference_table(), 0);
  ASSERT_TRUE(executable.ok());
  EXPECT_GE((*executable)->target().threads, 1);
}

TEST(Context, SubnormalNumbersAreZeroUnlessTheNetworkNamesOne) {
  // 1e-30 * 1e-10 + added
  const auto results = [](const char* added) {
    auto context = context_of(fmt::format(
        "graph \"g\" (x: f32[8]) -> (y) {{\n const s: f32[] = [1e-10]\n const a: f32[] = [{}]\n m = Mul(x, s)\n"
        " y = Add(m, a)\n}}",
        added));
    Tensor x(DType::f32, {8});
    std::fill_n(x.data<float>(), 8, 1e-30F);
    const auto run = context->run_host({&x, 1});
    std::vector<float> seen{run.ok() ? *(*run)[0].data<float>() : NAN};
    const auto shown = context->run_observed([](ValueId) { return true; },
                                             [&](const Observation& o) {
                                               seen.push_back(*static_cast<const float*>(o.data));
                                               return Status{};
                                             });
    EXPECT_TRUE(shown.ok());
    return seen;
  };
  const uint32_t mode = float_mode();
  EXPECT_EQ(results("0"), (std::vector<float>{0, 0, 0}));
  EXPECT_EQ(results("1e-40"), (std::vector<float>{2 * 1e-40F, 1e-40F, 2 * 1e-40F}));
  EXPECT_EQ(float_mode(), mode);
}

TEST(Context, SubnormalNumbersThatFusingOrDoublePrecisionHidesAreNamedToo) {
  const auto keeps = [](const char* graph) { return context_of(graph)->executable().keeps_subnormals(); };
  const auto clip = [&](const char* least) {
    return keeps(fmt::format("graph \"g\" (x: f32[8]) -> (y) {{\n y = planish.Pointwise(x) {{steps = [\"Clip 0 "
                             "min={}\", \"Log 1\"]}}\n}}",
                             least)
                     .c_str());
  };
  EXPECT_FALSE(clip("1e-30"));
  EXPECT_FALSE(clip("0"));
  EXPECT_TRUE(clip("1e-42"));
  const auto sum = [&](const char* added) {
    return keeps(
        fmt::format("graph \"g\" (x: f64[8]) -> (y) {{\n const a: f64[] = [{}]\n y = Add(x, a)\n}}", added).c_str());
  };
  EXPECT_FALSE(sum("1e-42"));
  EXPECT_TRUE(sum("1e-310"));
}

TEST(Context, TimesEveryStep) {
  auto context = context_of("graph \"g\" (x: f32[8]) -> (y) {\n a = Relu(x)\n y = Neg(a)\n}");
  expect_like_interpreter(*context, {random({8})});
  Tensor x = random({8});
  ASSERT_TRUE(context->bind("x", {reinterpret_cast<uintptr_t>(x.raw())}).ok());
  std::vector<LayerTime> times;
  ASSERT_TRUE(context->run(&times).ok());
  ASSERT_EQ(times.size(), 2U);
  EXPECT_EQ(times[1].node, 1);
  EXPECT_GE(times[0].ms, 0);
}

}  // namespace
}  // namespace planish::test
