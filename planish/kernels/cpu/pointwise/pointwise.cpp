#include "planish/kernels/cpu/pointwise/pointwise.h"

#include <algorithm>
#include <array>

#include "planish/kernels/cpu/pointwise/generic.h"
#include "planish/kernels/cpu/pointwise/variants.h"

namespace planish::kernels {
namespace {

void pointwise_baseline(PointwiseOp op, int64_t n, const float* a, const float* b, float* y, float alpha, float beta) {
  pointwise_generic(op, n, a, b, y, alpha, beta);
}

constexpr std::array kKernels{
    PointwiseKernel{"pointwise_f32_avx512", Isa::avx512, pointwise_avx512},
    PointwiseKernel{"pointwise_f32_avx2", Isa::avx2, pointwise_avx2},
    PointwiseKernel{"pointwise_f32_baseline", Isa::baseline, pointwise_baseline},
};

struct Name {
  std::string_view onnx;
  PointwiseOp op;
};

constexpr std::array kNames{
    Name{"Identity", PointwiseOp::identity},
    Name{"Abs", PointwiseOp::abs},
    Name{"Neg", PointwiseOp::neg},
    Name{"Reciprocal", PointwiseOp::reciprocal},
    Name{"Sqrt", PointwiseOp::sqrt},
    Name{"Exp", PointwiseOp::exp},
    Name{"Log", PointwiseOp::log},
    Name{"Floor", PointwiseOp::floor},
    Name{"Ceil", PointwiseOp::ceil},
    Name{"Round", PointwiseOp::round},
    Name{"Sign", PointwiseOp::sign},
    Name{"Erf", PointwiseOp::erf},
    Name{"Relu", PointwiseOp::relu},
    Name{"LeakyRelu", PointwiseOp::leaky_relu},
    Name{"Elu", PointwiseOp::elu},
    Name{"Celu", PointwiseOp::celu},
    Name{"Selu", PointwiseOp::selu},
    Name{"Softsign", PointwiseOp::softsign},
    Name{"Not", PointwiseOp::logical_not},
    Name{"Sigmoid", PointwiseOp::sigmoid},
    Name{"Tanh", PointwiseOp::tanh},
    Name{"Softplus", PointwiseOp::softplus},
    Name{"Swish", PointwiseOp::swish},
    Name{"HardSigmoid", PointwiseOp::hard_sigmoid},
    Name{"HardSwish", PointwiseOp::hard_swish},
    Name{"Gelu", PointwiseOp::gelu},
    Name{"Mish", PointwiseOp::mish},
    Name{"Clip", PointwiseOp::clip},
    Name{"Add", PointwiseOp::add},
    Name{"Sub", PointwiseOp::sub},
    Name{"Mul", PointwiseOp::mul},
    Name{"Div", PointwiseOp::div},
    Name{"Max", PointwiseOp::max},
    Name{"Min", PointwiseOp::min},
    Name{"Pow", PointwiseOp::pow},
    Name{"PRelu", PointwiseOp::prelu},
    Name{"Equal", PointwiseOp::equal},
    Name{"Greater", PointwiseOp::greater},
    Name{"GreaterOrEqual", PointwiseOp::greater_or_equal},
    Name{"Less", PointwiseOp::less},
    Name{"LessOrEqual", PointwiseOp::less_or_equal},
    Name{"And", PointwiseOp::logical_and},
    Name{"Or", PointwiseOp::logical_or},
    Name{"Xor", PointwiseOp::logical_xor},
    Name{"Where", PointwiseOp::select},
};

}  // namespace

std::optional<PointwiseOp> find_pointwise_op(std::string_view onnx_name, bool tanh_form) {
  const auto it = std::ranges::find(kNames, onnx_name, &Name::onnx);
  if (it == kNames.end()) return std::nullopt;
  return it->op == PointwiseOp::gelu && tanh_form ? PointwiseOp::gelu_tanh : it->op;
}

bool is_binary(PointwiseOp op) { return op >= PointwiseOp::add; }

std::span<const PointwiseKernel> pointwise_kernels() { return kKernels; }

const PointwiseKernel& best_pointwise_kernel() {
  for (const PointwiseKernel& k : kKernels)
    if (cpu_features().has(k.isa)) return k;
  return kKernels.back();
}

}  // namespace planish::kernels
