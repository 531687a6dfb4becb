#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "planish/api/quantize.h"
#include "planish/base/atomic_file.h"
#include "planish/base/output_path.h"
#include "planish/tools/calibration/calibration_source.h"
#include "planish/tools/calibration/foreign_ranges.h"
#include "planish/tools/command_line.h"
#include "planish/tools/console.h"
#include "planish/tools/planish_commands.h"
#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

constexpr double kLevels = 127;

struct CacheCommand {
  std::string action, file, output, header;
  std::vector<std::string> sets, removals, renames;
  double factor = 1;
  bool json = false, csv = false;
  CommandLine line;

  CacheCommand()
      : line("cache",
             "Shows, edits and converts calibration caches: TensorRT's text format, JSON, and the ranges that ONNX "
             "Runtime writes. A tensor's range is its largest absolute value: scale = range / 127.",
             "  planish cache show model.cache\n"
             "  planish cache edit model.cache --set=/head/conv=6.5 --remove=probs -o edited.cache\n"
             "  planish cache convert model.cache model.json    # and back: convert model.json model.cache\n"
             "  planish cache convert model.json trt8.cache --header=TRT-8601-EntropyCalibration2") {
    line.positional("show|edit|convert", action, "What to do");
    line.positional("CACHE", file, "Cache, .json, or lines of \"name range\"");
    line.positional("OUT", output, "convert: file to write; .json becomes JSON, anything else a cache", false);
    line.text("-o,--output", output, "FILE", "edit: file to write (default: in place)");
    line.texts("--set", sets, "TENSOR=RANGE", "edit: set or add the range of a tensor");
    line.texts("--remove", removals, "TENSOR", "edit: remove a tensor, so that it stays in float; one * allowed");
    line.texts("--rename", renames, "OLD=NEW", "edit: give a range to another name");
    line.number("--scale-by", factor, 1e-6, 1e6, "X", "edit: multiply every range");
    line.text("--header", header, "TEXT", "First line of the cache that is written: TRT-<version>-<algorithm>");
    line.flag("--json", json, "show: print JSON");
    line.flag("--csv", csv, "show: print CSV");
  }
};

Error bad_option(std::string option, std::string what, std::string fix) {
  return Error{
      .code = Code::invalid_argument, .file = std::move(option), .what = std::move(what), .fix = std::move(fix)};
}

Result<api::CalibrationTable> read_table(const std::string& file) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(file, ignored))
    return Error{.code = Code::not_found, .file = file, .what = "there is no such file", .fix = "check the path"};
  if (is_calibration_cache(file)) {
    std::vector<std::string> warnings;
    auto table = api::CalibrationTable::read(file, &warnings);
    for (const std::string& text : warnings) warn("cache", text);
    return table;
  }
  const std::string text = PLANISH_TRY(read_file(file));
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && text[first] == '{') return ranges_from_json(text, file);
  return ranges_from_lines(text, file);
}

std::vector<std::string> ordered_names(const api::CalibrationTable& table) {
  std::vector<std::string> names;
  for (const std::string& name : table.order)
    if (table.ranges.count(name) != 0) names.push_back(name);
  for (const auto& [name, range] : table.ranges)
    if (std::find(table.order.begin(), table.order.end(), name) == table.order.end()) names.push_back(name);
  return names;
}

Status show(const CacheCommand& command, const api::CalibrationTable& table) {
  if (command.json) {
    fmt::print("{}\n", table.to_json());
    return {};
  }
  Table rows(
      {{"tensor", false, 60}, {"range", true}, {"scale", true}, {"smallest seen", true}, {"largest seen", true}});
  for (const std::string& name : ordered_names(table)) {
    const api::TensorRange& r = table.ranges.at(name);
    const bool seen = r.min != 0 || r.max != 0;
    rows.add({name, fmt::format("{:.6g}", static_cast<double>(r.scale) * kLevels), fmt::format("{:.6g}", r.scale),
              seen ? fmt::format("{:.6g}", r.min) : "", seen ? fmt::format("{:.6g}", r.max) : ""});
  }
  if (command.csv) {
    fmt::print("{}", rows.csv());
    return {};
  }
  fmt::print("{}: {} tensors{}\n", command.file, table.ranges.size(),
             table.header.empty() ? "" : fmt::format(", header {}", table.header));
  if (!table.description.empty())
    fmt::print("Made from: {}{}\n", table.description, table.random ? " (RANDOM data)" : "");
  if (table.samples > 0) fmt::print("Samples: {}\n", table.samples);
  fmt::print("\n{}", rows.text());
  return {};
}

