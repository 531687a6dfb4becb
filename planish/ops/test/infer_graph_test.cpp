// What holds for every operator of a graph.

#include "planish/ops/infer_graph.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>

#include "planish/ir/text.h"

namespace planish::test {
namespace {

TEST(InferGraph, RefusesTwoTypesWhereTheOperatorHasOneNameForThem) {
  int checked = 0;
  for (const OpDecl* op : all_ops()) {
    if (std::popcount(op->one_type) < 2) continue;
    ++checked;
    // The first marked input is f32, the last one f64, and what lies between is left out.
    const int first = std::countr_zero(op->one_type);
    const int last = op->one_type == kEveryInput ? 40 : 31 - std::countl_zero(op->one_type);
    std::string operands;
    for (int i = 0; i <= last; ++i)
      operands += (i == 0 ? "" : ", ") + std::string(i == first ? "x" : i == last ? "w" : "_");
    const auto graph = parse_text(fmt::format(
        "graph \"g\" (x: f32[1,2,3,3], w: f64[1,2,3,3]) -> (y) {{\n y = {}({}) @n\n}}", op->name, operands));
    ASSERT_TRUE(graph.ok()) << graph.error().message();
    const Status status = check_operand_types(*graph);
    ASSERT_FALSE(status.ok()) << op->name;
    EXPECT_EQ(
        status.error().message(),
        fmt::format("node 'n': {}: inputs {} ('x') and {} ('w') have types f32 and f64. Fix: insert a Cast so that "
                    "both have the same type",
                    op->name, first, last));
  }
  EXPECT_GE(checked, 12);
}

}  // namespace
}  // namespace planish::test
