#include <fmt/format.h>

#include <cstdio>
#include <cstring>

#include "planish/tools/commands.h"

namespace planish::tools {
namespace {

std::string function_name(std::string_view command) {
  std::string name = "_planish_";
  for (char c : command) name += c == '-' ? '_' : c;
  return name;
}

/// Words of one command in single quotes; none of ours holds a quote.
std::string word_list(const std::vector<std::string>& words) { return fmt::format("'{}'", fmt::join(words, " ")); }

/// `=` splits words in bash, so a flag's value arrives as a word of its own: the flag is put back in front to match the
/// list, and a value with no choices completes to a file.
constexpr std::string_view kHelper = R"(_planish_complete() {
  local words="$1" cur prev cut
  cur="${COMP_WORDS[COMP_CWORD]}"
  prev="${COMP_WORDS[COMP_CWORD-1]}"
  cut=""
  if [[ "$cur" == "=" ]]; then cut="$prev="; cur=""
  elif [[ "$prev" == "=" ]]; then cut="${COMP_WORDS[COMP_CWORD-2]}="; fi
  COMPREPLY=()
  local word
  for word in $words; do
    [[ "$word" == "$cut$cur"* && "$word" != "$cut" ]] && COMPREPLY+=("${word#"$cut"}")
  done
  if [[ ${#COMPREPLY[@]} -eq 0 ]]; then COMPREPLY=($(compgen -f -- "$cur")); fi
  [[ ${#COMPREPLY[@]} -eq 1 && "${COMPREPLY[0]}" == *= ]] && compopt -o nospace
}
)";

}  // namespace

std::string bash_completion_script() {
  std::string out = "# bash completion for planish; written by `planish completion bash`.\n";
  out += kHelper;
  std::vector<std::string> names;
  std::string cases;
  for (const Command& command : command_table()) {
    names.emplace_back(command.name);
    const std::string function = function_name(command.name);
    out += fmt::format("{}() {{ _planish_complete {}; }}\n", function, word_list(command.words()));
    cases += fmt::format("    {}) {} ;;\n", command.name, function);
    if (command.name == "trtexec" || command.name == "polygraphy") {
      out += fmt::format("complete -o filenames -F {} {}\n", function, command.name);
    }
  }
  out += fmt::format(
      "_planish() {{\n  if [[ $COMP_CWORD -eq 1 ]]; then _planish_complete {}; return; fi\n  case "
      "\"${{COMP_WORDS[1]}}\" "
      "in\n{}  esac\n}}\ncomplete -o filenames -F _planish planish\n",
      word_list(names), cases);
  return out;
}

std::vector<std::string> completion_shells() { return {"bash"}; }

int completion_main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "bash") == 0) {
    fmt::print("{}", bash_completion_script());
    return 0;
  }
  const bool help = argc == 2 && std::strcmp(argv[1], "--help") == 0;
  fmt::print(help ? stdout : stderr, "Usage: planish completion bash\nExample: source <(planish completion bash)\n");
  return help ? 0 : 2;
}

}  // namespace planish::tools
