#include "planish/tools/calibration/batch_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "planish/base/finite.h"
#include "planish/tools/console.h"
#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

Error misfit(const api::TensorInfo& input, const std::string& origin, const Tensor& tensor, std::string fix) {
  return Error{.code = Code::shape_mismatch,
               .tensor = input.name,
               .file = origin,
               .what = fmt::format("the array is {} {}, but the input is {} {}", dtype_numpy_name(tensor.dtype()),
                                   tuple_text(tensor.shape()), dtype_numpy_name(input.dtype), tuple_text(input.dims)),
               .fix = std::move(fix)};
}

/// The same extents behind the first axis, in another order: channels last given for channels first, or the reverse.
bool is_permuted(const api::TensorInfo& input, const Tensor& tensor) {
  if (tensor.rank() != static_cast<int64_t>(input.dims.size()) || tensor.rank() != 4) return false;
  return input.dims[1] == tensor.dim(3) || input.dims[3] == tensor.dim(1);
}

bool holds_nonfinite(const Tensor& tensor) {
  if (!dtype_is_float(tensor.dtype())) return false;
  if (tensor.dtype() == DType::f32) return !all_finite(tensor.span<float>());
  for (int64_t i = 0, n = tensor.size(); i < n; ++i)
    if (!std::isfinite(tensor.at(i))) return true;
  return false;
}

Error unknown_input(const std::vector<api::TensorInfo>& inputs, const std::string& name, const std::string& origin) {
  std::vector<std::string> names;
  for (const api::TensorInfo& input : inputs) names.push_back(input.name);
  const std::string near = nearest_word(name, names);
  return Error{.code = Code::not_found,
               .tensor = name,
               .file = origin,
               .what = fmt::format("the network has no input of that name; it has {}", fmt::join(names, ", ")),
               .fix = near.empty() ? std::string("use the network's names") : fmt::format("did you mean '{}'?", near)};
}

}  // namespace

int64_t usual_calibration_batch(const std::vector<api::TensorInfo>& inputs) {
  constexpr int64_t kElements = int64_t{4} * 3 * 224 * 224;
  constexpr int64_t kMost = 32;
  int64_t row = 1;
  for (const api::TensorInfo& input : inputs) {
    int64_t elements = 1;
    for (size_t d = 1; d < input.dims.size(); ++d) elements *= input.dims[d] < 0 ? 256 : input.dims[d];
    row = std::max(row, elements);
  }
  return std::clamp<int64_t>(kElements / row, 1, kMost);
}

BatchSource::BatchSource(std::unique_ptr<CalibrationReader> reader, std::vector<api::TensorInfo> inputs, int64_t batch,
                         int64_t max_samples)
    : reader_(std::move(reader)),
      inputs_(std::move(inputs)),
      batch_(static_cast<size_t>(std::max<int64_t>(batch, 1))),
      max_samples_(max_samples) {
  batched_ = !inputs_.empty() && std::all_of(inputs_.begin(), inputs_.end(), [&](const api::TensorInfo& input) {
    return !input.dims.empty() && input.dims[0] == (inputs_[0].dims.empty() ? 0 : inputs_[0].dims[0]) &&
           !input.holds_shape;
  });
  fixed_ = batched_ && inputs_[0].dims[0] > 0;
  if (fixed_) batch_ = static_cast<size_t>(inputs_[0].dims[0]);
  if (!batched_) batch_ = 1;
}

