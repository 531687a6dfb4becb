#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <fstream>

#include "planish/ir/text.h"
#include "planish/ops/infer_graph.h"
#include "planish/passes/pass.h"

namespace planish {
namespace {

constexpr std::array kCommonPasses{
    Pass{"widen_half", widen_half, "turns 16-bit graphs into f32 graphs between casts"},
    Pass{"eliminate_identity", eliminate_identity, "removes nodes that hand their input through"},
    Pass{"lower_einsum", lower_einsum, "turns Einsum into matrix products"},
    Pass{"fold_constants", fold_constants, "computes what depends on constants and known shapes only"},
    Pass{"static_shape_inputs", static_shape_inputs, "writes shapes that are the input's own as constants"},
    Pass{"dead_code", dead_code, "drops nodes whose results nobody reads"},
    Pass{"common_subexpressions", common_subexpressions, "merges equal nodes and equal constants"},
    Pass{"eliminate_identity", eliminate_identity, "removes nodes that hand their input through"},
    Pass{"simplify_views", simplify_views, "shortens chains of Reshape and Transpose"},
    Pass{"fuse_layer_norm", fuse_layer_norm, "finds LayerNormalization and RMSNormalization"},
    Pass{"fuse_attention", fuse_attention, "finds scaled dot product attention"},
    Pass{"merge_concats", merge_concats, "flattens nested Concats"},
    Pass{"pool_reductions", pool_reductions, "turns means over images into pools"},
    Pass{"fuse_prelu", fuse_prelu, "finds LeakyRelu and Softplus"},
    Pass{"fuse_silu", fuse_silu, "finds Swish and Mish"},
    Pass{"fuse_gelu", fuse_gelu, "finds Gelu, by erf and by tanh"},
    Pass{"fuse_hardswish", fuse_hardswish, "finds HardSigmoid and HardSwish"},
    Pass{"fold_batch_norm", fold_batch_norm, "folds batch norms and per-channel scales into weights"},
    Pass{"lower", lower, "turns convolutions and matrix products into their fused forms"},
    Pass{"lower_batch_norm", lower_batch_norm, "turns batch norms that stayed into Mul and Add"},
    Pass{"fold_matmul_scale", fold_matmul_scale, "folds scales and transposes into matrix products"},
    Pass{"sink_views", sink_views, "moves Reshape and Transpose behind matrix products"},
    Pass{"slice_gathers", slice_gathers, "turns Gather with consecutive indices into Slice and Split"},
    Pass{"simplify_views", simplify_views, "shortens chains of Reshape and Transpose"},
    Pass{"hoist_split", hoist_split, "splits joint projections in front of the views"},
    Pass{"simplify_views", simplify_views, "shortens chains of Reshape and Transpose"},
    Pass{"pack_attention", pack_attention, "leaves heads side by side in attention instead of transposing them"},
    Pass{"simplify_views", simplify_views, "shortens chains of Reshape and Transpose"},
    Pass{"sink_views", sink_views, "moves Reshape and Transpose behind matrix products"},
    Pass{"simplify_views", simplify_views, "shortens chains of Reshape and Transpose"},
    Pass{"fuse_activation", fuse_activation, "moves activations into the product in front"},
    Pass{"hoist_sums", hoist_sums, "moves sums in front of the Transpose behind a product"},
    Pass{"simplify_views", simplify_views, "shortens chains of Reshape and Transpose"},
    Pass{"fuse_residual", fuse_residual, "moves sums into the product in front"},
    Pass{"fuse_activation", fuse_activation, "moves activations behind a sum into the product"},
    Pass{"merge_matmuls", merge_matmuls, "joins matrix products of the same tensor"},
    Pass{"move_qdq", move_qdq, "moves bytes instead of floats"},
    Pass{"fold_constants", fold_constants, "computes what depends on constants and known shapes only"},
    Pass{"fuse_quantized", fuse_quantized, "turns products between Q and DQ into integer layers"},
    Pass{"merge_attention", merge_attention, "lets attention read the merged projection in place"},
    Pass{"fuse_weight_only", fuse_weight_only, "keeps the integers of weights that floats are multiplied by"},
    Pass{"fold_dequantize", fold_dequantize, "turns what stays quantised of constants into floats"},
    Pass{"fuse_pointwise", fuse_pointwise, "joins elementwise operators into programs"},
    Pass{"common_subexpressions", common_subexpressions, "merges equal nodes and equal constants"},
    Pass{"dead_code", dead_code, "drops nodes whose results nobody reads"},
    Pass{"fuse_inverted_residual", fuse_inverted_residual, "joins integer convolutions around a depthwise one"},
    Pass{"fuse_fork", fuse_fork, "joins integer convolutions of one image in front of a Concat"},
};

/// Runs `pass` over the graph, whose shapes are annotated, then over the bodies of If, Loop and Scan. A branch that
/// these shapes do not fit stays as it is: it fails if it is taken.
Result<Graph> run_recursively(const Pass& pass, Graph graph, const PassOptions& options) {
  graph = PLANISH_TRY(pass.run(graph, options));
  for (Node& node : graph.nodes) {
    for (auto& [key, attr] : node.attrs) {
      auto* sub = std::get_if<std::shared_ptr<const Graph>>(&attr);
      if (sub == nullptr) continue;
      Graph body = **sub;
      for (const auto& [index, inner] : body.captures) {
        const ValueId outer = node.in(static_cast<size_t>(index));
        if (outer == kNoValue) continue;
        body.value(inner).dtype = graph.value(outer).dtype;
        body.value(inner).shape = graph.value(outer).shape;
      }
      if (auto fits = annotate_shapes(body); !fits.ok()) {
        if (node.is("If")) continue;
        return std::move(fits).take_error();
      }
      *sub = std::make_shared<Graph>(PLANISH_TRY(run_recursively(pass, std::move(body), options)));
    }
  }
  return graph;
}

/// Number of passes to run.
Result<size_t> stopping_place(const std::string& stop_after, std::span<const Pass> passes) {
  if (stop_after.empty()) return passes.size();
  if (std::ranges::all_of(stop_after, [](unsigned char c) { return std::isdigit(c) != 0; })) {
    size_t n = 0;
    std::from_chars(stop_after.data(), stop_after.data() + stop_after.size(), n);
    return std::min(n, passes.size());
  }
  for (size_t i = passes.size(); i > 0; --i)
    if (passes[i - 1].name == stop_after) return i;
  return Error{.code = Code::invalid_argument,
               .what = fmt::format("'{}' is not a pass", stop_after),
               .fix = "name a pass of the pipeline or give a number of passes"};
}

Status check_names(const std::vector<std::string>& names, std::span<const Pass> passes) {
  for (const std::string& name : names) {
    if (std::ranges::any_of(passes, [&name](const Pass& p) { return p.name == name; })) continue;
    std::string known;
    for (const Pass& p : passes)
      if (known.find(p.name) == std::string::npos) known.append(known.empty() ? "" : ", ").append(p.name);
    return Error{
        .code = Code::invalid_argument, .what = fmt::format("'{}' is not a pass", name), .fix = "choose from " + known};
  }
  return {};
}

Status dump(const Graph& graph, const std::string& folder, size_t place, std::string_view name) {
  if (folder.empty()) return {};
  std::error_code ec;
  std::filesystem::create_directories(folder, ec);
  const auto path = std::filesystem::path(folder) / fmt::format("{:02}_{}.ir", place, name);
  std::ofstream out(path);
  out << to_text(graph, {.shapes = true});
  if (out.flush()) return {};
  return Error{.code = Code::io, .file = path.string(), .what = "cannot write the graph", .fix = "check the folder"};
}

}  // namespace

std::span<const Pass> common_passes() { return kCommonPasses; }

const Pass* find_pass(std::string_view name) {
  const auto* it = std::ranges::find(kCommonPasses, name, &Pass::name);
  return it == kCommonPasses.end() ? nullptr : it;
}

Result<Graph> run_pass(const Pass& pass, Graph graph, const PassOptions& options,
                       std::span<const std::optional<Shape>> input_shapes) {
  const auto whole = [&]() -> Result<Graph> {
    PLANISH_TRY(verify(graph));
    PLANISH_TRY(annotate_shapes(graph, input_shapes));
    Graph out = PLANISH_TRY(run_recursively(pass, std::move(graph), options));
    PLANISH_TRY(verify(out));
    return out;
  };
  Result<Graph> out = whole();
  if (out.ok()) return out;
  return std::move(out).take_error().with_context(fmt::format("running pass {}", pass.name));
}

Result<Graph> run_passes(Graph graph, const PipelineOptions& options, std::vector<PassReport>* report,
                         std::span<const std::optional<Shape>> input_shapes, std::span<const Pass> passes) {
  using Clock = std::chrono::steady_clock;
  if (passes.empty()) passes = kCommonPasses;
  PLANISH_TRY(check_names(options.disabled, passes));
  const size_t count = PLANISH_TRY(stopping_place(options.stop_after, passes));
  PLANISH_TRY(dump(graph, options.dump_folder, 0, "input"));
  for (size_t i = 0; i < count; ++i) {
    const Pass& pass = passes[i];
    if (std::ranges::find(options.disabled, pass.name) != options.disabled.end()) continue;
    const size_t nodes_before = graph.nodes.size();
    const auto start = Clock::now();
    graph = PLANISH_TRY(run_pass(pass, std::move(graph), options.pass, input_shapes));
    const std::chrono::duration<double, std::milli> time = Clock::now() - start;
    if (report != nullptr) report->push_back({pass.name, time.count(), nodes_before, graph.nodes.size()});
    if (!options.dump_folder.empty()) {
      PLANISH_TRY(annotate_shapes(graph, input_shapes));
      PLANISH_TRY(dump(graph, options.dump_folder, i + 1, pass.name));
    }
    if (options.progress) options.progress(pass.name, i + 1, count);
  }
  PLANISH_TRY(annotate_shapes(graph, input_shapes));
  return graph;
}

}  // namespace planish
