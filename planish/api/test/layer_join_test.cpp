#include "planish/api/layer_join.h"

#include <gtest/gtest.h>

namespace planish::api {
namespace {

using Nodes = std::vector<std::string>;

LayerProfile profile_of(const std::vector<std::pair<Nodes, double>>& layers) {
  LayerProfile profile;
  for (const auto& [nodes, ms] : layers) {
    LayerInfo info;
    info.onnx_nodes = nodes;
    profile.layers.push_back(info);
    profile.layer_ms.push_back(ms);
  }
  return profile;
}

TEST(JoinLayers, PairsLayersOfTheSameNodes) {
  const auto groups = join_layers(profile_of({{{"conv", "relu"}, 2.0}, {{"fc"}, 1.0}}),
                                  profile_of({{{"conv", "relu"}, 3.0}, {{"fc"}, 0.5}}));
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].onnx_nodes, (Nodes{"conv", "relu"}));
  EXPECT_DOUBLE_EQ(groups[0].delta_ms(), 1.0);
  EXPECT_DOUBLE_EQ(groups[1].delta_ms(), -0.5);
}

TEST(JoinLayers, MergesWhatIsFusedDifferently) {
  // One side fuses the addition into the first convolution, the other into the second.
  const auto groups = join_layers(profile_of({{{"conv1", "add"}, 2.0}, {{"conv2"}, 1.0}, {{"fc"}, 1.0}}),
                                  profile_of({{{"conv1"}, 1.0}, {{"conv2", "add"}, 1.5}, {{"fc"}, 1.0}}));
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].first, (std::vector<size_t>{0, 1}));
  EXPECT_EQ(groups[0].second, (std::vector<size_t>{0, 1}));
  EXPECT_DOUBLE_EQ(groups[0].first_ms, 3.0);
  EXPECT_DOUBLE_EQ(groups[0].second_ms, 2.5);
  EXPECT_EQ(groups[1].onnx_nodes, Nodes{"fc"});
}

TEST(JoinLayers, KeepsWhatOnlyOneSideHas) {
  const auto groups = join_layers(profile_of({{{"a"}, 1.0}, {{}, 0.25}}), profile_of({{{"b"}, 2.0}}));
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_TRUE(groups[0].second.empty());
  EXPECT_TRUE(groups[1].first.empty());
  EXPECT_TRUE(groups[2].onnx_nodes.empty());  // layout changes come last
  EXPECT_DOUBLE_EQ(groups[2].delta_ms(), -0.25);
}

}  // namespace
}  // namespace planish::api
