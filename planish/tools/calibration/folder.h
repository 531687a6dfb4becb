#pragma once

#include <string>
#include <vector>

#include "planish/api/engine.h"
#include "planish/base/status.h"

namespace planish::tools {

/// Files below a folder that can be calibrated on, in order of their paths.
struct FolderContent {
  std::vector<std::string> pictures;
  std::vector<std::string> arrays;  ///< .npy, .npz, .bin, .raw
  size_t others = 0;
  std::string other;  ///< one of them that might have been meant as data: no labels, lists or notes
};

/// Walks a folder and its sub-folders (hidden ones excepted). Error io when it cannot be read.
Result<FolderContent> list_calibration_folder(const std::string& folder);

std::vector<std::string> input_names(const std::vector<api::TensorInfo>& inputs);

}  // namespace planish::tools
