// The part of GraphBuilder that turns single nodes, subgraphs and function calls into nodes of the graph.

#include <fmt/format.h>

#include <algorithm>

#include "onnx.pb.h"
#include "planish/onnx/graph_builder.h"
#include "planish/onnx/signature.h"
#include "planish/ops/op.h"

namespace planish {
namespace {

/// Bounds on what function calls may multiply a file to; far above what exporters write.
constexpr int64_t kMaxInlinedNodes = 200'000;
constexpr int64_t kMaxInlinedBytes = int64_t{1} << 30;
constexpr int64_t kMaxDepth = 128;

Error at_node(Error e, const Node& node) {
  if (e.node.empty()) e.node = node.name;
  return e;
}

bool is_legacy_softmax(const Node& node, int64_t opset) {
  return opset < 13 && node.domain.empty() && (node.op == "Softmax" || node.op == "LogSoftmax" || node.op == "Hardmax");
}

bool owns_subgraphs(const Node& node) {
  return std::ranges::any_of(
      node.attrs, [](const auto& entry) { return std::holds_alternative<std::shared_ptr<const Graph>>(entry.second); });
}

/// Counts one level of nesting for as long as it lives.
class DepthGuard {
 public:
  explicit DepthGuard(int64_t& depth) : depth_(depth) { ++depth_; }
  ~DepthGuard() { --depth_; }
  DepthGuard(const DepthGuard&) = delete;
  DepthGuard& operator=(const DepthGuard&) = delete;

