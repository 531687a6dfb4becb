#include <fmt/format.h>

#include <algorithm>

#include "planish/tools/calibration/reader.h"

namespace planish::tools {
namespace {

/// Rows that a file holds for an input: an array of the input's rank, or of one more, has its samples on the first
/// axis; an array of one less is one sample.
int64_t row_count(const NpyFile& file, const std::vector<api::TensorInfo>& inputs, const std::string& name) {
  const auto rank = static_cast<int64_t>(file.shape().size());
  for (const api::TensorInfo& input : inputs)
    if (input.name == name || name.empty())
      return rank == 0 || rank + 1 == static_cast<int64_t>(input.dims.size()) ? -1 : file.shape()[0];
  return rank == 0 ? -1 : file.shape()[0];
}

/// Arrays read a few rows at a time.
class ArrayReader final : public CalibrationReader {
 public:
  ArrayReader(std::vector<std::pair<std::string, NpyFile>> arrays, const std::vector<api::TensorInfo>& inputs,
              std::string path, int64_t keep)
      : arrays_(std::move(arrays)), path_(std::move(path)) {
    int64_t rows = -1;
    for (const auto& [name, file] : arrays_) rows = std::max(rows, row_count(file, inputs, name));
    whole_ = rows < 0;
    total_ = whole_ ? 1 : rows;
    order_ = spread(total_, keep);
  }

  Result<std::optional<CalibrationItem>> next() override {
    if (position_ >= order_.size()) return std::optional<CalibrationItem>();
    const int64_t row = order_[position_++];
    CalibrationItem item{{}, whole_ ? path_ : fmt::format("{}[{}]", path_, row)};
    for (const auto& [name, file] : arrays_) {
      Tensor rows = whole_ ? PLANISH_TRY(file.all()) : PLANISH_TRY(file.rows(row, 1));
      item.arrays.emplace_back(name, std::move(rows));
    }
    return std::optional<CalibrationItem>(std::move(item));
  }
  Status rewind() override {
    position_ = 0;
    return {};
  }
  [[nodiscard]] std::optional<int64_t> size() const override { return static_cast<int64_t>(order_.size()); }
  [[nodiscard]] std::string identity() const override {
    return fmt::format("{}\n{} of {}\n", file_identity(path_), order_.size(), total_);
  }
  [[nodiscard]] std::string description() const override {
    return fmt::format("{} ({} samples)", path_, order_.size());
  }

 private:
  std::vector<std::pair<std::string, NpyFile>> arrays_;
  std::string path_;
  bool whole_ = false;
  int64_t total_ = 0;
  std::vector<int64_t> order_;
  size_t position_ = 0;
};

class MemoryReader final : public CalibrationReader {
 public:
  MemoryReader(std::vector<CalibrationItem> items, std::string path)
      : items_(std::move(items)), path_(std::move(path)) {}
  Result<std::optional<CalibrationItem>> next() override {
    if (position_ >= items_.size()) return std::optional<CalibrationItem>();
    return std::optional<CalibrationItem>(items_[position_++]);
  }
  Status rewind() override {
    position_ = 0;
    return {};
  }
  [[nodiscard]] std::string identity() const override {
    return fmt::format("{}\n{} items\n", file_identity(path_), items_.size());
  }
  [[nodiscard]] std::string description() const override { return path_; }

 private:
  std::vector<CalibrationItem> items_;
  std::string path_;
  size_t position_ = 0;
};

}  // namespace

std::vector<int64_t> spread(int64_t total, int64_t keep) {
  const int64_t count = keep < 0 ? total : std::min(keep, total);
  std::vector<int64_t> order;
  for (int64_t i = 0; i < count; ++i) order.push_back(i * total / count);
  return order;
}

std::unique_ptr<CalibrationReader> array_reader(std::vector<std::pair<std::string, NpyFile>> arrays,
                                                std::vector<api::TensorInfo> inputs, std::string path, int64_t keep) {
  return std::make_unique<ArrayReader>(std::move(arrays), inputs, std::move(path), keep);
}

std::unique_ptr<CalibrationReader> memory_reader(std::vector<CalibrationItem> items, std::string path) {
  return std::make_unique<MemoryReader>(std::move(items), std::move(path));
}

}  // namespace planish::tools
