#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "planish/api/quantize.h"
#include "planish/api/worker_threads.h"
#include "planish/base/parallel.h"
#include "planish/ir/graph.h"
#include "planish/runtime/context.h"

namespace planish::api {

/// Rows of a batch that run at once.
struct Piece {
  size_t batch = 0;    ///< of those that run
  size_t number = 0;   ///< among those of the batch
  int64_t first = 0;   ///< row of the batch
  int64_t rows = 0;    ///< of the batch; 0: it runs as it is
  int64_t padded = 0;  ///< rows that run, copies of the last one included
  int worker = 0;      ///< who runs it
};

/// The FP32 network over a walk through data, with a look at its tensors. An engine is built for the first piece and
/// again when one has a shape that the engine does not take. Pieces run side by side, each on its share of the cores:
/// together they have at most the rows of one piece that had all of them.
class ObservedNetwork {
 public:
  /// Called by several workers at once, but never twice at once for one of them.
  using Show = FunctionRef<void(const Piece& piece, std::string_view name, const TensorDesc& desc, const void* data)>;

  /// `needed`: tensors that must be shown even where fusing would remove them; others are shown where they are left.
  /// `effort`: of the builder; 0 times nothing, for networks that run a few times only. `whole`: batches run as they
  /// come, because the first dimension of an input need not count samples.
  ObservedNetwork(const Graph& graph, std::set<std::string> needed, int threads, ProfileRanges profile, int effort = 3,
                  bool whole = false);

  /// Layouts of network inputs and outputs that are not to be row-major, by name; before the first run.
  void set_io_layouts(std::map<std::string, Layout> layouts) { layouts_ = std::move(layouts); }

  /// Runs batches of any size, in pieces where the network fixes its batch or memory asks for it, and shows all f32
  /// tensors and bytes of them, network inputs included, each in one layout. Rows that only pad the last piece of a
  /// batch are copies of its last sample. `beside`: called by workers that have nothing left to run, several at once,
  /// until it returns false.
  Status run(std::span<const CalibrationBatch> batches, Show show, const std::function<bool()>& beside = {});
  /// The pieces of a batch, not yet shared out.
  [[nodiscard]] std::vector<Piece> pieces_of(const CalibrationBatch& batch) const;
  /// Most workers that run() may use.
  [[nodiscard]] int most_workers() const;

 private:
  /// What one worker needs to run a piece.
  struct Seat {
    std::unique_ptr<Context> context;
    std::vector<std::byte> padded;
  };
  struct Job {
    Piece piece;
    std::vector<HostTensor> inputs;  ///< of the whole batch, in the network's order
    std::vector<Shape> shapes;       ///< of the piece
  };

  Status build(const Job& job);
  [[nodiscard]] std::vector<HostTensor> inputs_of(const CalibrationBatch& batch) const;
  [[nodiscard]] std::vector<HostTensor> inputs_of(const Job& job, std::vector<std::byte>& storage) const;
  [[nodiscard]] std::vector<Job> jobs_of(std::span<const CalibrationBatch> batches) const;
  Status set_shapes(Context& context, const Job& job, std::span<const HostTensor> inputs) const;
  Status run_job(Seat& seat, const Job& job, Show show);
  /// Runs what the engine takes of `jobs`; returns the rest.
  Result<std::vector<Job>> run_fitting(std::vector<Job> jobs, Show show, const std::function<bool()>& beside);
  [[nodiscard]] int64_t rows_per_piece(const std::vector<HostTensor>& inputs) const;

  const Graph& graph_;
  std::set<std::string> needed_;
  int threads_ = 1;
  ProfileRanges profile_;
  int effort_ = 3;
  bool whole_ = false;
  std::map<std::string, Layout> layouts_;
  std::shared_ptr<const Executable> executable_;
  std::vector<bool> is_of_graph_;  ///< by value of the engine: false for copies of a tensor in other layouts
  std::vector<Seat> seats_;        ///< by worker
  std::unique_ptr<WorkerThreads> workers_;
};

}  // namespace planish::api
