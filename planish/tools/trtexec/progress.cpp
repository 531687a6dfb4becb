#include "planish/tools/trtexec/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace planish::tools {

ProgressLine::ProgressLine(Log& log) : log_(log), on_terminal_(isatty(STDERR_FILENO) == 1) {}

void ProgressLine::update(const std::string& phase, int64_t done, int64_t total) {
  const int64_t percent = total > 0 ? std::clamp<int64_t>(done * 100 / total, 0, 100) : 0;
  if (on_terminal_) {
    constexpr int64_t kWidth = 30;
    const auto filled = static_cast<size_t>(percent * kWidth / 100);
    const std::string bar = std::string(filled, '#') + std::string(static_cast<size_t>(kWidth) - filled, '.');
    fmt::print(stderr, "\r\033[K[{}] {:3}% {} ({}/{})", bar, percent, phase, done, total);
    std::fflush(stderr);
    bar_shown_ = true;
    return;
  }
  const int64_t quarter = percent / 25;
  if (phase == phase_ && quarter == quarter_) return;
  phase_ = phase;
  quarter_ = quarter;
  log_.info(total > 0 ? fmt::format("Building: {} {}/{} ({}%)", phase, done, total, percent) : "Building: " + phase);
}

void ProgressLine::finish() {
  if (bar_shown_) fmt::print(stderr, "\r\033[K");
  bar_shown_ = false;
}

}  // namespace planish::tools
