#pragma once

#include <string>
#include <vector>

#include "planish/api/data.h"
#include "planish/base/status.h"
#include "planish/tools/polygraphy/logger.h"

namespace planish::tools {

/// JSON files of a folder as --save-inputs and --save-outputs write it, in order. Error not_found: there are none.
Result<std::vector<std::string>> iteration_files(const std::string& folder);

/// Saved inputs, iteration by iteration: from files one whole, from folders file by file.
class SavedInputs {
 public:
  explicit SavedInputs(std::vector<std::string> paths) : paths_(std::move(paths)) {}
  /// nullopt at the end. Errors name the file.
  Result<std::optional<NamedTensors>> next(PolygraphyLog& log);

 private:
  std::vector<std::string> paths_;
  size_t path_ = 0;
  std::vector<std::string> files_;  ///< of the current path, the next ones last
  std::vector<NamedTensors> items_;
  size_t item_ = 0;
};

/// Saved outputs of a file or folder.
Result<SavedRunResults> load_results(const std::string& path, PolygraphyLog& log);

/// True when the path has a file extension, so that it means one file.
bool names_a_file(const std::string& path);

/// Writes iterations to one file (at the end) or to a folder, one file each. Iterations are what the file holds one
/// of: a feed (inputs) or a run (outputs).
class IterationWriter {
 public:
  /// `path` "" writes nothing. `description`: "inference input data".
  static Result<IterationWriter> open(std::string path, std::string description, PolygraphyLog& log);
  Status add_inputs(const NamedTensors& inputs);
  Status add_outputs(const SavedRunResults& results);
  /// Writes the single file.
  Status finish();
  [[nodiscard]] bool accumulates() const { return !path_.empty() && single_file_; }

 private:
  IterationWriter(std::string path, std::string description, PolygraphyLog& log);
  [[nodiscard]] std::string next_file();

  std::string path_;
  std::string description_;
  PolygraphyLog* log_;
  bool single_file_ = false;
  size_t index_ = 0;
  std::vector<NamedTensors> inputs_;
  SavedRunResults outputs_;
  bool holds_outputs_ = false;
};

/// Raw bytes of every input of one iteration: FOLDER/0000000000/name.bin.
Status write_input_blobs(const std::string& folder, size_t iteration, const NamedTensors& inputs);

}  // namespace planish::tools
