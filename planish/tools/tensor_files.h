#pragma once

#include <string>
#include <utility>
#include <vector>

#include "planish/api/data.h"
#include "planish/api/engine.h"
#include "planish/base/status.h"

namespace planish::tools {

/// What `--input` options name, read from disk: arrays and pictures, each for an input ("" for the only one).
struct GivenInputs {
  NamedTensors arrays;
  std::vector<std::pair<std::string, std::string>> pictures;  ///< input name, picture file
};

/// Reads `name=file` or `file`: .npy, .npz (all members by name, or the member called `name`), pictures, .json as
/// `polygraphy run --save-inputs` writes it (its first iteration). Errors name the file.
Result<GivenInputs> read_given_inputs(const std::vector<std::string>& specs);

/// Inputs for a run, in the engine's order: given arrays converted to the input's type, pictures preprocessed, the rest
/// random with a line in `notes`. Errors: a name that no input has, a type or rank that cannot be meant.
Result<NamedTensors> assign_inputs(const api::Engine& engine, const GivenInputs& given, const std::string& preprocess,
                                   const std::string& shapes, std::vector<std::string>& notes);

/// Whether write_outputs() can write there, asked before the run.
Status check_outputs_path(const std::string& path);

/// Writes outputs by the extension of `path`: .npz, .json (RunResults as polygraphy reads them), else a folder with one
/// .npy file per output. Files are replaced as a whole.
Status write_outputs(const std::string& path, const NamedTensors& outputs, double runtime_s);

}  // namespace planish::tools
