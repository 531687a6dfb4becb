#include "planish/tools/calibration/foreign_ranges.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

namespace planish::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kLevels = 127;

/// A number however it is wrapped: itself, text, a list of one, or an object with "data".
std::optional<double> number_in(const Json& value) {
  if (value.is_number()) return value.get<double>();
  if (value.is_array() && value.size() == 1) return number_in(value[0]);
  if (value.is_object() && value.contains("data")) return number_in(value["data"]);
  if (!value.is_string()) return std::nullopt;
  const auto& text = value.get_ref<const std::string&>();
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<api::TensorRange> range_of(double low, double high) {
  const double amax = std::max(std::abs(low), std::abs(high));
  if (!std::isfinite(amax)) return std::nullopt;
  return api::TensorRange{static_cast<float>(amax / kLevels), static_cast<float>(low), static_cast<float>(high)};
}

std::optional<api::TensorRange> range_in(const Json& value) {
  if (value.is_object() && value.contains("lowest") && value.contains("highest")) {
    const auto low = number_in(value["lowest"]);
    const auto high = number_in(value["highest"]);
    return low && high ? range_of(*low, *high) : std::nullopt;
  }
  if (value.is_array() && value.size() == 2) {
    const auto low = number_in(value[0]);
    const auto high = number_in(value[1]);
    return low && high ? range_of(*low, *high) : std::nullopt;
  }
  const auto amax = number_in(value);
  return amax && *amax >= 0 ? range_of(-*amax, *amax) : std::nullopt;
}

Error no_range(const std::string& tensor, const std::string& file) {
  return Error{.code = Code::corrupt,
               .tensor = tensor,
               .file = file,
               .what = "there is no range here",
               .fix = "write {\"tensor\": amax} or {\"tensor\": [min, max]}"};
}

api::CalibrationTable empty_table(const std::string& file) {
  api::CalibrationTable table;
  table.description = fmt::format("ranges of {}", file);
  return table;
}

}  // namespace

Result<api::CalibrationTable> ranges_from_json(const std::string& text, const std::string& file) {
  auto own = api::CalibrationTable::from_json(text, file);
  if (own.ok()) return own;
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object() || json.contains("ranges") || json.contains("tensors")) return own;
  const Json& entries = json.contains("data") && json["data"].is_object() ? json["data"] : json;
  api::CalibrationTable table = empty_table(file);
  for (const auto& [name, value] : entries.items()) {
    if (name == "CLS" || name == "collecting_algorithm") continue;
    const auto range = range_in(value);
    if (!range) return no_range(name, file);
    table.ranges[name] = *range;
  }
  if (table.ranges.empty()) return own;
  return table;
}

Result<api::CalibrationTable> ranges_from_lines(const std::string& text, const std::string& file) {
  api::CalibrationTable table = empty_table(file);
  size_t line_number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    ++line_number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const size_t blank = line.find_last_of(" \t", line.find_last_not_of(" \t\r"));
    const auto amax = blank == std::string::npos ? std::nullopt : number_in(Json(line.substr(blank + 1)));
    const auto range = amax && *amax >= 0 ? range_of(-*amax, *amax) : std::nullopt;
    if (!range)
      return Error{.code = Code::corrupt,
                   .file = fmt::format("{}:{}", file, line_number),
                   .what = "this line is neither of a calibration cache nor \"name amax\"",
                   .fix = "a calibration cache starts with TRT-; planish cache convert reads it, JSON and such lines"};
    table.ranges[line.substr(0, blank)] = *range;
  }
  if (table.ranges.empty()) return no_range("", file);
  return table;
}

}  // namespace planish::tools
