#include "planish/ir/text.h"

#include <gtest/gtest.h>

namespace planish {
namespace {

constexpr std::string_view kText = R"(graph "net" (x: f32[N,3,8,?], "odd name": i64, cond: bool[]) -> (y, z) {
  const w: f32[2,2] = [1, -2.5, 3e-10, inf]
  const big: f32[8,8] = fill(0.5)
  const i: i64[2] = [9223372036854775807, -1]
  c, _ = Conv(x, w, _) {alpha = 1.0, empty = ints[], list = [0.5, 2.0], pads = [1, 1], s = "a\"b"} @conv1
  y = planish.Pointwise(c, "odd name") {steps = ["Relu 0"], t = const i8[1] = [-3]} @p from [relu1, "relu 2"]
  z = If(cond, c) {then_branch = graph "t" () captures (1 cc: f32[2]) -> (r) {
    r = Relu(cc) @inner
  }} @if1
}
)";

TEST(Text, PrintingWhatWasParsedGivesTheSameText) {
  const auto g = parse_text(kText);
  ASSERT_TRUE(g.ok()) << g.error().message();
  EXPECT_EQ(to_text(*g), kText);
  EXPECT_EQ(g->values[static_cast<size_t>(g->inputs[0])].dim_names, (std::vector<std::string>{"N", "", "", ""}));
  EXPECT_EQ(g->nodes[1].domain, "planish");
  EXPECT_EQ(g->nodes[1].origins, (std::vector<std::string>{"relu1", "relu 2"}));
}

TEST(Text, LargeConstantsAreNotWrittenOut) {
  const auto g = parse_text("graph \"g\" () -> (y) { const w: f32[64] = seed(1)\n y = Relu(w) }");
  ASSERT_TRUE(g.ok()) << g.error().message();
  const std::string text = to_text(*g);
  EXPECT_NE(text.find("= ...  # "), std::string::npos) << text;
  const auto again = parse_text(text);
  ASSERT_FALSE(again.ok());
  EXPECT_NE(again.error().message().find("not written out"), std::string::npos);
}

TEST(Text, SeedsAreReproducibleAndInRange) {
  const Tensor a = seeded_tensor(DType::f32, {1000}, 7, 0.5, 1.5);
  EXPECT_TRUE(bitwise_equal(a, seeded_tensor(DType::f32, {1000}, 7, 0.5, 1.5)));
  EXPECT_FALSE(bitwise_equal(a, seeded_tensor(DType::f32, {1000}, 8, 0.5, 1.5)));
  for (int64_t i = 0; i < a.size(); ++i) {
    EXPECT_GE(a.at(i), 0.5);
    EXPECT_LE(a.at(i), 1.5);
  }
}

TEST(Text, ErrorsNameFileAndLine) {
  for (const std::string_view bad :
       {"graph \"g\" () -> () {\n y = Relu( }", "graph \"g\" (x: float99) -> () {}", "graph \"g\" () -> (y) {}",
        "graph \"g\" () -> () { const c: f32[2] = [1] }", "graph \"g\" () -> () { const c: f32[?] = [1] }", "", "graph",
        "graph \"g", "graph \"g\" () -> () { y = A() {a = [1, \"x\"]} }",
        "graph \"g\" () -> () { y = A() {a = 1x} }"}) {
    EXPECT_FALSE(parse_text(bad, "case").ok()) << bad;
  }
  const auto r = parse_text("graph \"g\" () -> () {\n y = Relu( }", "case");
  EXPECT_NE(r.error().message().find("case:2"), std::string::npos) << r.error().message();
}

}  // namespace
}  // namespace planish
