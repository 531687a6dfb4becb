#pragma once

#include <string>
#include <vector>

#include "planish/base/status.h"
#include "planish/data/npz.h"

namespace planish {

/// One iteration of one runner in a saved `RunResults`.
struct SavedIteration {
  NamedTensors outputs;
  double runtime_s = 0;
  std::string runner_name;
};
/// What `polygraphy run --save-outputs` writes: runners in order, each with its iterations.
using SavedRunResults = std::vector<std::pair<std::string, std::vector<SavedIteration>>>;

/// Inputs as `polygraphy run --save-inputs` writes them: a list of {name: array}, one per iteration, or one such
/// object. Arrays are Base64 .npy files under "polygraphy_class": "ndarray"; the older marker
/// "__polygraphy_encoded_ndarray", Latin-1 text instead of Base64 and an .npz with one member are accepted, and so are
/// LazyArray and FormattedArray. A RunResults file gives the first runner's outputs.
/// Errors: corrupt, unsupported (torch tensors); each names the iteration and the tensor.
Result<std::vector<NamedTensors>> polygraphy_inputs_from_json(const std::string& text, const std::string& file_name);
Result<std::vector<NamedTensors>> read_polygraphy_inputs(const std::string& path);
/// The list form, indented by 4.
Result<std::string> polygraphy_inputs_to_json(const std::vector<NamedTensors>& iterations);
Status write_polygraphy_inputs(const std::string& path, const std::vector<NamedTensors>& iterations);
/// One iteration as an object of its own: a file of the folder that `--save-inputs FOLDER` writes.
Result<std::string> polygraphy_feed_to_json(const NamedTensors& tensors);

/// True when the file holds RunResults, false when it holds inputs. Errors: not_found, corrupt.
Result<bool> holds_polygraphy_results(const std::string& path);
/// The same for RunResults.
Result<SavedRunResults> polygraphy_results_from_json(const std::string& text, const std::string& file_name);
Result<SavedRunResults> read_polygraphy_results(const std::string& path);
Result<std::string> polygraphy_results_to_json(const SavedRunResults& results);
Status write_polygraphy_results(const std::string& path, const SavedRunResults& results);

}  // namespace planish
