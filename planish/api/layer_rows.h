#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "planish/api/kept_samples.h"
#include "planish/api/observed_network.h"
#include "planish/quant/input_rows.h"

namespace planish::api {

/// A product whose input is looked at.
struct LayerRows {
  const QuantisedProduct* product = nullptr;
  int64_t k = 0;
  int64_t groups = 1;
  int64_t rows = 0;  ///< wanted
};

using RowsByNode = std::map<int32_t, InputRows>;

/// Collects rows of layers from the tensors of runs.
class RowCollector {
 public:
  /// `samples`: how many will be shown; each gives its share of the rows.
  RowCollector(const Graph& graph, const std::vector<LayerRows>& layers, int64_t samples);

  void show(std::string_view name, const TensorDesc& desc, const float* data);
  /// Names of the tensors that are read.
  [[nodiscard]] const std::set<std::string>& needed() const { return needed_; }
  [[nodiscard]] bool saw_all() const;
  [[nodiscard]] RowsByNode take() { return std::move(seen_); }

 private:
  int64_t samples_;
  RowsByNode seen_;
  std::multimap<std::string, LayerRows, std::less<>> readers_;
  std::set<std::string> needed_;
};

/// Looks at what layers of a network read, one part of the network after the other. The tensors that lead from one part
/// to the next are kept, for all samples, while they fit the memory for it: the next look then computes its own part
/// alone.
class LayerWalk {
 public:
  /// `graph`: the float network, whose products are looked at; `built`: the same, ready to run (may be null), in whose
  /// place no other network may then be looked at. All must outlive this.
  LayerWalk(const Graph& graph, const KeptSamples& samples, int threads, const ProfileRanges& profile,
            ObservedNetwork* built = nullptr)
      : graph_(graph), samples_(samples), threads_(threads), profile_(profile), built_(built) {}

  /// Runs `network` (the graph, or one that quantised layers of it replace) as far as the inputs of `layers`. Of the
  /// graph's nodes those before number `final_before` compute in `network` what they will in all networks to come, and
  /// all layers to come are behind them.
  Result<RowsByNode> look(Graph network, const std::vector<LayerRows>& layers, int32_t final_before);

 private:
  using Tensors = std::vector<std::pair<std::string, Tensor>>;  ///< of one batch, by name

  Status start_at_cut(Graph& network) const;
  [[nodiscard]] size_t batches() const { return cut_.empty() ? samples_.batches() : cut_.size(); }
  [[nodiscard]] CalibrationBatch batch(size_t i) const;

  const Graph& graph_;
  const KeptSamples& samples_;
  int threads_ = 0;
  const ProfileRanges& profile_;
  ObservedNetwork* built_ = nullptr;
  std::vector<Tensors> cut_;  ///< by batch; empty: the samples themselves
};

/// Rows of the float network that are kept at once.
inline constexpr int64_t kRowBytes = int64_t{256} << 20;

/// Takes layers from `layers`, from index `first` on, whose rows fit `bytes`, at least one; returns the index behind
/// them.
size_t fitting_layers(const std::vector<LayerRows>& layers, size_t first, int64_t bytes);

}  // namespace planish::api
