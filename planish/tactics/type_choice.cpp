#include "planish/tactics/type_choice.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace planish {
namespace {

constexpr uint32_t kAll = ~0U;

/// Which inputs of an operator are activations of its type. Bits count inputs.
struct TypedOp {
  std::string_view key;
  uint32_t inputs = 1;         ///< activations that the layer reads in its type
  uint32_t constants = 0;      ///< constants that take the type as well (weights)
  uint32_t like_output = 0;    ///< activations read in the type of the output (residuals)
  bool narrow_to_f32 = false;  ///< may read 16 bits and write f32
  bool f32_to_narrow = false;  ///< may read f32 and write 16 bits
};

constexpr std::array kTypedOps{
    TypedOp{.key = "planish.FusedConv", .inputs = 1, .constants = 2, .like_output = 8, .narrow_to_f32 = true},
    TypedOp{.key = "planish.FusedConvTranspose", .inputs = 1, .constants = 2, .narrow_to_f32 = true},
    TypedOp{.key = "planish.FusedMatMul", .inputs = 3, .constants = 3, .like_output = 8, .narrow_to_f32 = true},
    TypedOp{.key = "planish.WeightOnlyMatMul", .inputs = 1, .like_output = 8, .narrow_to_f32 = true},
    TypedOp{.key = "planish.Pointwise", .inputs = kAll, .narrow_to_f32 = true, .f32_to_narrow = true},
    TypedOp{.key = "MaxPool"},
    TypedOp{.key = "AveragePool"},
    TypedOp{.key = "GlobalMaxPool"},
    TypedOp{.key = "GlobalAveragePool"},
    TypedOp{.key = "Concat", .inputs = kAll, .constants = kAll},
    TypedOp{.key = "Split"},
    TypedOp{.key = "Slice"},
    TypedOp{.key = "Transpose"},
    TypedOp{.key = "Expand"},
    TypedOp{.key = "Reshape"},
    TypedOp{.key = "Flatten"},
    TypedOp{.key = "Squeeze"},
    TypedOp{.key = "Unsqueeze"},
    TypedOp{.key = "Identity"},
    TypedOp{.key = "Resize"},
    TypedOp{.key = "LayerNormalization"},
    TypedOp{.key = "Softmax"},
    TypedOp{.key = "Attention", .inputs = 7},
    TypedOp{.key = "planish.MergedAttention"},
    TypedOp{.key = "Relu"},
    TypedOp{.key = "LeakyRelu"},
    TypedOp{.key = "Sigmoid"},
    TypedOp{.key = "Tanh"},
    TypedOp{.key = "Swish"},
    TypedOp{.key = "HardSwish"},
    TypedOp{.key = "HardSigmoid"},
    TypedOp{.key = "Gelu"},
    TypedOp{.key = "Elu"},
    TypedOp{.key = "PRelu", .inputs = 3, .constants = 3},
    TypedOp{.key = "Mish"},
    TypedOp{.key = "Clip"},
    TypedOp{.key = "Add", .inputs = 3, .constants = 3},
    TypedOp{.key = "Sub", .inputs = 3, .constants = 3},
    TypedOp{.key = "Mul", .inputs = 3, .constants = 3},
};

const TypedOp* find_typed(const Node& node) {
  const std::string key = op_key(node);
  const auto* it = std::ranges::find(kTypedOps, key, &TypedOp::key);
  return it == kTypedOps.end() ? nullptr : it;
}

bool has_bit(uint32_t bits, size_t i) { return i < 32 ? (bits >> i & 1U) != 0 : bits == kAll; }

}  // namespace

bool is_half(DType type) { return type == DType::f16 || type == DType::bf16; }

std::vector<TypePair> type_pairs(const NodeView& view, DType half) {
  const TypedOp* op = find_typed(*view.node);
  if (op == nullptr || view.inputs.empty() || view.outputs.empty()) return {};
  bool reads_f32 = false;
  for (size_t i = 0; i < view.inputs.size(); ++i)
    reads_f32 |=
        view.has_input(i) && !view.is_constant(i) && has_bit(op->inputs, i) && view.inputs[i].dtype == DType::f32;
  if (!reads_f32 || view.outputs[0].dtype != DType::f32) return {};
  std::vector<TypePair> pairs{{half, half}};
  if (op->narrow_to_f32) pairs.push_back({half, DType::f32});
  if (op->f32_to_narrow) pairs.push_back({DType::f32, half});
  return pairs;
}

DType input_type(const NodeView& view, size_t i, TypePair types) {
  const DType type = view.inputs[i].dtype;
  const TypedOp* op = find_typed(*view.node);
  if (type != DType::f32 || op == nullptr) return type;
  if (view.is_constant(i)) return has_bit(op->constants, i) ? types.in : type;
  if (has_bit(op->like_output, i)) return types.out;
  return has_bit(op->inputs, i) ? types.in : type;
}

DType output_type(const NodeView& view, size_t o, TypePair types) {
  const DType type = view.outputs[o].dtype;
  return type == DType::f32 && find_typed(*view.node) != nullptr ? types.out : type;
}

NodeView with_types(const NodeView& view, TypePair types, Node& node, const ConvertConstant& convert) {
  node = *view.node;
  NodeView out = view;
  out.node = &node;
  for (size_t i = 0; i < view.inputs.size(); ++i) {
    const DType type = input_type(view, i, types);
    if (type == view.inputs[i].dtype) continue;
    out.inputs[i].dtype = type;
    if (view.constants[i] != nullptr) out.constants[i] = convert(*view.constants[i], type);
  }
  for (size_t o = 0; o < view.outputs.size(); ++o) out.outputs[o].dtype = output_type(view, o, types);
  const TypedOp* op = find_typed(node);
  // A program's constants stay f32, so that the type of its result does not follow from its operands.
  if (op != nullptr && (op->narrow_to_f32 || op->f32_to_narrow) && types != TypePair{})
    node.attrs["y_type"] = std::string(dtype_name(types.out));
  return out;
}

NodeView in_f32(const NodeView& view, Node& node, const ConvertConstant& convert) {
  node = *view.node;
  node.attrs.erase("y_type");
  NodeView out = view;
  out.node = &node;
  for (size_t i = 0; i < view.inputs.size(); ++i) {
    if (!is_half(view.inputs[i].dtype)) continue;
    out.inputs[i].dtype = DType::f32;
    if (view.constants[i] != nullptr) out.constants[i] = convert(*view.constants[i], DType::f32);
  }
  for (TensorDesc& d : out.outputs)
    if (is_half(d.dtype)) d.dtype = DType::f32;
  return out;
}

}  // namespace planish
