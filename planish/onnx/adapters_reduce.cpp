// Reductions: `axes` became an input in opset 13 (ReduceSum) and 18 (the others).

#include <array>

#include "planish/onnx/adapter.h"

namespace planish {
namespace {

Status axes_to_input(AdaptContext& ctx) {
  ctx.ints_attr_to_input("axes", 1);
  return {};
}

constexpr std::array kRows{
    Adapter{"ReduceL1", 1, 17, axes_to_input},     Adapter{"ReduceL2", 1, 17, axes_to_input},
    Adapter{"ReduceLogSum", 1, 17, axes_to_input}, Adapter{"ReduceLogSumExp", 1, 17, axes_to_input},
    Adapter{"ReduceMax", 1, 17, axes_to_input},    Adapter{"ReduceMean", 1, 17, axes_to_input},
    Adapter{"ReduceMin", 1, 17, axes_to_input},    Adapter{"ReduceProd", 1, 17, axes_to_input},
    Adapter{"ReduceSum", 1, 12, axes_to_input},    Adapter{"ReduceSumSquare", 1, 17, axes_to_input},
};

}  // namespace

std::span<const Adapter> reduce_adapters() { return kRows; }

}  // namespace planish