Result<Tensor> BatchSource::fitted(const api::TensorInfo& input, Tensor tensor, const std::string& origin) const {
  const bool to_float = dtype_is_float(input.dtype);
  if (tensor.dtype() == DType::c64 || tensor.dtype() == DType::c128 || tensor.dtype() == DType::string)
    return misfit(input, origin, tensor, fmt::format("save it as {}", dtype_numpy_name(input.dtype)));
  if (tensor.dtype() != input.dtype && !to_float && dtype_is_float(tensor.dtype()))
    return misfit(input, origin, tensor, fmt::format("save it as {}", dtype_numpy_name(input.dtype)));
  const auto rank = static_cast<int64_t>(input.dims.size());
  Shape shape = tensor.shape();
  if (tensor.rank() + 1 == rank) shape.insert(shape.begin(), 1);
  if (tensor.rank() == rank + 1 && (batched_ || shape[0] == 1)) {
    // A list of batches, or of samples that keep a batch axis of one.
    const int64_t leading = shape[0];
    shape.erase(shape.begin());
    if (!shape.empty() && batched_) shape[0] *= leading;
  }
  if (static_cast<int64_t>(shape.size()) != rank)
    return misfit(input, origin, tensor, "save it with the input's number of dimensions, samples on the first axis");
  for (size_t d = batched_ ? 1 : 0; d < shape.size(); ++d) {
    if (input.dims[d] < 0 || input.dims[d] == shape[d]) continue;
    return misfit(input, origin, tensor,
                  is_permuted(input, tensor) ? "the channels are on another axis: transpose it before saving"
                                             : "save it in the input's shape, samples on the first axis");
  }
  if (batched_ && shape[0] == 0) return misfit(input, origin, tensor, "save at least one sample");
  tensor = tensor.reshaped(shape);
  return tensor.dtype() == input.dtype ? tensor : tensor.cast(input.dtype);
}

/// One tensor per input, in the network's order.
Result<std::vector<Tensor>> BatchSource::assigned(const CalibrationItem& item) const {
  std::vector<Tensor> tensors(inputs_.size());
  for (const auto& [name, tensor] : item.arrays) {
    // A single array can only be meant for the only input, whatever an archive calls it.
    const bool only = inputs_.size() == 1 && item.arrays.size() == 1 && (name.empty() || name == "arr_0");
    const auto at = std::find_if(inputs_.begin(), inputs_.end(), [&, wanted = name](const api::TensorInfo& input) {
      return only || input.name == wanted;
    });
    if (at == inputs_.end() && name.empty())
      return Error{.code = Code::invalid_argument,
                   .file = item.origin,
                   .what = fmt::format("one array does not say which of the {} inputs it is for", inputs_.size()),
                   .fix = "save an .npz file with one member per input"};
    if (at == inputs_.end()) return unknown_input(inputs_, name, item.origin);
    tensors[static_cast<size_t>(at - inputs_.begin())] = PLANISH_TRY(fitted(*at, tensor, item.origin));
  }
  for (size_t i = 0; i < tensors.size(); ++i)
    if (!tensors[i].defined())
      return Error{.code = Code::not_found,
                   .tensor = inputs_[i].name,
                   .file = item.origin,
                   .what = "there is no array for this input",
                   .fix = "give every input of the network"};
  return tensors;
}

void BatchSource::split(const std::vector<Tensor>& tensors, const std::string& origin, bool finite) {
  const int64_t rows = batched_ ? tensors[0].dim(0) : 1;
  for (int64_t r = 0; r < rows; ++r) {
    Row row{{}, rows == 1 ? origin : fmt::format("{}[{}]", origin, r)};
    std::string culprit;
    for (size_t i = 0; i < tensors.size(); ++i) {
      Tensor part = tensors[i];
      if (rows > 1) {
        Shape shape = part.shape();
        shape[0] = 1;
        const auto owner = std::make_shared<Tensor>(part);
        const size_t bytes = part.bytes() / static_cast<size_t>(rows);
        const auto* data = static_cast<const std::byte*>(owner->raw()) + static_cast<size_t>(r) * bytes;
        part = Tensor::share(part.dtype(), shape, owner, data);
      }
      if (!finite && holds_nonfinite(part)) culprit = inputs_[i].name;
      row.tensors.push_back(std::move(part));
    }
    if (culprit.empty()) {
      rows_.push_back(std::move(row));
    } else {
      bad_rows_.push_back(Error{.code = Code::invalid_argument,
                                .tensor = culprit,
                                .file = row.origin,
                                .what = "the sample holds NaN or infinity",
                                .fix = "clean the data"});
    }
  }
}

