#include "planish/tools/int8_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
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

/// Layers that only change layouts and types: what the builder and quantisation added, and the model's own quantisers.
bool converts(const api::LayerInfo& layer) {
  if (layer.op.find("Reformat") != std::string::npos || layer.onnx_nodes.empty()) return true;
  for (const auto& [key, value] : layer.attributes) {
    const auto* steps = std::get_if<std::vector<std::string>>(&value);
    if (key == "steps" && steps != nullptr)
      return std::ranges::all_of(*steps, [](const std::string& step) {
        return step.starts_with("QuantizeLinear") || step.starts_with("DequantizeLinear");
      });
  }
  return false;
}

/// Layers that compute nothing.
bool only_moves(const api::LayerInfo& layer) {
  static constexpr std::array<std::string_view, 17> kMoves{
      "Concat", "Split", "Slice", "Reshape",  "Transpose", "Flatten",      "Squeeze",      "Unsqueeze", "Gather",
      "Expand", "Tile",  "Pad",   "Identity", "Resize",    "DepthToSpace", "SpaceToDepth", "Shape"};
  if (std::ranges::find(kMoves, layer.op) == kMoves.end()) return false;
  if (layer.op != "Resize") return true;
  return std::ranges::any_of(layer.attributes, [](const auto& a) {
    const auto* mode = std::get_if<std::string>(&a.second);
    return a.first == "mode" && mode != nullptr && *mode == "nearest";
  });
}

std::string listed(const std::vector<std::string>& names) {
  const size_t shown = std::min(names.size(), kShown);
  std::string text =
      fmt::format("{}", fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown), ", "));
  if (names.size() > shown) text += fmt::format(" and {} more", names.size() - shown);
  return text;
}

double share(double part, const Int8Summary& s) {
  const double whole = s.int8_ms + s.float_ms + s.moving_ms + s.reformat_ms;
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
    if (converts(layer)) {
      summary.reformat_ms += ms;
      continue;
    }
    if (only_moves(layer)) {
      ++summary.moving_layers;
      summary.moving_ms += ms;
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
  lines.push_back(fmt::format("INT8 summary: {} of {} layers that compute run in INT8, {:.1f} % of the estimated time",
                              s.int8_layers, layers, share(s.int8_ms, s)));
  if (s.moving_layers > 0)
    lines.push_back(fmt::format("  moving elements without computing: {} layers, {:.1f} % of it", s.moving_layers,
                                share(s.moving_ms, s)));
  lines.push_back(fmt::format("  changing layouts and types between layers: {:.1f} % of it", share(s.reformat_ms, s)));
  // Layers of one reason together, the reason with the slowest layer first; without a reason INT8 was no question.
  std::vector<std::pair<std::string, std::vector<std::string>>> groups;
  std::vector<std::string> plain;
  for (const auto& [name, reason] : s.reasons) {
    if (reason.empty()) {
      plain.push_back(name);
      continue;
    }
    auto it = std::find_if(groups.begin(), groups.end(), [&, r = reason](const auto& g) { return g.first == r; });
    if (it == groups.end()) it = groups.insert(groups.end(), {reason, {}});
    it->second.push_back(name);
  }
  if (s.float_layers > 0)
    lines.push_back(fmt::format("  in float: {} layers, {:.1f} % of the time", s.float_layers, share(s.float_ms, s)));
  for (const auto& [reason, names] : groups) lines.push_back(fmt::format("    {}: {}", reason, listed(names)));
  if (!plain.empty()) lines.push_back(fmt::format("    between float layers: {}", listed(plain)));
  return lines;
}

std::string float_fallback_line(const api::FloatFallback& f) {
  if (!f.compared) return {};
  if (!f.in_float.empty())
    return fmt::format("  INT8 lost against float in {} nodes, which run in float ({} in all instead of {}): {}",
                       f.in_float.size(), milliseconds_text(f.mix_ms), milliseconds_text(f.int8_ms),
                       listed(f.in_float));
  if (f.slower.empty()) return "  INT8 lost against float in no layer";
  const std::string tried = f.int8_ms > 0 ? fmt::format("a whole run takes {} with float there, {} without",
                                                        milliseconds_text(f.mix_ms), milliseconds_text(f.int8_ms))
                                          : std::string("converting types around them would cost more than that");
  return fmt::format("  INT8 alone is slower than float in {} nodes, but {}: {}", f.slower.size(), tried,
                     listed(f.slower));
}

Result<std::vector<std::string>> int8_build_lines(const api::Engine& engine, const api::BuildConfig& config,
                                                  const api::BuildStats& stats) {
  if (!config.int8) return std::vector<std::string>{};
  const auto layers = PLANISH_TRY(engine.layers());
  std::vector<std::string> lines = int8_summary_lines(summarise_int8(layers, stats.quantization.get()));
  if (std::string line = float_fallback_line(stats.float_fallback); !line.empty()) lines.push_back(std::move(line));
  return lines;
}

}  // namespace planish::tools
