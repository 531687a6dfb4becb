#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "planish/api/quantize.h"
#include "planish/base/parallel.h"
#include "planish/ir/graph.h"
#include "planish/runtime/context.h"

namespace planish::api {

/// The FP32 network over a walk through data, with a look at its tensors. An engine is built for the first batch and
/// again when a batch has a shape that the engine does not take.
class ObservedNetwork {
 public:
  using Show = FunctionRef<void(std::string_view name, const TensorDesc& desc, const float* data)>;

  /// `needed`: tensors that must be shown even where fusing would remove them; others are shown where they are left.
  /// `effort`: of the builder; 0 times nothing, for networks that run a few times only. `whole`: batches run as they
  /// come, because the first dimension of an input need not count samples.
  ObservedNetwork(const Graph& graph, std::set<std::string> needed, int threads, ProfileRanges profile, int effort = 3,
                  bool whole = false)
      : graph_(graph),
        needed_(std::move(needed)),
        threads_(threads),
        profile_(std::move(profile)),
        effort_(effort),
        whole_(whole) {}

  /// Runs a batch of any size, in pieces where the network fixes its batch or memory asks for it, and shows all f32
  /// tensors of it, network inputs included. Rows that only pad the last piece are copies of its last sample.
  Status run(const CalibrationBatch& batch, Show show);

 private:
  Status build(const std::vector<Shape>& shapes);
  Status run_piece(const std::vector<HostTensor>& inputs, Show show);
  [[nodiscard]] int64_t rows_per_piece(const std::vector<HostTensor>& inputs) const;

  const Graph& graph_;
  std::set<std::string> needed_;
  int threads_ = 0;
  ProfileRanges profile_;
  int effort_ = 3;
  bool whole_ = false;
  std::shared_ptr<const Executable> executable_;
  std::unique_ptr<Context> context_;
  std::vector<std::byte> padded_;
};

}  // namespace planish::api
