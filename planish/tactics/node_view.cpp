#include "planish/tactics/node_view.h"

namespace planish {

NodeView node_view(const Graph& graph, const Node& node, std::span<const DType> dtypes,
                   std::span<const std::optional<Shape>> shapes, std::span<const std::optional<Tensor>> values) {
  NodeView view;
  view.node = &node;
  const auto describe = [&](ValueId v) {
    const auto k = static_cast<size_t>(v);
    if (v == kNoValue || !shapes[k]) return TensorDesc{};
    return TensorDesc{dtypes[k], *shapes[k], graph.value(v).layout};
  };
  for (const ValueId v : node.inputs) {
    view.inputs.push_back(describe(v));
    const Tensor* constant = graph.constant_of(v);
    view.constant_inputs.push_back(constant != nullptr);
    const bool packed_away = constant != nullptr && constant->raw() == nullptr && constant->size() != 0;
    if (packed_away) constant = nullptr;
    if (constant == nullptr && v != kNoValue && values[static_cast<size_t>(v)])
      constant = &*values[static_cast<size_t>(v)];
    view.constants.push_back(constant);
  }
  for (const ValueId v : node.outputs) view.outputs.push_back(describe(v));
  return view;
}

}  // namespace planish
