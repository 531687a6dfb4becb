#include "planish/onnx/export.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <unordered_set>

#include "onnx.pb.h"
#include "planish/base/atomic_file.h"
#include "planish/onnx/tensor_proto.h"
#include "planish/ops/op.h"

namespace planish {
namespace {

/// Protobuf messages end at 2 GiB; some room is left for everything that is no tensor.
constexpr size_t kMaxInlineBytes = size_t{1900} << 20;
constexpr size_t kExternalAlignment = 4096;  // lets readers map single tensors

/// Attributes that came later than their operator, and the opset that brought them.
struct LateAttribute {
  std::string_view op;
  std::string_view attr;
  int64_t opset;
};
constexpr std::array kLateAttributes{
    LateAttribute{"Attention", "left_window_size", 25},
    LateAttribute{"Attention", "right_window_size", 25},
    LateAttribute{"Cast", "round_mode", 24},
    LateAttribute{"CastLike", "round_mode", 24},
    LateAttribute{"DequantizeLinear", "block_size", 21},
    LateAttribute{"DequantizeLinear", "output_dtype", 23},
    LateAttribute{"QuantizeLinear", "block_size", 21},
    LateAttribute{"QuantizeLinear", "output_dtype", 21},
    LateAttribute{"QuantizeLinear", "precision", 23},
    LateAttribute{"Range", "stash_type", 27},
    LateAttribute{"SpaceToDepth", "mode", 28},
};

/// The oldest opset that is written. One more, and ONNX Runtime refuses INT8 files with products of more than two
/// dimensions (copies of QuantizeLinear that its optimiser makes keep the signed type when it turns their zero points
/// unsigned); TensorRT 10.3 reads no newer one either.
constexpr int64_t kOldestWritten = 20;

int64_t opset_of_dtype(DType t) {
  if (t == DType::u2 || t == DType::i2) return 25;
  if (t == DType::f8e8m0) return 24;
  if (t == DType::f4e2m1) return 23;
  return t == DType::u4 || t == DType::i4 ? 21 : 0;
}

/// Whether the node turns floats into 16-bit integers or back.
bool quantises_to_16_bits(const Graph& graph, const Node& node) {
  const auto is_16_bits = [&graph](ValueId v) {
    return v != kNoValue && (graph.value(v).dtype == DType::u16 || graph.value(v).dtype == DType::i16);
  };
  if (node.is("DequantizeLinear")) return is_16_bits(node.in(0));
  return node.is("QuantizeLinear") && (is_16_bits(node.in(2)) || is_16_bits(node.outputs[0]));
}

int64_t ir_version_of(int64_t opset) {
  if (opset >= 28) return 14;
  if (opset >= 25) return 13;
  if (opset >= 24) return 12;
  if (opset >= 23) return 11;
  return opset >= 21 ? 10 : 9;
}

/// The oldest opset in which every operator of the graph means what it means here.
int64_t needed_opset(const Graph& graph) {
  int64_t opset = 0;
  for (const Value& v : graph.values) opset = std::max(opset, opset_of_dtype(v.dtype));
  for (const Node& node : graph.nodes) {
    for (const auto& [key, attr] : node.attrs) {
      if (const auto* sub = std::get_if<std::shared_ptr<const Graph>>(&attr))
        opset = std::max(opset, needed_opset(**sub));
      for (const LateAttribute& late : kLateAttributes)
        if (node.is(late.op) && key == late.attr) opset = std::max(opset, late.opset);
    }
    if (!node.domain.empty()) continue;
    if (const OpDecl* op = find_op("", node.op)) opset = std::max<int64_t>(opset, op->since);
    if (node.op == "Attention" && node.in(6) != kNoValue) opset = std::max<int64_t>(opset, 24);
    // Its scale and bias were one per group before.
    if (node.op == "GroupNormalization" || quantises_to_16_bits(graph, node)) opset = std::max<int64_t>(opset, 21);
  }
  return opset;
}

class Exporter {
 public:
  explicit Exporter(const ExportOptions& options) : options_(options) {}

  Status add_graph(const Graph& graph, std::vector<std::string> names, bool is_subgraph, onnx::GraphProto& out);
  /// Moves tensors that are large enough into `pieces`, which follow each other in the data file.
  void make_external(onnx::GraphProto& graph, const std::string& location, std::vector<std::string>& pieces);
  std::string fresh_name(const std::string& stem);
  [[nodiscard]] const std::unordered_set<std::string>& domains() const { return domains_; }

 private:
  Status add_node(const Node& node, const std::vector<std::string>& names, onnx::GraphProto& out);
  Status add_attribute(const Node& node, const std::string& key, const Attr& attr,
                       const std::vector<std::string>& names, onnx::NodeProto& out);
  void add_outputs(const Graph& graph, const std::vector<std::string>& names, bool is_subgraph, onnx::GraphProto& out);

