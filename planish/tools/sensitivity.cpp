#include "planish/tools/sensitivity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "planish/tools/measurement.h"

namespace planish::tools {
namespace {

constexpr std::string_view kOnRequest = "kept in float on request";

/// Outputs of a run as one list of numbers per output.
using Outputs = std::vector<std::vector<double>>;

Result<std::vector<Outputs>> outputs_of(const api::Engine& engine, const std::vector<NamedTensors>& samples) {
  const auto context = PLANISH_TRY(engine.create_context());
  std::vector<Outputs> all;
  for (const NamedTensors& sample : samples) {
    PLANISH_TRY(bind(*context, sample));
    PLANISH_TRY(context->run());
    Outputs outputs;
    for (const api::TensorInfo& info : engine.outputs()) {
      const api::HostTensor output = PLANISH_TRY(context->output(info.name));
      if (!dtype_is_float(output.dtype)) continue;
      const Tensor tensor =
          Tensor::borrow(output.dtype, output.dims, const_cast<std::byte*>(output.data.data())).cast(DType::f32);
      outputs.emplace_back(tensor.span<float>().begin(), tensor.span<float>().end());
    }
    all.push_back(std::move(outputs));
  }
  return all;
}

/// Largest relative L2 error over the outputs; an output that changed its size counts as wholly wrong.
double relative_error(const std::vector<Outputs>& actual, const std::vector<Outputs>& expected) {
  double worst = 0;
  const size_t outputs = expected.empty() ? 0 : expected[0].size();
  for (size_t o = 0; o < outputs; ++o) {
    double error = 0, signal = 0;
    for (size_t s = 0; s < expected.size(); ++s) {
      const std::vector<double>& want = expected[s][o];
      const bool alike = o < actual[s].size() && actual[s][o].size() == want.size();
      for (size_t i = 0; i < want.size(); ++i) {
        const double difference = alike ? actual[s][o][i] - want[i] : want[i];
        error += difference * difference;
        signal += want[i] * want[i];
      }
    }
    worst = std::max(worst, signal > 0 ? std::sqrt(error / signal) : (error > 0 ? 1.0 : 0.0));
  }
  return std::isfinite(worst) ? worst : 1e9;
}

}  // namespace

std::vector<std::string> all_but(const std::vector<std::string>& nodes, const std::vector<std::string>& chosen) {
  const std::set<std::string> out(chosen.begin(), chosen.end());
  std::vector<std::string> rest;
  for (const std::string& node : nodes)
    if (out.count(node) == 0) rest.push_back(node);
  return rest;
}

Result<QuantisableNodes> quantisable_nodes(const api::Model& model, const api::CalibrationTable& table,
                                           const api::QuantizeOptions& options) {
  api::QuantizeOptions quiet = options;
  quiet.bias_correction = false;
  quiet.rounding = api::RoundingMethod::nearest;
  quiet.progress = nullptr;
  api::QuantizeReport normal, none;
  (void)PLANISH_TRY(api::quantize(model, table, quiet, &normal));
  quiet.warn = nullptr;
  quiet.keep_float = {"*"};
  quiet.force_int8.clear();
  (void)PLANISH_TRY(api::quantize(model, table, quiet, &none));
  // Folding joins names ("conv + bn"); the first is the node that the file has and that every list of nodes knows.
  const auto onnx_name = [](const std::string& name) { return name.substr(0, name.find(" + ")); };
  QuantisableNodes result;
  std::set<std::string> in_float;
  for (const api::FloatNode& node : normal.float_nodes) in_float.insert(node.node);
  for (const api::FloatNode& node : none.float_nodes)
    if (node.reason == kOnRequest && in_float.count(node.node) == 0) result.nodes.push_back(onnx_name(node.node));
  for (api::FloatNode& node : normal.float_nodes) node.node = onnx_name(node.node);
  result.float_nodes = std::move(normal.float_nodes);
  return result;
}

Status refuse_quantised(const api::Model& model, const std::string& path, const std::string& dynamic_fix) {
  if (!model.has_quantize_nodes()) return {};
  api::DynamicReport report;
  (void)PLANISH_TRY(api::dynamic_to_static(model, &report));
  const bool dynamic = report.products > 0 || report.left > 0;
  return Error{.code = Code::invalid_argument,
               .file = path,
               .what = dynamic ? "the model is quantised already, dynamically (it has DynamicQuantizeLinear nodes)"
                               : "the model is quantised already (it has QuantizeLinear nodes)",
               .fix = dynamic ? dynamic_fix : "give the FP32 model"};
}

Result<std::vector<NamedTensors>> first_batches(api::CalibrationSource& source, int64_t samples) {
  PLANISH_TRY(source.rewind());
  std::vector<NamedTensors> batches;
  constexpr int kMostBad = 100;
  int bad = 0;
  int64_t found = 0;
  while (found < samples) {
    auto batch = source.next();
    if (!batch.ok()) {
      if (source.fatal() || ++bad > kMostBad) return std::move(batch).take_error();
      continue;
    }
    if (!batch->has_value()) break;
    found += (*batch)->samples;
    NamedTensors copy;
    for (const auto& [name, tensor] : (*batch)->inputs) {
      Tensor mine(tensor.dtype, tensor.dims);
      std::memcpy(mine.raw(), tensor.data.data(), tensor.data.size());
      copy.emplace_back(name, std::move(mine));
    }
    batches.push_back(std::move(copy));
  }
  if (!batches.empty()) return batches;
  return Error{.code = Code::not_found,
               .file = source.description(),
               .what = "the data yields no sample",
               .fix = "give data that fits the network's inputs"};
}

Result<std::vector<NodeSensitivity>> measure_sensitivity(Trials& trials, const api::CalibrationTable& table,
                                                         const api::QuantizeOptions& options,
                                                         const std::vector<std::string>& nodes,
                                                         const std::vector<NamedTensors>& samples, Deadline deadline,
                                                         const ProgressFunction& progress) {
  api::BuildConfig quick = trials.config();
  quick.optimization_level = 0;
  quick.progress = nullptr;
  quick.warn = nullptr;
  const api::Engine reference = PLANISH_TRY(api::Engine::build(trials.model().clone(), quick));
  const auto expected = PLANISH_TRY(outputs_of(reference, samples));
  std::vector<NodeSensitivity> result;
  for (const std::string& node : nodes) {
    if (std::chrono::steady_clock::now() > deadline) break;
    if (progress) progress("nodes", static_cast<int64_t>(result.size()), static_cast<int64_t>(nodes.size()));
    api::QuantizeOptions alone = options;
    alone.keep_float = all_but(nodes, {node});
    alone.force_int8 = {node};
    alone.rounding = api::RoundingMethod::nearest;  // learning it anew for every node would take too long
    alone.data = nullptr;
    alone.progress = nullptr;
    alone.warn = nullptr;
    api::Model quantised = PLANISH_TRY(api::quantize(trials.model(), table, alone));
    const api::Engine engine = PLANISH_TRY(api::Engine::build(std::move(quantised), quick));
    const auto actual = PLANISH_TRY(outputs_of(engine, samples));
    result.push_back({.node = node, .output_error = relative_error(actual, expected)});
  }
  return result;
}

Status add_times(const api::Engine& in_float, const api::Engine& in_int8, std::vector<NodeSensitivity>& nodes) {
  const LayerProfile first = api::tuned_profile(PLANISH_TRY(in_float.layers()));
  const LayerProfile second = api::tuned_profile(PLANISH_TRY(in_int8.layers()));
  std::map<std::string, NodeSensitivity*> by_name;
  for (NodeSensitivity& node : nodes) by_name[node.node] = &node;
  for (const api::LayerGroup& group : api::join_layers(first, second)) {
    std::vector<NodeSensitivity*> here;
    for (const std::string& name : group.onnx_nodes)
      if (const auto it = by_name.find(name); it != by_name.end()) here.push_back(it->second);
    for (NodeSensitivity* node : here) {
      node->float_ms = group.first_ms / static_cast<double>(here.size());
      node->int8_ms = group.second_ms / static_cast<double>(here.size());
    }
  }
  return {};
}

std::optional<double> quantisation_snr_db(const api::RangeHistogram& histogram, double scale, int32_t steps) {
  if (!(scale > 0) || !(histogram.bin_width > 0)) return std::nullopt;
  double signal = 0, noise = 0;
  for (size_t i = 0; i < histogram.counts.size(); ++i) {
    const double value = (static_cast<double>(i) + 0.5) * histogram.bin_width;
    const auto count = static_cast<double>(histogram.counts[i]);
    const double beyond = value - steps * scale;
    // Rounding: uniform within a step, but a value below half a step only loses itself.
    const double rounding = value < scale / 2 ? value * value : scale * scale / 12;
    noise += count * (beyond > 0 ? beyond * beyond : rounding);
    signal += count * value * value;
  }
  if (!(signal > 0)) return std::nullopt;
  return 10 * std::log10(signal / std::max(noise, signal * 1e-15));
}

std::string layer_precisions_text(const std::vector<std::string>& nodes) {
  std::string text;
  for (const std::string& node : nodes) text += (text.empty() ? "" : ",") + node + ":fp32";
  return text;
}

}  // namespace planish::tools
