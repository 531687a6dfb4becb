#include <algorithm>
#include <atomic>
#include <thread>

#include "planish/data/dataset.h"

namespace planish {
namespace {

/// Calls work(i) for i in [0, count) on up to `threads` threads.
template <typename Work>
void for_each_index(int64_t count, int threads, const Work& work) {
  std::atomic<int64_t> next{0};
  const auto run = [&] {
    for (int64_t i = next++; i < count; i = next++) work(i);
  };
  std::vector<std::thread> helpers;
  for (int64_t t = 1; t < std::min<int64_t>(threads, count); ++t) helpers.emplace_back(run);
  run();
  for (std::thread& helper : helpers) helper.join();
}

}  // namespace

BatchIterator::BatchIterator(const Dataset& dataset, Preprocess preprocess, InputSize input, BatchOptions options)
    : dataset_(&dataset), preprocess_(std::move(preprocess)), input_(input), options_(options) {
  options_.batch = std::max<int64_t>(1, options_.batch);
}

int64_t BatchIterator::batches() const { return (dataset_->size() + options_.batch - 1) / options_.batch; }

Result<std::optional<Batch>> BatchIterator::next() {
  const int64_t count = std::min(options_.batch, dataset_->size() - position_);
  if (count <= 0) return std::optional<Batch>();
  const int64_t first = position_;
  position_ += count;

  Batch batch;
  const int64_t rows = options_.pad_last ? options_.batch : count;
  batch.input = preprocess_.layout == PixelLayout::nchw
                    ? Tensor(DType::f32, {rows, input_.channels, input_.height, input_.width})
                    : Tensor(DType::f32, {rows, input_.height, input_.width, input_.channels});
  const auto values = batch.input.span<float>();
  const auto row_elems = static_cast<size_t>(input_.element_count());
  std::vector<Result<ImageMapping>> mappings(static_cast<size_t>(count), ImageMapping{});
  for_each_index(count, options_.threads, [&](int64_t i) {
    const auto row = static_cast<size_t>(i);
    auto image = dataset_->load(first + i);
    mappings[row] =
        image.ok() ? preprocess_image(preprocess_, image.value(), input_, values.subspan(row * row_elems, row_elems))
                   : Result<ImageMapping>(std::move(image).take_error());
  });
  for (int64_t i = 0; i < count; ++i) {
    const Sample& sample = dataset_->samples()[static_cast<size_t>(first + i)];
    auto& mapping = mappings[static_cast<size_t>(i)];
    if (!mapping.ok()) {
      Error error = std::move(mapping).take_error();
      if (error.file.empty()) error.file = sample.file;
      return error;
    }
    batch.indices.push_back(first + i);
    batch.labels.push_back(sample.label);
    batch.mappings.push_back(mapping.value());
  }
  return std::optional<Batch>(std::move(batch));
}

}  // namespace planish
