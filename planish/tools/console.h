#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "planish/base/status.h"

namespace planish::tools {

/// Prints "planish <command>: <message>" on standard error; returns exit code 1.
int fail(std::string_view command, const Error& error);

/// "planish <command>: warning: <text>" on standard error.
void warn(std::string_view command, std::string_view text);

/// "812 B", "4.9 MiB".
std::string bytes_text(int64_t bytes);
/// "0.0123 ms", "12.3 ms": three significant digits.
std::string milliseconds_text(double ms);
/// "(1, 3, 224, 224)"; unknown dimensions as "?".
std::string tuple_text(const std::vector<int64_t>& dims);
/// "1x3x224x224", "?x3"; "scalar" for rank 0.
std::string extents_text(const std::vector<int64_t>& dims);

/// Progress of long work on standard error: a bar on a terminal, else a line per stage and quarter.
class Progress {
 public:
  explicit Progress(std::string title);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  /// `note` follows the counts ("23.1 images/s").
  void update(std::string_view stage, int64_t done, int64_t total, std::string_view note = {});
  /// Removes the bar.
  void finish();

 private:
  std::string title_;
  bool on_terminal_;
  bool bar_shown_ = false;
  std::string stage_;
  int64_t quarter_ = -1;
  std::chrono::steady_clock::time_point last_{};
};

/// A table for people (aligned columns), Markdown or CSV.
class Table {
 public:
  struct Column {
    std::string title;
    bool right = false;     ///< numbers
    size_t max_width = 48;  ///< longer cells lose their middle in text()
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  [[nodiscard]] std::string text() const;
  [[nodiscard]] std::string markdown() const;
  [[nodiscard]] std::string csv() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace planish::tools
