#include "planish/tools/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>

#include "planish/base/output_path.h"
#include "planish/tools/console.h"
#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

constexpr size_t kHelpColumn = 34;
constexpr size_t kHelpWidth = 116;

std::string help_row(const std::string& head, const std::string& help) {
  std::string line = "  " + head;
  if (line.size() + 2 > kHelpColumn) {
    line += '\n' + std::string(kHelpColumn, ' ');
  } else {
    line.resize(kHelpColumn, ' ');
  }
  return line + wrap(help, kHelpColumn, kHelpWidth) + '\n';
}

}  // namespace

struct CommandLine::Impl {
  CLI::App app;
};

CommandLine::CommandLine(std::string name, std::string summary, std::string example)
    : name_(std::move(name)),
      summary_(std::move(summary)),
      example_(std::move(example)),
      impl_(std::make_unique<Impl>()) {
  impl_->app.set_help_flag();
  impl_->app.allow_extras();
  flag("-h,--help", help_wanted_, "Show this text");
}

CommandLine::~CommandLine() = default;

void CommandLine::add(const std::string& names, const std::string& value_name, const std::string& help,
                      std::function<Status(const std::string&)> set, std::vector<std::string> choices) {
  rows_.push_back({split_list(names, ','), value_name, std::move(choices), help});
  const auto keep_first_failure = [this, set = std::move(set)](const std::string& value) {
    if (auto status = set(value); !status.ok() && failure_.ok()) failure_ = std::move(status);
  };
  if (value_name.empty()) {
    impl_->app.add_flag_function(names, [keep_first_failure](int64_t) { keep_first_failure("true"); });
    return;
  }
  impl_->app
      .add_option_function<std::vector<std::string>>(names,
                                                     [keep_first_failure](const std::vector<std::string>& values) {
                                                       for (const std::string& value : values)
                                                         keep_first_failure(value);
                                                     })
      ->allow_extra_args(false);
}

void CommandLine::flag(const std::string& names, bool& target, const std::string& help) {
  add(names, "", help, [&target](const std::string&) {
    target = true;
    return ok_status();
  });
}

void CommandLine::text(const std::string& names, std::string& target, const std::string& value_name,
                       const std::string& help) {
  add(names, value_name, help, [&target](const std::string& value) {
    target = value;
    return ok_status();
  });
}

void CommandLine::input(const std::string& names, std::string& target, const std::string& value_name,
                        const std::string& help) {
  text(names, target, value_name, help);
  inputs_.push_back(&target);
}

void CommandLine::output(const std::string& names, std::string& target, const std::string& value_name,
                         const std::string& help) {
  text(names, target, value_name, help);
  outputs_.emplace_back(split_list(names, ',').back(), &target);
}

void CommandLine::output_folder(const std::string& names, std::string& target, const std::string& value_name,
                                const std::string& help) {
  text(names, target, value_name, help);
  output_folders_.push_back(&target);
}

void CommandLine::texts(const std::string& names, std::vector<std::string>& target, const std::string& value_name,
                        const std::string& help) {
  add(names, value_name, help, [&target](const std::string& value) {
    target.push_back(value);
    return ok_status();
  });
}

void CommandLine::integer(const std::string& names, int64_t& target, int64_t low, int64_t high,
                          const std::string& help) {
  const std::string longest = split_list(names, ',').back();
  add(names, "N", help, [&target, low, high, longest](const std::string& value) -> Status {
    target = PLANISH_TRY(parse_integer(value, low, high, longest));
    return {};
  });
}

void CommandLine::number(const std::string& names, double& target, double low, double high,
                         const std::string& value_name, const std::string& help) {
  const std::string longest = split_list(names, ',').back();
  add(names, value_name, help, [&target, low, high, longest](const std::string& value) -> Status {
    target = PLANISH_TRY(parse_number(value, low, high, longest));
    return {};
  });
}

void CommandLine::choice(const std::string& names, std::string& target, const std::vector<std::string>& choices,
                         const std::string& help) {
  const std::string longest = split_list(names, ',').back();
  const auto set = [&target, choices, longest](const std::string& value) -> Status {
    if (std::find(choices.begin(), choices.end(), value) == choices.end())
      return Error{.code = Code::invalid_argument,
                   .file = longest,
                   .what = fmt::format("'{}' is not one of its values", value),
                   .fix = fmt::format("use {}", fmt::join(choices, ", "))};
    target = value;
    return {};
  };
  add(names, fmt::format("{}", fmt::join(choices, "|")), help, set, choices);
}

void CommandLine::positional(const std::string& name, std::string& target, const std::string& help, bool required) {
  positionals_.push_back({{name}, required ? "" : "optional", {}, help});
  inputs_.push_back(&target);
  impl_->app.add_option_function<std::string>(name, [&target](const std::string& value) { target = value; })
      ->required(required);
}

