#include <fmt/format.h>

#include <algorithm>

#include "planish/tools/trtexec/flag_setters.h"
#include "planish/tools/trtexec/flags.h"
#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

struct GroupTitle {
  FlagGroup group;
  std::string_view title;
};

constexpr GroupTitle kGroups[] = {
    {FlagGroup::model, "Model"},         {FlagGroup::build, "Build"},       {FlagGroup::system, "System"},
    {FlagGroup::inference, "Inference"}, {FlagGroup::accuracy, "Accuracy"}, {FlagGroup::tuning, "Tuning"},
    {FlagGroup::reporting, "Reporting"}, {FlagGroup::legacy, "Legacy"},     {FlagGroup::planish, "planish"},
};

constexpr std::string_view kExample = R"(Example: build an FP16 engine, look at its layers, then measure it
  trtexec --onnx=resnet50.onnx --fp16 --saveEngine=resnet50.engine --dumpLayerInfo --skipInference
  trtexec --loadEngine=resnet50.engine --iterations=100 --dumpProfile

Shapes of a model with open dimensions
  trtexec --onnx=bert.onnx --minShapes=ids:1x1 --optShapes=ids:1x128 --maxShapes=ids:8x384 --saveEngine=bert.engine
  trtexec --loadEngine=bert.engine --shapes=ids:4x64
)";

std::string help_sentence(const FlagSpec& flag) {
  std::string text(flag.help);
  if (!flag.default_text.empty()) text += fmt::format(" (default: {})", flag.default_text);
  if (flag.kind == FlagClass::accept) text += flag.set == set_nothing ? " [accepted, no effect]" : " [deprecated]";
  if (flag.kind == FlagClass::refuse) text += " [refused]";
  return text;
}

/// A `|` would end a Markdown table cell.
std::string cell(std::string_view text) {
  std::string out;
  for (char c : text) out += c == '|' ? std::string("\\|") : std::string(1, c);
  return out;
}

}  // namespace

std::string_view group_title(FlagGroup group) {
  for (const GroupTitle& row : kGroups) {
    if (row.group == group) return row.title;
  }
  return "";
}

std::string_view class_name(FlagClass kind) {
  switch (kind) {
    case FlagClass::essential: return "essential";
    case FlagClass::useful: return "useful";
    case FlagClass::accept: return "accepted";
    case FlagClass::refuse: return "refused";
    case FlagClass::extension: return "extension";
  }
  return "";
}

std::string flag_usage(const FlagSpec& flag) {
  if (flag.argument == Arg::none) return std::string(flag.name);
  if (flag.argument == Arg::optional_text) return fmt::format("{}[={}]", flag.name, flag.value_name);
  return fmt::format("{}={}", flag.name, flag.value_name);
}

std::string help_listing() {
  constexpr size_t kIndent = 34;
  constexpr size_t kWidth = 118;
  std::string out(kExample);
  for (const GroupTitle& row : kGroups) {
    out += fmt::format("\n=== {} Options ===\n", row.title);
    for (const FlagSpec& flag : flag_table()) {
      if (flag.group != row.group) continue;
      const std::string usage = "  " + flag_usage(flag);
      out += usage.size() < kIndent ? fmt::format("{:<{}}", usage, kIndent) : usage + '\n' + std::string(kIndent, ' ');
      out += wrap(help_sentence(flag), kIndent, kWidth) + '\n';
    }
  }
  return out;
}

std::string flags_markdown() {
  std::string out =
      "# trtexec flags\n\nWritten by `planish flags-doc` from the table in `planish/tools/trtexec/flags.cpp`; edit "
      "that "
      "table, not this file.\n\nEssential and useful flags work. Accepted flags have no effect here and cost one "
      "warning "
      "line. Refused flags end\nthe run with the reason. Extensions are planish's own.\n";
  for (const GroupTitle& row : kGroups) {
    out += fmt::format("\n## {}\n\n| Flag | Default | Meaning | Class |\n|---|---|---|---|\n", row.title);
    for (const FlagSpec& flag : flag_table()) {
      if (flag.group != row.group) continue;
      std::string meaning = cell(flag.help);
      if (!flag.note.empty()) meaning += fmt::format(" *{}.*", cell(flag.note));
      out += fmt::format("| `{}` | {} | {} | {} |\n", cell(flag_usage(flag)), cell(flag.default_text), meaning,
                         class_name(flag.kind));
    }
  }
  return out;
}

std::vector<std::string> completion_words() {
  std::vector<std::string> words;
  for (const FlagSpec& flag : flag_table()) {
    if (flag.kind == FlagClass::refuse) continue;
    const std::string name(flag.name);
    const bool closed = flag.argument == Arg::choice || flag.value_name.find("|") != std::string_view::npos;
    const bool plain = flag.value_name.find_first_of(":,%[(") == std::string_view::npos;
    if (flag.argument == Arg::none || flag.argument == Arg::optional_text) {
      words.push_back(name);
    } else if (closed && plain) {
      for (const std::string& choice : split_list(flag.value_name, '|')) words.push_back(name + '=' + choice);
    } else {
      words.push_back(name + '=');
    }
  }
  return words;
}

}  // namespace planish::tools
