#pragma once

#include <fstream>
#include <string>
#include <string_view>

namespace planish::tools {

/// Polygraphy's console: "[I] text", later lines indented by 4. What is critical goes to standard error, the rest to
/// standard output.
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

  int threshold = info;     ///< less severe lines are dropped
  bool timestamps = false;  ///< "[I][12:30:59]"
  std::ofstream file;       ///< a copy of every line, when open
};

}  // namespace planish::tools
