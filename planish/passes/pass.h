#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "planish/base/status.h"
#include "planish/ir/graph.h"

namespace planish {

/// What passes may be told.
struct PassOptions {
  /// Folded constants larger than this are kept only when they are no larger than the inputs they come from.
  size_t max_folded_bytes = size_t{4} << 20;
};

/// One rewrite of the whole graph: a pure function. The graph it gets has passed verify() and carries inferred types
/// and shapes; the one it returns means the same, keeps inputs and outputs, and needs no shapes.
struct Pass {
  std::string_view name;
  Result<Graph> (*run)(const Graph& graph, const PassOptions& options);
  std::string_view summary;  ///< one line for --help and the documentation
};

/// The common pipeline, in order. A pass may stand in it more than once.
std::span<const Pass> common_passes();
/// The first pass of that name, nullptr when there is none.
const Pass* find_pass(std::string_view name);

struct PipelineOptions {
  PassOptions pass;
  std::vector<std::string> disabled;  ///< names of passes to leave out, every time they stand in the pipeline
  std::string stop_after;             ///< a pass name (its last place) or the number of passes to run; "" runs all
  std::string dump_folder;            ///< writes NN_<pass>.ir after every pass (00_input.ir before); "" does not
  /// Called after every pass with its place, counted from 1; for progress reports.
  std::function<void(std::string_view name, size_t place, size_t count)> progress;
};

/// What one pass did.
struct PassReport {
  std::string_view name;
  double time_ms = 0;  ///< the pass with verification and shape inference
  size_t nodes_before = 0;
  size_t nodes_after = 0;
};

/// Runs the common pipeline, or `passes` when given, over a graph and its subgraphs, verifying the graph around every
/// pass. `input_shapes` bind the shapes of graph.inputs as annotate_shapes() does. The result carries types and
/// shapes. Errors: invalid_argument for an unknown pass name, io for the dump, what a pass or shape inference found
/// ("while running pass ...").
Result<Graph> run_passes(Graph graph, const PipelineOptions& options = {}, std::vector<PassReport>* report = nullptr,
                         std::span<const std::optional<Shape>> input_shapes = {}, std::span<const Pass> passes = {});

/// Runs one pass over a graph and its subgraphs, with verification and shape inference; for tests and tools.
Result<Graph> run_pass(const Pass& pass, Graph graph, const PassOptions& options = {},
                       std::span<const std::optional<Shape>> input_shapes = {});

// The passes, one per file of the same name.
Result<Graph> widen_half(const Graph& graph, const PassOptions& options);
Result<Graph> fold_constants(const Graph& graph, const PassOptions& options);
Result<Graph> dead_code(const Graph& graph, const PassOptions& options);
Result<Graph> common_subexpressions(const Graph& graph, const PassOptions& options);
Result<Graph> fold_batch_norm(const Graph& graph, const PassOptions& options);
Result<Graph> eliminate_identity(const Graph& graph, const PassOptions& options);
Result<Graph> static_shape_inputs(const Graph& graph, const PassOptions& options);
Result<Graph> lower(const Graph& graph, const PassOptions& options);
Result<Graph> fuse_activation(const Graph& graph, const PassOptions& options);
Result<Graph> fuse_residual(const Graph& graph, const PassOptions& options);
Result<Graph> fuse_silu(const Graph& graph, const PassOptions& options);
Result<Graph> fuse_gelu(const Graph& graph, const PassOptions& options);
Result<Graph> fuse_hardswish(const Graph& graph, const PassOptions& options);
Result<Graph> fuse_layer_norm(const Graph& graph, const PassOptions& options);
Result<Graph> fuse_attention(const Graph& graph, const PassOptions& options);
Result<Graph> simplify_views(const Graph& graph, const PassOptions& options);
Result<Graph> sink_views(const Graph& graph, const PassOptions& options);
Result<Graph> merge_matmuls(const Graph& graph, const PassOptions& options);
Result<Graph> merge_attention(const Graph& graph, const PassOptions& options);
Result<Graph> pack_attention(const Graph& graph, const PassOptions& options);
Result<Graph> slice_gathers(const Graph& graph, const PassOptions& options);
Result<Graph> hoist_sums(const Graph& graph, const PassOptions& options);
Result<Graph> hoist_split(const Graph& graph, const PassOptions& options);
Result<Graph> fold_matmul_scale(const Graph& graph, const PassOptions& options);
Result<Graph> lower_einsum(const Graph& graph, const PassOptions& options);
Result<Graph> lower_batch_norm(const Graph& graph, const PassOptions& options);
Result<Graph> pool_reductions(const Graph& graph, const PassOptions& options);
Result<Graph> fuse_prelu(const Graph& graph, const PassOptions& options);
Result<Graph> merge_concats(const Graph& graph, const PassOptions& options);
Result<Graph> move_qdq(const Graph& graph, const PassOptions& options);
Result<Graph> fuse_quantized(const Graph& graph, const PassOptions& options);
Result<Graph> fuse_weight_only(const Graph& graph, const PassOptions& options);
Result<Graph> fold_dequantize(const Graph& graph, const PassOptions& options);
Result<Graph> fuse_pointwise(const Graph& graph, const PassOptions& options);
Result<Graph> fuse_inverted_residual(const Graph& graph, const PassOptions& options);
Result<Graph> fuse_fork(const Graph& graph, const PassOptions& options);

}  // namespace planish
