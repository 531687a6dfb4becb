#include "planish/tools/int8_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "planish/tools/console.h"

namespace planish::tools {
namespace {

constexpr size_t kShown = 8;

/// Layers with weights: those that INT8 is for.
bool is_product(const api::LayerInfo& layer) {
  return layer.op.find("Conv") != std::string::npos || layer.op.find("MatMul") != std::string::npos ||
         layer.op.find("Gemm") != std::string::npos;
}

std::string listed(const std::vector<std::string>& names) {
  const size_t shown = std::min(names.size(), kShown);
  std::string text =
      fmt::format("{}", fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown), ", "));
  if (names.size() > shown) text += fmt::format(" and {} more", names.size() - shown);
  return text;
}

double share(double part, const Int8Summary& s) {
  const double whole = s.int8_ms + s.float_ms + s.reformat_ms;
  return whole > 0 ? part / whole * 100 : 0;
}

}  // namespace

Int8Summary summarise_int8(const std::vector<api::LayerInfo>& layers, const api::QuantizeReport* report) {
  std::map<std::string, std::string> reason_of;
  if (report != nullptr)
    for (const api::FloatNode& node : report->float_nodes)
      reason_of[node.node.substr(0, node.node.find(" + "))] = node.reason;  // folding joins names: "conv + bn"
  Int8Summary summary;
  std::vector<std::pair<double, std::pair<std::string, std::string>>> floats;
  for (const api::LayerInfo& layer : layers) {
    const double ms = layer.tuned_time_ms;
    if (layer.op.find("Reformat") != std::string::npos) {
      summary.reformat_ms += ms;
      continue;
    }
    if (layer.precision == "int8") {
      ++summary.int8_layers;
      summary.int8_ms += ms;
      continue;
    }
    ++summary.float_layers;
    summary.float_ms += ms;
    std::string reason = layer.note;
    for (const std::string& node : layer.onnx_nodes)
      if (const auto it = reason_of.find(node); it != reason_of.end()) reason = it->second;
    if (reason.empty() && is_product(layer) && report != nullptr && report->quantised_nodes > 0) {
      summary.not_fused.push_back(layer.name);
      reason = "quantised, but no integer kernel takes it";
    }
    floats.push_back({ms, {layer.name, reason}});
  }
  std::stable_sort(floats.begin(), floats.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  for (auto& [ms, entry] : floats) summary.reasons.push_back(std::move(entry));
  return summary;
}

std::vector<std::string> int8_summary_lines(const Int8Summary& s) {
  const size_t layers = s.int8_layers + s.float_layers;
  std::vector<std::string> lines;
  lines.push_back(fmt::format("INT8 summary: {} of {} layers run in INT8, {:.1f} % of the estimated time",
                              s.int8_layers, layers, share(s.int8_ms, s)));
  lines.push_back(fmt::format("  changing layouts and types between layers: {:.1f} % of it", share(s.reformat_ms, s)));
  // Layers of one reason together, the reason with the slowest layer first; without a reason INT8 was no question.
  std::vector<std::pair<std::string, std::vector<std::string>>> groups;
  size_t plain = 0;
  for (const auto& [name, reason] : s.reasons) {
    if (reason.empty()) {
      ++plain;
      continue;
    }
    auto it = std::find_if(groups.begin(), groups.end(), [&, r = reason](const auto& g) { return g.first == r; });
    if (it == groups.end()) it = groups.insert(groups.end(), {reason, {}});
    it->second.push_back(name);
  }
  if (s.float_layers > 0)
    lines.push_back(fmt::format("  in float: {} layers, {:.1f} % of the time", s.float_layers, share(s.float_ms, s)));
  for (const auto& [reason, names] : groups) lines.push_back(fmt::format("    {}: {}", reason, listed(names)));
  if (plain > 0 && !groups.empty()) lines.push_back(fmt::format("    between float layers: {}", plain));
  return lines;
}

api::QuantizeReport quantize_report(const api::Model& model, const api::BuildConfig& config) {
  api::QuantizeReport report;
  if (!config.int8 || model.has_quantize_nodes()) return report;
  const api::CalibrationTable table =
      config.calibration == nullptr ? api::CalibrationTable::invented() : *config.calibration;
  api::QuantizeOptions options = config.quantization == nullptr ? api::QuantizeOptions{} : *config.quantization;
  options.bias_correction = false;
  options.progress = nullptr;
  options.warn = nullptr;
  if (config.precision_constraints != api::PrecisionConstraints::none)
    for (const auto& [pattern, dtype] : config.layer_precisions)
      (dtype == DType::i8 ? options.force_int8 : options.keep_float).push_back(pattern);
  const auto quantised = api::quantize(model, table, options, &report);
  if (!quantised.ok()) return {};
  return report;
}

}  // namespace planish::tools
