#include "planish/tools/trtexec/parse.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "planish/tools/trtexec/flag_setters.h"
#include "planish/tools/trtexec/flags.h"
#include "planish/tools/trtexec/option_rules.h"
#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

struct Word {
  std::string key;
  std::string value;
  bool has_equals = false;
};

Word split_word(const std::string& argument) {
  const size_t equals = argument.find('=');
  if (equals == std::string::npos) return {argument, "", false};
  return {argument.substr(0, equals), argument.substr(equals + 1), true};
}

/// A word that can only be a value: flags start with two dashes, and `-h` is the one short flag.
bool looks_like_value(const std::string& argument) {
  return !argument.empty() && argument.rfind("--", 0) != 0 && argument != "-h";
}

Error flag_error(const FlagSpec& flag, std::string what, std::string fix) {
  Error error;
  error.code = Code::invalid_argument;
  error.file = std::string(flag.name);
  error.what = std::move(what);
  error.fix = std::move(fix);
  return error;
}

std::string unknown_line(const Word& word, const std::string& remark) {
  return fmt::format("Unknown option: {} {}{}", word.key, word.value,
                     remark.empty() ? "" : fmt::format(" ({})", remark));
}

/// The parser's state over one command line.
class Reader {
 public:
  explicit Reader(const std::vector<std::string>& arguments) : arguments_(arguments) {}

  ParsedCommandLine read() {
    while (next_ < arguments_.size()) read_word();
    out_.notes = std::move(state_.notes);
    out_.warnings = std::move(state_.warnings);
    apply_option_rules(out_, state_, given_);
    return std::move(out_);
  }

 private:
  void read_word() {
    Word word = split_word(arguments_[next_++]);
    if (word.key == "-h") word.key = "--help";
    const FlagSpec* flag = find_flag(word.key);
    if (flag == nullptr) return read_unknown(word);
    if (!take_value(*flag, word)) return;
    if (given_.count(std::string(flag->name)) != 0 && !flag->repeatable && flag->argument != Arg::none) {
      out_.unknown.push_back(unknown_line(word, fmt::format("given more than once; '{}' counts", given_[word.key])));
      return;
    }
    given_[word.key] = word.value;
    use(*flag, word);
  }

  void read_unknown(const Word& word) {
    std::string remark;
    if (word.key.rfind('-', 0) == 0) {
      const std::string near = nearest_flag(word.key);
      if (!near.empty()) remark = fmt::format("did you mean {}?", near);
    } else if (!previous_.empty()) {
      remark = fmt::format("a stray word: {} takes no value", previous_);
    } else if (word.key.ends_with(".onnx")) {
      remark = fmt::format("did you mean --onnx={}?", word.key);
    } else if (word.key.ends_with(".engine") || word.key.ends_with(".plan") || word.key.ends_with(".trt")) {
      remark = fmt::format("did you mean --loadEngine={}?", word.key);
    }
    out_.unknown.push_back(unknown_line(word, remark));
  }

  /// Finds the value in the same word or the next one; false when an error was recorded.
  bool take_value(const FlagSpec& flag, Word& word) {
    previous_.clear();
    if (flag.argument == Arg::none) {
      previous_ = word.key;
      if (word.has_equals) {
        state_.warnings.push_back(
            fmt::format("{} takes no value: '{}' is ignored, the flag counts as given", word.key, word.value));
      }
      return true;
    }
    if (word.has_equals && !word.value.empty()) return true;
    if (flag.argument == Arg::optional_text) return true;
    if (!word.has_equals && next_ < arguments_.size() && looks_like_value(arguments_[next_])) {
      word.value = arguments_[next_++];
      return true;
    }
    out_.errors.push_back(flag_error(flag, "needs a value", fmt::format("write {}", flag_usage(flag))));
    return false;
  }

  void use(const FlagSpec& flag, const Word& word) {
    if (flag.kind == FlagClass::refuse) {
      out_.errors.push_back(flag_error(flag, "is not supported", std::string(flag.note)));
      return;
    }
    if (flag.argument == Arg::choice) {
      const std::vector<std::string> choices = split_list(flag.value_name, '|');
      if (std::find(choices.begin(), choices.end(), word.value) == choices.end()) {
        out_.errors.push_back(flag_error(flag, fmt::format("'{}' is not a choice", word.value),
                                         fmt::format("use one of {}", fmt::join(choices, ", "))));
        return;
      }
    }
    if (!flag.note.empty()) {
      auto& lines = flag.kind == FlagClass::accept ? state_.warnings : state_.notes;
      const bool idle = flag.kind != FlagClass::accept || flag.set == set_nothing;
      lines.push_back(fmt::format("{}{}: {}", flag.name, idle ? " has no effect" : "", flag.note));
    }
    const Status status = flag.set({flag, word.value, out_.options, state_});
    if (!status) out_.errors.push_back(status.error());
  }

  const std::vector<std::string>& arguments_;
  size_t next_ = 0;
  std::string previous_;
  std::map<std::string, std::string> given_;
  ParseState state_;
  ParsedCommandLine out_;
};

Status check_order(const std::string& name, const ShapeList& low, const ShapeList& high, std::string_view low_word,
                   std::string_view high_word) {
  const Dims* a = find_shape(low, name);
  const Dims* b = find_shape(high, name);
  Error error;
  error.code = Code::shape_mismatch;
  error.tensor = name;
  error.fix = fmt::format("give {} {} and {} {} the same rank, with no dimension of the former above the latter",
                          low_word, dims_text(*a), high_word, dims_text(*b));
  if (a->size() != b->size()) {
    error.what =
        fmt::format("{} shape {} and {} shape {} differ in rank", low_word, dims_text(*a), high_word, dims_text(*b));
    return error;
  }
  for (size_t axis = 0; axis < a->size(); ++axis) {
    if ((*a)[axis] <= (*b)[axis]) continue;
    error.what = fmt::format("axis {}: {} {} is above {} {}", axis, low_word, (*a)[axis], high_word, (*b)[axis]);
    return error;
  }
  return {};
}

}  // namespace

ParsedCommandLine parse_command_line(const std::vector<std::string>& arguments) { return Reader(arguments).read(); }

Status complete_profile(ProfileShapes& profile, std::vector<std::string>& warnings) {
  std::vector<std::string> names;
  for (const ShapeList* list : {&profile.opt, &profile.max, &profile.min}) {
    for (const auto& [name, dims] : *list) {
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  struct Side {
    ShapeList* list;
    std::string_view word;
  };
  const Side sides[] = {{&profile.opt, "opt"}, {&profile.max, "max"}, {&profile.min, "min"}};
  for (const std::string& name : names) {
    const Side* source = std::find_if(std::begin(sides), std::end(sides),
                                      [&](const Side& side) { return find_shape(*side.list, name) != nullptr; });
    const Dims dims = *find_shape(*source->list, name);
    std::vector<std::string_view> missing;
    for (const Side& side : sides) {
      if (find_shape(*side.list, name) != nullptr) continue;
      missing.push_back(side.word);
      side.list->emplace_back(name, dims);
    }
    if (!missing.empty()) {
      warnings.push_back(fmt::format("{} shape of input '{}' not given: {} shape {} is used",
                                     fmt::join(missing, " and "), name, source->word, dims_text(dims)));
    }
    PLANISH_TRY(check_order(name, profile.min, profile.opt, "min", "opt"));
    PLANISH_TRY(check_order(name, profile.opt, profile.max, "opt", "max"));
  }
  return {};
}

}  // namespace planish::tools
