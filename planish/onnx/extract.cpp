#include "planish/onnx/extract.h"

#include <fmt/format.h>

#include <map>
#include <set>
#include <string>

#include "onnx.pb.h"
#include "planish/base/atomic_file.h"
#include "planish/onnx/external_data.h"
#include "planish/onnx/parse.h"
#include "planish/onnx/tensor_proto.h"

namespace planish {
namespace {

/// Names that a node reads, those that its bodies read from outside included, in order.
void collect_reads(const onnx::NodeProto& node, const std::set<std::string>& inner, std::vector<std::string>& reads) {
  for (const std::string& name : node.input())
    if (!name.empty() && !inner.contains(name)) reads.push_back(name);
  for (const auto& attribute : node.attribute()) {
    std::vector<const onnx::GraphProto*> bodies;
    if (attribute.has_g()) bodies.push_back(&attribute.g());
    for (const auto& g : attribute.graphs()) bodies.push_back(&g);
    for (const onnx::GraphProto* body : bodies) {
      std::set<std::string> known = inner;
      for (const auto& v : body->input()) known.insert(v.name());
      for (const auto& t : body->initializer()) known.insert(t.name());
      for (const auto& t : body->sparse_initializer()) known.insert(t.values().name());
      for (const auto& n : body->node()) known.insert(n.output().begin(), n.output().end());
      for (const auto& n : body->node()) collect_reads(n, known, reads);
      for (const auto& v : body->output())
        if (!known.contains(v.name())) reads.push_back(v.name());
    }
  }
}

std::vector<std::string> reads_of(const onnx::NodeProto& node) {
  std::vector<std::string> reads;
  collect_reads(node, {}, reads);
  return reads;
}

/// Declared types of the graph's values.
std::map<std::string, const onnx::ValueInfoProto*> declared_values(const onnx::GraphProto& graph) {
  std::map<std::string, const onnx::ValueInfoProto*> values;
  for (const auto& v : graph.value_info()) values[v.name()] = &v;
  for (const auto& v : graph.input()) values[v.name()] = &v;
  for (const auto& v : graph.output()) values[v.name()] = &v;
  return values;
}

/// Moves external bytes into the message: the new file lies elsewhere.
Status make_internal(onnx::TensorProto& proto, TensorReader& reader) {
  if (proto.data_location() != onnx::TensorProto::EXTERNAL) return {};
  const Tensor tensor = PLANISH_TRY(reader.read(proto));
  proto.clear_external_data();
  proto.clear_data_location();
  proto.set_raw_data(tensor.raw(), tensor.bytes());
  return {};
}

/// What the part reads and makes.
struct Border {
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  std::set<std::string> constants;
};

Border border_of(const onnx::GraphProto& graph, int first, int last) {
  std::set<std::string> initialisers;
  for (const auto& t : graph.initializer()) initialisers.insert(t.name());
  for (const auto& t : graph.sparse_initializer()) initialisers.insert(t.values().name());
  Border border;
  std::set<std::string> made;
  std::set<std::string> seen;
  for (int i = first; i <= last; ++i) {
    for (const std::string& name : reads_of(graph.node(i))) {
      if (made.contains(name) || !seen.insert(name).second) continue;
      if (initialisers.contains(name))
        border.constants.insert(name);
      else
        border.inputs.push_back(name);
    }
    made.insert(graph.node(i).output().begin(), graph.node(i).output().end());
  }
  std::set<std::string> wanted;
  std::set<std::string> inside;
  for (const auto& v : graph.output()) wanted.insert(v.name());
  for (int i = 0; i < graph.node_size(); ++i)
    for (const std::string& name : reads_of(graph.node(i))) (i < first || i > last ? wanted : inside).insert(name);
  for (int i = first; i <= last; ++i)
    for (const std::string& name : graph.node(i).output())
      if (!name.empty() && (wanted.contains(name) || !inside.contains(name))) border.outputs.push_back(name);
  return border;
}

}  // namespace

Status extract_onnx_nodes(const std::filesystem::path& file, int64_t first, int64_t last,
                          const std::filesystem::path& destination) {
  const auto mapped = PLANISH_TRY(MappedFile::open(file));
  auto parsed = parse_model(mapped->bytes());
  if (!parsed.ok()) {
    Error e = std::move(parsed).take_error();
    e.file = file.string();
    return e;
  }
  const ModelPtr source = std::move(parsed).take_value();
  const onnx::GraphProto& graph = source->graph();
  if (first < 0 || last < first || last >= graph.node_size())
    return Error{.code = Code::invalid_argument,
                 .file = file.string(),
                 .what = fmt::format("there are no nodes {} to {}; the graph has {}", first, last, graph.node_size()),
                 .fix = "count nodes from 0, in the order of the file"};
  const Border border = border_of(graph, static_cast<int>(first), static_cast<int>(last));
  const auto declared = declared_values(graph);
  onnx::ModelProto part = *source;
  part.clear_graph();
  onnx::GraphProto& out = *part.mutable_graph();
  out.set_name(fmt::format("{}-nodes-{}-{}", graph.name(), first, last));
  const auto declare = [&declared](const std::string& name, onnx::ValueInfoProto* value) {
    if (const auto it = declared.find(name); it != declared.end()) *value = *it->second;
    value->set_name(name);
  };
  for (const std::string& name : border.inputs) declare(name, out.add_input());
  for (const std::string& name : border.outputs) declare(name, out.add_output());
  for (auto i = static_cast<int>(first); i <= static_cast<int>(last); ++i) *out.add_node() = graph.node(i);
  const auto folder = file.parent_path();
  TensorReader reader(folder.empty() ? std::filesystem::path(".") : folder);
  for (const auto& t : graph.initializer()) {
    if (!border.constants.contains(t.name())) continue;
    *out.add_initializer() = t;
    PLANISH_TRY(make_internal(*out.mutable_initializer(out.initializer_size() - 1), reader));
  }
  for (const auto& t : graph.sparse_initializer())
    if (border.constants.contains(t.values().name())) *out.add_sparse_initializer() = t;
  std::string bytes;
  if (!part.SerializeToString(&bytes))
    return Error{.code = Code::unsupported,
                 .file = destination.string(),
                 .what = "these nodes and their weights exceed the 2 GiB that one ONNX file holds",
                 .fix = "cut out fewer nodes"};
  return write_file_atomically(destination.string(), bytes);
}

}  // namespace planish
