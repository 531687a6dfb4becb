#pragma once

#include <cstdint>
#include <string>

#include "planish/tools/trtexec/log.h"

namespace planish::tools {

/// Progress of long work: a bar on standard error when that is a terminal, else a log line per phase and quarter.
class ProgressLine {
 public:
  explicit ProgressLine(Log& log);
  void update(const std::string& phase, int64_t done, int64_t total);
  /// Removes the bar.
  void finish();

 private:
  Log& log_;
  bool on_terminal_;
  bool bar_shown_ = false;
  std::string phase_;
  int64_t quarter_ = -1;
};

}  // namespace planish::tools
