#include "planish/tools/trtexec/log.h"

#include <fmt/format.h>

#include <ctime>
#include <ostream>

namespace planish::tools {
namespace {

std::string local_time_text() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  return fmt::format("{:02}/{:02}/{:04}-{:02}:{:02}:{:02}", parts.tm_mon + 1, parts.tm_mday, parts.tm_year + 1900,
                     parts.tm_hour, parts.tm_min, parts.tm_sec);
}

}  // namespace

void Log::line(char level, std::string_view text) {
  std::ostream& stream = level == 'I' || level == 'V' ? out_ : err_;
  const std::string prefix = fmt::format("[{}] [{}] ", clock ? clock() : local_time_text(), level);
  size_t start = 0;
  while (start <= text.size()) {
    const size_t end = std::min(text.find('\n', start), text.size());
    stream << prefix << text.substr(start, end - start) << '\n';
    start = end + 1;
  }
  stream.flush();
}

void Log::plain(std::string_view text) {
  out_ << text;
  if (text.empty() || text.back() != '\n') out_ << '\n';
  out_.flush();
}

void Log::banner(std::string_view state, std::string_view command) {
  plain(fmt::format("&&&& {} TensorRT.trtexec [TensorRT {}] # {}", state, kBannerVersion, command));
}

}  // namespace planish::tools
