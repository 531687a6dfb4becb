#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "planish/ir/graph.h"
#include "planish/passes/quantization.h"

namespace planish {

/// Whose fused INT8 layers the quantisers are placed for.
enum class QdqStyle : uint8_t { tensorrt, onnxruntime, openvino };

struct PlacementOptions {
  QdqStyle style = QdqStyle::tensorrt;
  /// Nodes to keep in float, and nodes to quantise even where it is not thought worth it: by node or origin name, one
  /// '*' allowed; keep_float wins.
  std::vector<std::string> keep_float;
  std::vector<std::string> force_int8;
  /// Symmetric scale of a tensor by name; nullopt: unknown, so that layers that need it stay in float. Unset: all
  /// known.
  std::function<std::optional<float>(const std::string&)> scale_of;
  /// Scale and zero point of tensors that become UINT8, with 255 steps between their lower and their upper end;
  /// `never_negative`: the graph proves it. nullopt: the tensor is INT8. Unset: all tensors are.
  std::function<std::optional<TensorQuantization>(const std::string&, bool never_negative)> unsigned_of;
};

/// A layer with constant weights that runs in INT8.
struct QuantisedProduct {
  int32_t node = 0;
  ValueId input = kNoValue;    ///< the activation
  ValueId weights = kNoValue;  ///< constant
  int64_t channel_axis = 0;    ///< of the weights: the output channels
};

/// An input of a node that reads the quantised form of a tensor.
struct QuantisedUse {
  int32_t node = 0;
  size_t slot = 0;
};

/// What is quantised in a graph.
struct PlacementPlan {
  std::vector<QuantisedProduct> products;
  std::map<ValueId, std::vector<QuantisedUse>> tensors;      ///< who reads which quantised tensor
  std::map<ValueId, TensorQuantization> quantisers;          ///< of `tensors`, once scales are known
  std::vector<std::pair<int32_t, std::string>> float_nodes;  ///< (node, reason)
  std::vector<std::string> without_scale;                    ///< tensors that `scale_of` does not know
};

/// Whether a node name, or a pattern with one '*', names `name`.
bool names_node(std::string_view pattern, std::string_view name);

/// Decides which layers of an ONNX-level graph (no operators of domain planish, shapes inferred) run in INT8 and which
/// tensors carry a quantiser for it. The rules are in docs/quantisation.md.
PlacementPlan plan_quantisation(const Graph& graph, const PlacementOptions& options);

/// True when the graph proves that the tensor has no negative element (it comes from a Relu, a Sigmoid ...).
bool is_never_negative(const Graph& graph, const Uses& uses, ValueId v);

/// Passes that bring an imported graph into the form that plan_quantisation() wants and export_onnx() writes: constants
/// folded, batch norms folded into weights, no identities.
Result<Graph> tidy_for_quantisation(Graph graph);

}  // namespace planish
