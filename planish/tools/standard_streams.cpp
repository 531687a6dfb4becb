#include "planish/tools/standard_streams.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>

namespace planish::tools {
namespace {

struct Target {
  int descriptor;
  std::atomic<int> error{0};  ///< errno of the first write that failed
};

Target g_out{STDOUT_FILENO};
Target g_err{STDERR_FILENO};

ssize_t write_or_remember(void* cookie, const char* text, size_t size) {
  auto& target = *static_cast<Target*>(cookie);
  for (size_t done = 0; done < size && target.error == 0;) {
    const ssize_t n = ::write(target.descriptor, text + done, size - done);
    if (n >= 0) done += static_cast<size_t>(n);
    if (n < 0 && errno != EINTR) target.error = errno;
  }
  return static_cast<ssize_t>(size);
}

FILE* guarded(Target& target, FILE* original, int buffering) {
  const cookie_io_functions_t functions{.read = nullptr, .write = write_or_remember, .seek = nullptr, .close = nullptr};
  FILE* stream = ::fopencookie(&target, "w", functions);
  if (stream == nullptr) return original;
  std::setvbuf(stream, nullptr, buffering, BUFSIZ);
  return stream;
}

}  // namespace

void guard_standard_streams() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd)
    if (::fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
      const int opened = ::open("/dev/null", O_RDWR);  // the lowest free number, which is fd
      if (opened == fd && fd == STDOUT_FILENO) g_out.error = EBADF;
    }
  stdout = guarded(g_out, stdout, ::isatty(STDOUT_FILENO) == 1 ? _IOLBF : _IOFBF);
  stderr = guarded(g_err, stderr, _IONBF);
}

int close_standard_streams(std::string_view program, int exit_code) {
  errno = 0;
  const bool stream_failed = !std::cout.flush().good();
  if (stream_failed && g_out.error == 0) g_out.error = errno != 0 ? errno : EIO;
  std::fflush(stdout);
  if (g_out.error == 0) return exit_code;
  fmt::print(stderr, "{}: text for standard output was lost: {}\n", program, std::strerror(g_out.error));
  return exit_code == 0 ? 1 : exit_code;
}

}  // namespace planish::tools