  const ExportOptions& options_;
  std::unordered_set<std::string> taken_;
  std::unordered_set<std::string> domains_;
  size_t external_size_ = 0;
};

std::string Exporter::fresh_name(const std::string& stem) {
  std::string name = stem.empty() ? "tensor" : stem;
  for (int64_t i = 1; !taken_.insert(name).second; ++i) name = fmt::format("{}_{}", stem.empty() ? "tensor" : stem, i);
  return name;
}

void set_type(const Value& value, const std::string& name, onnx::ValueInfoProto& out) {
  out.set_name(name);
  auto* tensor = out.mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(static_cast<int32_t>(value.dtype));
  if (!value.shape) return;
  auto* shape = tensor->mutable_shape();
  for (size_t i = 0; i < value.shape->size(); ++i) {
    auto* dim = shape->add_dim();
    if ((*value.shape)[i] >= 0)
      dim->set_dim_value((*value.shape)[i]);
    else if (i < value.dim_names.size() && !value.dim_names[i].empty())
      dim->set_dim_param(value.dim_names[i]);
  }
}

/// Constants that something in the graph reads; others are not worth writing.
std::vector<bool> used_values(const Graph& graph) {
  std::vector<bool> used(graph.values.size(), false);
  for (const Node& node : graph.nodes)
    for (const ValueId v : node.inputs)
      if (v != kNoValue) used[static_cast<size_t>(v)] = true;
  for (const ValueId v : graph.outputs) used[static_cast<size_t>(v)] = true;
  return used;
}

Status Exporter::add_graph(const Graph& graph, std::vector<std::string> names, bool is_subgraph,
                           onnx::GraphProto& out) {
  out.set_name(graph.name.empty() ? "graph" : graph.name);
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i].empty()) names[i] = fresh_name(graph.values[i].name);
  const std::vector<bool> used = used_values(graph);
  for (size_t i = 0; i < graph.values.size(); ++i) {
    if (!graph.values[i].is_constant() || !used[i]) continue;
    auto* proto = out.add_initializer();
    write_tensor(*graph.values[i].constant, *proto);
    proto->set_name(names[i]);
  }
  for (const ValueId v : graph.inputs) set_type(graph.value(v), names[static_cast<size_t>(v)], *out.add_input());
  for (const Node& node : graph.nodes) PLANISH_TRY(add_node(node, names, out));
  add_outputs(graph, names, is_subgraph, out);
  return {};
}

void Exporter::add_outputs(const Graph& graph, const std::vector<std::string>& names, bool is_subgraph,
                           onnx::GraphProto& out) {
  // A subgraph may return only what its own nodes make, and each name once.
  std::vector<bool> own(graph.values.size(), false);
  for (const Node& node : graph.nodes)
    for (const ValueId v : node.outputs)
      if (v != kNoValue) own[static_cast<size_t>(v)] = true;
  for (const ValueId v : graph.outputs) {
    std::string name = names[static_cast<size_t>(v)];
    if (is_subgraph && !own[static_cast<size_t>(v)]) {
      auto* copy = out.add_node();
      copy->set_op_type("Identity");
      copy->add_input(name);
      name = fresh_name(name);
      copy->set_name(name + "/Identity");
      copy->add_output(name);
    }
    own[static_cast<size_t>(v)] = false;
    set_type(graph.value(v), name, *out.add_output());
  }
}

Status Exporter::add_node(const Node& node, const std::vector<std::string>& names, onnx::GraphProto& out) {
  if (node.domain == "planish")
    return Error{.code = Code::unsupported,
                 .node = node.name,
                 .what = fmt::format("{} is a fused layer of planish and has no ONNX form", node.op),
                 .fix = "export the graph before the fusion passes run"};
  domains_.insert(node.domain);
  auto* proto = out.add_node();
  proto->set_name(node.name);
  proto->set_op_type(node.op);
  if (!node.domain.empty()) proto->set_domain(node.domain);
  const auto own = static_cast<size_t>(node.attr_int("own_inputs", static_cast<int64_t>(node.inputs.size())));
  const auto name_of = [&names](ValueId v) { return v == kNoValue ? std::string() : names[static_cast<size_t>(v)]; };
  for (size_t i = 0; i < std::min(own, node.inputs.size()); ++i) proto->add_input(name_of(node.inputs[i]));
  for (const ValueId v : node.outputs) proto->add_output(name_of(v));
  for (const auto& [key, attr] : node.attrs)
    if (key != "own_inputs") PLANISH_TRY(add_attribute(node, key, attr, names, *proto));
  return {};
}

