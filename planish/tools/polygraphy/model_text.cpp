#include "planish/tools/polygraphy/model_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "planish/tools/polygraphy/numpy_text.h"

namespace planish::tools {
namespace {

using TensorMap = std::map<std::string, OnnxTensorInfo>;

std::string python_tuple(const std::vector<OnnxDim>& dims) {
  std::string out = "(";
  for (size_t i = 0; i < dims.size(); ++i) {
    if (i > 0) out += ", ";
    out += dims[i].name.empty() ? fmt::format("{}", dims[i].size) : python_string(dims[i].name);
  }
  return out + (dims.size() == 1 ? ",)" : ")");
}

/// Polygraphy prints a shape that is not declared as that of a scalar.
std::string metadata_of(const OnnxTensorInfo& info) {
  const std::string shape = "shape=" + python_tuple(info.dims.value_or(std::vector<OnnxDim>()));
  return info.dtype.empty() ? fmt::format("[{}]", shape) : fmt::format("[dtype={}, {}]", info.dtype, shape);
}

std::vector<TensorLine> lines_of(const std::vector<OnnxTensorInfo>& tensors) {
  std::vector<TensorLine> lines;
  for (const OnnxTensorInfo& info : tensors) lines.push_back({info.name, metadata_of(info)});
  return lines;
}

std::string list_text(const std::vector<std::string>& items) { return fmt::format("[{}]", fmt::join(items, ", ")); }

/// "[dtype=float32, shape=[2, 3]]"
std::string tensor_header(const std::string& dtype, const std::vector<int64_t>& dims) {
  return fmt::format("[dtype={}, shape=[{}]]", dtype, fmt::join(dims, ", "));
}

std::string values_or_reason(const Result<Tensor>& tensor) {
  return tensor.ok() ? numpy_text(*tensor) : fmt::format("<not read: {}>", tensor.error().message());
}

class GraphText {
 public:
  GraphText(const Shown& shown, ModelStyle style) : shown_(shown), style_(style) {}

  std::string print(const OnnxGraphSummary& graph, TensorMap outer, int level) const {
    for (const auto& [name, info] : graph.tensors) outer.insert_or_assign(name, info);
    const bool network = style_ == ModelStyle::network;
    const std::string kind = level > 0 ? "Subgraph" : network ? "Network" : "Graph";
    std::string out;
    if (shown_.attributes && !graph.doc.empty()) out += fmt::format("---- Docstring ----\n{}\n\n", graph.doc);
    out += section(fmt::format("{} {} Input(s)", graph.inputs.size(), kind), tensor_set(lines_of(graph.inputs)));
    out += section(fmt::format("{} {} Output(s)", graph.outputs.size(), kind), tensor_set(lines_of(graph.outputs)));
    if (!network) out += initialisers(graph);
    out += fmt::format("---- {} {}(s) ----\n", graph.nodes.size(), prefix());
    if (shown_.layers) out += nodes(graph, outer, level);
    return indented(out, level);
  }

 private:
  [[nodiscard]] const char* prefix() const { return style_ == ModelStyle::network ? "Layer" : "Node"; }

  static std::string section(const std::string& title, const std::string& body) {
    return fmt::format("---- {} ----\n{}\n\n", title, body);
  }

  [[nodiscard]] std::string initialisers(const OnnxGraphSummary& graph) const {
    const std::string title = fmt::format("{} Initializer(s)", graph.initialisers.size());
    if (!shown_.weights) {
      std::vector<OnnxTensorInfo> infos;
      for (const OnnxInitialiser& init : graph.initialisers) infos.push_back(init.info);
      return shown_.layers ? section(title, tensor_set(lines_of(infos))) : fmt::format("---- {} ----\n\n", title);
    }
    if (graph.initialisers.empty()) return section(title, "{}");
    std::string out = fmt::format("---- {} ----\n", title);
    for (const OnnxInitialiser& init : graph.initialisers) {
      std::vector<int64_t> dims;
      for (const OnnxDim& d : init.info.dims.value_or(std::vector<OnnxDim>())) dims.push_back(d.size);
      out += fmt::format("Initializer | {} {} | Values:\n{}\n\n", init.info.name, tensor_header(init.info.dtype, dims),
                         indented(values_or_reason(init.values())));
    }
    return out;
  }

  static std::vector<TensorLine> lines_of_names(const std::vector<std::string>& names, const TensorMap& tensors,
                                                const std::set<std::string>& initialisers) {
    std::vector<TensorLine> lines;
    for (const std::string& name : names) {
      const auto it = tensors.find(name);
      const std::string shown = initialisers.contains(name) ? "Initializer | " + name : name;
      lines.push_back({shown, it == tensors.end() || name.empty() ? "" : metadata_of(it->second)});
    }
    return lines;
  }

