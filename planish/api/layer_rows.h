#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
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
  [[nodiscard]] int64_t bytes() const { return rows * k * groups * static_cast<int64_t>(sizeof(float)); }
};

using RowsByNode = std::map<int32_t, InputRows>;

/// Quantisers by the names of tensors.
using Quantisers = std::map<std::string, TensorQuantization>;

/// Collects rows of layers from the tensors of runs. Workers may show theirs at the same time.
class RowCollector {
 public:
  /// `samples`: how many will be shown; each gives its share of the rows. `workers`: most of them.
  RowCollector(const Graph& graph, const std::vector<LayerRows>& layers, int64_t samples, int workers);

  /// `first`: number of the first sample of the run among all that are shown, `count` of them. `data`: f32, or bytes of
  /// `quantiser`; other tensors are ignored.
  void show(int worker, int64_t first, int64_t count, std::string_view name, const TensorDesc& desc, const void* data,
            const TensorQuantization* quantiser = nullptr);
  /// Names of the tensors that are read.
  [[nodiscard]] const std::set<std::string>& needed() const { return needed_; }
  [[nodiscard]] bool saw_all() const;
  /// What all workers saw, in the order of the samples.
  [[nodiscard]] RowsByNode take();

 private:
  void join(int32_t node, InputRows& rows);

  /// Rows of one run.
  struct Part {
    int64_t first = 0;  ///< sample
    size_t worker = 0;
    int64_t begin = 0;  ///< row of the worker's
    int64_t end = 0;
  };
  struct Seen {
    RowsByNode rows;
    std::map<int32_t, std::vector<Part>> parts;
  };

  int64_t samples_;
  std::vector<Seen> seen_;  ///< by worker
  std::multimap<std::string, LayerRows, std::less<>> readers_;
  std::set<std::string> needed_;
};

/// A tensor on the way from one part of a network to the next.
struct CutTensor {
  std::string name;
  Tensor data;  ///< f32 in rows, or bytes of the quantiser in the layout of bytes
  std::optional<TensorQuantization> quantiser;
};

/// Memory for the tensors of cuts. What nobody holds any more is given out again: while one cut is made the one before
/// is still there, and fresh pages for each of them would cost more than writing them.
class CutMemory {
 public:
  /// At least `bytes`, uninitialised; not by several threads at once.
  std::shared_ptr<std::byte> take(size_t bytes);

 private:
  struct Block {
    std::shared_ptr<std::byte> memory;
    size_t bytes = 0;
  };
  std::vector<Block> blocks_;
};

/// What values of a network are the bytes of.
struct Quantised {
  std::string tensor;
  TensorQuantization quantiser;
};
using BytesOf = std::map<std::string, Quantised, std::less<>>;

/// Looks at what layers of a network read, one part of the network after the other. The tensors that lead from one part
/// to the next are kept, for all samples, while they fit the memory for it: the next look then computes its own part
/// alone.
class LayerWalk {
 public:
  /// `graph`: the float network, whose products are looked at; `built`: the same, ready to run (may be null), in whose
  /// place no other network may then be looked at. All must outlive this.
  LayerWalk(const Graph& graph, const KeptSamples& samples, int threads, const ProfileRanges& profile,
            ObservedNetwork* built = nullptr);

  /// Runs `network` (the graph, or one that quantised layers of it replace) as far as the inputs of `layers`. Of the
  /// graph's nodes those before number `final_before` compute in `network` what they will in all networks to come, and
  /// all layers to come are behind them.
  /// `quantisers`: of tensors that whoever comes later reads quantised so, and not otherwise: they are kept as bytes,
  /// and their rows hold the values of these.
  Result<RowsByNode> look(Graph network, const std::vector<LayerRows>& layers, int32_t final_before,
                          const Quantisers& quantisers = {});
  /// Number of the first of the graph's nodes that the next look may compute: what those in front of it leave is kept.
  [[nodiscard]] int32_t begin() const { return cut_.empty() ? 0 : cut_before_; }

 private:
  /// One run of a network among those of all samples.
  struct Run {
    size_t number = 0;
    int worker = 0;
    int64_t first_sample = 0;
    int64_t samples = 0;
  };
  using ShowRun = FunctionRef<void(const Run& run, std::string_view name, const TensorDesc& desc, const void* data)>;

  [[nodiscard]] size_t most_of_next_cut() const;
  Status start_at_cut(Graph& network, BytesOf& bytes) const;
  [[nodiscard]] size_t batches() const { return cut_.empty() ? samples_.batches() : cut_.size(); }
  CalibrationBatch batch(size_t i, const BytesOf& bytes) const;
  Status run(ObservedNetwork& network, const BytesOf& bytes, ShowRun show) const;
  void show_inputs(RowCollector& rows) const;

  const Graph& graph_;
  const KeptSamples& samples_;
  int threads_ = 0;
  const ProfileRanges& profile_;
  ObservedNetwork* built_ = nullptr;
  std::set<std::string> matrices_;  ///< tensors that matrix products read
  CutMemory memory_;
  std::vector<std::vector<CutTensor>> cut_;  ///< by run; empty: the samples themselves
  std::vector<int64_t> cut_samples_;         ///< of each run
  int32_t cut_before_ = 0;                   ///< the node of the graph that the cut is in front of
  bool left_out_ = false;                    ///< the last cut was
};

/// Rows of the float network that are kept at once.
inline constexpr int64_t kRowBytes = int64_t{256} << 20;

/// Takes layers from `layers`, from index `first` on, whose rows fit `bytes`, at least one; returns the index behind
/// them.
size_t fitting_layers(const std::vector<LayerRows>& layers, size_t first, int64_t bytes);

}  // namespace planish::api
