#include "planish/tools/polygraphy/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

constexpr size_t kHelpColumn = 31;
constexpr size_t kHelpWidth = 110;

Error usage(std::string text) { return Error{.code = Code::invalid_argument, .what = std::move(text)}; }

std::string_view first_name(const OptionDecl& option) { return option.names.substr(0, option.names.find(',')); }

struct Spelling {
  std::string name;
  const OptionDecl* option = nullptr;
};

std::vector<Spelling> spellings(const ToolSyntax& syntax) {
  std::vector<Spelling> out;
  for (const OptionGroup& group : syntax.groups)
    for (const OptionDecl& option : group.options)
      for (std::string& name : split_list(option.names, ',')) out.push_back({std::move(name), &option});
  return out;
}

bool is_number(const std::string& text) {
  return !text.empty() && text.find_first_not_of("-+.0123456789eE") == std::string::npos &&
         std::any_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
}

bool is_option(const std::string& argument) {
  return argument.size() > 1 && argument[0] == '-' && !is_number(argument);
}

/// The option that `name` is or begins. Error: it begins several, or none (with the nearest spelling).
Result<const OptionDecl*> find_option(const std::vector<Spelling>& all, const std::string& name) {
  std::set<const OptionDecl*> found;
  std::vector<std::string> names;
  for (const Spelling& s : all) {
    if (s.name == name) return s.option;
    if (name.size() > 2 && s.name.starts_with(name) && found.insert(s.option).second) names.push_back(s.name);
  }
  if (found.size() == 1) return *found.begin();
  if (found.size() > 1) return usage(fmt::format("ambiguous option: {} could match {}", name, fmt::join(names, ", ")));
  for (const Spelling& s : all) names.push_back(s.name);
  const std::string near = nearest_word(name, names);
  return usage(
      fmt::format("unrecognized arguments: {}{}", name, near.empty() ? "" : fmt::format(" (did you mean {}?)", near)));
}

Status check_choices(const OptionDecl& option, const std::vector<std::string>& values) {
  if (option.choices.empty()) return {};
  const std::vector<std::string> choices = split_list(option.choices, ',');
  for (const std::string& value : values) {
    if (std::find(choices.begin(), choices.end(), value) != choices.end()) continue;
    return usage(fmt::format("argument {}: invalid choice: '{}' (choose from '{}')", option.names, value,
                             fmt::join(choices, "', '")));
  }
  return {};
}

class Reader {
 public:
  Reader(const ToolSyntax& syntax, const std::vector<std::string>& arguments)
      : syntax_(syntax), arguments_(arguments), all_(spellings(syntax)) {}

  Result<ParsedOptions> read() {
    bool only_positionals = false;
    while (next_ < arguments_.size()) {
      const std::string& argument = arguments_[next_++];
      if (argument == "--" && !only_positionals) {
        only_positionals = true;
      } else if (only_positionals || !is_option(argument)) {
        if (out_.positionals.size() == syntax_.max_positionals) return usage("unrecognized arguments: " + argument);
        out_.positionals.push_back(argument);
      } else {
        PLANISH_TRY(read_option(argument));
      }
    }
    if (out_.positionals.size() < syntax_.min_positionals && !out_.has("-h"))
      return usage(fmt::format("the following arguments are required: {}", syntax_.positionals));
    return std::move(out_);
  }