 private:
  int64_t& depth_;
};

int64_t opset_of(const Frame& frame, const std::string& domain) {
  const auto it = frame.opsets->find(domain);
  return it == frame.opsets->end() ? 0 : it->second;
}

}  // namespace

Status GraphBuilder::charge_inlined(const onnx::NodeProto& proto) {
  if (state_.call_stack.empty()) return {};
  size_t bytes = proto.name().size() + proto.op_type().size() + proto.domain().size();
  for (const auto& name : proto.output()) bytes += name.size();
  for (const auto& a : proto.attribute()) {
    bytes += a.name().size() + a.s().size() + static_cast<size_t>(a.ints_size()) * 8;
    bytes += static_cast<size_t>(a.floats_size()) * 4;
    for (const auto& s : a.strings()) bytes += s.size();
  }
  state_.inlined_bytes += static_cast<int64_t>(bytes);
  if (++state_.inlined_nodes > kMaxInlinedNodes || state_.inlined_bytes > kMaxInlinedBytes)
    return Error{.code = Code::invalid_model,
                 .what = fmt::format("the model's functions expand to more than {} nodes", kMaxInlinedNodes),
                 .fix = "inline them with onnx.inliner and check the result"};
  return {};
}

Result<ValueId> GraphBuilder::read_input(const std::string& name, const Node& node, Frame& frame) {
  if (name.empty()) return kNoValue;
  auto v = resolve(name, frame);
  if (!v.ok()) return at_node(std::move(v).take_error(), node);
  // Inside functions a name may stand for an optional input that the caller left out.
  if (*v != kNoValue || frame.names.contains(name)) return *v;
  return Error{.code = Code::invalid_model,
               .node = node.name,
               .tensor = name,
               .what = fmt::format("{} reads a tensor that no node, input or initialiser makes", node.op),
               .fix = "export the model again; onnx.checker.check_model finds such cases"};
}

Status GraphBuilder::add_node(const onnx::NodeProto& proto, size_t index, Frame& frame) {
  PLANISH_TRY(charge_inlined(proto));
  Node node;
  node.op = proto.op_type();
  node.domain = canonical_domain(proto.domain());
  const std::string own_name = proto.name().empty() ? fmt::format("{}_{}", node.op, index) : proto.name();
  node.name = fresh_node_name(frame.prefix + own_name);
  node.origins = {node.name};
  for (const std::string& name : proto.output()) node.outputs.push_back(name.empty() ? kNoValue : frame.names.at(name));

  if (node.is("Constant")) {
    if (node.out(0) == kNoValue) return {};
    auto tensor = read_constant_node(proto, frame.bindings, state_.reader);
    Value& value = graph_.value(node.out(0));
    if (tensor.ok()) {
      value.dtype = tensor->dtype();
      value.shape = tensor->shape();
      value.constant = std::move(tensor).take_value();
      return {};
    }
    Error e = std::move(tensor).take_error();
    if (e.code != Code::unsupported || !e.what.starts_with("string")) return at_node(std::move(e), node);
    unreadable_[node.out(0)] = "is a string tensor, which planish cannot compute with";
    value.constant = Tensor(DType::string, {0});
    return {};
  }

  for (const std::string& name : proto.input()) node.inputs.push_back(PLANISH_TRY(read_input(name, node, frame)));
  if (const auto it = state_.functions.find(function_key(node.domain, node.op, proto.overload()));
      it != state_.functions.end())
    return inline_function(*it->second, proto, node, frame);

  const auto own_inputs = static_cast<int64_t>(node.inputs.size());
  if (auto status = add_attributes(proto, node, frame); !status.ok())
    return at_node(std::move(status).take_error(), node);
  if (owns_subgraphs(node)) {
    node.attrs["own_inputs"] = own_inputs;
  } else {
    while (!node.inputs.empty() && node.inputs.back() == kNoValue) node.inputs.pop_back();
  }
  const size_t first_node = graph_.nodes.size();
  const int64_t opset = opset_of(frame, node.domain);
  if (node.domain.empty()) {
    if (opset == 0)
      return Error{.code = Code::invalid_model,
                   .node = node.name,
                   .what = fmt::format("{} belongs to the default domain, but no opset of it is imported", node.op),
                   .fix = "export the model again; opset_import must list the default domain"};
  }
  const bool late = adapts_late(node, opset);
  const bool legacy_softmax = is_legacy_softmax(node, opset);
  AdaptContext ctx(graph_, *this, node, opset);
  PLANISH_TRY(adapt_node(ctx));
  if (legacy_softmax) legacy_softmax_.push_back(node.name);
  while (!node.outputs.empty() && node.outputs.back() == kNoValue) node.outputs.pop_back();
  if (node.outputs.empty()) return {};  // ONNX operators have no effect but their outputs
  if (late) late_.push_back({node.name, opset});
  graph_.nodes.push_back(std::move(node));
  for (size_t i = first_node; i < graph_.nodes.size(); ++i) PLANISH_TRY(check_signature(graph_.nodes[i]));
  if (!late) check_supported(first_node, opset);
  return {};
}

Status GraphBuilder::add_attributes(const onnx::NodeProto& proto, Node& node, Frame& frame) {
  for (const auto& formal : proto.attribute()) {
    const onnx::AttributeProto* actual = resolve_attribute(formal, frame.bindings);
    if (actual == nullptr) continue;              // the caller relies on the operator's default
    if (formal.name() == "own_inputs") continue;  // ours: see Graph::captures
    if (is_graph_attribute(*actual)) {
      if (actual != &formal)
        return Error{.code = Code::unsupported,
                     .what = fmt::format("attribute '{}' passes a graph into a function", formal.name()),
                     .fix = "inline the model's functions with onnx.inliner"};
      PLANISH_TRY(add_subgraph(formal.name(), actual->g(), node, frame));
      continue;
    }
    auto attr = read_attribute(*actual, state_.reader);
    if (!attr.ok() && attr.error().code == Code::unsupported && find_op(node.domain, node.op) == nullptr)
      continue;  // the list of unsupported operators says more
    node.attrs[formal.name()] = PLANISH_TRY(std::move(attr));
  }
  return {};
}

Status GraphBuilder::add_subgraph(const std::string& key, const onnx::GraphProto& body, Node& node, Frame& frame) {
  const DepthGuard guard(state_.depth);
  if (state_.depth > kMaxDepth)
    return Error{.code = Code::invalid_model, .what = fmt::format("subgraphs nest more than {} deep", kMaxDepth)};
  GraphBuilder builder(state_);
  Frame inner;
  inner.outer = &frame;
  inner.outer_builder = this;
  inner.opsets = frame.opsets;
  inner.bindings = frame.bindings;
  inner.prefix = frame.prefix;
  if (auto status = builder.build(body, inner); !status.ok())
    return std::move(status).take_error().with_context(fmt::format("reading '{}' of {} '{}'", key, node.op, node.name));
  const std::vector<ValueId> captured = builder.captured();
  auto graph = std::make_shared<Graph>(std::move(builder).take());
  // Both branches of an If may capture the same value; it becomes one input. Searching from the back would also find
  // own inputs, which a rewrite of the node must stay free to change.
  const auto own = static_cast<std::ptrdiff_t>(node.attr_int("own_inputs", static_cast<int64_t>(node.inputs.size())));
  node.attrs["own_inputs"] = static_cast<int64_t>(own);
  for (size_t i = 0; i < captured.size(); ++i) {
    auto at = std::find(node.inputs.begin() + own, node.inputs.end(), captured[i]);
    if (at == node.inputs.end()) at = node.inputs.insert(at, captured[i]);
    graph->captures[i].first = static_cast<int32_t>(at - node.inputs.begin());
  }
  node.attrs[key] = std::shared_ptr<const Graph>(std::move(graph));
  return {};
}

Status GraphBuilder::inline_function(const onnx::FunctionProto& function, const onnx::NodeProto& call, const Node& node,
                                     Frame& frame) {
  const DepthGuard guard(state_.depth);
  if (state_.depth > kMaxDepth || std::ranges::find(state_.call_stack, &function) != state_.call_stack.end())
    return Error{.code = Code::invalid_model,
                 .node = node.name,
                 .what = fmt::format("function '{}' calls itself or nests too deeply", function.name())};
  if (static_cast<int>(node.inputs.size()) > function.input_size() ||
      static_cast<int>(node.outputs.size()) > function.output_size())
    return Error{
        .code = Code::invalid_model,
        .node = node.name,
        .what = fmt::format("calls function '{}' with {} inputs and {} outputs; it has {} and {}", function.name(),
                            node.inputs.size(), node.outputs.size(), function.input_size(), function.output_size())};
  AttrBindings bindings;
  for (const auto& a : function.attribute_proto()) bindings[a.name()] = &a;
  for (const auto& a : call.attribute())
    if (const auto* actual = resolve_attribute(a, frame.bindings)) bindings[a.name()] = actual;

  Frame body;
  body.opsets = &state_.function_opsets.at(&function);
  body.bindings = &bindings;
  body.prefix = node.name.substr(0, 256) + "/";
  for (int i = 0; i < function.input_size(); ++i) body.names[function.input(i)] = node.in(static_cast<size_t>(i));
  std::unordered_set<std::string> produced;
  for (const auto& n : function.node()) produced.insert(n.output().begin(), n.output().end());
  std::unordered_set<std::string> bound;
  for (int i = 0; i < function.output_size(); ++i) {
    const ValueId actual = node.out(static_cast<size_t>(i));
    if (actual == kNoValue || !produced.contains(function.output(i)) || !bound.insert(function.output(i)).second)
      continue;
    if (!body.names.emplace(function.output(i), actual).second)
      return Error{.code = Code::invalid_model,
                   .tensor = function.output(i),
                   .what = fmt::format("function '{}' overwrites its input", function.name())};
  }
  const auto bound_outputs = bound;
  PLANISH_TRY(declare_node_outputs(function.node(), body, std::move(bound)));
  state_.call_stack.push_back(&function);
  for (int i = 0; i < function.node_size(); ++i) {
    auto status = add_node(function.node(i), static_cast<size_t>(i), body);
    if (!status.ok())
      return std::move(status).take_error().with_context(
          fmt::format("inlining function '{}' at node '{}'", function.name(), node.name));
  }
  state_.call_stack.pop_back();

  // Outputs that no body node makes (inputs passed through, one result under two names).
  std::unordered_set<std::string> done;
  for (int i = 0; i < function.output_size(); ++i) {
    const ValueId actual = node.out(static_cast<size_t>(i));
    const std::string& formal = function.output(i);
    if (actual == kNoValue || (bound_outputs.contains(formal) && done.insert(formal).second)) continue;
    Node copy{.op = "Identity", .name = fresh_node_name(node.name + "/Identity"), .outputs = {actual}};
    copy.inputs = {PLANISH_TRY(read_input(formal, node, body))};
    copy.origins = node.origins;
    if (copy.inputs[0] == kNoValue)
      return Error{.code = Code::invalid_model,
                   .node = node.name,
                   .tensor = formal,
                   .what = fmt::format("function '{}' returns an input that the call leaves out", function.name())};
    graph_.nodes.push_back(std::move(copy));
  }
  return {};
}

}  // namespace planish
