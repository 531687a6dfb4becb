#include "planish/kernels/cpu/float_epilogue/epilogue.h"

namespace planish::kernels {

void set_activation(FloatEpilogue& e, PointwiseOp op, float alpha, float beta) {
  using Act = FloatEpilogue::Act;
  e.act = Act::clamp;
  if (op == PointwiseOp::identity) return;
  if (op == PointwiseOp::relu) {
    e.low = 0;
    return;
  }
  // Bounds in the wrong order mean the upper one in ONNX, which limiting to the lower one first does too.
  if (op == PointwiseOp::clip) {
    e.low = alpha;
    e.high = beta;
    return;
  }
  e.act = Act::other;
  if (op == PointwiseOp::swish && alpha == 1.0F) e.act = Act::swish;
  if (op == PointwiseOp::gelu) e.act = Act::gelu;
  if (op == PointwiseOp::hard_swish) e.act = Act::hard_swish;
  e.fn = best_pointwise_kernel().fn;
  e.op = op;
  e.alpha = alpha;
  e.beta = beta;
}

}  // namespace planish::kernels
