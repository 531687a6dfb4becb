#include "planish/api/early_rows.h"

#include "planish/api/adaptive_weights.h"

namespace planish::api {

EarlyRows::EarlyRows(const Graph& graph, PlacementPlan plan, double work) : graph_(graph), plan_(std::move(plan)) {
  layers_ = layers_in_one_look(graph_, plan_, work);
  if (layers_.empty() || graph_.inputs.empty()) state_ = State::off;
}

void EarlyRows::begin(std::span<const CalibrationBatch> batches, const ObservedNetwork& network,
                      std::optional<int64_t> total, KeptSamples& kept) {
  if (state_ == State::untried) {
    expected_ = total && !batches.empty() ? kept.expect(*total, batches.front()) : 0;
    state_ = expected_ > 0 ? State::collecting : State::off;
    if (state_ == State::collecting) rows_.emplace(graph_, layers_, expected_, network.most_workers());
  }
  batches_.clear();
  for (size_t i = 0; i < batches.size(); ++i) {
    batches_.push_back({seen_, kept.rows_to_keep(batches[i], i)});
    seen_ += batches_.back().rows;
    // What is kept must be whole pieces, without padding.
    for (const Piece& piece : network.pieces_of(batches[i]))
      if (piece.first < batches_.back().rows &&
          (piece.rows == 0 || piece.padded > piece.rows || piece.first + piece.rows > batches_.back().rows))
        return failed();
  }
}

void EarlyRows::show(const Piece& piece, std::string_view name, const TensorDesc& desc, const float* data) {
  if (state_ != State::collecting) return;
  const Share& share = batches_[piece.batch];
  if (piece.first < share.rows) rows_->show(piece.worker, share.first + piece.first, piece.rows, name, desc, data);
}

void EarlyRows::failed() {
  rows_.reset();
  state_ = State::off;
}

std::optional<RowsByNode> EarlyRows::take(const KeptSamples& kept) {
  if (state_ != State::collecting || kept.samples() != expected_ || seen_ != expected_ || !rows_->saw_all())
    return std::nullopt;
  return rows_->take();
}

}  // namespace planish::api