Result<std::pair<std::string, std::string>> split_at_last(const std::string& text, const std::string& option,
                                                          const std::string& form) {
  const size_t equals = text.rfind('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size())
    return bad_option(option, fmt::format("'{}' is not of the form {}", text, form),
                      fmt::format("write {}={}", option, form));
  return std::pair{text.substr(0, equals), text.substr(equals + 1)};
}

Error no_tensor(const api::CalibrationTable& table, const std::string& option, const std::string& name) {
  const std::string near = nearest_word(name, ordered_names(table));
  return Error{
      .code = Code::not_found,
      .tensor = name,
      .file = option,
      .what = "the cache has no such tensor",
      .fix = near.empty() ? std::string("planish cache show lists them") : fmt::format("did you mean '{}'?", near)};
}

bool matches(const std::string& pattern, const std::string& name) {
  const size_t star = pattern.find('*');
  if (star == std::string::npos) return pattern == name;
  const std::string head = pattern.substr(0, star), tail = pattern.substr(star + 1);
  return name.size() >= head.size() + tail.size() && name.compare(0, head.size(), head) == 0 &&
         name.compare(name.size() - tail.size(), tail.size(), tail) == 0;
}

Status apply_edits(const CacheCommand& command, api::CalibrationTable& table) {
  table.equalised.reset();  // measured beside the ranges that change here
  for (const std::string& text : command.sets) {
    const auto [name, value] = PLANISH_TRY(split_at_last(text, "--set", "TENSOR=RANGE"));
    const double range = PLANISH_TRY(parse_number(value, 1e-30, 1e30, "--set"));
    if (table.ranges.count(name) == 0) table.order.push_back(name);
    table.ranges[name] = {.scale = static_cast<float>(range / kLevels)};
  }
  for (const std::string& pattern : command.removals) {
    const size_t before = table.ranges.size();
    for (auto it = table.ranges.begin(); it != table.ranges.end();)
      it = matches(pattern, it->first) ? table.ranges.erase(it) : std::next(it);
    if (table.ranges.size() == before) return no_tensor(table, "--remove", pattern);
  }
  for (const std::string& text : command.renames) {
    const auto [from, to] = PLANISH_TRY(split_at_last(text, "--rename", "OLD=NEW"));
    const auto it = table.ranges.find(from);
    if (it == table.ranges.end()) return no_tensor(table, "--rename", from);
    table.ranges[to] = it->second;
    table.ranges.erase(from);
    std::replace(table.order.begin(), table.order.end(), from, to);
  }
  for (auto& [name, range] : table.ranges) {
    range.scale = static_cast<float>(range.scale * command.factor);
    range.unsigned_scale = static_cast<float>(range.unsigned_scale * command.factor);
  }
  return {};
}

Status write_table(const CacheCommand& command, api::CalibrationTable& table, const std::string& path) {
  if (!command.header.empty()) {
    if (command.header.rfind("TRT-", 0) != 0)
      return bad_option("--header", fmt::format("'{}' does not start with TRT-", command.header),
                        "write it like TRT-100300-EntropyCalibration2");
    table.header = command.header;
  }
  if (std::filesystem::path(path).extension() == ".json") {
    PLANISH_TRY(write_file_atomically(path, table.to_json() + "\n"));
  } else {
    PLANISH_TRY(table.write(path));
  }
  fmt::print("{}: {} tensors written\n", path, table.ranges.size());
  return {};
}

Status cache(CacheCommand& command) {
  if (command.action != "show" && command.action != "edit" && command.action != "convert")
    return bad_option("", fmt::format("'{}' is nothing that can be done with a cache", command.action),
                      "planish cache show|edit|convert FILE");
  if (command.action == "convert" && command.output.empty())
    return bad_option("", "convert needs a file to write", "planish cache convert model.cache model.json");
  if (command.action == "convert") PLANISH_TRY(check_output_path(command.output, {&command.file, 1}));
  api::CalibrationTable table = PLANISH_TRY(read_table(command.file));
  if (command.action == "show") return show(command, table);
  PLANISH_TRY(apply_edits(command, table));
  return write_table(command, table, command.output.empty() ? command.file : command.output);
}

}  // namespace

int cache_main(int argc, char** argv) {
  CacheCommand command;
  if (const auto code = command.line.parse(argc, argv)) return *code;
  const Status status = cache(command);
  return status.ok() ? 0 : fail("cache", status.error());
}

std::vector<std::string> cache_words() {
  std::vector<std::string> words = CacheCommand().line.words();
  words.insert(words.begin(), {"show", "edit", "convert"});
  return words;
}

}  // namespace planish::tools
