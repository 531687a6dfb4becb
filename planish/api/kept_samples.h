#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "planish/api/quantize.h"
#include "planish/ir/graph.h"
#include "planish/ir/tensor.h"

namespace planish::api {

/// Copies of some batches of a walk through data, spread evenly over it however long it is: when there is no room left,
/// every second batch goes, and from then on every second one is looked at. Memory is bounded by `max_bytes` plus one
/// batch.
class KeptSamples {
 public:
  explicit KeptSamples(int64_t max_samples = 128, size_t max_bytes = size_t{192} << 20)
      : max_samples_(max_samples), max_bytes_(max_bytes) {}

  void add(const CalibrationBatch& batch);
  /// Says that all data is `samples` in batches like `first`, so that nothing is kept that goes again later. Returns
  /// how many samples will be kept when it is as said; 0 where that cannot be told.
  int64_t expect(int64_t samples, const CalibrationBatch& first);
  /// Rows of `batch` that will be kept, from the first on, when it is added after `ahead` others; 0: none.
  [[nodiscard]] int64_t rows_to_keep(const CalibrationBatch& batch, size_t ahead) const;
  [[nodiscard]] int64_t samples() const;
  [[nodiscard]] size_t batches() const { return kept_.size(); }
  /// Valid as long as this lives and nothing is added.
  [[nodiscard]] CalibrationBatch batch(size_t i) const;

 private:
  struct Kept {
    std::vector<std::pair<std::string, Tensor>> inputs;
    int64_t samples = 0;
    size_t bytes = 0;
  };

  int64_t max_samples_;
  size_t max_bytes_;
  size_t stride_ = 1;
  size_t seen_ = 0;
  std::vector<Kept> kept_;
};

/// The samples without those that the network itself fails on: a batch that fails is tried sample by sample. `why`: of
/// the first failure.
KeptSamples working_samples(const Graph& graph, const KeptSamples& kept, std::string* why);

}  // namespace planish::api
