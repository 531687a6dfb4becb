// pass_histogram MODEL.onnx... [--dump FOLDER] [--disable PASS]... [--stop-after PASS|N] [--times] [--check]
//
// Prints how often each operator occurs before and after the passes. --check also interprets both graphs on seeded
// inputs (unknown dimensions are 2) and prints the relative L2 error of every output.

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <string>

#include "planish/ir/text.h"
#include "planish/onnx/import.h"
#include "planish/ops/op.h"
#include "planish/passes/pass.h"

namespace {

using planish::Graph;
using planish::Tensor;

std::string histogram(const Graph& g) {
  std::map<std::string, int> counts;
  for (const auto& n : g.nodes) ++counts[n.domain.empty() ? n.op : n.domain + "." + n.op];
  std::string out = fmt::format("{} nodes:", g.nodes.size());
  for (const auto& [op, count] : counts) out += fmt::format(" {}:{}", op, count);
  return out;
}

std::vector<Tensor> seeded_inputs(const Graph& g) {
  std::vector<Tensor> inputs;
  for (const auto v : g.inputs) {
    planish::Shape shape = g.value(v).shape.value_or(planish::Shape{});
    for (auto& d : shape) d = d < 0 ? 2 : d;
    const bool is_float = planish::dtype_is_float(g.value(v).dtype);
    inputs.push_back(
        planish::seeded_tensor(g.value(v).dtype, shape, inputs.size() + 1, is_float ? -1 : 1, is_float ? 1 : 2));
  }
  return inputs;
}

double relative_error(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape()) return INFINITY;
  double difference = 0;
  double norm = 0;
  for (int64_t i = 0; i < a.size(); ++i) {
    difference += (a.at(i) - b.at(i)) * (a.at(i) - b.at(i));
    norm += a.at(i) * a.at(i);
  }
  return std::sqrt(difference / std::max(norm, 1e-30));
}

void check(const Graph& before, const Graph& after) {
  const auto inputs = seeded_inputs(before);
  const auto a = planish::interpret(before, inputs);
  const auto b = planish::interpret(after, inputs);
  if (!a.ok() || !b.ok()) {
    fmt::print("  check failed: {}\n", (a.ok() ? b : a).error().message());
    return;
  }
  for (size_t i = 0; i < a->size(); ++i)
    fmt::print("  error of {}: {:.2e}\n", before.name_of(before.outputs[i]), relative_error((*a)[i], (*b)[i]));
}

}  // namespace

int main(int argc, char** argv) {
  planish::PipelineOptions options;
  std::vector<std::string> files;
  bool times = false;
  bool checked = false;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    const bool has_value = i + 1 < argc;
    if (arg == "--dump" && has_value)
      options.dump_folder = argv[++i];
    else if (arg == "--disable" && has_value)
      options.disabled.emplace_back(argv[++i]);
    else if (arg == "--stop-after" && has_value)
      options.stop_after = argv[++i];
    else if (arg == "--times")
      times = true;
    else if (arg == "--check")
      checked = true;
    else
      files.push_back(arg);
  }
  int status = 0;
  for (const std::string& file : files) {
    fmt::print("{}\n", file);
    auto model = planish::import_onnx(file);
    if (!model.ok()) {
      fmt::print("  {}\n", model.error().message());
      status = 1;
      continue;
    }
    fmt::print("  before {}\n", histogram(model->graph));
    std::vector<planish::PassReport> report;
    const auto after = planish::run_passes(model->graph, options, &report);
    if (!after.ok()) {
      fmt::print("  {}\n", after.error().message());
      status = 1;
      continue;
    }
    fmt::print("  after  {}\n", histogram(*after));
    if (times)
      for (const auto& r : report)
        fmt::print("    {:<24} {:8.2f} ms {:5} -> {:5}\n", r.name, r.time_ms, r.nodes_before, r.nodes_after);
    if (checked) check(model->graph, *after);
  }
  return status;
}
