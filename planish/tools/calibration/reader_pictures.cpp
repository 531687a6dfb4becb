#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

#include "planish/base/finite.h"
#include "planish/tools/calibration/reader.h"

namespace planish::tools {
namespace {

/// Pictures of each thread that are decoded together, so that nobody waits long for the last of them, and the memory
/// for all of them.
constexpr size_t kOfThread = 8;
constexpr size_t kBytesTogether = size_t{32} << 20;

/// Decodes several pictures of each thread together; a broken one costs only itself.
class PictureReader final : public CalibrationReader {
 public:
  PictureReader(PictureList pictures, Preprocess preprocess, InputSize size, int64_t keep, int threads)
      : pictures_(std::move(pictures)),
        preprocess_(std::move(preprocess)),
        size_(size),
        order_(spread(static_cast<int64_t>(pictures_.names.size()), keep)),
        threads_(static_cast<size_t>(std::max(threads, 1))) {
    const auto bytes = static_cast<size_t>(size_.channels * size_.height * size_.width) * sizeof(float);
    most_ready_ = std::clamp(kBytesTogether / std::max<size_t>(bytes, 1), threads_, threads_ * kOfThread);
  }

  Result<std::optional<CalibrationItem>> next() override {
    if (ready_.empty()) prepare_all();
    if (ready_.empty()) return std::optional<CalibrationItem>();
    auto item = *std::move(ready_.front());
    ready_.pop_front();
    if (!item.ok()) return std::move(item).take_error();
    return std::optional<CalibrationItem>(std::move(item).take_value());
  }
  bool prepare() override {
    std::optional<Result<CalibrationItem>>* place = nullptr;
    int64_t index = 0;
    {
      const std::lock_guard lock(mutex_);
      // At the start perhaps only one is wanted, to look at.
      if (position_ == order_.size() || ready_.size() >= (position_ <= threads_ ? threads_ : most_ready_)) return false;
      index = order_[position_++];
      place = &ready_.emplace_back();
    }
    *place = decode(index);
    return true;
  }
  Status rewind() override {
    ready_.clear();
    position_ = 0;
    return {};
  }
  [[nodiscard]] std::optional<int64_t> size() const override { return static_cast<int64_t>(order_.size()); }
  [[nodiscard]] std::string identity() const override {
    return fmt::format("{}\n{}\n{} of {}\n", pictures_.identity, preprocess_to_json(preprocess_), order_.size(),
                       pictures_.names.size());
  }
  [[nodiscard]] std::string description() const override {
    return fmt::format("{} ({} images, {})", pictures_.place, order_.size(), preprocess_.name);
  }

 private:
  Result<CalibrationItem> decode(int64_t index) const {
    const std::string& name = pictures_.names[static_cast<size_t>(index)];
    const bool nchw = preprocess_.layout == PixelLayout::nchw;
    Tensor row = Tensor::uninitialised(DType::f32, nchw ? Shape{1, size_.channels, size_.height, size_.width}
                                                        : Shape{1, size_.height, size_.width, size_.channels});
    const auto named = [&](Error error) {
      if (error.file.empty()) error.file = name;
      return error;
    };
    const auto image = pictures_.load(index);
    if (!image.ok()) return named(image.error());
    if (const auto done = preprocess_image(preprocess_, *image, size_, row.span<float>()); !done.ok())
      return named(done.error());
    const bool finite = all_finite(row.span<float>());  // while it is in the cache
    return CalibrationItem{{{"", std::move(row)}}, name, finite};
  }

  void prepare_all() {
    const auto work = [this] {
      while (prepare()) {
      }
    };
    std::vector<std::thread> helpers;
    const size_t workers = std::min(threads_, order_.size() - position_);  // those who run already move the position
    for (size_t t = 1; t < workers; ++t) helpers.emplace_back(work);
    work();
    for (std::thread& helper : helpers) helper.join();
  }

  PictureList pictures_;
  Preprocess preprocess_;
  InputSize size_;
  std::vector<int64_t> order_;
  size_t threads_;
  size_t most_ready_ = 0;
  std::mutex mutex_;
  size_t position_ = 0;
  std::deque<std::optional<Result<CalibrationItem>>> ready_;  ///< in order; those that are being prepared are empty
};

}  // namespace

std::unique_ptr<CalibrationReader> picture_reader(PictureList pictures, Preprocess preprocess, InputSize size,
                                                  int64_t keep, int threads) {
  return std::make_unique<PictureReader>(std::move(pictures), std::move(preprocess), size, keep, threads);
}

}  // namespace planish::tools