 private:
  Status read_option(const std::string& argument) {
    // "-vv" repeats a short option.
    const bool repeated =
        argument.size() > 2 && argument[1] != '-' && argument.find_first_not_of(argument[1], 1) == std::string::npos;
    if (repeated) {
      const OptionDecl* option = PLANISH_TRY(find_option(all_, argument.substr(0, 2)));
      for (size_t k = 1; k < argument.size(); ++k) out_.add(first_name(*option), {});
      return {};
    }
    const size_t equals = argument.find('=');
    const OptionDecl* option = PLANISH_TRY(find_option(all_, argument.substr(0, equals)));
    std::vector<std::string> values;
    if (equals != std::string::npos) {
      if (option->takes == Takes::nothing)
        return usage(
            fmt::format("argument {}: ignored explicit argument '{}'", option->names, argument.substr(equals + 1)));
      values.push_back(argument.substr(equals + 1));
    } else {
      for (size_t left = value_count(*option); left > 0; --left) values.push_back(arguments_[next_++]);
    }
    const bool needs_value = option->takes == Takes::one || option->takes == Takes::several;
    if (needs_value && values.empty())
      return usage(fmt::format("argument {}: expected {} argument", option->names,
                               option->takes == Takes::one ? "one" : "at least one"));
    PLANISH_TRY(check_choices(*option, values));
    if (option->help.empty()) out_.without_effect.emplace_back(first_name(*option));
    out_.add(first_name(*option), std::move(values));
    return {};
  }

  [[nodiscard]] size_t value_count(const OptionDecl& option) const {
    if (option.takes == Takes::nothing) return 0;
    if (option.takes == Takes::rest) return arguments_.size() - next_;
    size_t end = next_;
    while (end < arguments_.size() && !is_option(arguments_[end])) ++end;
    const size_t there = end - next_;
    if (option.takes == Takes::one) return std::min<size_t>(there, 1);
    const size_t wanted = option.takes == Takes::several ? 1 : 0;
    const bool leaves_one = out_.positionals.size() < syntax_.min_positionals && end == arguments_.size() &&
                            there > wanted && syntax_.max_positionals == 1;
    const size_t count = there - (leaves_one ? 1 : 0);
    return option.takes == Takes::optional_one ? std::min<size_t>(count, 1) : count;
  }

  const ToolSyntax& syntax_;
  const std::vector<std::string>& arguments_;
  std::vector<Spelling> all_;
  size_t next_ = 0;
  ParsedOptions out_;
};

bool class_holds(std::string_view set, char c) {
  for (size_t i = 0; i < set.size(); ++i) {
    if (i + 2 < set.size() && set[i + 1] == '-') {
      if (set[i] <= c && c <= set[i + 2]) return true;
      i += 2;
    } else if (set[i] == c) {
      return true;
    }
  }
  return false;
}

/// Length of what the first element of a pattern takes up in it, and whether it takes `c`.
std::pair<size_t, bool> match_one(std::string_view pattern, char c) {
  if (pattern[0] == '?') return {1, true};
  const size_t close =
      pattern[0] == '[' ? pattern.find(']', pattern.size() > 1 && pattern[1] == '!' ? 3 : 2) : std::string_view::npos;
  if (close == std::string_view::npos) return {1, pattern[0] == c};
  const bool inverted = pattern[1] == '!';
  const std::string_view set = pattern.substr(inverted ? 2 : 1, close - (inverted ? 2 : 1));
  return {close + 1, class_holds(set, c) != inverted};
}

}  // namespace

void ParsedOptions::add(std::string_view name, std::vector<std::string> values) {
  values_[std::string(name)].push_back(std::move(values));
  sequence.emplace_back(name);
}

int ParsedOptions::count(std::string_view name) const {
  const auto it = values_.find(name);
  return it == values_.end() ? 0 : static_cast<int>(it->second.size());
}

std::vector<std::vector<std::string>> ParsedOptions::occurrences(std::string_view name) const {
  const auto it = values_.find(name);
  return it == values_.end() ? std::vector<std::vector<std::string>>() : it->second;
}

std::vector<std::string> ParsedOptions::values(std::string_view name) const {
  std::vector<std::string> out;
  for (const auto& occurrence : occurrences(name)) out.insert(out.end(), occurrence.begin(), occurrence.end());
  return out;
}

std::string ParsedOptions::text(std::string_view name, std::string_view otherwise) const {
  const auto all = values(name);
  return all.empty() ? std::string(otherwise) : all.back();
}

