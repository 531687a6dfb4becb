#include "planish/tools/calibration/folder.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <set>

#include "planish/api/data.h"

namespace planish::tools {

namespace fs = std::filesystem;

Result<FolderContent> list_calibration_folder(const std::string& folder) {
  constexpr int kDeepest = 8;
  constexpr std::array kArrays{".npy", ".npz", ".bin", ".raw"};
  constexpr std::array kNoData{".txt", ".csv",   ".json", ".xml", ".yaml", ".yml",
                               ".md",  ".cache", ".db",   ".py",  ".onnx"};
  FolderContent content;
  std::error_code error;
  std::set<fs::path> visited{fs::weakly_canonical(folder, error)};  // links may lead back, or twice to one place
  error.clear();
  fs::recursive_directory_iterator it(folder, fs::directory_options::follow_directory_symlink, error);
  for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    const std::string name = it->path().filename().string();
    std::error_code ignored;
    if (it->is_directory(ignored)) {
      if (name.rfind('.', 0) == 0 || it.depth() >= kDeepest ||
          !visited.insert(fs::canonical(it->path(), ignored)).second)
        it.disable_recursion_pending();
      continue;
    }
    if (name.rfind('.', 0) == 0) continue;
    std::string extension = it->path().extension().string();
    for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (has_image_extension(name)) {
      content.pictures.push_back(it->path().string());
    } else if (std::find(kArrays.begin(), kArrays.end(), extension) != kArrays.end()) {
      content.arrays.push_back(it->path().string());
    } else {
      ++content.others;
      if (std::find(kNoData.begin(), kNoData.end(), extension) == kNoData.end()) content.other = it->path().string();
    }
  }
  if (error)
    return Error{.code = Code::io, .file = folder, .what = error.message(), .fix = "check the folder's permissions"};
  std::sort(content.pictures.begin(), content.pictures.end());
  std::sort(content.arrays.begin(), content.arrays.end());
  return content;
}

std::vector<std::string> input_names(const std::vector<api::TensorInfo>& inputs) {
  std::vector<std::string> names;
  for (const api::TensorInfo& input : inputs) names.push_back(input.name);
  return names;
}

}  // namespace planish::tools
