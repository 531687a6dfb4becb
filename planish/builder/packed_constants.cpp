#include "planish/builder/packed_constants.h"

#include <algorithm>

namespace planish {

void drop_packed_constants(Engine& engine) {
  Graph& graph = engine.graph;
  std::vector<bool> needed(graph.values.size(), false);
  for (const ValueId v : graph.outputs) needed[static_cast<size_t>(v)] = true;
  for (size_t n = 0; n < graph.nodes.size(); ++n)
    for (size_t i = 0; i < graph.nodes[n].inputs.size(); ++i) {
      const auto& packed = engine.layers[n].packed;
      const bool is_packed =
          std::ranges::any_of(packed, [i](const PackedConstant& p) { return static_cast<size_t>(p.input) == i; });
      if (!is_packed && graph.nodes[n].inputs[i] != kNoValue)
        needed[static_cast<size_t>(graph.nodes[n].inputs[i])] = true;
    }
  for (size_t v = 0; v < needed.size(); ++v) {
    Value& value = graph.values[v];
    if (!needed[v] && value.constant && value.constant->size() != 0)
      value.constant = Tensor::share(value.constant->dtype(), value.constant->shape(), nullptr, nullptr);
  }
}

}  // namespace planish
