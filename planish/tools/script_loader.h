#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "planish/api/data.h"
#include "planish/api/engine.h"
#include "planish/base/status.h"
#include "planish/tools/python_child.h"

namespace planish::tools {

struct ScriptLoaderOptions {
  std::string script;  ///< "loader.py" (its load_data) or "loader.py:function"
  std::string default_function = "load_data";
  std::vector<api::TensorInfo> inputs;  ///< of the model; loader objects get them as `input_metadata`
  double item_timeout_s = 120;          ///< longest wait for one item
  std::string python = "python3";
};

/// A data-loader script as Polygraphy takes it: a function without arguments that returns a generator or another
/// iterable of {input name: array}. It runs in the user's own Python, in a child process that sends one item at a time,
/// so that memory holds one item however many there are.
class ScriptLoader {
 public:
  /// Starts the script and calls the function. Errors name the script: not there, no such function (lists those that
  /// it has), no Python or numpy, an exception (with its own traceback), no answer in time.
  static Result<std::unique_ptr<ScriptLoader>> open(ScriptLoaderOptions options);

  /// The next item, or nullopt at the end. An error names script and item; when `fatal()` the walk is over, else the
  /// item was no dictionary of arrays and the next call goes on.
  Result<std::optional<NamedTensors>> next();
  /// Runs the script again from the start.
  Status rewind();
  [[nodiscard]] bool fatal() const { return fatal_; }
  /// Items asked for since the start, good or bad.
  [[nodiscard]] int64_t items() const { return items_; }
  /// "loader.py:load_data"
  [[nodiscard]] std::string name() const;
  /// Path of the script without the function.
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  ScriptLoader() = default;
  Status start();
  Result<ChildFrame> frame();
  Error failure(const ChildFrame& frame);
  Error fatal_error(Code code, std::string what, std::string fix);

  ScriptLoaderOptions options_;
  std::string path_;
  std::string function_;
  std::unique_ptr<PythonChild> child_;
  int64_t items_ = 0;
  bool ended_ = false;
  bool fatal_ = false;
};

/// Splits "file.py:function" at the last colon, unless the whole text is a file or nothing that looks like a function
/// follows; `default_function` where none is named.
std::pair<std::string, std::string> split_script(const std::string& script, const std::string& default_function);

/// The Python side of ScriptLoader: arguments are script, function and the model's inputs as JSON.
std::string_view script_child_source();

}  // namespace planish::tools
