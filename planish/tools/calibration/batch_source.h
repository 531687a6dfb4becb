#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "planish/api/quantize.h"
#include "planish/tools/calibration/reader.h"

namespace planish::tools {

/// Batches that fit a network, made of whatever a reader gives: names, types and shapes are checked and converted, rows
/// with NaN or infinity are refused one by one, rows of one shape are put together (also across files), and a last
/// batch that a fixed batch size makes too short is filled up with copies of its last row.
class BatchSource final : public api::CalibrationSource {
 public:
  /// `inputs`: of the network; dimensions of -1 take what the data has. `batch`: rows together where the network's
  /// batch is free; where it is fixed, that counts. `max_samples` < 0: all.
  BatchSource(std::unique_ptr<CalibrationReader> reader, std::vector<api::TensorInfo> inputs, int64_t batch,
              int64_t max_samples = -1);

  /// Says at once when the first item does not fit, instead of once per sample. Starts again afterwards.
  Status check_first();
  Result<std::optional<api::CalibrationBatch>> next() override;
  bool prepare() override { return reader_->prepare(); }
  Status rewind() override;
  [[nodiscard]] bool fatal() const override { return reader_->fatal(); }
  [[nodiscard]] std::optional<int64_t> size() const override { return reader_->size(); }
  [[nodiscard]] std::string identity() const override { return reader_->identity(); }
  [[nodiscard]] std::string description() const override { return reader_->description(); }

 private:
  /// One sample: a tensor per input, with a leading 1 where the network has a batch.
  struct Row {
    std::vector<Tensor> tensors;
    std::string origin;
  };
  Status accept(const CalibrationItem& item);
  [[nodiscard]] Result<std::vector<Tensor>> assigned(const CalibrationItem& item) const;
  [[nodiscard]] Result<Tensor> fitted(const api::TensorInfo& input, Tensor tensor, const std::string& origin) const;
  void split(const std::vector<Tensor>& tensors, const std::string& origin, bool finite);
  /// Rows at the front that have one shape, at most a batch.
  [[nodiscard]] size_t alike() const;
  api::CalibrationBatch take(size_t count);

  std::unique_ptr<CalibrationReader> reader_;
  std::vector<api::TensorInfo> inputs_;
  bool batched_ = false;  ///< every input's first axis counts samples
  bool fixed_ = false;    ///< and its length is the network's
  size_t batch_ = 1;
  std::deque<Row> rows_;
  std::deque<Error> bad_rows_;
  bool ended_ = false;
  int64_t max_samples_ = -1;
  int64_t taken_ = 0;
};

/// Rows that go together where nothing else says so: many small ones, few large ones.
int64_t usual_calibration_batch(const std::vector<api::TensorInfo>& inputs);

}  // namespace planish::tools
