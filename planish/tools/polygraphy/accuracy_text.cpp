#include <fmt/format.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "planish/base/atomic_file.h"
#include "planish/tools/polygraphy/compare.h"

namespace planish::tools {
namespace {

using Json = nlohmann::ordered_json;

/// Python writes Infinity and NaN, which are no JSON.
std::string without_python_numbers(const std::string& text) {
  std::string out;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"' && (i == 0 || text[i - 1] != '\\')) quoted = !quoted;
    for (const std::string_view word : {"-Infinity", "Infinity", "NaN"})
      if (!quoted && text.compare(i, word.size(), word) == 0) {
        out += fmt::format("\"{}\"", word == "NaN" ? "nan" : word == "Infinity" ? "inf" : "-inf");
        i += word.size();
        break;
      }
    if (i < text.size()) out += text[i];
  }
  return out;
}

std::string figure_text(const Json& value) {
  return value.is_number() ? five_digits(value.get<double>()) : value.get<std::string>();
}

std::string text_at(const Json& json, const char* key, std::string_view otherwise) {
  const bool there = json.is_object() && json.contains(key) && json[key].is_string();
  return there ? json[key].get<std::string>() : std::string(otherwise);
}

bool passed(const Json& result) {
  if (result.is_boolean()) return result.get<bool>();
  if (!result.is_object()) return false;
  if (result.contains("passed") && result["passed"].is_boolean()) return result["passed"].get<bool>();
  // The scalar metrics keep their figure and its threshold only.
  const std::string type = text_at(result, "polygraphy_class", "");
  for (const CompareFunction f :
       {CompareFunction::l2, CompareFunction::cosine_similarity, CompareFunction::psnr, CompareFunction::snr}) {
    if (class_names(f).second != type || !result.contains("thresholds")) continue;
    const Json& threshold = result["thresholds"];
    for (const auto& [key, value] : result.items())
      if ((value.is_number() || value.is_string()) && key != "polygraphy_class" && threshold.contains("threshold") &&
          threshold["threshold"].is_number())
        return metric_passes(f,
                             value.is_number() ? value.get<double>() : std::strtod(figure_text(value).c_str(), nullptr),
                             threshold["threshold"].get<double>());
  }
  return false;
}

std::string iteration_text(const Json& iteration) {
  std::string out;
  for (const auto& [output, result] : iteration.items()) {
    std::string figures;
    if (result.is_object())
      for (const auto& [key, value] : result.items())
        if ((value.is_number() || value.is_string()) && key != "polygraphy_class")
          figures += fmt::format("{}{}={}", figures.empty() ? " | " : ", ", key, figure_text(value));
    out += fmt::format("\n        {} | {}{}", output, passed(result) ? "PASSED" : "FAILED", figures);
  }
  return out;
}

/// [[first, second], [iteration, ...]]
bool is_pair(const Json& entry) {
  return entry.is_array() && entry.size() == 2 && entry[0].is_array() && entry[0].size() == 2 &&
         entry[0][0].is_string() && entry[0][1].is_string() && entry[1].is_array();
}

std::string pair_text(const Json& entry, bool all_iterations) {
  size_t matched = 0;
  std::string shown;
  const Json& iterations = entry[1];
  for (size_t i = 0; i < iterations.size(); ++i) {
    if (!iterations[i].is_object()) continue;
    bool good = true;
    for (const auto& [output, result] : iterations[i].items()) good = good && passed(result);
    matched += good ? 1 : 0;
    if (i == 0 || all_iterations) shown += fmt::format("\n    -- Iteration: {}{}", i, iteration_text(iterations[i]));
  }
  return fmt::format("\n{} vs. {} | {}/{} iteration(s) matched{}\n", entry[0][0].get<std::string>(),
                     entry[0][1].get<std::string>(), matched, iterations.size(), shown);
}

}  // namespace

Result<std::optional<std::string>> accuracy_results_text(const std::string& path, bool all_iterations) {
  using Text = std::optional<std::string>;
  const std::string bytes = PLANISH_TRY(read_file(path));
  if (bytes.find("AccuracyResults") == std::string::npos) return Text();
  const Json json = Json::parse(without_python_numbers(bytes), nullptr, false);
  if (text_at(json, "polygraphy_class", "") != "AccuracyResults" || !json.contains("lst")) return Text();
  std::string out = fmt::format("==== Accuracy Results ({} comparison(s)) ====\n", json["lst"].size());
  for (const Json& result : json["lst"]) {
    if (!result.is_object() || !result.contains("lst")) continue;
    out += fmt::format("\n---- Aggregation: {} ----\n", text_at(result, "aggregation", "per_sample"));
    for (const Json& entry : result["lst"])
      if (is_pair(entry)) out += pair_text(entry, all_iterations);
  }
  out.erase(out.find_last_not_of(" \n") + 1);
  return Text(std::move(out));
}

}  // namespace planish::tools
