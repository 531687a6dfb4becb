#include "planish/tools/polygraphy/tool.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <cstdint>

#include "planish/api/file_kind.h"
#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

std::string usage_line(const ToolSyntax& syntax) {
  const std::string positionals = syntax.positionals.empty()    ? ""
                                  : syntax.min_positionals == 0 ? fmt::format(" [{}]", syntax.positionals)
                                                                : fmt::format(" {}", syntax.positionals);
  return fmt::format("usage: {} [options]{}\n", syntax.program, positionals);
}

Error bad_shape(std::string_view option, const std::string& text) {
  return Error{.code = Code::invalid_argument,
               .file = std::string(option),
               .what = fmt::format("'{}' is not a name with a shape", text),
               .fix = fmt::format("write {} image:[1,3,224,224]", option)};
}

}  // namespace

void set_log_level(PolygraphyLog& log, int verbosity, const std::string& named, bool silent) {
  constexpr int kNothing = PolygraphyLog::critical + 1;
  constexpr std::array kQuieter{PolygraphyLog::start, PolygraphyLog::finish, PolygraphyLog::warning,
                                PolygraphyLog::error, PolygraphyLog::critical};
  const auto level = [&]() -> int {
    if (silent) return kNothing;
    for (const auto& [name, severity] :
         {std::pair{"ULTRA_VERBOSE", 2}, std::pair{"SUPER_VERBOSE", 3}, std::pair{"EXTRA_VERBOSE", 5},
          std::pair{"VERBOSE", 10}, std::pair{"INFO", 20}, std::pair{"START", 22}, std::pair{"FINISH", 28},
          std::pair{"WARNING", 30}, std::pair{"ERROR", 40}, std::pair{"CRITICAL", 50}})
      if (upper(named) == name) return severity;
    if (verbosity >= 0) return PolygraphyLog::info - 10 * verbosity;
    const auto quieter = static_cast<size_t>(-verbosity) - 1;
    return quieter < kQuieter.size() ? kQuieter[quieter] : kNothing;
  };
  log.threshold = level();
}

void set_up_log(const ParsedOptions& options, PolygraphyLog& log) {
  std::string named;
  for (const std::string& value : options.values("--verbosity"))
    if (value.find(':') == std::string::npos) named = value;
  set_log_level(log, options.count("-v") - options.count("-q"), named, options.has("--silent"));
  const auto formats = options.values("--log-format");
  log.timestamps = std::find(formats.begin(), formats.end(), "timestamp") != formats.end();
  if (options.has("--log-file")) log.file.open(options.text("--log-file"));
}

Error plain_error(std::string text, std::string fix) {
  return Error{.code = Code::invalid_argument, .what = std::move(text), .fix = std::move(fix)};
}

/// As Python's argparse does before anything runs: options that count take whole numbers only. Nothing: all is well.
std::string bad_count(const ParsedOptions& options) {
  for (const auto& [option, names] : {std::pair{"--iterations", "--iterations/--iters"},
                                      std::pair{"--warm-up", "--warm-up"}, std::pair{"--seed", "--seed"}}) {
    if (!options.has(option)) continue;
    const auto number = options.integer(option, 1, INT64_MIN, INT64_MAX);
    if (!number.ok())
      return fmt::format("argument {}: invalid int value: '{}' (for example {} 1)", names, options.text(option),
                         option);
  }
  return "";
}

int run_tool(const ToolSyntax& syntax, const std::vector<std::string>& arguments, bool framed, const ToolBody& body) {
  const auto asks_help = [](const std::string& a) { return a == "-h" || a == "--help"; };
  const auto check = std::find(arguments.begin(), arguments.end(), "--check");
  if (std::any_of(arguments.begin(), check, asks_help)) {
    fmt::print("{}", help_of(syntax));
    return 0;
  }
  const auto parsed = parse_options(syntax, arguments);
  if (!parsed.ok()) {
    fmt::print(stderr, "{}{}: error: {}\n", usage_line(syntax), syntax.program, parsed.error().what);
    return kPolygraphyBadArguments;
  }
  if (const std::string bad = bad_count(*parsed); !bad.empty()) {
    fmt::print(stderr, "{}{}: error: {}\n", usage_line(syntax), syntax.program, bad);
    return kPolygraphyBadArguments;
  }
  PolygraphyLog log;
  set_up_log(*parsed, log);
  const std::string command = fmt::format("{} {}", syntax.program, fmt::join(arguments, " "));
  const auto begin = std::chrono::steady_clock::now();
  if (framed) log.print(PolygraphyLog::start, "RUNNING | Command: " + command);
  for (const std::string& option : parsed->without_effect)
    log.print(PolygraphyLog::warning, fmt::format("{} has no effect here", option));
  const auto outcome = body(*parsed, log);
  if (!outcome.ok()) log.print(PolygraphyLog::critical, outcome.error().message());
  const bool passed = outcome.ok() && *outcome;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (framed)
    log.print(passed ? PolygraphyLog::finish : PolygraphyLog::error,
              fmt::format("{} | Runtime: {:.3f}s | Command: {}", passed ? "PASSED" : "FAILED", seconds, command));
  return passed ? 0 : kPolygraphyFailed;
}

Status refuse(const ParsedOptions& options, const std::vector<std::string>& names, const std::string& what,
              const std::string& fix) {
  for (const std::string& name : names)
    if (options.has(name)) return Error{.code = Code::unsupported, .file = name, .what = what, .fix = fix};
  return {};
}

Result<PolygraphyModel> polygraphy_model(const std::string& path, const std::string& model_type) {
  if (path.empty()) return PolygraphyModel::none;
  if (model_type == "onnx") return PolygraphyModel::onnx;
  if (model_type == "engine") return PolygraphyModel::engine;
  if (!model_type.empty())
    return Error{.code = Code::unsupported,
                 .file = path,
                 .what = fmt::format("models of type {} are not read here", model_type),
                 .fix = "give an ONNX model or an engine, or use the polygraphy Python package"};
  const api::FileKind kind = PLANISH_TRY(api::file_kind(path));
  return kind == api::FileKind::engine ? PolygraphyModel::engine : PolygraphyModel::onnx;
}

Result<std::vector<std::pair<std::string, std::vector<int64_t>>>> parse_shape_options(
    const std::vector<std::string>& values, std::string_view option) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> out;
  for (const std::string& text : values) {
    size_t colon = text.rfind(':');
    // The form before brackets: name,1x3x224x224.
    if (colon == std::string::npos) colon = text.rfind(',');
    if (colon == std::string::npos || colon == 0) return bad_shape(option, text);
    std::string dims = text.substr(colon + 1);
    char separator = 'x';
    if (dims.size() >= 2 &&
        ((dims.front() == '[' && dims.back() == ']') || (dims.front() == '(' && dims.back() == ')'))) {
      dims = dims.substr(1, dims.size() - 2);
      separator = ',';
    }
    std::vector<int64_t> shape;
    for (std::string& word : split_list(dims, separator)) {
      word.erase(0, word.find_first_not_of(' '));
      word.erase(word.find_last_not_of(' ') + 1);
      if (word.empty()) continue;
      const auto size = parse_integer(word, -1, int64_t{1} << 40, option);
      if (!size.ok()) return bad_shape(option, text);
      shape.push_back(*size);
    }
    out.emplace_back(text.substr(0, colon), std::move(shape));
  }
  return out;
}

}  // namespace planish::tools
