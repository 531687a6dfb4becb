#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <set>

#include "planish/api/engine.h"
#include "planish/api/model_parts.h"
#include "planish/api/model_summary.h"
#include "planish/base/atomic_file.h"
#include "planish/tools/polygraphy/option_groups.h"
#include "planish/tools/polygraphy/tool.h"

namespace planish::tools {
namespace {

constexpr std::array kOptions{
    OptionDecl{"--with-partitioning", Takes::nothing, "",
               "also write the runs of supported and of unsupported nodes as ONNX files", ""},
    OptionDecl{"-o,--output", Takes::one, "DIR",
               "folder for results.txt and ONNX files (default polygraphy_capability_dumps)", ""},
};

/// One reason why a model cannot be built.
struct Problem {
  std::string node;
  std::string op;
  std::string reason;
  int64_t index = -1;  ///< position of the node in the file
};

const OnnxNodeSummary* find_node(const OnnxGraphSummary& graph, const std::string& name, int64_t* index) {
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const OnnxNodeSummary& node = graph.nodes[i];
    const bool named = node.name == name;
    const bool by_output = node.name.empty() && !node.outputs.empty() && node.outputs[0] == name;
    if (named || by_output) {
      *index = static_cast<int64_t>(i);
      return &node;
    }
    for (const OnnxAttribute& attribute : node.attributes)
      for (const OnnxGraphSummary& body : attribute.graphs)
        if (const OnnxNodeSummary* found = find_node(body, name, index)) {
          *index = static_cast<int64_t>(i);
          return found;
        }
  }
  return nullptr;
}

/// "node 'a': operator Foo (domain '', opset 17)..." as the importer lists them, one a line.
std::vector<Problem> problems_of(const Error& error, const OnnxGraphSummary& graph) {
  std::vector<Problem> problems;
  size_t at = 0;
  constexpr std::string_view kStart = "node '", kMiddle = "': operator ";
  while ((at = error.what.find(kStart, at)) != std::string::npos) {
    const size_t middle = error.what.find(kMiddle, at);
    const size_t end = error.what.find('\n', at);
    if (middle == std::string::npos || middle > end) break;
    Problem p;
    p.node = error.what.substr(at + kStart.size(), middle - at - kStart.size());
    p.reason = error.what.substr(middle + 3, end == std::string::npos ? end : end - middle - 3);
    const size_t name = middle + kMiddle.size();
    p.op = error.what.substr(name, error.what.find(' ', name) - name);
    problems.push_back(std::move(p));
    at = end == std::string::npos ? error.what.size() : end;
  }
  if (problems.empty()) problems.push_back({error.node, "", error.message(), -1});
  for (Problem& p : problems)
    if (const OnnxNodeSummary* node = find_node(graph, p.node, &p.index); node != nullptr && p.op.empty())
      p.op = node->op;
  return problems;
}

std::string table(const std::vector<Problem>& problems) {
  size_t op_width = 9, node_width = 5, reason_width = 6;
  for (const Problem& p : problems) {
    op_width = std::max(op_width, p.op.size());
    node_width = std::max(node_width, p.node.size());
    reason_width = std::max(reason_width, p.reason.size());
  }
  const auto row = [&](std::string_view trace, std::string_view op, std::string_view node, std::string_view reason) {
    return fmt::format("{:<12} | {:<{}} | {:<{}} | {:<{}}\n", trace, op, op_width, node, node_width, reason,
                       reason_width);
  };
  const std::string header = row("Stack trace", "Operator", "Node", "Reason");
  std::string out = "===== Summary =====\n" + header + std::string(header.size(), '-') + '\n';
  for (const Problem& p : problems) out += row("", p.op, p.node, p.reason);
  return out;
}

std::string partition_table(const std::vector<Problem>& problems) {
  std::map<std::pair<std::string, std::string>, std::vector<int64_t>> rows;
  size_t op_width = 9, reason_width = 6;
  for (const Problem& p : problems) {
    rows[{p.op, p.reason}].push_back(p.index);
    op_width = std::max(op_width, p.op.size());
    reason_width = std::max(reason_width, p.reason.size());
  }
  const std::string header =
      fmt::format("{:<{}}| {:<7} | {:<{}} | Nodes\n", "Operator", op_width, "Count", "Reason", reason_width);
  std::string out = "===== Summary =====\n" + header + std::string(header.size(), '-') + '\n';
  for (const auto& [key, nodes] : rows) {
    std::string ranges;
    for (const int64_t i : nodes) ranges += fmt::format("{}[{}, {}]", ranges.empty() ? "" : ", ", i, i + 1);
    out += fmt::format("{:<{}}| {:>7} | {:<{}} | [{}]\n", key.first, op_width, nodes.size(), key.second, reason_width,
                       ranges);
  }
  return out;
}

/// Writes runs of nodes that are all supported, or all not, in the order of the file.
Status write_parts(const std::string& path, int64_t nodes, const std::vector<Problem>& problems,
                   const std::filesystem::path& folder, PolygraphyLog& log) {
  std::set<int64_t> bad;
  for (const Problem& p : problems)
    if (p.index >= 0) bad.insert(p.index);
  if (bad.empty()) {
    log.print(PolygraphyLog::warning, "No single node is to blame, so that no subgraphs are written.");
    return {};
  }
  for (int64_t first = 0; first < nodes;) {
    const bool supported = !bad.contains(first);
    int64_t last = first;
    while (last + 1 < nodes && bad.contains(last + 1) != supported) ++last;
    const std::string file =
        (folder / fmt::format("{}supported_subgraph-nodes-{}-{}.onnx", supported ? "" : "un", first, last)).string();
    log.print(PolygraphyLog::info, "Saving ONNX model to: " + file);
    PLANISH_TRY(extract_onnx_nodes(path, first, last, file));
    first = last + 1;
  }
  return {};
}

Result<bool> capability(const ParsedOptions& options, PolygraphyLog& log) {
  const std::string& path = options.positionals[0];
  const OnnxSummary summary = PLANISH_TRY(summarise_onnx(path));
  const auto model = api::Model::read(path);
  if (model.ok()) {
    for (const std::string& text : model->warnings()) log.print(PolygraphyLog::warning, text);
    log.print(PolygraphyLog::info, options.has("--with-partitioning")
                                       ? "Graph is fully supported by TensorRT; Will not generate subgraphs."
                                       : "Graph is fully supported by TensorRT; Will not report errors.");
    return true;
  }
  const std::vector<Problem> problems = problems_of(model.error(), summary.graph);
  const std::string text = options.has("--with-partitioning") ? partition_table(problems) : table(problems);
  log.print(PolygraphyLog::info, text.substr(0, text.size() - 1));
  if (!model.error().fix.empty()) log.print(PolygraphyLog::info, "Fix: " + model.error().fix);
  const std::filesystem::path folder = options.text("-o", "polygraphy_capability_dumps");
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (options.has("--with-partitioning"))
    PLANISH_TRY(write_parts(path, static_cast<int64_t>(summary.graph.nodes.size()), problems, folder, log));
  const std::string file = (folder / "results.txt").string();
  log.print(PolygraphyLog::info, "Saving results to " + file);
  PLANISH_TRY(write_file_atomically(file, text));
  return true;
}

}  // namespace

const ToolSyntax& inspect_capability_syntax() {
  static const ToolSyntax kSyntax{
      "polygraphy inspect capability",
      "model_file",
      1,
      1,
      {logging_options(), {"options", kOptions}, model_options(), onnx_options()},
      "Lists every node of an ONNX model that cannot be built, with its operator and the reason.",
      "  polygraphy inspect capability model.onnx --with-partitioning"};
  return kSyntax;
}

int inspect_capability_main(const std::vector<std::string>& arguments) {
  return run_tool(inspect_capability_syntax(), arguments, false, capability);
}

}  // namespace planish::tools