Error CommandLine::unknown_argument(const std::string& argument) const {
  Error error{.code = Code::invalid_argument};
  if (argument.size() < 2 || argument[0] != '-') {
    error.what = fmt::format("'{}' is one argument too many", argument);
    error.fix = fmt::format("planish {} --help shows what it takes", name_);
    return error;
  }
  const std::string given = argument.substr(0, argument.find('='));
  std::vector<std::string> names;
  for (const Row& row : rows_) names.insert(names.end(), row.names.begin(), row.names.end());
  const std::string near = nearest_word(given, names);
  error.file = given;
  error.what = "there is no such option";
  error.fix =
      near.empty() ? fmt::format("planish {} --help lists the options", name_) : fmt::format("did you mean {}?", near);
  return error;
}

Status CommandLine::check_flags(const std::vector<std::string>& arguments) const {
  for (const std::string& argument : arguments) {
    const std::string name = argument.substr(0, argument.find('='));
    if (argument == "--") break;
    if (name.size() == argument.size()) continue;
    for (const Row& row : rows_)
      if (row.value_name.empty() && std::find(row.names.begin(), row.names.end(), name) != row.names.end())
        return Error{.code = Code::invalid_argument,
                     .file = name,
                     .what = fmt::format("takes no value, got '{}'", argument.substr(name.size() + 1)),
                     .fix = fmt::format("write {} alone", name)};
  }
  return {};
}

Status CommandLine::check_outputs() const {
  std::vector<std::string> inputs;
  for (const std::string* input : inputs_)
    if (!input->empty()) inputs.push_back(*input);
  for (size_t i = 0; i < outputs_.size(); ++i) {
    const auto& [option, path] = outputs_[i];
    if (path->empty()) continue;
    PLANISH_TRY(check_output_path(*path, inputs));
    for (size_t k = 0; k < i && !is_special_file(*path); ++k)
      if (std::filesystem::path(*outputs_[k].second).lexically_normal() ==
          std::filesystem::path(*path).lexically_normal())
        return Error{.code = Code::invalid_argument,
                     .file = *path,
                     .what = fmt::format("{} and {} name the same file", outputs_[k].first, option),
                     .fix = "name another file for one of them"};
  }
  for (const std::string* path : output_folders_)
    if (!path->empty()) PLANISH_TRY(check_output_folder(*path));
  return {};
}

Status CommandLine::read(const std::vector<std::string>& arguments) {
  PLANISH_TRY(check_flags(arguments));
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  Status missing;
  try {
    impl_->app.parse(reversed);
  } catch (const CLI::RequiredError&) {
    std::vector<std::string> names;
    for (const Row& row : positionals_)
      if (row.value_name.empty()) names.push_back(row.names[0]);
    missing = Error{.code = Code::invalid_argument,
                    .what = fmt::format("{} is missing", fmt::join(names, " or ")),
                    .fix = fmt::format("planish {} --help shows an example", name_)};
  } catch (const CLI::ParseError& error) {
    missing = Error{.code = Code::invalid_argument,
                    .what = error.what(),
                    .fix = fmt::format("planish {} --help shows an example", name_)};
  } catch (const std::exception& error) {  // the library's own conversions of flags
    missing = Error{.code = Code::invalid_argument,
                    .what = fmt::format("the arguments cannot be read: {}", error.what()),
                    .fix = fmt::format("planish {} --help shows an example", name_)};
  }
  const bool asks_help =
      std::any_of(arguments.begin(), arguments.end(), [](const std::string& a) { return a == "-h" || a == "--help"; });
  if (asks_help) {
    help_wanted_ = true;
    return {};
  }
  const std::vector<std::string> extras = impl_->app.remaining();
  for (const std::string& extra : extras)
    if (extra.size() > 1 && extra[0] == '-') return unknown_argument(extra);
  PLANISH_TRY(std::move(missing));
  if (!extras.empty()) return unknown_argument(extras.front());
  PLANISH_TRY(std::move(failure_));
  return check_outputs();
}

std::optional<int> CommandLine::parse(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  if (auto status = read(arguments); !status.ok()) return fail(name_, status.error());
  if (!help_wanted_) return std::nullopt;
  fmt::print("{}", help_text());
  return 0;
}

std::string CommandLine::help_text() const {
  std::string usage = fmt::format("Usage: planish {}", name_);
  for (const Row& row : positionals_)
    usage += row.value_name.empty() ? " " + row.names[0] : fmt::format(" [{}]", row.names[0]);
  std::string out = fmt::format("{} [options]\n\n{}\n\n", usage, wrap(summary_, 0, kHelpWidth));
  for (const Row& row : positionals_) out += help_row(row.names[0], row.help);
  if (!positionals_.empty()) out += '\n';
  for (const Row& row : rows_) {
    std::string head = fmt::format("{}", fmt::join(row.names, ", "));
    if (!row.value_name.empty()) head += " " + row.value_name;
    out += help_row(head, row.help);
  }
  return fmt::format("{}\nExample:\n{}\n", out, example_);
}

std::vector<std::string> CommandLine::words() const {
  std::vector<std::string> out;
  for (const Row& row : rows_)
    for (const std::string& word : row.names) {
      if (word.rfind("--", 0) != 0) continue;
      if (row.value_name.empty()) out.push_back(word);
      if (!row.value_name.empty() && row.choices.empty()) out.push_back(word + "=");
      for (const std::string& choice : row.choices) out.push_back(fmt::format("{}={}", word, choice));
    }
  return out;
}

}  // namespace planish::tools
