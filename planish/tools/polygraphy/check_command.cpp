#include "planish/tools/polygraphy/check_command.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <memory>
#include <regex>

extern char** environ;

namespace planish::tools {
namespace {

namespace fs = std::filesystem;
using enum Takes;

constexpr std::array kOptions{
    OptionDecl{
        "--check,--check-inference", rest, "COMMAND",
        "command that decides whether an iteration passes, by its exit code; takes the rest of the line. Without "
        "it the outputs are compared with those in FP32",
        ""},
    OptionDecl{"--fail-code,--fail-returncode", several, "N", "exit codes that count as failures (default: all but 0)",
               ""},
    OptionDecl{"--ignore-fail-code,--ignore-fail-returncode", several, "N", "exit codes that count as passes", ""},
    OptionDecl{"--fail-regex", several, "REGEX", "output that counts as a failure", ""},
    OptionDecl{"--show-output", nothing, "", "show the command's output, even of passing iterations", ""},
    OptionDecl{"--hide-fail-output", nothing, "", "do not show the output of failing iterations", ""},
    OptionDecl{"--artifacts", several, "FILE", "files to keep, sorted into good and bad", ""},
    OptionDecl{"--art-dir,--artifacts-dir", one, "DIR", "where (default polygraphy_artifacts)", ""},
    OptionDecl{"--iter-artifact,--intermediate-artifact", one, "FILE",
               "the engine of an iteration (default polygraphy_debug.engine)", ""},
    OptionDecl{"--no-remove-intermediate", nothing, "", "keep the last iteration's engine", ""},
    OptionDecl{"--iter-info,--iteration-info", one, "FILE", "write the iteration's number for the command", ""},
    OptionDecl{"--load-debug-replay", one, "FILE", "take known outcomes from an earlier run", ""},
    OptionDecl{"--save-debug-replay", one, "FILE", "write outcomes for a later run", ""},
};

struct FileCloser {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using TemporaryFile = std::unique_ptr<std::FILE, FileCloser>;

std::string content_of(std::FILE* file) {
  std::string out;
  std::array<char, 4096> buffer{};
  std::rewind(file);
  for (size_t got = 0; (got = std::fread(buffer.data(), 1, buffer.size(), file)) > 0;) out.append(buffer.data(), got);
  return out;
}

bool contains_code(const std::vector<std::string>& codes, int code) {
  return std::find(codes.begin(), codes.end(), fmt::format("{}", code)) != codes.end();
}

/// Line by line, long ones in pieces: the library's matcher recurses once per character.
bool found_in(const std::regex& expression, const std::string& text) {
  constexpr size_t kPiece = 4096;
  for (size_t at = 0; at < text.size();) {
    const size_t line_end = std::min(text.find('\n', at), text.size());
    const size_t end = std::min(line_end, at + kPiece);
    const auto first = text.begin() + static_cast<std::ptrdiff_t>(at);
    if (std::regex_search(first, text.begin() + static_cast<std::ptrdiff_t>(end), expression)) return true;
    at = end + (end == line_end ? 1 : 0);
  }
  return false;
}

Result<bool> matches_any(const std::vector<std::string>& expressions, const std::string& text) {
  for (const std::string& expression : expressions) {
    try {
      if (found_in(std::regex(expression), text)) return true;
    } catch (const std::regex_error& error) {
      return Error{.code = Code::invalid_argument,
                   .file = "--fail-regex",
                   .what = fmt::format("'{}' is no regular expression: {}", expression, error.what()),
                   .fix = "write it in the syntax of ECMAScript"};
    }
  }
  return false;
}

Result<bool> succeeded(const ParsedOptions& options, const CommandOutcome& outcome) {
  if (contains_code(options.values("--ignore-fail-code"), outcome.code)) return true;
  const bool has_regex = options.has("--fail-regex");
  const bool found = PLANISH_TRY(matches_any(options.values("--fail-regex"), outcome.out + outcome.err));
  if (options.has("--fail-code"))
    return !(contains_code(options.values("--fail-code"), outcome.code) && (!has_regex || found));
  return has_regex ? !found : outcome.code == 0;
}

}  // namespace

OptionGroup check_options() { return {"checks", kOptions}; }

Result<CommandOutcome> run_command_line(const std::vector<std::string>& arguments) {
  const TemporaryFile out(std::tmpfile()), err(std::tmpfile());
  if (!out || !err)
    return Error{.code = Code::io, .what = "no temporary file could be made", .fix = "check the space in /tmp"};
  std::vector<std::string> texts = arguments;
  std::vector<char*> argv;
  for (std::string& text : texts) argv.push_back(text.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, fileno(out.get()), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, fileno(err.get()), STDERR_FILENO);
  pid_t pid = -1;
  const int failed = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0)
    return Error{.code = Code::not_found,
                 .file = arguments[0],
                 .what = fmt::format("the check command cannot be started ({})", std::strerror(failed)),
                 .fix = "check that it is on PATH"};
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return CommandOutcome{WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status), content_of(out.get()),
                        content_of(err.get())};
}

Result<bool> run_check(const ParsedOptions& options, PolygraphyLog& log) {
  const auto command = options.values("--check");
  log.print(PolygraphyLog::info, fmt::format("Running check command: {}", fmt::join(command, " ")));
  CommandOutcome outcome = PLANISH_TRY(run_command_line(command));
  const bool success = PLANISH_TRY(succeeded(options, outcome));
  if (options.has("--show-output") || (!success && !options.has("--hide-fail-output"))) {
    const auto trimmed = [](std::string text) {
      text.erase(text.find_last_not_of('\n') + 1);
      return text;
    };
    log.print(PolygraphyLog::info, "========== CAPTURED STDOUT ==========\n" + trimmed(outcome.out));
    log.print(success ? PolygraphyLog::warning : PolygraphyLog::error,
              "========== CAPTURED STDERR ==========\n" + trimmed(outcome.err));
  }
  return success;
}

void sort_artifacts(const ParsedOptions& options, bool success, const std::string& suffix, PolygraphyLog& log) {
  static const std::time_t start = std::time(nullptr);
  std::tm local{};
  localtime_r(&start, &local);
  for (const std::string& artifact : options.values("--artifacts")) {
    std::error_code error;
    if (!fs::exists(artifact, error)) {
      log.print(PolygraphyLog::error,
                fmt::format("Artifact: {} does not exist, skipping.\nWas the artifact supposed to be "
                            "generated?",
                            artifact));
      continue;
    }
    const fs::path folder = fs::path(options.text("--art-dir", "polygraphy_artifacts")) / (success ? "good" : "bad");
    fs::create_directories(folder, error);
    const fs::path target = folder / fmt::format("{}_{:%Y-%m-%d_%H-%M-%S}{}{}", fs::path(artifact).stem().string(),
                                                 local, suffix, fs::path(artifact).extension().string());
    if (fs::exists(target, error)) {
      log.print(PolygraphyLog::error, fmt::format("Destination path: {} already exists.\nRefusing to overwrite. This "
                                                  "artifact will be skipped!",
                                                  target.string()));
      continue;
    }
    log.print(PolygraphyLog::info, fmt::format("Moving {} to {}", artifact, target.string()));
    fs::rename(artifact, target, error);
    if (error) {
      fs::copy(artifact, target, fs::copy_options::recursive, error);
      if (!error) fs::remove_all(artifact, error);
    }
    if (error) log.print(PolygraphyLog::error, fmt::format("{}: {}", artifact, error.message()));
  }
}

}  // namespace planish::tools
