#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "planish/api/data.h"
#include "planish/api/engine.h"
#include "planish/base/status.h"

namespace planish::tools {

/// One or more rows of network inputs as one place gives them. A name of "" means the network's only input.
struct CalibrationItem {
  NamedTensors arrays;
  std::string origin;   ///< file, file[row] or batch of a script, for messages
  bool finite = false;  ///< the reader has seen that no value is NaN or infinite
};

/// Reads calibration data from one kind of place, unchecked; BatchSource makes batches of it that fit the network.
class CalibrationReader {
 public:
  virtual ~CalibrationReader() = default;
  /// The next item; nullopt at the end. An error names the sample; the walk goes on after it unless `fatal()`.
  virtual Result<std::optional<CalibrationItem>> next() = 0;
  /// As api::CalibrationSource::prepare().
  virtual bool prepare() { return false; }
  virtual Status rewind() = 0;
  [[nodiscard]] virtual bool fatal() const { return false; }
  /// Samples in all, where known.
  [[nodiscard]] virtual std::optional<int64_t> size() const { return std::nullopt; }
  [[nodiscard]] virtual std::string identity() const = 0;
  [[nodiscard]] virtual std::string description() const = 0;
};

using WarnFunction = std::function<void(const std::string&)>;

/// Pictures of one folder or list, decoded and preprocessed for the network's only input.
struct PictureList {
  std::vector<std::string> names;              ///< of files, or "images.npz[3]"
  std::function<Result<Image>(int64_t)> load;  ///< thread-safe
  std::string place;                           ///< "folder calib_images"
  std::string identity;
};
/// `keep` < 0: all; else that many, spread evenly (folders are often sorted by class).
std::unique_ptr<CalibrationReader> picture_reader(PictureList pictures, Preprocess preprocess, InputSize size,
                                                  int64_t keep, int threads);

/// Rows of arrays that lie in .npy files or in memory, one per input; all have as many rows.
std::unique_ptr<CalibrationReader> array_reader(std::vector<std::pair<std::string, NpyFile>> arrays,
                                                std::vector<api::TensorInfo> inputs, std::string path, int64_t keep);
std::unique_ptr<CalibrationReader> memory_reader(std::vector<CalibrationItem> items, std::string path);

/// Files with arrays, one after the other: .npy, .npz, .json (polygraphy), .bin and .raw (bytes of the input).
std::unique_ptr<CalibrationReader> file_reader(std::vector<std::string> files, std::vector<api::TensorInfo> inputs,
                                               std::string folder, int64_t keep);

/// A data-loader script. Without `max_items` it stops after kScriptItems and says so.
inline constexpr int64_t kScriptItems = 1000;
Result<std::unique_ptr<CalibrationReader>> script_reader(const std::string& script, std::vector<api::TensorInfo> inputs,
                                                         int64_t max_items, double timeout_s, WarnFunction warn);

/// `count` samples of made-up values: floats uniform in [-1, 1], integers 0 or 1. `shapes`: of every input, complete.
std::unique_ptr<CalibrationReader> random_reader(std::vector<api::TensorInfo> shapes, int64_t count, uint64_t seed);

/// "path size time" of a file, for identity().
std::string file_identity(const std::string& path);

/// Positions of `keep` of `total` samples, spread evenly; all when keep < 0.
std::vector<int64_t> spread(int64_t total, int64_t keep);

}  // namespace planish::tools
