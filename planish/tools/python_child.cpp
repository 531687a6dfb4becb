#include "planish/tools/python_child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>

extern char** environ;

namespace planish::tools {
namespace {

constexpr int kFramesInChild = 3;
constexpr int kLifelineInChild = 4;
constexpr uint64_t kMaxFrameBytes = uint64_t{1} << 35;

Error io_error(const std::string& what) {
  return Error{.code = Code::io, .what = fmt::format("{}: {}", what, std::strerror(errno)), .fix = "try again"};
}

/// A pipe whose ends lie above the descriptors that the child's program uses.
Result<std::array<int, 2>> high_pipe() {
  constexpr int kLowest = 10;
  std::array<int, 2> low{};
  if (pipe2(low.data(), O_CLOEXEC) != 0) return io_error("no pipe could be made");
  std::array<int, 2> high{};
  for (size_t i = 0; i < 2; ++i) high[i] = fcntl(low[i], F_DUPFD_CLOEXEC, kLowest);
  close(low[0]);
  close(low[1]);
  if (high[0] < 0 || high[1] < 0) return io_error("no pipe could be made");
  return high;
}

}  // namespace

Result<std::unique_ptr<PythonChild>> PythonChild::start(const std::string& python, std::string_view source,
                                                        const std::vector<std::string>& arguments) {
  const auto frames = PLANISH_TRY(high_pipe());
  const auto lifeline = PLANISH_TRY(high_pipe());
  std::unique_ptr<PythonChild> child(new PythonChild);
  child->frames_ = frames[0];
  child->lifeline_ = lifeline[1];

  std::vector<std::string> texts{python, "-c", std::string(source)};
  texts.insert(texts.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& text : texts) argv.push_back(text.data());
  argv.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, lifeline[0], kLifelineInChild);
  posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, frames[1], kFramesInChild);
  pid_t pid = -1;
  const int failed = posix_spawnp(&pid, python.c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(frames[1]);
  close(lifeline[0]);
  if (failed != 0)
    return Error{.code = Code::not_found,
                 .file = python,
                 .what = fmt::format("no Python could be started ({})", std::strerror(failed)),
                 .fix = "install Python 3 with numpy, or put it on PATH: a script runs in your own python3"};
  child->pid_ = pid;
  return child;
}

PythonChild::~PythonChild() {
  stop();
  if (frames_ >= 0) close(frames_);
}

void PythonChild::stop() {
  if (lifeline_ >= 0) close(lifeline_);
  lifeline_ = -1;
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  (void)end_text();
}

std::string PythonChild::end_text() {
  if (pid_ > 0) {
    while (waitpid(pid_, &wait_status_, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
  }
  if (WIFSIGNALED(wait_status_))
    return fmt::format("signal {} ({})", WTERMSIG(wait_status_), strsignal(WTERMSIG(wait_status_)));
  return fmt::format("exit code {}", WEXITSTATUS(wait_status_));
}

Result<size_t> PythonChild::read_some(uint8_t* to, size_t bytes, double timeout_s) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::duration<double>(timeout_s);
  while (true) {
    const std::chrono::duration<double, std::milli> left = deadline - Clock::now();
    pollfd wait{frames_, POLLIN, 0};
    const int ready = poll(&wait, 1, static_cast<int>(std::max(left.count() + 1, 0.0)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return io_error("the pipe to Python failed");
    if (ready == 0)
      return Error{.code = Code::cancelled, .what = fmt::format("nothing came for {:g} seconds", timeout_s)};
    const ssize_t got = read(frames_, to, bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_error("the pipe to Python failed");
    return static_cast<size_t>(got);
  }
}

/// False when the pipe ended before the first byte.
Result<bool> PythonChild::read_all(uint8_t* to, size_t bytes, double timeout_s) {
  size_t done = 0;
  while (done < bytes) {
    const size_t got = PLANISH_TRY(read_some(to + done, bytes - done, timeout_s));
    if (got == 0 && done == 0) return false;
    if (got == 0) return Error{.code = Code::corrupt, .what = "Python ended in the middle of an array"};
    done += got;
  }
  return true;
}

Result<std::optional<ChildFrame>> PythonChild::next(double timeout_s) {
  std::array<uint8_t, 9> head{};
  if (!PLANISH_TRY(read_all(head.data(), head.size(), timeout_s))) return std::optional<ChildFrame>();
  uint64_t bytes = 0;
  for (size_t i = 0; i < 8; ++i) bytes |= uint64_t{head[i + 1]} << (8 * i);
  if (bytes > kMaxFrameBytes)
    return Error{.code = Code::corrupt, .what = fmt::format("Python announced {} bytes at once", bytes)};
  ChildFrame frame{static_cast<char>(head[0]), {}};
  frame.payload.resize(bytes);
  if (bytes > 0 && !PLANISH_TRY(read_all(frame.payload.data(), bytes, timeout_s)))
    return Error{.code = Code::corrupt, .what = "Python ended in the middle of an array"};
  return std::optional<ChildFrame>(std::move(frame));
}

Status PythonChild::send(std::span<const uint8_t> bytes) {
  // A child that is gone must be an error here, not a SIGPIPE that ends us.
  sigset_t broken_pipe, before;
  sigemptyset(&broken_pipe);
  sigaddset(&broken_pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &broken_pipe, &before);
  Status status;
  while (!bytes.empty() && status.ok()) {
    const ssize_t sent = write(lifeline_, bytes.data(), bytes.size());
    if (sent >= 0)
      bytes = bytes.subspan(static_cast<size_t>(sent));
    else if (errno != EINTR)
      status = io_error("the pipe to Python failed");
  }
  const timespec now{};
  if (!status.ok()) sigtimedwait(&broken_pipe, nullptr, &now);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return status;
}

}  // namespace planish::tools
