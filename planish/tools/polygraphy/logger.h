#pragma once

#include <fstream>
#include <set>
#include <string>
#include <string_view>

namespace planish::tools {

/// Polygraphy's console: "[I] text", later lines indented by 4 more. What is critical goes to standard error, the rest
/// to standard output.
class PolygraphyLog {
 public:
  enum Severity {
    extra_verbose = 5,
    verbose = 10,
    info = 20,
    start = 22,
    finish = 28,
    warning = 30,
    error = 40,
    critical = 50
  };

  void print(Severity severity, std::string_view text);
  /// The same for a text that was not printed before.
  void print_once(Severity severity, const std::string& text);
  /// False when a text of this severity would be dropped.
  [[nodiscard]] bool shows(Severity severity) const { return severity >= threshold; }

  int indent = 0;           ///< levels of 4 blanks before every line
  int threshold = info;     ///< less severe lines are dropped
  bool timestamps = false;  ///< "[I][12:30:59]"
  std::ofstream file;       ///< a copy of every line, when open

 private:
  std::set<std::string> printed_once_;
};

/// Indents a log by one level as long as it lives.
class LogIndent {
 public:
  explicit LogIndent(PolygraphyLog& log) : log_(log) { ++log_.indent; }
  ~LogIndent() { --log_.indent; }
  LogIndent(const LogIndent&) = delete;
  LogIndent& operator=(const LogIndent&) = delete;

 private:
  PolygraphyLog& log_;
};

}  // namespace planish::tools