Result<int64_t> ParsedOptions::integer(std::string_view name, int64_t otherwise, int64_t low, int64_t high) const {
  const auto all = values(name);
  return all.empty() ? otherwise : parse_integer(all.back(), low, high, name);
}

Result<ParsedOptions> parse_options(const ToolSyntax& syntax, const std::vector<std::string>& arguments) {
  return Reader(syntax, arguments).read();
}

std::string help_of(const ToolSyntax& syntax) {
  std::string out = fmt::format("usage: {} [options]", syntax.program);
  if (!syntax.positionals.empty())
    out +=
        syntax.min_positionals == 0 ? fmt::format(" [{}]", syntax.positionals) : fmt::format(" {}", syntax.positionals);
  out += fmt::format("\n\n{}\n", wrap(std::string(syntax.summary), 0, kHelpWidth));
  std::vector<std::string> accepted;
  for (const OptionGroup& group : syntax.groups) {
    std::string rows;
    for (const OptionDecl& option : group.options) {
      if (option.help.empty()) {
        accepted.emplace_back(first_name(option));
        continue;
      }
      std::string head = "  " + fmt::format("{}", fmt::join(split_list(option.names, ','), ", "));
      if (!option.choices.empty() && option.takes != Takes::nothing)
        head += fmt::format(" {{{}}}", option.choices);
      else if (!option.value_name.empty())
        head += fmt::format(" {}", option.value_name);
      if (option.takes == Takes::several || option.takes == Takes::any_number) head += " ...";
      head += head.size() + 1 < kHelpColumn ? std::string(kHelpColumn - head.size(), ' ')
                                            : '\n' + std::string(kHelpColumn, ' ');
      rows += head + wrap(std::string(option.help), kHelpColumn, kHelpWidth) + '\n';
    }
    if (!rows.empty()) out += fmt::format("\n{}:\n{}", group.title, rows);
  }
  if (!accepted.empty())
    out += fmt::format("\naccepted without effect:\n  {}\n",
                       wrap(fmt::format("{}", fmt::join(accepted, " ")), 2, kHelpWidth));
  return out + fmt::format("\nexample:\n{}\n", syntax.example);
}

std::vector<std::string> words_of(const ToolSyntax& syntax) {
  std::vector<std::string> words;
  for (Spelling& s : spellings(syntax)) words.push_back(std::move(s.name));
  return words;
}

std::map<std::string, std::string> texts_by_name(const std::vector<std::string>& values) {
  std::map<std::string, std::string> out;
  for (const std::string& value : values) {
    const size_t colon = value.rfind(':');
    if (colon == std::string::npos)
      out[""] = value;
    else
      out[value.substr(0, colon)] = value.substr(colon + 1);
  }
  return out;
}

Result<std::map<std::string, double>> numbers_by_name(const std::vector<std::string>& values, std::string_view option) {
  std::map<std::string, double> out;
  for (const auto& [name, text] : texts_by_name(values))
    out[name] = PLANISH_TRY(parse_number(text, -1e300, 1e300, option));
  return out;
}

double number_for(const std::map<std::string, double>& by_name, const std::string& name, double otherwise) {
  for (const std::string& key : {name, std::string()})
    if (const auto it = by_name.find(key); it != by_name.end()) return it->second;
  return otherwise;
}

bool fnmatches(std::string_view pattern, std::string_view name) {
  size_t p = 0, n = 0, star = std::string_view::npos, retry = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      retry = n;
      continue;
    }
    if (p < pattern.size()) {
      const auto [length, matches] = match_one(pattern.substr(p), name[n]);
      if (matches) {
        p += length;
        ++n;
        continue;
      }
    }
    if (star == std::string_view::npos) return false;
    p = star + 1;
    n = ++retry;
  }
  return pattern.substr(p).find_first_not_of('*') == std::string_view::npos;
}

}  // namespace planish::tools
