#include "planish/tools/polygraphy/saved_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "planish/base/atomic_file.h"

namespace planish::tools {
namespace {

namespace fs = std::filesystem;

std::string index_text(size_t index) { return fmt::format("{:010}", index); }

Error folder_error(const std::string& path, std::string what, std::string fix) {
  return Error{.code = Code::io, .file = path, .what = std::move(what), .fix = std::move(fix)};
}

}  // namespace

bool names_a_file(const std::string& path) { return fs::path(path).has_extension(); }

Result<std::vector<std::string>> iteration_files(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.path().extension() == ".json") files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  if (files.empty())
    return Error{.code = Code::not_found,
                 .file = folder,
                 .what = "no per-iteration '*.json' files are in this folder",
                 .fix = "give a folder that polygraphy run wrote with --save-inputs or --save-outputs"};
  return files;
}

Result<std::optional<NamedTensors>> SavedInputs::next(PolygraphyLog& log) {
  while (item_ == items_.size()) {
    while (files_.empty()) {
      if (path_ == paths_.size()) return std::optional<NamedTensors>();
      const std::string& path = paths_[path_++];
      std::error_code ignored;
      if (fs::is_directory(path, ignored))
        files_ = PLANISH_TRY(iteration_files(path));
      else
        files_ = {path};
      std::reverse(files_.begin(), files_.end());
    }
    log.print(PolygraphyLog::info, "Loading input data from " + files_.back());
    items_ = PLANISH_TRY(read_polygraphy_inputs(files_.back()));
    files_.pop_back();
    item_ = 0;
  }
  return std::optional<NamedTensors>(std::move(items_[item_++]));
}

Result<SavedRunResults> load_results(const std::string& path, PolygraphyLog& log) {
  std::error_code ignored;
  std::vector<std::string> files{path};
  if (fs::is_directory(path, ignored)) files = PLANISH_TRY(iteration_files(path));
  SavedRunResults all;
  for (const std::string& file : files) {
    log.print(PolygraphyLog::info, "Loading inference results from " + file);
    for (auto& [runner, iterations] : PLANISH_TRY(read_polygraphy_results(file))) {
      auto it = std::find_if(all.begin(), all.end(), [&](const auto& r) { return r.first == runner; });
      // Within one file two runners may share a name; across the files of a folder the same name goes on.
      if (it == all.end() || files.size() == 1) it = all.insert(all.end(), {runner, {}});
      for (SavedIteration& iteration : iterations) it->second.push_back(std::move(iteration));
    }
  }
  return all;
}

IterationWriter::IterationWriter(std::string path, std::string description, PolygraphyLog& log)
    : path_(std::move(path)), description_(std::move(description)), log_(&log) {}

Result<IterationWriter> IterationWriter::open(std::string path, std::string description, PolygraphyLog& log) {
  IterationWriter writer(std::move(path), std::move(description), log);
  if (writer.path_.empty()) return writer;
  writer.single_file_ = names_a_file(writer.path_);
  log.print(PolygraphyLog::info,
            fmt::format("Saving {} to a {}: {}", writer.description_,
                        writer.single_file_ ? "single file" : "directory of per-iteration files", writer.path_));
  if (writer.single_file_) return writer;
  std::error_code error;
  if (fs::exists(writer.path_, error) && !fs::is_directory(writer.path_, error))
    return folder_error(writer.path_, "a file of this name exists, and a path without extension means a folder",
                        "give a name that ends in .json, or another folder");
  fs::create_directories(writer.path_, error);
  if (error) return folder_error(writer.path_, error.message(), "check the path");
  if (!fs::is_empty(writer.path_, error))
    return folder_error(writer.path_, "the folder is not empty", "give a new or empty folder for per-iteration files");
  return writer;
}

std::string IterationWriter::next_file() {
  const std::string file = (fs::path(path_) / (index_text(index_++) + ".json")).string();
  log_->print(PolygraphyLog::info, fmt::format("Saving {} to {}", description_, file));
  return file;
}

Status IterationWriter::add_inputs(const NamedTensors& inputs) {
  if (path_.empty()) return {};
  if (single_file_) {
    inputs_.push_back(inputs);
    return {};
  }
  // A folder's files hold one dictionary each, not a list.
  std::string text = PLANISH_TRY(polygraphy_feed_to_json(inputs));
  return write_file_atomically(next_file(), text);
}

Status IterationWriter::add_outputs(const SavedRunResults& results) {
  if (path_.empty()) return {};
  holds_outputs_ = true;
  if (!single_file_) return write_polygraphy_results(next_file(), results);
  if (outputs_.empty()) {
    outputs_ = results;
    return {};
  }
  for (size_t i = 0; i < results.size() && i < outputs_.size(); ++i)
    outputs_[i].second.insert(outputs_[i].second.end(), results[i].second.begin(), results[i].second.end());
  return {};
}

Status IterationWriter::finish() {
  if (path_.empty() || !single_file_) return {};
  log_->print(PolygraphyLog::info, fmt::format("Saving {} to {}", description_, path_));
  return holds_outputs_ ? write_polygraphy_results(path_, outputs_) : write_polygraphy_inputs(path_, inputs_);
}

Status write_input_blobs(const std::string& folder, size_t iteration, const NamedTensors& inputs) {
  const fs::path here = fs::path(folder) / index_text(iteration);
  std::error_code error;
  fs::create_directories(here, error);
  if (error) return folder_error(here.string(), error.message(), "check the path of --save-input-blob");
  for (const auto& [name, tensor] : inputs) {
    const fs::path file = (here / (name + ".bin")).lexically_normal();
    if (file.string().rfind(here.lexically_normal().string() + "/", 0) != 0)
      return folder_error(file.string(), fmt::format("the input's name '{}' leads out of the folder", name),
                          "rename the input");
    fs::create_directories(file.parent_path(), error);
    const std::string_view bytes(static_cast<const char*>(tensor.raw()), tensor.bytes());
    PLANISH_TRY(write_file_atomically(file, bytes));
  }
  return {};
}

}  // namespace planish::tools
