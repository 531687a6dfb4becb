#pragma once

#include <optional>

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

  /// Before a batch runs; `total`: samples of all data, where known. Tells `kept` what to expect.
  void begin(const CalibrationBatch& batch, std::optional<int64_t> total, KeptSamples& kept);
  void show(std::string_view name, const TensorDesc& desc, const float* data);
  /// A run ended half way.
  void failed();
  /// What was seen of exactly the kept samples; nothing where that is not so.
  std::optional<RowsByNode> take(const KeptSamples& kept);

 private:
  enum class State : uint8_t { untried, collecting, off };

  const Graph& graph_;
  PlacementPlan plan_;
  std::vector<LayerRows> layers_;
  std::optional<RowCollector> rows_;
  State state_ = State::untried;
  int64_t expected_ = 0;  ///< samples
  int64_t rows_of_batch_ = 0;
  int64_t pieces_ = 0;  ///< of the batch, so far: only the first holds what is kept
};

}  // namespace planish::api
