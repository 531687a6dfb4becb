#include <fmt/format.h>

#include <cctype>
#include <cstring>
#include <filesystem>

#include "planish/base/atomic_file.h"
#include "planish/tools/calibration/reader.h"
#include "planish/tools/console.h"

namespace planish::tools {
namespace {

namespace fs = std::filesystem;

/// Raw bytes as rows of the network's only input.
Result<Tensor> raw_tensor(const std::string& path, const std::vector<api::TensorInfo>& inputs) {
  if (inputs.size() != 1)
    return Error{.code = Code::invalid_argument,
                 .file = path,
                 .what = fmt::format("raw bytes do not say which of the {} inputs they are for", inputs.size()),
                 .fix = "save .npz files with one member per input"};
  const api::TensorInfo& input = inputs[0];
  Shape row = input.dims;
  if (!row.empty() && row[0] != 1) row[0] = 1;
  for (const int64_t d : row)
    if (d < 0)
      return Error{.code = Code::shape_mismatch,
                   .tensor = input.name,
                   .file = path,
                   .what = fmt::format("raw bytes have no shape, and the input's is {}", tuple_text(input.dims)),
                   .fix = "give its shape (--shapes, --optShapesCalib), or save .npy files"};
  const size_t row_bytes = dtype_bytes(input.dtype, element_count(row));
  const std::string bytes = PLANISH_TRY(read_file(path));
  if (bytes.empty() || row_bytes == 0 || bytes.size() % row_bytes != 0)
    return Error{.code = Code::shape_mismatch,
                 .tensor = input.name,
                 .file = path,
                 .what = fmt::format("{} bytes are no multiple of the {} bytes of one sample, {} {}", bytes.size(),
                                     row_bytes, dtype_numpy_name(input.dtype), tuple_text(row)),
                 .fix = "write each sample in the input's type and shape, C order"};
  if (!row.empty()) row[0] = static_cast<int64_t>(bytes.size() / row_bytes);
  Tensor tensor(input.dtype, row);
  std::memcpy(tensor.raw(), bytes.data(), bytes.size());
  return tensor;
}

class FileReader final : public CalibrationReader {
 public:
  FileReader(std::vector<std::string> files, std::vector<api::TensorInfo> inputs, std::string folder, int64_t keep)
      : files_(std::move(files)),
        inputs_(std::move(inputs)),
        folder_(std::move(folder)),
        order_(spread(static_cast<int64_t>(files_.size()), keep)) {}

  Result<std::optional<CalibrationItem>> next() override {
    if (position_ >= order_.size()) return std::optional<CalibrationItem>();
    const std::string& path = files_[static_cast<size_t>(order_[position_++])];
    CalibrationItem item{{}, path};
    std::string extension = fs::path(path).extension().string();
    for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (extension == ".npy") {
      item.arrays.emplace_back("", PLANISH_TRY(read_npy(path)));
    } else if (extension == ".npz") {
      item.arrays = PLANISH_TRY(read_npz(path));
    } else {
      item.arrays.emplace_back("", PLANISH_TRY(raw_tensor(path, inputs_)));
    }
    return std::optional<CalibrationItem>(std::move(item));
  }
  Status rewind() override {
    position_ = 0;
    return {};
  }
  [[nodiscard]] std::optional<int64_t> size() const override { return static_cast<int64_t>(order_.size()); }
  [[nodiscard]] std::string identity() const override {
    std::string text;
    for (const int64_t i : order_) text += file_identity(files_[static_cast<size_t>(i)]) + '\n';
    return text;
  }
  [[nodiscard]] std::string description() const override {
    return fmt::format("folder {} ({} files)", folder_, order_.size());
  }

 private:
  std::vector<std::string> files_;
  std::vector<api::TensorInfo> inputs_;
  std::string folder_;
  std::vector<int64_t> order_;
  size_t position_ = 0;
};

}  // namespace

std::string file_identity(const std::string& path) {
  std::error_code error;
  const auto bytes = fs::file_size(path, error);
  if (error) return path;
  const auto time = fs::last_write_time(path, error).time_since_epoch().count();
  return fmt::format("{} {} {}", fs::path(path).filename().string(), bytes, error ? 0 : time);
}

std::unique_ptr<CalibrationReader> file_reader(std::vector<std::string> files, std::vector<api::TensorInfo> inputs,
                                               std::string folder, int64_t keep) {
  return std::make_unique<FileReader>(std::move(files), std::move(inputs), std::move(folder), keep);
}

}  // namespace planish::tools
