#include "planish/tools/console.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace planish::tools {
namespace {

/// Characters, not bytes, so that names in UTF-8 stay aligned.
size_t width_of(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

/// Both ends of a long ASCII text; the end of a layer's name tells more than its middle.
std::string shortened(const std::string& text, size_t max_width) {
  const bool ascii = width_of(text) == text.size();
  if (text.size() <= max_width || !ascii || max_width < 8) return text;
  const size_t tail = max_width / 2;
  return text.substr(0, max_width - tail - 2) + ".." + text.substr(text.size() - tail);
}

std::string padded(const std::string& text, size_t width, bool right) {
  const std::string blanks(width - std::min(width, width_of(text)), ' ');
  return right ? blanks + text : text + blanks;
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  return '"' + replaced(text, "\"", "\"\"") + '"';
}

}  // namespace

int fail(std::string_view command, const Error& error) {
  fmt::print(stderr, "planish {}: {}\n", command, error.message());
  return 1;
}

void warn(std::string_view command, std::string_view text) {
  fmt::print(stderr, "planish {}: warning: {}\n", command, text);
}

std::string bytes_text(int64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string milliseconds_text(double ms) {
  const int digits = ms >= 100 ? 0 : ms >= 10 ? 1 : ms >= 1 ? 2 : ms >= 0.1 ? 3 : 4;
  return fmt::format("{:.{}f} ms", ms, digits);
}

std::string tuple_text(const std::vector<int64_t>& dims) {
  std::string out = "(";
  for (size_t i = 0; i < dims.size(); ++i)
    out += (i == 0 ? "" : ", ") + (dims[i] < 0 ? std::string("?") : fmt::format("{}", dims[i]));
  return out + (dims.size() == 1 ? ",)" : ")");
}

std::string extents_text(const std::vector<int64_t>& dims) {
  if (dims.empty()) return "scalar";
  std::string out;
  for (const int64_t d : dims) out += (out.empty() ? "" : "x") + (d < 0 ? std::string("?") : fmt::format("{}", d));
  return out;
}

Progress::Progress(std::string title) : title_(std::move(title)), on_terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() { finish(); }

void Progress::update(std::string_view stage, int64_t done, int64_t total, std::string_view note) {
  const int64_t percent = total > 0 ? std::clamp<int64_t>(done * 100 / total, 0, 100) : 0;
  const std::string tail = note.empty() ? "" : fmt::format(", {}", note);
  const std::string of = total > 0 ? fmt::format("/{}", total) : "";  // a script does not say how much it has
  if (on_terminal_) {
    constexpr auto kRedraw = std::chrono::milliseconds(50);
    const auto now = std::chrono::steady_clock::now();
    if (bar_shown_ && now - last_ < kRedraw && done != total) return;
    last_ = now;
    constexpr int64_t kWidth = 30;
    const auto filled = static_cast<size_t>(percent * kWidth / 100);
    const std::string bar = std::string(filled, '#') + std::string(static_cast<size_t>(kWidth) - filled, '.');
    fmt::print(stderr, "\r\033[K[{}] {:3}% {}: {} {}{}{}", bar, percent, title_, stage, done, of, tail);
    std::fflush(stderr);
    bar_shown_ = true;
    return;
  }
  constexpr int64_t kReport = 100;
  const int64_t quarter = total > 0 ? percent / 25 : done / kReport;
  if (stage == stage_ && quarter == quarter_) return;
  stage_ = stage;
  quarter_ = quarter;
  const std::string share = total > 0 ? fmt::format(" ({}%)", percent) : "";
  fmt::print(stderr, "{}: {} {}{}{}{}\n", title_, stage, done, of, share, tail);
}

void Progress::finish() {
  if (bar_shown_) fmt::print(stderr, "\r\033[K");
  bar_shown_ = false;
}

std::string Table::text() const {
  std::vector<size_t> widths;
  for (const Column& column : columns_) widths.push_back(width_of(column.title));
  for (const auto& row : rows_)
    for (size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], width_of(shortened(row[i], columns_[i].max_width)));
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string out;
    for (size_t i = 0; i < cells.size(); ++i)
      out += (i == 0 ? "" : "  ") + padded(shortened(cells[i], columns_[i].max_width), widths[i], columns_[i].right);
    return out.substr(0, out.find_last_not_of(' ') + 1) + '\n';
  };
  std::vector<std::string> titles;
  for (const Column& column : columns_) titles.push_back(column.title);
  std::string out = line(titles);
  for (const auto& row : rows_) out += line(row);
  return out;
}

std::string Table::markdown() const {
  const auto line = [](const auto& cells, auto text_of) {
    std::string out = "|";
    for (const auto& cell : cells) out += fmt::format(" {} |", text_of(cell));
    return out + '\n';
  };
  std::string out = line(columns_, [](const Column& c) { return c.title; });
  out += line(columns_, [](const Column& c) { return c.right ? "---:" : "---"; });
  for (const auto& row : rows_)
    out += line(row, [](const std::string& cell) { return replaced(replaced(cell, "|", "\\|"), "\n", " "); });
  return out;
}

std::string Table::csv() const {
  std::vector<std::string> titles;
  for (const Column& column : columns_) titles.push_back(csv_cell(column.title));
  std::string out = fmt::format("{}\n", fmt::join(titles, ","));
  for (const auto& row : rows_) {
    std::vector<std::string> cells;
    for (const std::string& cell : row) cells.push_back(csv_cell(cell));
    out += fmt::format("{}\n", fmt::join(cells, ","));
  }
  return out;
}

}  // namespace planish::tools