Status BatchSource::accept(const CalibrationItem& item) {
  const std::vector<Tensor> tensors = PLANISH_TRY(assigned(item));
  if (batched_)
    for (size_t i = 1; i < tensors.size(); ++i)
      if (tensors[i].dim(0) != tensors[0].dim(0))
        return Error{.code = Code::shape_mismatch,
                     .tensor = inputs_[i].name,
                     .file = item.origin,
                     .what = fmt::format("it has {} samples, but '{}' has {}", tensors[i].dim(0), inputs_[0].name,
                                         tensors[0].dim(0)),
                     .fix = "save as many samples for every input"};
  // What was converted since the reader looked may be too large for its type.
  const bool as_read = std::ranges::all_of(tensors, [](const Tensor& t) { return t.dtype() == DType::f32; });
  split(tensors, item.origin, item.finite && as_read);
  return {};
}

size_t BatchSource::alike() const {
  size_t count = 0;
  const auto same = [&](const Row& row) {
    for (size_t i = 0; i < row.tensors.size(); ++i)
      if (row.tensors[i].shape() != rows_[0].tensors[i].shape()) return false;
    return true;
  };
  while (count < std::min(rows_.size(), batch_) && same(rows_[count])) ++count;
  return count;
}

api::CalibrationBatch BatchSource::take(size_t count) {
  api::CalibrationBatch batch;
  batch.samples = static_cast<int64_t>(count);
  taken_ += batch.samples;
  batch.origin = count == 1 ? rows_[0].origin : fmt::format("{} to {}", rows_[0].origin, rows_[count - 1].origin);
  if (count > 1)
    for (size_t r = 0; r < count; ++r) batch.sample_origins.push_back(rows_[r].origin);
  const size_t rows = fixed_ ? batch_ : count;
  const auto current = std::make_shared<std::vector<Tensor>>();
  batch.owner = current;
  batch.finite = true;  // split() has sorted the others out
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const Tensor& first = rows_[0].tensors[i];
    if (rows == 1) {
      current->push_back(first);
    } else {
      Shape shape = first.shape();
      shape[0] = static_cast<int64_t>(rows);
      Tensor joined = Tensor::uninitialised(first.dtype(), shape);
      for (size_t r = 0; r < rows; ++r)
        std::memcpy(static_cast<std::byte*>(joined.raw()) + r * first.bytes(),
                    std::as_const(rows_[std::min(r, count - 1)].tensors[i]).raw(), first.bytes());
      current->push_back(std::move(joined));
    }
    const Tensor& tensor = std::as_const(*current).back();
    batch.inputs.emplace_back(
        inputs_[i].name,
        api::HostTensor{tensor.dtype(), tensor.shape(), {static_cast<const std::byte*>(tensor.raw()), tensor.bytes()}});
  }
  rows_.erase(rows_.begin(), rows_.begin() + static_cast<std::ptrdiff_t>(count));
  return batch;
}

Result<std::optional<api::CalibrationBatch>> BatchSource::next() {
  while (true) {
    if (!bad_rows_.empty()) {
      Error error = std::move(bad_rows_.front());
      bad_rows_.pop_front();
      return error;
    }
    size_t count = alike();
    bool complete = count == batch_ || count < rows_.size() || ended_;
    if (max_samples_ >= 0 && static_cast<int64_t>(count) >= max_samples_ - taken_) {
      count = static_cast<size_t>(max_samples_ - taken_);
      complete = true;
      if (count == 0) return std::optional<api::CalibrationBatch>();
    }
    if (count > 0 && complete) return std::optional<api::CalibrationBatch>(take(count));
    if (ended_) return std::optional<api::CalibrationBatch>();
    auto item = reader_->next();
    if (!item.ok()) {
      ended_ = reader_->fatal();
      return std::move(item).take_error();
    }
    if (!item->has_value()) {
      ended_ = true;
    } else {
      PLANISH_TRY(accept(**item));
    }
  }
}

Status BatchSource::check_first() {
  const auto item = PLANISH_TRY(reader_->next());
  if (item) PLANISH_TRY(accept(*item));
  return rewind();
}

Status BatchSource::rewind() {
  rows_.clear();
  bad_rows_.clear();
  ended_ = false;
  taken_ = 0;
  return reader_->rewind();
}

}  // namespace planish::tools
