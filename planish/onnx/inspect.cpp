#include "planish/onnx/inspect.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <unordered_set>

#include "onnx.pb.h"
#include "planish/onnx/external_data.h"
#include "planish/onnx/parse.h"
#include "planish/onnx/tensor_proto.h"

namespace planish {
namespace {

/// Keeps the message alive for the functions that read values later.
struct Source {
  ModelPtr model;
  TensorReader reader;
};
using SourcePtr = std::shared_ptr<Source>;

constexpr size_t kMaxPrintedItems = 64;

std::string dtype_text(int32_t data_type) {
  const DType t = dtype_of_onnx(data_type);
  if (t != DType::undefined) return std::string(dtype_numpy_name(t));
  return data_type == 0 ? std::string() : fmt::format("type {}", data_type);
}

OnnxTensorInfo describe(const onnx::ValueInfoProto& proto) {
  OnnxTensorInfo info{proto.name(), {}, std::nullopt};
  const onnx::TypeProto& type = proto.type();
  if (!type.has_tensor_type()) {
    const DeclaredType declared = read_type(type);
    // "a sequence" -> "sequence"
    const size_t article = declared.refusal.find(' ');
    if (article != std::string::npos) info.dtype = declared.refusal.substr(article + 1);
    return info;
  }
  info.dtype = dtype_text(type.tensor_type().elem_type());
  if (!type.tensor_type().has_shape()) return info;
  info.dims.emplace();
  for (const auto& dim : type.tensor_type().shape().dim())
    info.dims->push_back(dim.has_dim_value() ? OnnxDim{dim.dim_value(), {}} : OnnxDim{-1, dim.dim_param()});
  return info;
}

OnnxTensorInfo describe(const onnx::TensorProto& proto) {
  OnnxTensorInfo info{proto.name(), dtype_text(proto.data_type()), std::vector<OnnxDim>()};
  for (const int64_t d : proto.dims()) info.dims->push_back({d, {}});
  return info;
}

OnnxTensorInfo describe(const onnx::SparseTensorProto& proto) {
  OnnxTensorInfo info = describe(proto.values());
  info.dims->clear();
  for (const int64_t d : proto.dims()) info.dims->push_back({d, {}});
  return info;
}

std::string quoted(const std::string& text) { return "'" + text + "'"; }

/// Shortest text that reads back as the same float, with ".0" for whole numbers.
std::string float_text(float value) {
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

template <typename Items, typename Print>
std::string list_text(const Items& items, Print print) {
  std::string out = "[";
  size_t count = 0;
  for (const auto& item : items) {
    if (count != 0) out += ", ";
    if (++count > kMaxPrintedItems) return out + fmt::format("... {} items]", items.size());
    out += print(item);
  }
  return out + "]";
}

std::string shape_text(const std::vector<OnnxDim>& dims) {
  std::string out = "(";
  for (size_t i = 0; i < dims.size(); ++i) out += fmt::format("{}{}", i == 0 ? "" : ", ", dims[i].size);
  return out + (dims.size() == 1 ? ",)" : ")");
}

std::string tensor_text(const OnnxTensorInfo& info) {
  return fmt::format("[dtype={}, shape={}]", info.dtype, shape_text(*info.dims));
}

OnnxGraphSummary describe_graph(const onnx::GraphProto& proto, const SourcePtr& source);

OnnxAttribute describe(const onnx::AttributeProto& p, const SourcePtr& source) {
  using Proto = onnx::AttributeProto;
  OnnxAttribute out;
  out.name = p.name();
  const auto number = [](int64_t v) { return fmt::format("{}", v); };
  if (!p.ref_attr_name().empty()) {
    out.text = "@" + p.ref_attr_name();
  } else if (p.type() == Proto::FLOAT || p.has_f()) {
    out.text = float_text(p.f());
    out.value = p.f();
  } else if (p.type() == Proto::INT || p.has_i()) {
    out.text = number(p.i());
    out.value = static_cast<int64_t>(p.i());
  } else if (p.type() == Proto::STRING || p.has_s()) {
    out.text = quoted(p.s());
    out.value = p.s();
  } else if (p.has_t()) {
    out.text = tensor_text(describe(p.t()));
    out.tensor = [source, tensor = &p.t()] { return source->reader.read(*tensor); };
  } else if (p.has_sparse_tensor()) {
    out.text = tensor_text(describe(p.sparse_tensor()));
    out.tensor = [source, tensor = &p.sparse_tensor()] { return source->reader.read_sparse(*tensor); };
  } else if (p.has_g()) {
    out.graphs.push_back(describe_graph(p.g(), source));
    out.text = fmt::format("graph '{}' with {} nodes", p.g().name(), p.g().node_size());
  } else if (p.floats_size() > 0 || p.type() == Proto::FLOATS) {
    out.text = list_text(p.floats(), float_text);
    out.value = std::vector<float>(p.floats().begin(), p.floats().end());
  } else if (p.ints_size() > 0 || p.type() == Proto::INTS) {
    out.text = list_text(p.ints(), number);
    out.value = std::vector<int64_t>(p.ints().begin(), p.ints().end());
  } else if (p.strings_size() > 0 || p.type() == Proto::STRINGS) {
    out.text = list_text(p.strings(), quoted);
    out.value = std::vector<std::string>(p.strings().begin(), p.strings().end());
  } else if (p.graphs_size() > 0) {
    for (const auto& g : p.graphs()) out.graphs.push_back(describe_graph(g, source));
    out.text = fmt::format("{} graphs", p.graphs_size());
  } else if (p.tensors_size() > 0) {
    out.text = list_text(p.tensors(), [](const auto& t) { return tensor_text(describe(t)); });
  } else {
    out.text = "None";
  }
  return out;
}

OnnxNodeSummary describe(const onnx::NodeProto& proto, const SourcePtr& source) {
  OnnxNodeSummary node;
  node.name = proto.name();
  node.op = proto.op_type();
  node.domain = proto.domain();
  node.inputs.assign(proto.input().begin(), proto.input().end());
  node.outputs.assign(proto.output().begin(), proto.output().end());
  for (const auto& a : proto.attribute()) node.attributes.push_back(describe(a, source));
  return node;
}

OnnxGraphSummary describe_graph(const onnx::GraphProto& proto, const SourcePtr& source) {
  OnnxGraphSummary graph;
  graph.name = proto.name();
  graph.doc = proto.doc_string();
  std::unordered_set<std::string> constant;
  for (const auto& t : proto.initializer()) {
    graph.initialisers.push_back({describe(t), t.data_location() == onnx::TensorProto::EXTERNAL,
                                  [source, tensor = &t] { return source->reader.read(*tensor); }});
    constant.insert(t.name());
  }
  for (const auto& t : proto.sparse_initializer()) {
    graph.initialisers.push_back(
        {describe(t), false, [source, tensor = &t] { return source->reader.read_sparse(*tensor); }});
    constant.insert(t.values().name());
  }
  for (const auto& init : graph.initialisers) graph.tensors[init.info.name] = init.info;
  for (const auto& v : proto.value_info()) graph.tensors[v.name()] = describe(v);
  for (const auto& v : proto.input()) {
    graph.tensors[v.name()] = describe(v);
    if (!constant.contains(v.name())) graph.inputs.push_back(describe(v));
  }
  for (const auto& v : proto.output()) {
    graph.outputs.push_back(describe(v));
    graph.tensors[v.name()] = graph.outputs.back();
  }
  for (const auto& n : proto.node()) graph.nodes.push_back(describe(n, source));
  return graph;
}

}  // namespace

Result<OnnxSummary> summarise_onnx(const std::filesystem::path& file) {
  const auto mapped = PLANISH_TRY(MappedFile::open(file));
  auto parsed = parse_model(mapped->bytes());
  if (!parsed.ok()) {
    Error e = std::move(parsed).take_error();
    e.file = file.string();
    return e;
  }
  const auto parent = file.parent_path();
  const auto source = std::make_shared<Source>(
      Source{std::move(parsed).take_value(), TensorReader(parent.empty() ? std::filesystem::path(".") : parent)});
  const onnx::ModelProto& proto = *source->model;
  OnnxSummary out;
  out.ir_version = proto.ir_version();
  for (const auto& entry : proto.opset_import())
    out.opset_imports[entry.domain() == "ai.onnx" ? std::string() : entry.domain()] = entry.version();
  out.producer_name = proto.producer_name();
  out.producer_version = proto.producer_version();
  out.doc = proto.doc_string();
  for (const auto& entry : proto.metadata_props()) out.metadata[entry.key()] = entry.value();
  for (const auto& f : proto.functions())
    out.functions.push_back(f.domain().empty() ? f.name() : f.domain() + "." + f.name());
  out.graph = describe_graph(proto.graph(), source);
  return out;
}

}  // namespace planish
