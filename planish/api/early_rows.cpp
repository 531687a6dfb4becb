#include "planish/api/early_rows.h"

#include "planish/api/adaptive_weights.h"

namespace planish::api {

EarlyRows::EarlyRows(const Graph& graph, PlacementPlan plan, double work) : graph_(graph), plan_(std::move(plan)) {
  layers_ = layers_in_one_look(graph_, plan_, work);
  if (layers_.empty() || graph_.inputs.empty()) state_ = State::off;
}

void EarlyRows::begin(const CalibrationBatch& batch, std::optional<int64_t> total, KeptSamples& kept) {
  if (state_ == State::untried) {
    expected_ = total ? kept.expect(*total, batch) : 0;
    state_ = expected_ > 0 ? State::collecting : State::off;
    if (state_ == State::collecting) rows_.emplace(graph_, layers_, expected_);
  }
  rows_of_batch_ = kept.rows_of_next(batch);
  pieces_ = 0;
}

void EarlyRows::show(std::string_view name, const TensorDesc& desc, const float* data) {
  if (state_ != State::collecting || rows_of_batch_ == 0) return;
  if (name == graph_.name_of(graph_.inputs[0])) {
    if (++pieces_ == 1 && (desc.shape.empty() || desc.shape[0] != rows_of_batch_)) return failed();
  }
  if (pieces_ == 1) rows_->show(name, desc, data);
}

void EarlyRows::failed() {
  rows_.reset();
  state_ = State::off;
}

std::optional<RowsByNode> EarlyRows::take(const KeptSamples& kept) {
  if (state_ != State::collecting || kept.samples() != expected_ || !rows_->saw_all()) return std::nullopt;
  return rows_->take();
}

}  // namespace planish::api