Status Exporter::add_attribute(const Node& node, const std::string& key, const Attr& attr,
                               const std::vector<std::string>& names, onnx::NodeProto& out) {
  using Proto = onnx::AttributeProto;
  Proto* proto = out.add_attribute();
  proto->set_name(key);
  if (const auto* i = std::get_if<int64_t>(&attr)) {
    proto->set_type(Proto::INT);
    proto->set_i(*i);
  } else if (const auto* f = std::get_if<float>(&attr)) {
    proto->set_type(Proto::FLOAT);
    proto->set_f(*f);
  } else if (const auto* s = std::get_if<std::string>(&attr)) {
    proto->set_type(Proto::STRING);
    proto->set_s(*s);
  } else if (const auto* ints = std::get_if<std::vector<int64_t>>(&attr)) {
    proto->set_type(Proto::INTS);
    for (const int64_t v : *ints) proto->add_ints(v);
  } else if (const auto* floats = std::get_if<std::vector<float>>(&attr)) {
    proto->set_type(Proto::FLOATS);
    for (const float v : *floats) proto->add_floats(v);
  } else if (const auto* strings = std::get_if<std::vector<std::string>>(&attr)) {
    proto->set_type(Proto::STRINGS);
    for (const auto& v : *strings) proto->add_strings(v);
  } else if (const auto* t = std::get_if<Tensor>(&attr)) {
    proto->set_type(Proto::TENSOR);
    write_tensor(*t, *proto->mutable_t());
  } else if (const auto* sub = std::get_if<std::shared_ptr<const Graph>>(&attr)) {
    proto->set_type(Proto::GRAPH);
    std::vector<std::string> inner((*sub)->values.size());
    for (const auto& [index, v] : (*sub)->captures) {
      const ValueId outer = node.in(static_cast<size_t>(index));
      if (outer == kNoValue)
        return Error{.code = Code::internal,
                     .node = node.name,
                     .tensor = std::string((*sub)->name_of(v)),
                     .what = "a subgraph captures an absent input"};
      inner[static_cast<size_t>(v)] = names[static_cast<size_t>(outer)];
    }
    PLANISH_TRY(add_graph(**sub, std::move(inner), true, *proto->mutable_g()));
  }
  return {};
}

void Exporter::make_external(onnx::GraphProto& graph, const std::string& location, std::vector<std::string>& pieces) {
  for (auto& t : *graph.mutable_initializer()) {
    if (t.raw_data().size() < options_.external_bytes || t.raw_data().empty()) continue;
    std::string data = std::move(*t.mutable_raw_data());
    t.clear_raw_data();
    t.set_data_location(onnx::TensorProto::EXTERNAL);
    const auto entry = [&t](const char* key, std::string value) {
      auto* e = t.add_external_data();
      e->set_key(key);
      e->set_value(std::move(value));
    };
    entry("location", location);
    entry("offset", fmt::format("{}", external_size_));
    entry("length", fmt::format("{}", data.size()));
    const size_t padded = (data.size() + kExternalAlignment - 1) / kExternalAlignment * kExternalAlignment;
    const size_t padding = padded - data.size();
    pieces.push_back(std::move(data));
    if (padding != 0) pieces.emplace_back(padding, '\0');
    external_size_ += padded;
  }
}

size_t constant_bytes(const Graph& graph) {
  size_t bytes = 0;
  for (const Value& v : graph.values)
    if (v.is_constant()) bytes += v.constant->bytes();
  return bytes;
}

Status make_model(const Graph& graph, const ExportOptions& options, Exporter& exporter, onnx::ModelProto& model) {
  PLANISH_TRY(exporter.add_graph(graph, std::vector<std::string>(graph.values.size()), false, *model.mutable_graph()));
  const int64_t opset = std::max({options.opset, kOldestWritten, needed_opset(graph)});
  model.set_ir_version(ir_version_of(opset));
  model.set_producer_name(options.producer_name);
  if (!options.producer_version.empty()) model.set_producer_version(options.producer_version);
  auto* main = model.add_opset_import();
  main->set_domain("");
  main->set_version(opset);
  for (const std::string& domain : exporter.domains()) {
    if (domain.empty()) continue;
    auto* other = model.add_opset_import();
    other->set_domain(domain);
    other->set_version(1);
  }
  return {};
}

Error too_large() {
  return Error{.code = Code::unsupported,
               .what = "the model exceeds 2 GB, which protobuf cannot write",
               .fix = "export it to a file, which puts the tensors into a second one"};
}

}  // namespace

Result<std::string> export_onnx(const Graph& graph, const ExportOptions& options) {
  if (constant_bytes(graph) > kMaxInlineBytes) return too_large();
  Exporter exporter(options);
  onnx::ModelProto model;
  PLANISH_TRY(make_model(graph, options, exporter, model));
  std::string bytes;
  if (!model.SerializeToString(&bytes)) return too_large();
  return bytes;
}

Status export_onnx(const Graph& graph, const std::filesystem::path& file, const ExportOptions& options) {
  if (!options.force_external && constant_bytes(graph) <= kMaxInlineBytes)
    return write_file_atomically(file, PLANISH_TRY(export_onnx(graph, options)));
  Exporter exporter(options);
  onnx::ModelProto model;
  PLANISH_TRY(make_model(graph, options, exporter, model));
  const std::filesystem::path data_file = file.string() + ".data";
  std::vector<std::string> pieces;
  exporter.make_external(*model.mutable_graph(), data_file.filename().string(), pieces);
  std::string bytes;
  if (!model.SerializeToString(&bytes)) return too_large();
  std::vector<std::span<const uint8_t>> spans;
  for (const std::string& piece : pieces)
    spans.emplace_back(reinterpret_cast<const uint8_t*>(piece.data()), piece.size());
  // The data first: a model whose data is missing would be broken, data without a model is only litter.
  PLANISH_TRY(write_file_atomically(data_file, spans));
  return write_file_atomically(file, bytes);
}

}  // namespace planish
