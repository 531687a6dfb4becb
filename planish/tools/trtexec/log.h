#pragma once

#include <functional>
#include <iosfwd>
#include <string>
#include <string_view>

#include "planish/base/status.h"

namespace planish::tools {

/// The version of TensorRT whose command line is imitated: scripts match it in the banner.
inline constexpr std::string_view kBannerVersion = "v100300";
inline constexpr std::string_view kImitatedVersion = "10.3.0";

/// Console of one trtexec run: `[MM/DD/YYYY-HH:MM:SS] [I] text`. F, E and W go to `err`, I and V to `out`.
class Log {
 public:
  Log(std::ostream& out, std::ostream& err) : out_(out), err_(err) {}

  bool verbose = false;
  /// Text of the time stamp; tests replace it.
  std::function<std::string()> clock;

  void info(std::string_view text) { line('I', text); }
  void detail(std::string_view text) {
    if (verbose) line('V', text);
  }
  void warn(std::string_view text) { line('W', text); }
  void error(std::string_view text) { line('E', text); }
  void error(const Error& error) { line('E', error.message()); }
  /// Unprefixed text on standard output (listing).
  void plain(std::string_view text);
  /// `&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # <command>`.
  void banner(std::string_view state, std::string_view command);

 private:
  /// Every line of a text gets the prefix, so that a log stays readable line by line.
  void line(char level, std::string_view text);

  std::ostream& out_;
  std::ostream& err_;
};

}  // namespace planish::tools
