#include "planish/api/kept_samples.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "planish/api/observed_network.h"
#include "planish/api/sample_walk.h"

namespace planish::api {
namespace {

/// Rows of a batch that are kept at most, so that many batches find room.
constexpr int64_t kRows = 4;

/// Rows of all inputs; 0 where their first axes do not count the same.
int64_t rows_of(const CalibrationBatch& batch) {
  const int64_t rows = batch.inputs.empty() || batch.inputs[0].second.dims.empty() ? 0 : batch.inputs[0].second.dims[0];
  const bool alike = rows > 0 && std::ranges::all_of(batch.inputs, [rows](const auto& input) {
                       return !input.second.dims.empty() && input.second.dims[0] == rows;
                     });
  return alike ? rows : 0;
}

/// How many of them are kept.
int64_t kept_rows(const CalibrationBatch& batch) {
  const int64_t rows = rows_of(batch);
  return std::min(batch.samples > 0 ? std::min(batch.samples, rows) : rows, kRows);
}

}  // namespace

int64_t KeptSamples::expect(int64_t samples, const CalibrationBatch& first) {
  const int64_t rows = rows_of(first);
  const int64_t kept = kept_rows(first);
  if (rows == 0 || samples < 1 || first.samples < 1) return 0;
  size_t bytes = 0;
  for (const auto& [name, tensor] : first.inputs)
    bytes += tensor.data.size() / static_cast<size_t>(rows) * static_cast<size_t>(kept);
  const int64_t batches = (samples + first.samples - 1) / first.samples;
  for (int64_t stride = 1;; stride *= 2) {
    int64_t all = 0;
    for (int64_t i = 0; i < batches; i += stride) all += std::min(kept, samples - i * first.samples);
    const int64_t count = (batches + stride - 1) / stride;
    if (count > 1 && (all > max_samples_ || static_cast<size_t>(count) * bytes > max_bytes_)) continue;
    stride_ = static_cast<size_t>(stride);
    return all;
  }
}

int64_t KeptSamples::rows_to_keep(const CalibrationBatch& batch, size_t ahead) const {
  return (seen_ + ahead) % stride_ == 0 ? kept_rows(batch) : 0;
}

void KeptSamples::add(const CalibrationBatch& batch) {
  if (seen_++ % stride_ != 0) return;
  const int64_t rows = rows_of(batch);
  const bool alike = rows > 0;
  const int64_t count = alike ? kept_rows(batch) : 0;
  Kept kept{.samples = std::max<int64_t>(1, alike ? count : batch.samples)};
  for (const auto& [name, tensor] : batch.inputs) {
    std::vector<int64_t> dims = tensor.dims;
    if (alike) dims[0] = count;
    const size_t bytes =
        alike ? tensor.data.size() / static_cast<size_t>(rows) * static_cast<size_t>(count) : tensor.data.size();
    // Not a Tensor of its own, whose memory would be written twice.
    const std::shared_ptr<std::byte[]> copy(new std::byte[bytes]);
    std::memcpy(copy.get(), tensor.data.data(), bytes);
    kept.bytes += bytes;
    kept.inputs.emplace_back(name, Tensor::share(tensor.dtype, dims, copy, copy.get()));
  }
  kept_.push_back(std::move(kept));
  const auto too_much = [this] {
    size_t bytes = 0;
    for (const Kept& k : kept_) bytes += k.bytes;
    return kept_.size() > 1 && (samples() > max_samples_ || bytes > max_bytes_);
  };
  while (too_much()) {
    std::vector<Kept> half;
    for (size_t i = 0; i < kept_.size(); i += 2) half.push_back(std::move(kept_[i]));
    kept_ = std::move(half);
    stride_ *= 2;
  }
}

int64_t KeptSamples::samples() const {
  int64_t all = 0;
  for (const Kept& k : kept_) all += k.samples;
  return all;
}

CalibrationBatch KeptSamples::batch(size_t i) const {
  const Kept& kept = kept_[i];
  CalibrationBatch out;
  out.samples = kept.samples;
  for (const auto& [name, tensor] : kept.inputs)
    out.inputs.emplace_back(
        name,
        HostTensor{tensor.dtype(), tensor.shape(), {static_cast<const std::byte*>(tensor.raw()), tensor.bytes()}});
  return out;
}

KeptSamples working_samples(const Graph& graph, const KeptSamples& kept, std::string* why) {
  ObservedNetwork network(graph, {}, 0, {}, 0);
  const auto works = [&](const CalibrationBatch& batch) {
    const Status run = network.run({&batch, 1}, [](const Piece&, std::string_view, const TensorDesc&, const void*) {});
    if (!run.ok() && why->empty()) *why = run.error().message();
    return run.ok();
  };
  KeptSamples good;
  for (size_t i = 0; i < kept.batches(); ++i) {
    const CalibrationBatch batch = kept.batch(i);
    if (works(batch)) {
      good.add(batch);
      continue;
    }
    for (const CalibrationBatch& sample : samples_of(batch))
      if (works(sample)) good.add(sample);
  }
  return good;
}

}  // namespace planish::api
