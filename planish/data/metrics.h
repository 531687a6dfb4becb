#pragma once

#include <cstdint>
#include <span>

#include "planish/base/status.h"
#include "planish/ir/tensor.h"

namespace planish {

/// Position of `label` in the descending order of `scores`, 0 = best; equal scores are ordered by index, as
/// numpy.argmax does. scores.size() when the label is out of range or its score is NaN; other NaNs rank last.
int64_t rank_of_label(std::span<const float> scores, int64_t label);
/// Index of the highest score, the first of equals; -1 when every score is NaN or there is none.
int64_t argmax(std::span<const float> scores);

/// Running top-1 and top-5 accuracy.
class Accuracy {
 public:
  void add(std::span<const float> scores, int64_t label);
  /// Adds the first `labels.size()` rows of an output [N, classes] (further dimensions must be 1). Errors:
  /// shape_mismatch, or invalid_argument when a label is not below the number of classes.
  Status add_batch(const Tensor& output, std::span<const int64_t> labels);

  [[nodiscard]] int64_t count() const { return count_; }
  [[nodiscard]] int64_t top1_hits() const { return top1_hits_; }
  [[nodiscard]] int64_t top5_hits() const { return top5_hits_; }
  /// Fractions in [0, 1]; 0 without samples.
  [[nodiscard]] double top1() const { return fraction(top1_hits_); }
  [[nodiscard]] double top5() const { return fraction(top5_hits_); }

 private:
  [[nodiscard]] double fraction(int64_t hits) const {
    return count_ == 0 ? 0.0 : static_cast<double>(hits) / static_cast<double>(count_);
  }
  int64_t count_ = 0, top1_hits_ = 0, top5_hits_ = 0;
};

}  // namespace planish
