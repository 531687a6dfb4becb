#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "planish/base/status.h"

namespace planish::tools {

/// Arguments of one planish command: declares them, reads them, prints --help, lists words for completion. `--flag
/// value` and `--flag=value` are the same.
class CommandLine {
 public:
  /// `example`: commands with what they do, shown at the end of --help.
  CommandLine(std::string name, std::string summary, std::string example);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  /// `names` holds all spellings: "-o,--output".
  void flag(const std::string& names, bool& target, const std::string& help);
  void text(const std::string& names, std::string& target, const std::string& value_name, const std::string& help);
  /// The same for a file or folder to read, or a word: no output may be written over it.
  void input(const std::string& names, std::string& target, const std::string& value_name, const std::string& help);
  /// A file to write: reading the arguments asks whether it can be, and that it is none that is read.
  void output(const std::string& names, std::string& target, const std::string& value_name, const std::string& help);
  /// A folder to write files to, which need not be there yet.
  void output_folder(const std::string& names, std::string& target, const std::string& value_name,
                     const std::string& help);
  /// May be given several times.
  void texts(const std::string& names, std::vector<std::string>& target, const std::string& value_name,
             const std::string& help);
  void integer(const std::string& names, int64_t& target, int64_t low, int64_t high, const std::string& help);
  void number(const std::string& names, double& target, double low, double high, const std::string& value_name,
              const std::string& help);
  void choice(const std::string& names, std::string& target, const std::vector<std::string>& choices,
              const std::string& help);
  /// Arguments without dashes, in this order.
  void positional(const std::string& name, std::string& target, const std::string& help, bool required = true);

  /// nullopt: the targets are set, go on. Else the exit code: 0 after --help, 1 after an error, which is printed.
  [[nodiscard]] std::optional<int> parse(int argc, char** argv);
  /// The same without printing: the error, or nothing.
  Status read(const std::vector<std::string>& arguments);
  [[nodiscard]] std::string help_text() const;
  /// Options for completion; those that want a value end in '='.
  [[nodiscard]] std::vector<std::string> words() const;
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  struct Row {
    std::vector<std::string> names;
    std::string value_name;  ///< "" for flags
    std::vector<std::string> choices;
    std::string help;
  };
  struct Impl;
  void add(const std::string& names, const std::string& value_name, const std::string& help,
           std::function<Status(const std::string&)> set, std::vector<std::string> choices = {});
  [[nodiscard]] Error unknown_argument(const std::string& argument) const;
  /// Refuses `--flag=value`.
  [[nodiscard]] Status check_flags(const std::vector<std::string>& arguments) const;
  /// Before work whose result they are to hold.
  [[nodiscard]] Status check_outputs() const;

  std::string name_;
  std::string summary_;
  std::string example_;
  std::vector<Row> rows_;
  std::vector<Row> positionals_;
  std::vector<const std::string*> inputs_;  ///< values of positional arguments and of what is read
  std::vector<std::pair<std::string, const std::string*>> outputs_;  ///< by option
  std::vector<const std::string*> output_folders_;
  bool help_wanted_ = false;
  Status failure_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace planish::tools
