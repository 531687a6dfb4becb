#include "planish/api/convert.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "planish/api/model_impl.h"
#include "planish/ir/text.h"

namespace planish::api {
namespace {

Model digits() {
  auto model = Model::read("demo/digits.onnx");
  EXPECT_TRUE(model.ok()) << model.error().message();
  return std::move(*model);
}

TEST(ConvertToHalf, RefusesWhatIsInHalfPrecisionAlready) {
  const auto half = convert_to_half(digits(), {.type = DType::bf16});
  ASSERT_TRUE(half.ok()) << half.error().message();
  for (const DType type : {DType::f16, DType::bf16}) {
    const auto again = convert_to_half(*half, {.type = type});
    ASSERT_FALSE(again.ok());
    EXPECT_NE(again.error().message().find("is BF16 already"), std::string::npos) << again.error().message();
    EXPECT_NE(again.error().message().find("give the FP32 model"), std::string::npos);
  }
}

TEST(ConvertToHalf, GivesCastsNamesThatNoNodeHas) {
  // The network has the names that the Casts of its output and input would get.
  auto graph = parse_text(R"(graph "net" (x: f32[1,4]) -> (y, z) {
    a = Relu(x) @"y/Cast"
    b = Abs(a) @"x_f16/Cast"
    y = Sigmoid(b) @s
    z = Neg(b) @n
  })");
  ASSERT_TRUE(graph.ok()) << graph.error().message();
  const Model model = ModelAccess::with_graph(digits(), std::move(*graph));
  const auto half = convert_to_half(model, {.type = DType::f16});
  ASSERT_TRUE(half.ok()) << half.error().message();
  std::set<std::string> names;
  for (const Node& node : ModelAccess::impl(*half).model.graph.nodes)
    EXPECT_TRUE(names.insert(node.name).second) << node.name;
  EXPECT_TRUE(names.contains("y/Cast_1"));
  EXPECT_TRUE(names.contains("x_f16/Cast_1")) << "the input's Cast";
}

TEST(ModelNodeNames, AreThoseOfTheFile) {
  const std::vector<std::string> names = digits().node_names();
  EXPECT_NE(std::find(names.begin(), names.end(), "block1/conv1"), names.end());
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
}

}  // namespace
}  // namespace planish::api
