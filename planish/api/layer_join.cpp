#include "planish/api/layer_join.h"

#include <algorithm>
#include <map>
#include <numeric>

namespace planish::api {
namespace {

/// Disjoint sets of layers (those of the second engine follow those of the first), merged where they share a node.
class LayerSets {
 public:
  explicit LayerSets(size_t count) : parents_(count) { std::iota(parents_.begin(), parents_.end(), size_t{0}); }
  size_t root(size_t i) {
    while (parents_[i] != i) i = parents_[i] = parents_[parents_[i]];
    return i;
  }
  void merge(size_t a, size_t b) {
    a = root(a);
    b = root(b);
    // The smaller position stays the root, so that groups keep the order of execution.
    parents_[std::max(a, b)] = std::min(a, b);
  }

 private:
  std::vector<size_t> parents_;
};

void add_layer(LayerGroup& group, const LayerProfile& profile, size_t layer, bool is_first) {
  (is_first ? group.first : group.second).push_back(layer);
  (is_first ? group.first_ms : group.second_ms) += profile.layer_ms[layer];
  for (const std::string& node : profile.layers[layer].onnx_nodes)
    if (std::find(group.onnx_nodes.begin(), group.onnx_nodes.end(), node) == group.onnx_nodes.end())
      group.onnx_nodes.push_back(node);
}

}  // namespace

LayerProfile tuned_profile(std::vector<LayerInfo> layers) {
  LayerProfile profile{.layers = std::move(layers)};
  for (const LayerInfo& layer : profile.layers) profile.layer_ms.push_back(layer.tuned_time_ms);
  return profile;
}

std::vector<LayerGroup> join_layers(const LayerProfile& first, const LayerProfile& second) {
  const size_t count = first.layers.size() + second.layers.size();
  const auto layer_at = [&](size_t i) -> const LayerInfo& {
    return i < first.layers.size() ? first.layers[i] : second.layers[i - first.layers.size()];
  };
  LayerSets sets(count);
  std::map<std::string, size_t> owner;
  for (size_t i = 0; i < count; ++i)
    for (const std::string& node : layer_at(i).onnx_nodes) {
      const auto [it, is_new] = owner.emplace(node, i);
      if (!is_new) sets.merge(it->second, i);
    }
  std::map<size_t, LayerGroup> groups;
  LayerGroup added;
  for (size_t i = 0; i < count; ++i) {
    const bool is_first = i < first.layers.size();
    LayerGroup& group = layer_at(i).onnx_nodes.empty() ? added : groups[sets.root(i)];
    add_layer(group, is_first ? first : second, is_first ? i : i - first.layers.size(), is_first);
  }
  std::vector<LayerGroup> out;
  for (auto& [root, group] : groups) out.push_back(std::move(group));
  if (!added.first.empty() || !added.second.empty()) out.push_back(std::move(added));
  return out;
}

}  // namespace planish::api
