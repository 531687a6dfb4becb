#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "planish/base/status.h"

namespace planish::tools {

/// One message of a child: a letter that says what it is, and bytes.
struct ChildFrame {
  char kind = 0;
  std::vector<uint8_t> payload;
};

/// A Python program in a process of its own that sends frames over a pipe (descriptor 3 there): one byte for the kind,
/// eight for the payload's length (little-endian), the payload. It reads requests and the end of this process from
/// descriptor 4; its standard input is empty (a script may run more than once). What it prints goes to our standard
/// error, so that it cannot disturb a report. The child ends when this object does, or when this process dies.
class PythonChild {
 public:
  /// Starts `python -c source arguments...`. Errors: not_found (no such interpreter), io.
  static Result<std::unique_ptr<PythonChild>> start(const std::string& python, std::string_view source,
                                                    const std::vector<std::string>& arguments);
  ~PythonChild();
  PythonChild(const PythonChild&) = delete;
  PythonChild& operator=(const PythonChild&) = delete;

  /// The next frame; nullopt when the child closed the pipe. `timeout_s` bounds the wait for each piece of it.
  /// Errors: cancelled (nothing came in time), corrupt (the child ended inside a frame).
  Result<std::optional<ChildFrame>> next(double timeout_s);
  /// Writes bytes to the child's descriptor 4, for programs that answer requests. Error io: the child is gone.
  Status send(std::span<const uint8_t> bytes);
  /// How the child ended, for messages: "exit code 3", "signal 11 (Segmentation fault)". Waits for it.
  std::string end_text();
  /// Ends the child now.
  void stop();

 private:
  PythonChild() = default;
  Result<size_t> read_some(uint8_t* to, size_t bytes, double timeout_s);
  Result<bool> read_all(uint8_t* to, size_t bytes, double timeout_s);

  int pid_ = -1;
  int frames_ = -1;    ///< read end
  int lifeline_ = -1;  ///< write end; the child ends when this closes
  int wait_status_ = 0;
};

}  // namespace planish::tools
