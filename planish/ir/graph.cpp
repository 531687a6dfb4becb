#include "planish/ir/graph.h"

#include <algorithm>
#include <queue>
#include <unordered_set>

namespace planish {
namespace {

template <typename T>
const T* attr_as(const Node& node, const std::string& key) {
  const auto it = node.attrs.find(key);
  return it == node.attrs.end() ? nullptr : std::get_if<T>(&it->second);
}

Error broken(const Node& node, std::string what) {
  return Error{.code = Code::internal, .node = node.name, .what = "graph is inconsistent: " + what};
}

}  // namespace

int64_t Node::attr_int(const std::string& key, int64_t fallback) const {
  const auto* v = attr_as<int64_t>(*this, key);
  return v ? *v : fallback;
}
float Node::attr_float(const std::string& key, float fallback) const {
  const auto* v = attr_as<float>(*this, key);
  return v ? *v : fallback;
}
std::string Node::attr_string(const std::string& key, std::string_view fallback) const {
  const auto* v = attr_as<std::string>(*this, key);
  return v ? *v : std::string(fallback);
}
std::vector<int64_t> Node::attr_ints(const std::string& key, std::vector<int64_t> fallback) const {
  const auto* v = attr_as<std::vector<int64_t>>(*this, key);
  return v ? *v : std::move(fallback);
}
std::vector<float> Node::attr_floats(const std::string& key, std::vector<float> fallback) const {
  const auto* v = attr_as<std::vector<float>>(*this, key);
  return v ? *v : std::move(fallback);
}
const Tensor* Node::attr_tensor(const std::string& key) const { return attr_as<Tensor>(*this, key); }
bool Node::has_bodies() const {
  return std::ranges::any_of(
      attrs, [](const auto& entry) { return std::holds_alternative<std::shared_ptr<const Graph>>(entry.second); });
}

std::shared_ptr<const Graph> Node::attr_graph(const std::string& key) const {
  const auto* v = attr_as<std::shared_ptr<const Graph>>(*this, key);
  return v ? *v : nullptr;
}

ValueId Graph::add_constant(std::string value_name, Tensor tensor) {
  Value v;
  v.name = std::move(value_name);
  v.dtype = tensor.dtype();
  v.shape = tensor.shape();
  v.constant = std::move(tensor);
  return add_value(std::move(v));
}

std::optional<ValueId> Graph::find_value(std::string_view value_name) const {
  for (size_t i = 0; i < values.size(); ++i)
    if (values[i].name == value_name) return static_cast<ValueId>(i);
  return std::nullopt;
}

std::string Graph::unique_name(std::string_view stem) const {
  std::string candidate(stem);
  for (int i = 1; find_value(candidate); ++i) candidate = std::string(stem) + "_" + std::to_string(i);
  return candidate;
}

Uses::Uses(const Graph& graph)
    : producer(graph.values.size(), -1), consumers(graph.values.size()), is_output(graph.values.size(), false) {
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    for (const ValueId v : graph.nodes[n].outputs)
      if (v != kNoValue) producer[static_cast<size_t>(v)] = static_cast<int32_t>(n);
    for (const ValueId v : graph.nodes[n].inputs)
      if (v != kNoValue) consumers[static_cast<size_t>(v)].push_back(static_cast<int32_t>(n));
  }
  for (const ValueId v : graph.outputs) is_output[static_cast<size_t>(v)] = true;
}

int32_t Uses::single_consumer(ValueId v) const {
  const auto i = static_cast<size_t>(v);
  return v != kNoValue && !is_output[i] && consumers[i].size() == 1 ? consumers[i][0] : -1;
}

