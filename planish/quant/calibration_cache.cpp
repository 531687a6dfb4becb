#include "planish/quant/calibration_cache.h"

#include <fmt/format.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <optional>

namespace planish {
namespace {

constexpr size_t kHexDigits = 8;
/// Nothing that a network computes is that small throughout: such a scale is damage, or a tensor of zeros.
constexpr float kLeastScale = 1e-30F;

/// "3caa5293" -> the float of these bits; TensorRT writes them without leading zeros as well.
std::optional<float> scale_of(std::string_view hex) {
  if (hex.empty() || hex.size() > 8) return std::nullopt;
  uint32_t bits = 0;
  const auto [end, error] = std::from_chars(hex.data(), hex.data() + hex.size(), bits, 16);
  if (error != std::errc() || end != hex.data() + hex.size()) return std::nullopt;
  return std::bit_cast<float>(bits);
}

void check_header(std::string_view header, std::string_view file, std::vector<std::string>* warnings) {
  if (warnings == nullptr || header == kCalibrationCacheHeader) return;
  if (!header.ends_with("-EntropyCalibration2"))
    warnings->push_back(
        fmt::format("'{}' comes from another calibrator ({}); its scales are used as they are", file, header));
  else
    warnings->push_back(fmt::format("'{}' was written by another version ({}); its scales are used", file, header));
}

}  // namespace

Result<CalibrationCache> parse_calibration_cache(std::string_view text, std::string_view file,
                                                 std::vector<std::string>* warnings) {
  const auto corrupt = [&file](std::string what) {
    return Error{.code = Code::corrupt,
                 .file = std::string(file),
                 .what = std::move(what),
                 .fix = "calibrate again, or give a folder of images or arrays"};
  };
  CalibrationCache cache;
  size_t number = 0;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    ++number;
    const bool cut_off = end == std::string_view::npos;
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    if (number == 1) {
      if (!line.starts_with("TRT-") || line.size() > 200)
        return corrupt("this is no TensorRT calibration cache: its first line is not 'TRT-<version>-<calibrator>'");
      cache.header = line;
      check_header(line, file, warnings);
      continue;
    }
    if (line.empty()) continue;
    const size_t colon = line.rfind(": ");
    const std::string_view hex = colon == std::string_view::npos ? std::string_view() : line.substr(colon + 2);
    const auto scale = scale_of(hex);
    if (cut_off && hex.size() < kHexDigits)
      return corrupt(fmt::format("the file ends in the middle of line {}: '{}'", number, line.substr(0, 80)));
    if (!scale || colon == 0)
      return corrupt(fmt::format("line {} is not 'name: 8 hexadecimal digits': '{}'", number, line.substr(0, 80)));
    if (!std::isfinite(*scale) || *scale < 0)
      return corrupt(fmt::format("line {}: the scale of '{}' is {}", number, line.substr(0, colon), *scale));
    if (*scale < kLeastScale) {
      if (warnings != nullptr)
        warnings->push_back(fmt::format("line {} of '{}': the scale of '{}' is {}, so that it stays in float", number,
                                        file, line.substr(0, colon), *scale == 0 ? "zero" : fmt::format("{}", *scale)));
      continue;
    }
    cache.scales.emplace_back(line.substr(0, colon), *scale);
  }
  if (cache.header.empty()) return corrupt("the file is empty");
  return cache;
}

std::string calibration_cache_text(const CalibrationCache& cache) {
  std::string text = fmt::format("{}\n", cache.header.empty() ? kCalibrationCacheHeader : cache.header);
  for (const auto& [name, scale] : cache.scales)
    text += fmt::format("{}: {:08x}\n", name, std::bit_cast<uint32_t>(scale));
  return text;
}

}  // namespace planish
