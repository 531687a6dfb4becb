#include <fmt/format.h>

#include <random>

#include "planish/tools/calibration/reader.h"
#include "planish/tools/script_loader.h"

namespace planish::tools {
namespace {

class ScriptReader final : public CalibrationReader {
 public:
  ScriptReader(std::unique_ptr<ScriptLoader> loader, int64_t max_items, WarnFunction warn)
      : loader_(std::move(loader)), max_items_(max_items), warn_(std::move(warn)) {}

  Result<std::optional<CalibrationItem>> next() override {
    const int64_t limit = max_items_ < 0 ? kScriptItems : max_items_;
    if (loader_->items() >= limit) return stop(limit);
    auto item = loader_->next();
    if (!item.ok()) return std::move(item).take_error();
    if (!item->has_value()) return std::optional<CalibrationItem>();
    return std::optional<CalibrationItem>(
        CalibrationItem{**std::move(item), fmt::format("{}, batch {}", loader_->path(), loader_->items())});
  }
  Status rewind() override {
    stopped_ = false;
    return loader_->rewind();
  }
  [[nodiscard]] bool fatal() const override { return loader_->fatal(); }
  [[nodiscard]] std::optional<int64_t> size() const override {
    return max_items_ < 0 ? std::nullopt : std::optional(max_items_);
  }
  [[nodiscard]] std::string identity() const override {
    return fmt::format("{}\n{}\n", file_identity(loader_->path()), max_items_);
  }
  [[nodiscard]] std::string description() const override { return fmt::format("script {}", loader_->name()); }

 private:
  /// Nobody asked for a limit: say that there was one, unless the loader ends here by itself.
  Result<std::optional<CalibrationItem>> stop(int64_t limit) {
    const std::optional<CalibrationItem> end;
    if (stopped_ || max_items_ >= 0) return end;
    stopped_ = true;
    const auto more = loader_->next();
    if (more.ok() && more->has_value() && warn_)
      warn_(
          fmt::format("{} did not end after {} batches: these are used (name a number of samples to use more or fewer)",
                      loader_->name(), limit));
    return end;
  }

  std::unique_ptr<ScriptLoader> loader_;
  int64_t max_items_;
  WarnFunction warn_;
  bool stopped_ = false;
};

class RandomReader final : public CalibrationReader {
 public:
  RandomReader(std::vector<api::TensorInfo> inputs, int64_t count, uint64_t seed)
      : inputs_(std::move(inputs)), count_(count), seed_(seed) {}

  Result<std::optional<CalibrationItem>> next() override {
    if (position_ >= count_) return std::optional<CalibrationItem>();
    std::mt19937_64 generator(seed_ + static_cast<uint64_t>(position_));
    CalibrationItem item{{}, fmt::format("random sample {}", position_)};
    for (const api::TensorInfo& input : inputs_) {
      Tensor tensor(input.dtype, input.dims);
      const bool is_float = dtype_is_float(input.dtype);
      for (int64_t i = 0; i < tensor.size(); ++i) {
        const double unit = static_cast<double>(generator() >> 11) * 0x1p-53;
        tensor.set(i, is_float ? 2 * unit - 1 : (unit < 0.5 ? 0 : 1));
      }
      item.arrays.emplace_back(input.name, std::move(tensor));
    }
    ++position_;
    return std::optional<CalibrationItem>(std::move(item));
  }
  Status rewind() override {
    position_ = 0;
    return {};
  }
  [[nodiscard]] std::optional<int64_t> size() const override { return count_; }
  [[nodiscard]] std::string identity() const override { return fmt::format("random {} {}\n", count_, seed_); }
  [[nodiscard]] std::string description() const override { return "random"; }

 private:
  std::vector<api::TensorInfo> inputs_;
  int64_t count_;
  uint64_t seed_;
  int64_t position_ = 0;
};

}  // namespace

Result<std::unique_ptr<CalibrationReader>> script_reader(const std::string& script, std::vector<api::TensorInfo> inputs,
                                                         int64_t max_items, double timeout_s, WarnFunction warn) {
  auto loader =
      PLANISH_TRY(ScriptLoader::open({.script = script, .inputs = std::move(inputs), .item_timeout_s = timeout_s}));
  return std::unique_ptr<CalibrationReader>(
      std::make_unique<ScriptReader>(std::move(loader), max_items, std::move(warn)));
}

std::unique_ptr<CalibrationReader> random_reader(std::vector<api::TensorInfo> shapes, int64_t count, uint64_t seed) {
  return std::make_unique<RandomReader>(std::move(shapes), count, seed);
}

}  // namespace planish::tools