Status verify(const Graph& graph) {
  const auto count = static_cast<ValueId>(graph.values.size());
  const Node whole{.op = "", .domain = "", .name = graph.name, .inputs = {}, .outputs = {}, .attrs = {}, .origins = {}};
  const auto valid = [count](ValueId v) { return v >= 0 && v < count; };
  std::vector<bool> defined(graph.values.size(), false);
  for (size_t i = 0; i < graph.values.size(); ++i) defined[i] = graph.values[i].is_constant();
  for (const ValueId v : graph.inputs) {
    if (!valid(v)) return broken(whole, "input id out of range");
    defined[static_cast<size_t>(v)] = true;
  }
  for (const auto& [index, v] : graph.captures) {
    if (!valid(v) || index < 0) return broken(whole, "capture out of range");
    defined[static_cast<size_t>(v)] = true;
  }
  std::unordered_set<std::string_view> names;
  for (const auto& v : graph.values)
    if (!v.name.empty() && !names.insert(v.name).second) return broken(whole, "two values are called '" + v.name + "'");
  for (const Node& node : graph.nodes) {
    for (const ValueId v : node.inputs) {
      if (v == kNoValue) continue;
      if (!valid(v)) return broken(node, "input id out of range");
      if (!defined[static_cast<size_t>(v)])
        return broken(node, "'" + graph.value(v).name + "' is used before it is defined");
    }
    for (const ValueId v : node.outputs) {
      if (v == kNoValue) continue;
      if (!valid(v)) return broken(node, "output id out of range");
      if (defined[static_cast<size_t>(v)]) return broken(node, "'" + graph.value(v).name + "' is defined twice");
      defined[static_cast<size_t>(v)] = true;
    }
    for (const auto& [key, attr] : node.attrs) {
      const auto* sub = std::get_if<std::shared_ptr<const Graph>>(&attr);
      if (sub == nullptr) continue;
      if (*sub == nullptr) return broken(node, "subgraph '" + key + "' is missing");
      for (const auto& capture : (*sub)->captures)
        if (static_cast<size_t>(capture.first) >= node.inputs.size())
          return broken(node, "subgraph '" + key + "' captures an input that the node does not have");
      PLANISH_TRY(verify(**sub));
    }
  }
  for (const ValueId v : graph.outputs)
    if (!valid(v) || !defined[static_cast<size_t>(v)]) return broken(whole, "an output is not defined");
  return {};
}

Status sort_topologically(Graph& graph) {
  const Uses uses(graph);
  const size_t n = graph.nodes.size();
  std::vector<int32_t> missing(n, 0);
  for (size_t i = 0; i < n; ++i)
    for (const ValueId v : graph.nodes[i].inputs)
      if (v != kNoValue && uses.producer[static_cast<size_t>(v)] >= 0) ++missing[i];
  // The smallest index first keeps the order of a graph that is sorted already.
  std::priority_queue<int32_t, std::vector<int32_t>, std::greater<>> ready;
  for (size_t i = 0; i < n; ++i)
    if (missing[i] == 0) ready.push(static_cast<int32_t>(i));
  std::vector<Node> sorted;
  sorted.reserve(n);
  std::vector<bool> taken(n, false);
  while (!ready.empty()) {
    const auto i = static_cast<size_t>(ready.top());
    ready.pop();
    taken[i] = true;
    for (const ValueId v : graph.nodes[i].outputs) {
      if (v == kNoValue) continue;
      for (const int32_t c : uses.consumers[static_cast<size_t>(v)])
        if (--missing[static_cast<size_t>(c)] == 0) ready.push(c);
    }
    sorted.push_back(std::move(graph.nodes[i]));
  }
  if (sorted.size() == n) {
    graph.nodes = std::move(sorted);
    return {};
  }
  const auto stuck = static_cast<size_t>(std::ranges::find(taken, false) - taken.begin());
  const std::string culprit = graph.nodes[stuck].name;
  return Error{.code = Code::invalid_model,
               .node = culprit,
               .what = "the graph has a cycle through this node",
               .fix = "export the model again; ONNX graphs must be acyclic"};
}

}  // namespace planish
