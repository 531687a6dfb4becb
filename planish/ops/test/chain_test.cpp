#include "planish/ops/chain.h"

#include <gtest/gtest.h>

#include "planish/ops/test/node_runner.h"

namespace planish::test {
namespace {

Node chain(std::vector<std::string> steps, std::map<std::string, Attr> attrs = {}) {
  attrs["steps"] = std::move(steps);
  return {.op = "Chain", .domain = "planish", .name = "c", .inputs = {}, .outputs = {}, .attrs = attrs, .origins = {}};
}

TEST(Chain, StepsReadInputsAndResults) {
  const Node node = chain({"Mul 0 1", "LeakyRelu 2", "Sub 0 3"}, {{"s1_alpha", 0.5F}});
  const Tensor y = run_one(node, {tensor_of({2}, {1, -2}), tensor_of({2}, {3, 4})});
  EXPECT_EQ(y.at(0), 1 - 3);
  EXPECT_EQ(y.at(1), -2 + 4);
}

TEST(Chain, SaysWhatIsWrong) {
  const std::vector<Tensor> x{tensor_of({1}, {1})};
  for (const auto& [steps, says] :
       std::vector<std::pair<std::vector<std::string>, std::string>>{{{}, "no steps"},
                                                                     {{""}, "names no operator"},
                                                                     {{"Relu 1"}, "operand 1 of step 0 is not defined"},
                                                                     {{"Relu -1"}, "operand -1 of step 0"},
                                                                     {{"Relu x"}, "operand x of step 0"},
                                                                     {{"NoSuchThing 0"}, "NoSuchThing"},
                                                                     {{"planish.Chain 0"}, "is a Chain itself"},
                                                                     {{"Relu 0", "Add 1 _"}, "Add"}}) {
    const auto out = run_node(chain(steps), x);
    ASSERT_FALSE(out.ok()) << says;
    EXPECT_NE(out.error().message().find(says), std::string::npos) << out.error().message();
  }
}

TEST(Chain, AttributesComeBack) {
  std::vector<ChainStep> steps(2);
  steps[0].node.op = "FusedConv";
  steps[0].node.domain = "planish";
  steps[0].node.attrs["group"] = int64_t{4};
  steps[0].operands = {0, 1, -1};
  steps[1].node.op = "Relu";
  steps[1].operands = {2};
  Node node = chain({});
  node.inputs = {0, 1};
  set_chain_steps(node, steps);
  const auto read = chain_steps(node);
  ASSERT_TRUE(read.ok()) << read.error().message();
  ASSERT_EQ(read->size(), 2U);
  EXPECT_EQ((*read)[0].node.domain, "planish");
  EXPECT_EQ((*read)[0].node.attr_int("group", 1), 4);
  EXPECT_EQ((*read)[0].operands, steps[0].operands);
  EXPECT_EQ((*read)[1].node.op, "Relu");
  EXPECT_TRUE((*read)[1].node.attrs.empty());
}

}  // namespace
}  // namespace planish::test
