#include "planish/tools/polygraphy/logger.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <cstdio>
#include <ctime>

namespace planish::tools {
namespace {

char letter_of(PolygraphyLog::Severity severity) {
  if (severity >= PolygraphyLog::critical) return '!';
  if (severity >= PolygraphyLog::error) return 'E';
  if (severity >= PolygraphyLog::warning) return 'W';
  return severity >= PolygraphyLog::info ? 'I' : 'V';
}

}  // namespace

void PolygraphyLog::print(Severity severity, std::string_view text) {
  if (severity < threshold) return;
  std::string line = fmt::format("[{}]", letter_of(severity));
  if (timestamps) {
    const std::time_t now = std::time(nullptr);
    std::tm local{};
    localtime_r(&now, &local);
    line += fmt::format("[{:%H:%M:%S}]", local);
  }
  line += ' ';
  const std::string margin(static_cast<size_t>(indent) * 4, ' ');
  line += margin;
  for (const char c : text) {
    line += c;
    if (c == '\n') line += "    " + margin;
  }
  line += '\n';
  std::fflush(stdout);
  fmt::print(severity >= critical ? stderr : stdout, "{}", line);
  if (file.is_open()) file << line << std::flush;
}

void PolygraphyLog::print_once(Severity severity, const std::string& text) {
  if (printed_once_.insert(text).second) print(severity, text);
}

}  // namespace planish::tools
