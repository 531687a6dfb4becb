#include "planish/onnx/signature.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace planish {
namespace {

constexpr int kAny = -1;

struct Signature {
  std::string_view op;
  uint32_t required;  ///< bit i: input i must be there
  int max_inputs;
  int max_outputs;
};

// clang-format off
// From the operator schemas of onnx 1.23, sorted by name.
constexpr std::array kSignatures{
    Signature{"Abs", 0x1, 1, 1},
    Signature{"Acos", 0x1, 1, 1},
    Signature{"Acosh", 0x1, 1, 1},
    Signature{"Add", 0x3, 2, 1},
    Signature{"AffineGrid", 0x3, 2, 1},
    Signature{"And", 0x3, 2, 1},
    Signature{"ArgMax", 0x1, 1, 1},
    Signature{"ArgMin", 0x1, 1, 1},
    Signature{"Asin", 0x1, 1, 1},
    Signature{"Asinh", 0x1, 1, 1},
    Signature{"Atan", 0x1, 1, 1},
    Signature{"Atanh", 0x1, 1, 1},
    Signature{"Attention", 0x7, 7, 4},
    Signature{"AveragePool", 0x1, 1, 1},
    Signature{"BatchNormalization", 0x1f, 5, 3},
    Signature{"Bernoulli", 0x1, 1, 1},
    Signature{"BitCast", 0x1, 1, 1},
    Signature{"BitShift", 0x3, 2, 1},
    Signature{"BitwiseAnd", 0x3, 2, 1},
    Signature{"BitwiseNot", 0x1, 1, 1},
    Signature{"BitwiseOr", 0x3, 2, 1},
    Signature{"BitwiseXor", 0x3, 2, 1},
    Signature{"BlackmanWindow", 0x1, 1, 1},
    Signature{"Cast", 0x1, 1, 1},
    Signature{"CastLike", 0x3, 2, 1},
    Signature{"CausalConvWithState", 0x3, 4, 2},
    Signature{"Ceil", 0x1, 1, 1},
    Signature{"Celu", 0x1, 1, 1},
    Signature{"CenterCropPad", 0x3, 2, 1},
    Signature{"Clip", 0x1, 3, 1},
    Signature{"Col2Im", 0x7, 3, 1},
    Signature{"Compress", 0x3, 2, 1},
    Signature{"Concat", 0x1, kAny, 1},
    Signature{"ConstantOfShape", 0x1, 1, 1},
    Signature{"Conv", 0x3, 3, 1},
    Signature{"ConvInteger", 0x3, 4, 1},
    Signature{"ConvTranspose", 0x3, 3, 1},
    Signature{"Cos", 0x1, 1, 1},
    Signature{"Cosh", 0x1, 1, 1},
    Signature{"CumProd", 0x3, 2, 1},
    Signature{"CumSum", 0x3, 2, 1},
    Signature{"DFT", 0x1, 3, 1},
    Signature{"DeformConv", 0x7, 5, 1},
    Signature{"DepthToSpace", 0x1, 1, 1},
    Signature{"DequantizeLinear", 0x3, 3, 1},
    Signature{"Det", 0x1, 1, 1},
    Signature{"Div", 0x3, 2, 1},
    Signature{"Dropout", 0x1, 3, 2},
    Signature{"DynamicQuantizeLinear", 0x1, 1, 3},
    Signature{"Einsum", 0x1, kAny, 1},
    Signature{"Elu", 0x1, 1, 1},
    Signature{"Equal", 0x3, 2, 1},
    Signature{"Erf", 0x1, 1, 1},
    Signature{"Exp", 0x1, 1, 1},
    Signature{"Expand", 0x3, 2, 1},
    Signature{"EyeLike", 0x1, 1, 1},
    Signature{"Flatten", 0x1, 1, 1},
    Signature{"Floor", 0x1, 1, 1},
    Signature{"GRU", 0x7, 6, 2},
    Signature{"Gather", 0x3, 2, 1},
    Signature{"GatherElements", 0x3, 2, 1},
    Signature{"GatherND", 0x3, 2, 1},
    Signature{"Gelu", 0x1, 1, 1},
    Signature{"Gemm", 0x3, 3, 1},
    Signature{"GlobalAveragePool", 0x1, 1, 1},
    Signature{"GlobalLpPool", 0x1, 1, 1},
    Signature{"GlobalMaxPool", 0x1, 1, 1},
    Signature{"Greater", 0x3, 2, 1},
    Signature{"GreaterOrEqual", 0x3, 2, 1},
    Signature{"GridSample", 0x3, 2, 1},
    Signature{"GroupNormalization", 0x7, 3, 1},
    Signature{"HammingWindow", 0x1, 1, 1},
    Signature{"HannWindow", 0x1, 1, 1},
    Signature{"HardSigmoid", 0x1, 1, 1},
    Signature{"HardSwish", 0x1, 1, 1},
    Signature{"Hardmax", 0x1, 1, 1},
    Signature{"Identity", 0x1, 1, 1},
    Signature{"If", 0x1, 1, kAny},
    Signature{"InstanceNormalization", 0x7, 3, 1},
    Signature{"IsInf", 0x1, 1, 1},
    Signature{"IsNaN", 0x1, 1, 1},
    Signature{"LRN", 0x1, 1, 1},
    Signature{"LSTM", 0x7, 8, 3},
    Signature{"LayerNormalization", 0x3, 3, 3},
    Signature{"LeakyRelu", 0x1, 1, 1},
    Signature{"Less", 0x3, 2, 1},
    Signature{"LessOrEqual", 0x3, 2, 1},
    Signature{"LinearAttention", 0x7, 6, 2},
    Signature{"Log", 0x1, 1, 1},
    Signature{"LogSoftmax", 0x1, 1, 1},
    Signature{"Loop", 0x0, kAny, kAny},
    Signature{"LpNormalization", 0x1, 1, 1},
    Signature{"LpPool", 0x1, 1, 1},
    Signature{"MatMul", 0x3, 2, 1},
    Signature{"MatMulInteger", 0x3, 4, 1},
    Signature{"Max", 0x1, kAny, 1},
    Signature{"MaxPool", 0x1, 1, 2},
    Signature{"MaxRoiPool", 0x3, 2, 1},
    Signature{"MaxUnpool", 0x3, 3, 1},
    Signature{"Mean", 0x1, kAny, 1},
    Signature{"MeanVarianceNormalization", 0x1, 1, 1},
    Signature{"MelWeightMatrix", 0x1f, 5, 1},
    Signature{"Min", 0x1, kAny, 1},
    Signature{"Mish", 0x1, 1, 1},
    Signature{"Mod", 0x3, 2, 1},
    Signature{"Mul", 0x3, 2, 1},
    Signature{"Multinomial", 0x1, 1, 1},
    Signature{"Neg", 0x1, 1, 1},
    Signature{"NegativeLogLikelihoodLoss", 0x3, 3, 1},
    Signature{"NonMaxSuppression", 0x3, 5, 1},
    Signature{"NonZero", 0x1, 1, 1},
    Signature{"Not", 0x1, 1, 1},
    Signature{"OneHot", 0x7, 3, 1},
    Signature{"Or", 0x3, 2, 1},
    Signature{"PRelu", 0x3, 2, 1},
    Signature{"Pad", 0x3, 4, 1},
    Signature{"Pow", 0x3, 2, 1},
    Signature{"QLinearConv", 0xff, 9, 1},
    Signature{"QLinearMatMul", 0xff, 8, 1},
    Signature{"QuantizeLinear", 0x3, 3, 1},
    Signature{"RMSNormalization", 0x3, 2, 1},
    Signature{"RNN", 0x7, 6, 2},
    Signature{"RandomNormal", 0x0, 0, 1},
    Signature{"RandomNormalLike", 0x1, 1, 1},
    Signature{"RandomUniform", 0x0, 0, 1},
    Signature{"RandomUniformLike", 0x1, 1, 1},
    Signature{"Range", 0x7, 3, 1},
    Signature{"Reciprocal", 0x1, 1, 1},
    Signature{"ReduceL1", 0x1, 2, 1},
    Signature{"ReduceL2", 0x1, 2, 1},
    Signature{"ReduceLogSum", 0x1, 2, 1},
    Signature{"ReduceLogSumExp", 0x1, 2, 1},
    Signature{"ReduceMax", 0x1, 2, 1},
    Signature{"ReduceMean", 0x1, 2, 1},
    Signature{"ReduceMin", 0x1, 2, 1},
    Signature{"ReduceProd", 0x1, 2, 1},
    Signature{"ReduceSum", 0x1, 2, 1},
    Signature{"ReduceSumSquare", 0x1, 2, 1},
    Signature{"Relu", 0x1, 1, 1},
    Signature{"Reshape", 0x3, 2, 1},
    Signature{"Resize", 0x1, 4, 1},
    Signature{"ReverseSequence", 0x3, 2, 1},
    Signature{"RoiAlign", 0x7, 3, 1},
    Signature{"RotaryEmbedding", 0x7, 4, 1},
    Signature{"Round", 0x1, 1, 1},
    Signature{"STFT", 0x3, 4, 1},
    Signature{"Scan", 0x1, kAny, kAny},
    Signature{"ScatterElements", 0x7, 3, 1},
    Signature{"ScatterND", 0x7, 3, 1},
    Signature{"Selu", 0x1, 1, 1},
    Signature{"Shape", 0x1, 1, 1},
    Signature{"Shrink", 0x1, 1, 1},
    Signature{"Sigmoid", 0x1, 1, 1},
    Signature{"Sign", 0x1, 1, 1},
    Signature{"Sin", 0x1, 1, 1},
    Signature{"Sinh", 0x1, 1, 1},
    Signature{"Size", 0x1, 1, 1},
    Signature{"Slice", 0x7, 5, 1},
    Signature{"Softmax", 0x1, 1, 1},
    Signature{"SoftmaxCrossEntropyLoss", 0x3, 3, 2},
    Signature{"Softplus", 0x1, 1, 1},
    Signature{"Softsign", 0x1, 1, 1},
    Signature{"SpaceToDepth", 0x1, 1, 1},
    Signature{"Split", 0x1, 2, kAny},
    Signature{"Sqrt", 0x1, 1, 1},
    Signature{"Squeeze", 0x1, 2, 1},
    Signature{"Sub", 0x3, 2, 1},
    Signature{"Sum", 0x1, kAny, 1},
    Signature{"SwiGLU", 0x3, 2, 1},
    Signature{"Swish", 0x1, 1, 1},
    Signature{"Tan", 0x1, 1, 1},
    Signature{"Tanh", 0x1, 1, 1},
    Signature{"TensorScatter", 0x3, 3, 1},
    Signature{"TfIdfVectorizer", 0x1, 1, 1},
    Signature{"ThresholdedRelu", 0x1, 1, 1},
    Signature{"Tile", 0x3, 2, 1},
    Signature{"TopK", 0x3, 2, 2},
    Signature{"Transpose", 0x1, 1, 1},
    Signature{"Trilu", 0x1, 2, 1},
    Signature{"Unique", 0x1, 1, 4},
    Signature{"Unsqueeze", 0x3, 2, 1},
    Signature{"Where", 0x7, 3, 1},
    Signature{"Xor", 0x3, 2, 1},
};
// clang-format on

Error wrong_count(const Node& node, std::string_view what, size_t has, int allowed) {
  return Error{.code = Code::invalid_model,
               .node = node.name,
               .what = fmt::format("{} has {} {}, the operator takes at most {}", node.op, has, what, allowed),
               .fix = "export the model again; onnx.checker.check_model finds such cases"};
}

}  // namespace

Status check_signature(const Node& node) {
  if (!node.domain.empty()) return {};
  const auto* row = std::ranges::lower_bound(kSignatures, std::string_view(node.op), {}, &Signature::op);
  if (row == kSignatures.end() || row->op != node.op) return {};
  // Captured values of subgraphs stand behind the inputs that the operator knows.
  const auto own = static_cast<size_t>(node.attr_int("own_inputs", static_cast<int64_t>(node.inputs.size())));
  for (size_t i = 0; i < 32; ++i)
    if ((row->required >> i & 1U) != 0 && (i >= own || node.in(i) == kNoValue))
      return Error{.code = Code::invalid_model,
                   .node = node.name,
                   .what = fmt::format("{} lacks its input {}", node.op, i),
                   .fix = "export the model again; onnx.checker.check_model finds such cases"};
  if (row->max_inputs != kAny && own > static_cast<size_t>(row->max_inputs))
    return wrong_count(node, "inputs", own, row->max_inputs);
  if (row->max_outputs != kAny && node.outputs.size() > static_cast<size_t>(row->max_outputs))
    return wrong_count(node, "outputs", node.outputs.size(), row->max_outputs);
  return {};
}

}  // namespace planish
