#include "planish/quant/equalization.h"

#include <gtest/gtest.h>

#include <cmath>

#include "planish/ir/text.h"
#include "planish/ops/infer_graph.h"
#include "planish/ops/op.h"

namespace planish {
namespace {

/// A fire module: two convolutions read `a`, a third reads the concat of both.
constexpr std::string_view kFire =
    "graph \"fire\" (x: f32[1,4,8,8]) -> (y) {\n"
    "  const w1: f32[6,4,1,1] = seed(1)\n"
    "  const b1: f32[6] = seed(2)\n"
    "  const w2: f32[5,6,1,1] = seed(3)\n"
    "  const w3: f32[5,6,3,3] = seed(4)\n"
    "  const w4: f32[4,10,1,1] = seed(5)\n"
    "  c1 = Conv(x, w1, b1) @squeeze\n"
    "  a = Relu(c1) @relu1\n"
    "  c2 = Conv(a, w2) @expand1\n"
    "  r2 = Relu(c2) @relu2\n"
    "  c3 = Conv(a, w3) {pads = [1, 1, 1, 1]} @expand3\n"
    "  r3 = Relu(c3) @relu3\n"
    "  m = Concat(r2, r3) {axis = 1} @concat\n"
    "  p = MaxPool(m) {kernel_shape = [2, 2], strides = [2, 2]} @pool\n"
    "  y = Conv(p, w4) @last\n"
    "}\n";

TEST(Equalization, KeepsTheResultAndEvensOutTheChannels) {
  Graph g = *parse_text(kFire);
  ASSERT_TRUE(annotate_shapes(g).ok());
  EXPECT_TRUE(can_equalise(g));
  const Graph before = g;
  const std::map<std::string, std::vector<float>> ranges{{"a", {1, 2, 50, 4, 0, 0.1F}},
                                                         {"p", {1, 2, 3, 4, 5, 60, 70, 80, 90, 100}}};
  const Equalization done = equalise(g, [&ranges](const std::string& name) {
    const auto it = ranges.find(name);
    return it == ranges.end() ? nullptr : &it->second;
  });
  EXPECT_EQ(done.layers, 3);
  ASSERT_TRUE(done.divisors.contains("a"));
  ASSERT_TRUE(done.divisors.contains("p"));
  EXPECT_EQ(done.divisors.at("p").size(), 10U);
  EXPECT_LT(done.divisors.at("a")[0], done.divisors.at("a")[2]);
  EXPECT_LT(done.divisors.at("p")[0], done.divisors.at("p")[9]);

  const std::vector<Tensor> in{seeded_tensor(DType::f32, {1, 4, 8, 8}, 9, -1, 1)};
  const Tensor want = (*interpret(before, in))[0];
  const Tensor got = (*interpret(g, in))[0];
  for (int64_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got.at(i), want.at(i), 1e-4 * (1 + std::fabs(want.at(i))));
}

TEST(Equalization, LeavesTensorsAloneThatSomethingElseReads) {
  for (const char* use : {"  s = Sigmoid(a) @gate\n  y = Add(s, c) @add\n", "  y = Add(a, c) @add\n"}) {
    Graph g =
        *parse_text(std::string("graph \"g\" (x: f32[1,4,8,8]) -> (y) {\n  const w1: f32[4,4,1,1] = seed(1)\n"
                                "  const w2: f32[4,4,1,1] = seed(2)\n  b = Conv(x, w1) @conv1\n  a = Relu(b) @relu\n"
                                "  c = Conv(a, w2) @conv2\n") +
                    use + "}\n");
    ASSERT_TRUE(annotate_shapes(g).ok());
    EXPECT_FALSE(can_equalise(g));
    const std::vector<float> range{1, 2, 3, 4};
    EXPECT_EQ(equalise(g, [&range](const std::string&) { return &range; }).layers, 0);
  }
}

}  // namespace
}  // namespace planish
