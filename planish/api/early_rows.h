#pragma once

#include <optional>
#include <span>
#include <vector>

#include "planish/api/kept_samples.h"
#include "planish/api/layer_rows.h"
#include "planish/api/quantize.h"
#include "planish/quant/placement.h"

namespace planish::api {

/// Rows of the float network, taken while it runs over the data for statistics, so that it need not run again on the
/// kept samples. That works where the number of samples is known before, and no sample fails.
class EarlyRows {
 public:
  /// `work`: multiplications that thresholds and weights may take each. The graph must outlive this.
  EarlyRows(const Graph& graph, PlacementPlan plan, double work);

  /// Before batches run in `network`; `total`: samples of all data, where known. Tells `kept` what to expect.
  void begin(std::span<const CalibrationBatch> batches, const ObservedNetwork& network, std::optional<int64_t> total,
             KeptSamples& kept);
  /// Workers may show theirs at the same time.
  void show(const Piece& piece, std::string_view name, const TensorDesc& desc, const float* data);
  /// A run ended half way.
  void failed();
  /// What was seen of exactly the kept samples; nothing where that is not so.
  std::optional<RowsByNode> take(const KeptSamples& kept);

 private:
  enum class State : uint8_t { untried, collecting, off };
  /// What is kept of a batch.
  struct Share {
    int64_t first = 0;  ///< number among the kept samples
    int64_t rows = 0;
  };

  const Graph& graph_;
  PlacementPlan plan_;
  std::vector<LayerRows> layers_;
  std::optional<RowCollector> rows_;
  State state_ = State::untried;
  int64_t expected_ = 0;        ///< samples
  int64_t seen_ = 0;            ///< of them, before the batches that run
  std::vector<Share> batches_;  ///< that run
};

}  // namespace planish::api
