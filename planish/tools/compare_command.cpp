#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "planish/base/atomic_file.h"
#include "planish/tools/command_line.h"
#include "planish/tools/console.h"
#include "planish/tools/layer_list.h"
#include "planish/tools/measurement.h"
#include "planish/tools/open_engine.h"
#include "planish/tools/planish_commands.h"
#include "planish/tools/trtexec/json_text.h"

namespace planish::tools {
namespace {

using Json = nlohmann::ordered_json;

struct CompareCommand {
  std::string first_path;
  std::string second_path;
  std::string json_path;
  std::string csv_path;
  std::string markdown_path;
  std::string order = "execution";
  int64_t rounds = 50;
  BuildArguments build;
  CommandLine line;

  CompareCommand()
      : line("compare",
             "Joins the layers of two engines on the ONNX nodes that they compute and shows where their times "
             "differ. Both are profiled in turns on this machine.",
             "  planish build model.onnx -o fp32.engine && planish build model.onnx -o bf16.engine --bf16\n"
             "  planish compare fp32.engine bf16.engine --sort=delta --md=fp32_bf16.md") {
    line.positional("A", first_path, "Engine file, or ONNX model to build one from");
    line.positional("B", second_path, "The same for the other side");
    line.integer("--rounds", rounds, 1, 1000000, "Profiled runs of each engine (default 50)");
    line.choice("--sort", order, {"execution", "delta"},
                "Order of the rows: as A executes, or largest difference first");
    line.output("--json", json_path, "FILE", "Write the comparison");
    line.output("--csv", csv_path, "FILE", "Write the table");
    line.output("--md", markdown_path, "FILE", "Write the table");
    build.declare_common(line);
  }
};

std::string layer_names(const LayerProfile& profile, const std::vector<size_t>& layers) {
  std::string out;
  for (const size_t i : layers) {
    const api::LayerInfo& layer = profile.layers[i];
    out += fmt::format("{}{} ({})", out.empty() ? "" : " + ", layer.tactic, layer.precision);
  }
  return out.empty() ? "-" : out;
}

std::string delta_percent(double first_ms, double second_ms) {
  return first_ms > 0 ? fmt::format("{:+.1f}", (second_ms - first_ms) / first_ms * 100) : "";
}

double sum_of(const LayerProfile& profile) {
  double sum = 0;
  for (const double ms : profile.layer_ms) sum += ms;
  return sum;
}

Table comparison_table(const std::vector<api::LayerGroup>& groups, const LayerProfile& a, const LayerProfile& b) {
  Table table({{"ONNX nodes", false, 56},
               {"A", false, 40},
               {"A (ms)", true},
               {"B", false, 40},
               {"B (ms)", true},
               {"Delta (ms)", true},
               {"Delta (%)", true}});
  const auto row = [&table](std::string name, std::string first, double first_ms, std::string second,
                            double second_ms) {
    table.add({std::move(name), std::move(first), fmt::format("{:.4f}", first_ms), std::move(second),
               fmt::format("{:.4f}", second_ms), fmt::format("{:+.4f}", second_ms - first_ms),
               delta_percent(first_ms, second_ms)});
  };
  for (const api::LayerGroup& group : groups)
    row(group.onnx_nodes.empty() ? "(layout changes)" : onnx_nodes_text(group.onnx_nodes),
        group.onnx_nodes.empty() ? fmt::format("{} layers", group.first.size()) : layer_names(a, group.first),
        group.first_ms,
        group.onnx_nodes.empty() ? fmt::format("{} layers", group.second.size()) : layer_names(b, group.second),
        group.second_ms);
  row("Sum of layers", fmt::format("{} layers", a.layers.size()), sum_of(a), fmt::format("{} layers", b.layers.size()),
      sum_of(b));
  row("Whole run", "", a.run_ms, "", b.run_ms);
  return table;
}

Json side_json(const LayerProfile& profile, const std::vector<size_t>& layers) {
  Json out = Json::array();
  for (const size_t i : layers)
    out.push_back({{"name", profile.layers[i].name},
                   {"tactic", profile.layers[i].tactic},
                   {"precision", profile.layers[i].precision},
                   {"time_ms", to_nanoseconds(profile.layer_ms[i])}});
  return out;
}

Json comparison_json(const CompareCommand& command, const std::vector<api::LayerGroup>& groups, const LayerProfile& a,
                     const LayerProfile& b) {
  Json json;
  json["a"] = {
      {"engine", command.first_path}, {"run_ms", to_nanoseconds(a.run_ms)}, {"layers_ms", to_nanoseconds(sum_of(a))}};
  json["b"] = {
      {"engine", command.second_path}, {"run_ms", to_nanoseconds(b.run_ms)}, {"layers_ms", to_nanoseconds(sum_of(b))}};
  json["rounds"] = command.rounds;
  json["groups"] = Json::array();
  for (const api::LayerGroup& group : groups)
    json["groups"].push_back({{"onnx_nodes", group.onnx_nodes},
                              {"a", side_json(a, group.first)},
                              {"b", side_json(b, group.second)},
                              {"a_ms", to_nanoseconds(group.first_ms)},
                              {"b_ms", to_nanoseconds(group.second_ms)},
                              {"delta_ms", to_nanoseconds(group.delta_ms())}});
  return json;
}

Status compare(const CompareCommand& command) {
  const api::Engine first = PLANISH_TRY(open_engine("compare", command.first_path, command.build));
  const api::Engine second = PLANISH_TRY(open_engine("compare", command.second_path, command.build));
  std::vector<InputTensors> inputs;
  for (const api::Engine* engine : {&first, &second})
    inputs.push_back(PLANISH_TRY(random_inputs(*engine, command.build.shapes, 1)));
  const auto profiles = PLANISH_TRY(profile_layers({&first, &second}, inputs, command.rounds, command.build.threads));
  const LayerProfile& a = profiles[0];
  const LayerProfile& b = profiles[1];
  std::vector<api::LayerGroup> groups = api::join_layers(a, b);
  if (command.order == "delta")
    std::stable_sort(groups.begin(), groups.end(), [](const api::LayerGroup& x, const api::LayerGroup& y) {
      return std::abs(x.delta_ms()) > std::abs(y.delta_ms());
    });
  const Table table = comparison_table(groups, a, b);
  fmt::print("A: {}\nB: {}\nMedians of {} profiled runs each, in turns\n\n{}", command.first_path, command.second_path,
             command.rounds, table.text());
  if (!command.csv_path.empty()) PLANISH_TRY(write_file_atomically(command.csv_path, table.csv()));
  if (!command.markdown_path.empty()) PLANISH_TRY(write_file_atomically(command.markdown_path, table.markdown()));
  if (command.json_path.empty()) return {};
  const Json json = comparison_json(command, groups, a, b);
  return write_file_atomically(command.json_path, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace

int compare_main(int argc, char** argv) {
  CompareCommand command;
  if (const auto code = command.line.parse(argc, argv)) return *code;
  const Status status = compare(command);
  return status.ok() ? 0 : fail("compare", status.error());
}

std::vector<std::string> compare_words() { return CompareCommand().line.words(); }

}  // namespace planish::tools
