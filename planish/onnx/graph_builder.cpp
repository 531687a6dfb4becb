#include "planish/onnx/graph_builder.h"

#include <fmt/format.h>

#include <algorithm>

#include "onnx.pb.h"
#include "planish/ops/op.h"

namespace planish {
namespace {

Error name_error(Code code, const std::string& tensor, std::string what, std::string fix = {}) {
  return Error{.code = code, .tensor = tensor, .what = std::move(what), .fix = std::move(fix)};
}

void set_type(Value& value, DeclaredType type) {
  value.dtype = type.dtype;
  value.shape = std::move(type.shape);
  value.dim_names = std::move(type.dim_names);
}

std::string fresh(std::string_view stem, std::unordered_set<std::string>& taken,
                  std::unordered_map<std::string, int64_t>& next_suffix) {
  // Names made from hostile ones must not grow without bound.
  std::string name(stem.substr(0, 1024));
  if (taken.insert(name).second) return name;
  int64_t& next = next_suffix[name];
  std::string candidate;
  do {
    candidate = fmt::format("{}_{}", name, ++next);
  } while (!taken.insert(candidate).second);
  return candidate;
}

}  // namespace

std::string canonical_domain(const std::string& domain) { return domain == "ai.onnx" ? std::string() : domain; }

std::string function_key(const std::string& domain, const std::string& name, const std::string& overload) {
  return fmt::format("{}\n{}\n{}", canonical_domain(domain), name, overload);
}

std::string GraphBuilder::fresh_value_name(std::string_view stem) { return fresh(stem, value_names_, next_suffix_); }
std::string GraphBuilder::fresh_node_name(std::string_view stem) { return fresh(stem, node_names_, next_suffix_); }

Result<ValueId> GraphBuilder::declare(const std::string& name, Frame& frame) {
  const auto [it, is_new] = frame.names.emplace(name, kNoValue);
  if (!is_new)
    return name_error(Code::invalid_model, name, "two inputs, initialisers or nodes define this name",
                      "give every tensor its own name; onnx.checker.check_model finds such cases");
  Value value;
  value.name = fresh_value_name(frame.prefix + name);
  it->second = graph_.add_value(std::move(value));
  return it->second;
}

Status GraphBuilder::declare_inputs(const onnx::GraphProto& proto, Frame& frame) {
  // A main graph's input with an initialiser has a default value; nobody can override it here, so it is a constant.
  std::unordered_set<std::string_view> constant;
  if (frame.outer == nullptr) {
    for (const auto& init : proto.initializer()) constant.insert(init.name());
    for (const auto& init : proto.sparse_initializer()) constant.insert(init.values().name());
  }
  for (const auto& input : proto.input()) {
    if (constant.contains(input.name())) continue;
    if (input.name().empty()) return name_error(Code::invalid_model, "", "a graph input has no name");
    const ValueId v = PLANISH_TRY(declare(input.name(), frame));
    graph_.inputs.push_back(v);
    DeclaredType type = read_type(input.type());
    if (!type.refusal.empty()) unreadable_[v] = fmt::format("is {}, which planish cannot compute with", type.refusal);
    set_type(graph_.value(v), std::move(type));
  }
  return {};
}

Status GraphBuilder::declare_initialiser(const std::string& name, Result<Tensor> tensor, Frame& frame) {
  // Loop and Scan bodies: the owning node feeds every input, a default is never used.
  if (frame.outer != nullptr && frame.names.contains(name) &&
      std::ranges::find(graph_.inputs, frame.names[name]) != graph_.inputs.end())
    return {};
  const ValueId v = PLANISH_TRY(declare(name, frame));
  if (tensor.ok()) {
    Value& value = graph_.value(v);
    value.dtype = tensor->dtype();
    value.shape = tensor->shape();
    value.constant = std::move(tensor).take_value();
    return {};
  }
  Error e = std::move(tensor).take_error();
  if (e.code != Code::unsupported || !e.what.starts_with("string")) return e;
  // Label lists and the like do no harm as long as no node reads them.
  unreadable_[v] = "is a string tensor, which planish cannot compute with";
  graph_.value(v).dtype = DType::string;
  graph_.value(v).constant = Tensor(DType::string, {0});
  return {};
}

Status GraphBuilder::declare_initialisers(const onnx::GraphProto& proto, Frame& frame, onnx::GraphProto* owned) {
  for (int i = 0; i < proto.initializer_size(); ++i) {
    const std::string& name = proto.initializer(i).name();
    if (name.empty()) return name_error(Code::invalid_model, "", fmt::format("initialiser {} has no name", i));
    auto tensor = owned != nullptr ? state_.reader.take(*owned->mutable_initializer(i))
                                   : state_.reader.read(proto.initializer(i));
    PLANISH_TRY(declare_initialiser(name, std::move(tensor), frame));
  }
  for (const auto& sparse : proto.sparse_initializer()) {
    if (sparse.values().name().empty()) return name_error(Code::invalid_model, "", "a sparse initialiser has no name");
    PLANISH_TRY(declare_initialiser(sparse.values().name(), state_.reader.read_sparse(sparse), frame));
  }
  return {};
}

template <typename Nodes>
Status GraphBuilder::declare_node_outputs(const Nodes& nodes, Frame& frame, std::unordered_set<std::string> bound) {
  for (const auto& node : nodes) {
    for (const std::string& name : node.output()) {
      if (name.empty() || bound.erase(name) != 0) continue;
      auto v = declare(name, frame);
      if (v.ok()) continue;
      Error e = std::move(v).take_error();
      e.node = node.name();
      return e;
    }
  }
  return {};
}

template Status GraphBuilder::declare_node_outputs(const google::protobuf::RepeatedPtrField<onnx::NodeProto>&, Frame&,
                                                   std::unordered_set<std::string>);

ValueId GraphBuilder::capture(ValueId outer_id, const Graph& outer) {
  Value inner = outer.value(outer_id);
  inner.name = fresh_value_name(inner.name);
  const bool constant = inner.is_constant();
  const ValueId v = graph_.add_value(std::move(inner));
  if (constant) return v;
  graph_.captures.emplace_back(static_cast<int32_t>(captured_.size()), v);
  captured_.push_back(outer_id);
  return v;
}

Result<ValueId> GraphBuilder::resolve(const std::string& name, Frame& frame) {
  if (const auto it = frame.names.find(name); it != frame.names.end()) {
    PLANISH_TRY(check_readable(it->second));
    return it->second;
  }
  if (frame.outer == nullptr) return kNoValue;
  const ValueId outer_id = PLANISH_TRY(frame.outer_builder->resolve(name, *frame.outer));
  if (outer_id == kNoValue) return kNoValue;
  const ValueId v = capture(outer_id, frame.outer_builder->graph_);
  frame.names.emplace(name, v);
  return v;
}

Status GraphBuilder::check_readable(ValueId v) const {
  const auto it = unreadable_.find(v);
  if (it == unreadable_.end()) return {};
  return name_error(Code::unsupported, std::string(graph_.name_of(v)), it->second,
                    "move this part out of the model; planish computes with dense tensors of numbers");
}

Status GraphBuilder::set_outputs(const onnx::GraphProto& proto, Frame& frame) {
  for (const auto& output : proto.output()) {
    if (output.name().empty()) return name_error(Code::invalid_model, "", "a graph output has no name");
    const ValueId v = PLANISH_TRY(resolve(output.name(), frame));
    if (v == kNoValue)
      return name_error(Code::invalid_model, output.name(),
                        "this graph output is made by no node, input or initialiser",
                        "export the model again; onnx.checker.check_model finds such cases");
    graph_.outputs.push_back(v);
    DeclaredType type = read_type(output.type());
    if (!type.refusal.empty())
      return name_error(Code::unsupported, output.name(), fmt::format("the output is {}", type.refusal),
                        "planish returns dense tensors of numbers; cut the model before this output");
    Value& value = graph_.value(v);
    if (value.dtype == DType::undefined && !value.shape) set_type(value, std::move(type));
  }
  return {};
}

Status GraphBuilder::finish() {
  if (!late_.empty()) PLANISH_TRY(adapt_late(graph_, *this, late_));
  if (!legacy_softmax_.empty()) PLANISH_TRY(adapt_legacy_softmax(graph_, *this, legacy_softmax_));
  return sort_topologically(graph_);
}

Status GraphBuilder::build(const onnx::GraphProto& proto, Frame& frame, onnx::GraphProto* owned) {
  graph_.name = proto.name();
  if (const auto it = frame.opsets->find(""); it != frame.opsets->end()) graph_.opset = it->second;
  PLANISH_TRY(declare_inputs(proto, frame));
  PLANISH_TRY(declare_initialisers(proto, frame, owned));
  PLANISH_TRY(declare_node_outputs(proto.node(), frame));
  for (int i = 0; i < proto.node_size(); ++i) PLANISH_TRY(add_node(proto.node(i), static_cast<size_t>(i), frame));
  PLANISH_TRY(set_outputs(proto, frame));
  return finish();
}

void GraphBuilder::check_supported(size_t first_node, int64_t opset) {
  for (size_t i = first_node; i < graph_.nodes.size(); ++i) {
    const Node& node = graph_.nodes[i];
    if (find_op(node.domain, node.op) != nullptr) continue;
    const std::string nearest = nearest_op(node.domain, node.op);
    state_.unsupported.push_back(fmt::format("node '{}': operator {} (domain '{}', opset {}), nearest: {}", node.name,
                                             node.op, node.domain.empty() ? "ai.onnx" : node.domain, opset,
                                             nearest.empty() ? "none" : nearest));
  }
}

}  // namespace planish
