#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "planish/base/status.h"

namespace planish::tools {

/// How many values an option consumes.
enum class Takes : uint8_t {
  nothing,
  one,
  optional_one,  ///< none or one
  several,       ///< one or more
  any_number,    ///< none or more
  rest           ///< everything that follows (--check)
};

/// One option of a polygraphy tool. `names` holds all spellings, the one that values are looked up by first:
/// "--input-shapes,--inputs". Options without help are accepted and have no effect here.
struct OptionDecl {
  std::string_view names;
  Takes takes = Takes::nothing;
  std::string_view value_name;
  std::string_view help;
  std::string_view choices;  ///< "prefer,obey,none"; empty: anything
};

/// Options that belong together in --help.
struct OptionGroup {
  std::string_view title;
  std::span<const OptionDecl> options;
};

/// A tool's command line.
struct ToolSyntax {
  std::string_view program;      ///< "polygraphy run"
  std::string_view positionals;  ///< "model_file"; "" for none
  size_t min_positionals = 0;
  size_t max_positionals = 0;
  std::vector<OptionGroup> groups;
  std::string_view summary;
  std::string_view example;
};

/// What a command line said. Values of an option given twice follow each other; `occurrences` keeps them apart.
class ParsedOptions {
 public:
  [[nodiscard]] bool has(std::string_view name) const { return values_.contains(name); }
  /// How often a flag was given (-vv).
  [[nodiscard]] int count(std::string_view name) const;
  [[nodiscard]] std::vector<std::string> values(std::string_view name) const;
  [[nodiscard]] std::vector<std::vector<std::string>> occurrences(std::string_view name) const;
  /// The last value, else `otherwise`.
  [[nodiscard]] std::string text(std::string_view name, std::string_view otherwise = "") const;
  /// Integer or number of the last value. Error: names option and value.
  [[nodiscard]] Result<int64_t> integer(std::string_view name, int64_t otherwise, int64_t low, int64_t high) const;
  std::vector<std::string> positionals;
  std::vector<std::string> sequence;        ///< first names of the options in the order given
  std::vector<std::string> without_effect;  ///< accepted options that do nothing here

  void add(std::string_view name, std::vector<std::string> values);

 private:
  std::map<std::string, std::vector<std::vector<std::string>>, std::less<>> values_;
};

/// Reads arguments as polygraphy's parser does: `--option value ...`, `--option=value`, unambiguous beginnings, -vv. An
/// option that takes several values leaves the last argument of all to a positional that has not come yet. The error's
/// text is what follows "polygraphy run: error: ".
Result<ParsedOptions> parse_options(const ToolSyntax& syntax, const std::vector<std::string>& arguments);

/// Text of --help: usage, options by group, the accepted ones, the example.
std::string help_of(const ToolSyntax& syntax);

/// Every spelling of every option.
std::vector<std::string> words_of(const ToolSyntax& syntax);

/// "out0:1e-3 1e-5": values per name, "" for the default. The last colon separates.
Result<std::map<std::string, double>> numbers_by_name(const std::vector<std::string>& values, std::string_view option);
std::map<std::string, std::string> texts_by_name(const std::vector<std::string>& values);

/// The value for `name`: its own, else the default's, else `otherwise`.
double number_for(const std::map<std::string, double>& by_name, const std::string& name, double otherwise);

/// fnmatch as Python's: * ? [abc] [!abc].
bool fnmatches(std::string_view pattern, std::string_view name);

}  // namespace planish::tools