  [[nodiscard]] std::string nodes(const OnnxGraphSummary& graph, const TensorMap& tensors, int level) const {
    std::set<std::string> initialisers;
    for (const OnnxInitialiser& init : graph.initialisers) initialisers.insert(init.info.name);
    std::string out;
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
      const OnnxNodeSummary& node = graph.nodes[i];
      out += node_text(prefix(), i, node.name, node.op, lines_of_names(node.inputs, tensors, initialisers),
                       lines_of_names(node.outputs, tensors, initialisers));
      if (shown_.attributes && !node.attributes.empty()) {
        out += indented("---- Attributes ----") + '\n';
        const std::string owner = node.name.empty() ? "" : node.name + ".";
        for (const OnnxAttribute& attribute : node.attributes)
          out +=
              indented(fmt::format("{}{} = {}", owner, attribute.name, value_text(attribute, tensors, level))) + '\n';
      }
      out += '\n';
    }
    return out;
  }

  [[nodiscard]] std::string value_text(const OnnxAttribute& attribute, const TensorMap& tensors, int level) const {
    if (attribute.graphs.size() == 1) return '\n' + print(attribute.graphs[0], tensors, level + 2);
    if (attribute.tensor) return tensor_value(attribute.tensor());
    struct Print {
      const OnnxAttribute& attribute;
      std::string operator()(std::monostate) const { return attribute.text; }
      std::string operator()(int64_t v) const { return fmt::format("{}", v); }
      std::string operator()(float v) const { return python_float(static_cast<double>(v)); }
      std::string operator()(const std::string& v) const { return v; }
      std::string operator()(const std::vector<int64_t>& v) const { return fmt::format("[{}]", fmt::join(v, ", ")); }
      std::string operator()(const std::vector<float>& v) const {
        std::vector<std::string> items;
        for (const float f : v) items.push_back(python_float(static_cast<double>(f)));
        return list_text(items);
      }
      std::string operator()(const std::vector<std::string>& v) const {
        std::vector<std::string> items;
        for (const std::string& s : v) items.push_back(python_string(s));
        return list_text(items);
      }
    };
    return std::visit(Print{attribute}, attribute.value);
  }

  [[nodiscard]] std::string tensor_value(const Result<Tensor>& tensor) const {
    if (!tensor.ok()) return values_or_reason(tensor);
    const std::string header =
        "Tensor: " + tensor_header(std::string(dtype_numpy_name(tensor->dtype())), tensor->shape());
    return shown_.weights ? fmt::format("{} | Values:\n{}", header, indented(numpy_text(*tensor))) : header;
  }

  Shown shown_;
  ModelStyle style_;
};

std::string title_of(const OnnxSummary& model, ModelStyle style) {
  if (style == ModelStyle::network) return fmt::format("Name: {} | Explicit Batch Network", model.graph.name);
  std::string others;
  int64_t opset = 0;
  for (const auto& [domain, version] : model.opset_imports) {
    if (domain.empty())
      opset = version;
    else
      others += fmt::format("{}{}: {}", others.empty() ? "" : ", ", python_string(domain), version);
  }
  const std::string title = fmt::format("Name: {} | ONNX Opset: {}", model.graph.name, opset);
  return others.empty() ? title : fmt::format("{} | Other Opsets: {{{}}}", title, others);
}

}  // namespace

std::string indented(const std::string& text, int levels) {
  const std::string blanks(static_cast<size_t>(levels) * 4, ' ');
  std::string out;
  size_t start = 0;
  while (start < text.size()) {
    const size_t end = std::min(text.find('\n', start), text.size());
    if (start > 0) out += '\n';
    out += blanks + text.substr(start, end - start);
    start = end + 1;
  }
  return out;
}

std::string tensor_set(const std::vector<TensorLine>& tensors) {
  std::string out;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (i > 0) out += ",\n ";
    out += tensors[i].name;
    if (!tensors[i].metadata.empty()) out += ' ' + tensors[i].metadata;
  }
  return '{' + out + '}';
}

std::string node_text(const std::string& prefix, size_t index, const std::string& name, const std::string& op,
                      const std::vector<TensorLine>& inputs, const std::vector<TensorLine>& outputs) {
  // The second and later outputs stand below the first: the arrow is four characters wide.
  std::string written = tensor_set(outputs);
  for (size_t at = written.find('\n'); at != std::string::npos; at = written.find('\n', at + 1))
    written.insert(at + 1, 4, ' ');
  const std::string read = tensor_set(inputs);
  const std::string body = fmt::format("{}{} -> {}", read, inputs.empty() ? "" : "\n", written);
  return fmt::format("{} {:<4} | {} [Op: {}]\n{}\n", prefix, index, name, op, indented(body));
}

Result<std::string> onnx_model_text(const OnnxSummary& model, const Shown& shown, ModelStyle style) {
  return title_of(model, style) + "\n\n" + GraphText(shown, style).print(model.graph, {}, 0);
}

}  // namespace planish::tools
