#include "planish/data/metrics.h"

#include <fmt/format.h>

#include <cmath>

namespace planish {

int64_t rank_of_label(std::span<const float> scores, int64_t label) {
  const auto classes = static_cast<int64_t>(scores.size());
  if (label < 0 || label >= classes || std::isnan(scores[static_cast<size_t>(label)])) return classes;
  const float own = scores[static_cast<size_t>(label)];
  int64_t rank = 0;
  for (int64_t i = 0; i < classes; ++i) {
    const float other = scores[static_cast<size_t>(i)];
    if (other > own || (other == own && i < label)) ++rank;
  }
  return rank;
}

int64_t argmax(std::span<const float> scores) {
  int64_t best = -1;
  for (size_t i = 0; i < scores.size(); ++i)
    if (!std::isnan(scores[i]) && (best < 0 || scores[i] > scores[static_cast<size_t>(best)]))
      best = static_cast<int64_t>(i);
  return best;
}

void Accuracy::add(std::span<const float> scores, int64_t label) {
  const int64_t rank = rank_of_label(scores, label);
  ++count_;
  // A model with fewer than five classes must not count a missing label as found.
  const bool found = rank < static_cast<int64_t>(scores.size());
  if (found && rank < 1) ++top1_hits_;
  if (found && rank < 5) ++top5_hits_;
}

Status Accuracy::add_batch(const Tensor& output, std::span<const int64_t> labels) {
  const auto rows = static_cast<int64_t>(labels.size());
  bool fits = output.rank() >= 2 && output.dim(0) >= rows && output.dim(1) > 0;
  for (int64_t d = 2; d < output.rank(); ++d) fits = fits && output.dim(d) == 1;
  if (!fits)
    return Error{.code = Code::shape_mismatch,
                 .what = fmt::format("the output has shape {}; class scores of {} pictures need [N, classes]",
                                     to_string(output.shape()), rows),
                 .fix = "name the output that holds the class scores"};
  const int64_t classes = output.dim(1);
  for (const int64_t label : labels)
    if (label < 0 || label >= classes)
      return Error{.code = Code::invalid_argument,
                   .what = fmt::format("label {} does not exist in a model with {} classes", label, classes),
                   .fix = "check the class_index column of the labels, and that it counts from 0"};
  const Tensor scores = output.cast(DType::f32);
  for (int64_t i = 0; i < rows; ++i)
    add(scores.span<float>().subspan(static_cast<size_t>(i * classes), static_cast<size_t>(classes)),
        labels[static_cast<size_t>(i)]);
  return ok_status();
}

}  // namespace planish
