#include "planish/passes/edit.h"

#include <algorithm>

namespace planish {

Edit::Edit(const Graph& graph) : graph_(graph) {
  const size_t nodes = graph_.nodes.size();
  const size_t values = graph_.values.size();
  alive_.assign(nodes, true);
  order_.resize(nodes);
  producer_.assign(values, -1);
  consumers_.resize(values);
  outputs_.assign(values, false);
  for (const ValueId v : graph_.outputs) outputs_[static_cast<size_t>(v)] = true;
  for (const Value& v : graph_.values) names_.insert(v.name);
  for (size_t n = 0; n < nodes; ++n) {
    order_[n] = static_cast<int32_t>(2 * n + 1);
    link(static_cast<int32_t>(n));
  }
}

void Edit::link(int32_t n) {
  for (const ValueId v : node(n).outputs)
    if (v != kNoValue) producer_[static_cast<size_t>(v)] = n;
  for (const ValueId v : node(n).inputs)
    if (v != kNoValue) consumers_[static_cast<size_t>(v)].push_back(n);
}

void Edit::unlink(int32_t n) {
  for (const ValueId v : node(n).outputs)
    if (v != kNoValue && producer(v) == n) producer_[static_cast<size_t>(v)] = -1;
  for (const ValueId v : node(n).inputs) {
    if (v == kNoValue) continue;
    auto& list = consumers_[static_cast<size_t>(v)];
    if (const auto it = std::ranges::find(list, n); it != list.end()) list.erase(it);
  }
}

const Node* Edit::made_by(ValueId v, std::string_view op, std::string_view domain) const {
  const int32_t n = producer(v);
  return n >= 0 && node(n).is(op, domain) ? &node(n) : nullptr;
}

int32_t Edit::single_consumer(ValueId v) const {
  return v != kNoValue && !is_output(v) && consumers(v).size() == 1 ? consumers(v)[0] : -1;
}

const Shape* Edit::shape(ValueId v) const { return v != kNoValue && value(v).shape ? &*value(v).shape : nullptr; }

int64_t Edit::rank(ValueId v) const {
  const Shape* s = shape(v);
  return s != nullptr ? static_cast<int64_t>(s->size()) : -1;
}

std::string Edit::unique(std::string_view stem) {
  std::string name(stem);
  for (int i = 1; !names_.insert(name).second; ++i) name = std::string(stem) + "_" + std::to_string(i);
  return name;
}

ValueId Edit::new_value(std::string_view stem, DType dtype, std::optional<Shape> shape) {
  Value v;
  v.name = unique(stem);
  v.dtype = dtype;
  v.shape = std::move(shape);
  producer_.push_back(-1);
  consumers_.emplace_back();
  outputs_.push_back(false);
  return graph_.add_value(std::move(v));
}

ValueId Edit::new_constant(std::string_view stem, Tensor tensor) {
  const ValueId v = new_value(stem, tensor.dtype(), tensor.shape());
  graph_.value(v).constant = std::move(tensor);
  return v;
}

void Edit::set_constant(ValueId v, Tensor tensor) {
  Value& value = graph_.value(v);
  value.dtype = tensor.dtype();
  value.shape = tensor.shape();
  value.constant = std::move(tensor);
  changed_ = true;
}

int32_t Edit::insert(int32_t anchor, Node node) {
  changed_ = true;
  graph_.nodes.push_back(std::move(node));
  alive_.push_back(true);
  order_.push_back(order_[static_cast<size_t>(anchor)] & ~1);
  link(size() - 1);
  return size() - 1;
}

ValueId Edit::insert_op(int32_t anchor, std::string_view op, const Node& named, std::vector<ValueId> inputs,
                        std::map<std::string, Attr> attrs) {
  Node node;
  node.op = op;
  node.name = named.name;
  node.origins = named.origins;
  const ValueId out = new_value(std::string(graph_.name_of(named.out(0))) + "/" + node.op, dtype(inputs[0]));
  node.inputs = std::move(inputs);
  node.outputs = {out};
  node.attrs = std::move(attrs);
  insert(anchor, std::move(node));
  return out;
}

void Edit::replace(int32_t n, Node node) {
  changed_ = true;
  unlink(n);
  graph_.nodes[static_cast<size_t>(n)] = std::move(node);
  link(n);
}

void Edit::set_input(int32_t n, size_t slot, ValueId v) {
  std::vector<ValueId> inputs = node(n).inputs;
  if (slot >= inputs.size()) inputs.resize(slot + 1, kNoValue);
  inputs[slot] = v;
  set_inputs(n, std::move(inputs));
}

void Edit::set_inputs(int32_t n, std::vector<ValueId> inputs) {
  changed_ = true;
  unlink(n);
  graph_.nodes[static_cast<size_t>(n)].inputs = std::move(inputs);
  link(n);
}

void Edit::remove(int32_t n) {
  changed_ = true;
  unlink(n);
  alive_[static_cast<size_t>(n)] = false;
}

bool Edit::forward(ValueId from, ValueId to) {
  if (is_output(from)) {
    if (producer(to) < 0 || is_output(to)) return false;
    std::swap(graph_.value(from).name, graph_.value(to).name);
    std::swap(graph_.value(from).dim_names, graph_.value(to).dim_names);
    std::ranges::replace(graph_.outputs, from, to);
    outputs_[static_cast<size_t>(from)] = false;
    outputs_[static_cast<size_t>(to)] = true;
  }
  changed_ = true;
  const std::vector<int32_t> readers = std::move(consumers_[static_cast<size_t>(from)]);
  consumers_[static_cast<size_t>(from)].clear();
  for (const int32_t n : readers) {
    // A reader is listed once per use: each turn moves one use.
    auto& inputs = graph_.nodes[static_cast<size_t>(n)].inputs;
    *std::ranges::find(inputs, from) = to;
    consumers_[static_cast<size_t>(to)].push_back(n);
  }
  return true;
}

void Edit::replace_pattern(int32_t root, Node whole) {
  const std::vector<ValueId> inputs = node(root).inputs;
  whole.outputs = node(root).outputs;
  replace(root, std::move(whole));
  for (const ValueId v : inputs) remove_if_unused(producer(v));
}

void Edit::remove_if_unused(int32_t n) {
  std::vector<int32_t> work{n};
  while (!work.empty()) {
    const int32_t i = work.back();
    work.pop_back();
    if (i < 0 || !alive(i)) continue;
    const auto used = [this](ValueId v) { return v != kNoValue && !is_unused(v); };
    if (std::ranges::any_of(node(i).outputs, used)) continue;
    const std::vector<ValueId> inputs = node(i).inputs;
    remove(i);
    for (const ValueId v : inputs) work.push_back(producer(v));
  }
}

Result<Graph> Edit::finish() && {
  std::vector<int32_t> kept;
  for (int32_t n = 0; n < size(); ++n)
    if (alive(n)) kept.push_back(n);
  std::ranges::stable_sort(
      kept, [this](int32_t a, int32_t b) { return order_[static_cast<size_t>(a)] < order_[static_cast<size_t>(b)]; });
  std::vector<Node> nodes;
  nodes.reserve(kept.size());
  for (const int32_t n : kept) nodes.push_back(std::move(graph_.nodes[static_cast<size_t>(n)]));
  graph_.nodes = std::move(nodes);
  PLANISH_TRY(sort_topologically(graph_));

  std::vector<ValueId> renumbered(graph_.values.size(), kNoValue);
  const auto mark = [&renumbered](ValueId v) {
    if (v != kNoValue) renumbered[static_cast<size_t>(v)] = 0;
  };
  std::ranges::for_each(graph_.inputs, mark);
  std::ranges::for_each(graph_.outputs, mark);
  for (const auto& capture : graph_.captures) mark(capture.second);
  for (const Node& n : graph_.nodes) {
    std::ranges::for_each(n.inputs, mark);
    std::ranges::for_each(n.outputs, mark);
  }
  std::vector<Value> values;
  for (size_t v = 0; v < renumbered.size(); ++v) {
    if (renumbered[v] == kNoValue) continue;
    renumbered[v] = static_cast<ValueId>(values.size());
    values.push_back(std::move(graph_.values[v]));
  }
  graph_.values = std::move(values);
  const auto move = [&renumbered](ValueId& v) {
    if (v != kNoValue) v = renumbered[static_cast<size_t>(v)];
  };
  std::ranges::for_each(graph_.inputs, move);
  std::ranges::for_each(graph_.outputs, move);
  for (auto& capture : graph_.captures) move(capture.second);
  for (Node& n : graph_.nodes) {
    std::ranges::for_each(n.inputs, move);
    std::ranges::for_each(n.outputs, move);
  }
  return std::move(graph_);
}

std::string joined_name(std::string_view a, std::string_view b) {
  if (a.empty() || b.empty()) return std::string(a.empty() ? b : a);
  return std::string(a) + " + " + std::string(b);
}

void add_origins(Node& whole, const Node& part, bool first) {
  auto at = first ? whole.origins.begin() : whole.origins.end();
  for (const std::string& origin : part.origins)
    if (std::ranges::find(whole.origins, origin) == whole.origins.end()) at = whole.origins.insert(at, origin) + 1;
}

Node fused_node(std::string op, std::string domain, const std::vector<const Node*>& parts) {
  Node whole;
  whole.op = std::move(op);
  whole.domain = std::move(domain);
  for (const Node* part : parts) {
    whole.name = joined_name(whole.name, part->name);
    add_origins(whole, *part);
  }
  return whole;
}

}  // namespace planish
