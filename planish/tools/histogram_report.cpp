#include "planish/tools/histogram_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "planish/base/atomic_file.h"

namespace planish::tools {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr double kLevels = 127;
constexpr size_t kBars = 256;

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text)
    out += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : c == '"' ? "&quot;" : std::string(1, c);
  return out;
}

std::string file_name_of(size_t number, const std::string& tensor) {
  constexpr size_t kLongest = 80;
  std::string name;
  for (const char c : tensor.substr(0, kLongest))
    name += std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '.' ? c : '_';
  return fmt::format("{:03}_{}.svg", number, name);
}

/// Counts in at most kBars bars up to the last one that is not empty.
std::vector<double> bars_of(const api::RangeHistogram& histogram, size_t& used) {
  used = histogram.counts.size();
  while (used > 1 && histogram.counts[used - 1] == 0) --used;
  const size_t per_bar = std::max<size_t>(1, (used + kBars - 1) / kBars);
  std::vector<double> bars((used + per_bar - 1) / per_bar, 0.0);
  for (size_t i = 0; i < used; ++i) bars[i / per_bar] += static_cast<double>(histogram.counts[i]);
  used = bars.size() * per_bar;
  return bars;
}

}  // namespace

std::string histogram_svg(const api::RangeHistogram& histogram, double scale) {
  constexpr double kWidth = 640, kHeight = 240, kLeft = 10, kTop = 36, kBottom = 24;
  size_t used = 0;
  const std::vector<double> bars = bars_of(histogram, used);
  const double largest = static_cast<double>(used) * histogram.bin_width;
  // Activations fall off over many powers of ten, so heights are logarithms.
  double tallest = 1;
  for (const double bar : bars) tallest = std::max(tallest, std::log10(1 + bar));
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" "
      "font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n"
      "<text x=\"{2}\" y=\"16\">{3}</text>\n",
      kWidth, kHeight, kLeft, escaped(histogram.tensor));
  const double area = kHeight - kTop - kBottom, step = (kWidth - 2 * kLeft) / static_cast<double>(bars.size());
  for (size_t i = 0; i < bars.size(); ++i) {
    if (bars[i] <= 0) continue;
    const double height = std::log10(1 + bars[i]) / tallest * area;
    out += fmt::format("<rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\" fill=\"#4a7ab5\"/>\n",
                       kLeft + static_cast<double>(i) * step, kTop + area - height, std::max(step, 0.5), height);
  }
  const double range = scale * kLevels;
  if (range > 0 && largest > 0) {
    const double x = kLeft + std::min(range / largest, 1.0) * (kWidth - 2 * kLeft);
    out += fmt::format(
        "<line x1=\"{0:.2f}\" y1=\"{1}\" x2=\"{0:.2f}\" y2=\"{2:.2f}\" stroke=\"#c0392b\" stroke-width=\"2\"/>\n", x,
        kTop - 8, kTop + area);
    out += fmt::format("<text x=\"{}\" y=\"30\" fill=\"#c0392b\">INT8 range {:.4g}</text>\n", kLeft, range);
  }
  out +=
      fmt::format("<text x=\"{}\" y=\"{}\">0</text>\n<text x=\"{}\" y=\"{}\" text-anchor=\"end\">|x| = {:.4g}</text>\n",
                  kLeft, kHeight - 8, kWidth - kLeft, kHeight - 8, largest);
  return out + "</svg>\n";
}

Status write_histograms(const std::string& folder, const api::CalibrationTable& table) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return Error{.code = Code::io, .file = folder, .what = error.message(), .fix = "check the path"};
  Json json = Json::array();
  for (size_t i = 0; i < table.histograms.size(); ++i) {
    const api::RangeHistogram& histogram = table.histograms[i];
    const auto it = table.ranges.find(histogram.tensor);
    const double scale = it == table.ranges.end() ? 0 : static_cast<double>(it->second.scale);
    json.push_back({{"tensor", histogram.tensor},
                    {"scale", scale},
                    {"range", scale * kLevels},
                    {"bin_width", histogram.bin_width},
                    {"counts", histogram.counts}});
    PLANISH_TRY(
        write_file_atomically(fs::path(folder) / file_name_of(i, histogram.tensor), histogram_svg(histogram, scale)));
  }
  return write_file_atomically(fs::path(folder) / "histograms.json",
                               json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace planish::tools
