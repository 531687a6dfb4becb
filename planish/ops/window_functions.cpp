// HannWindow, HammingWindow and BlackmanWindow: a0 - a1 cos(2 pi n / N) + a2 cos(4 pi n / N).
// https://onnx.ai/onnx/operators/ (BlackmanWindow, HammingWindow, HannWindow)

#include <array>
#include <cmath>
#include <numbers>

#include "planish/ops/checks.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

struct Window {
  std::string_view op;
  double a0, a1, a2;
};

constexpr std::array kWindows{
    Window{"BlackmanWindow", 0.42, 0.5, 0.08},
    Window{"HammingWindow", 25.0 / 46.0, 21.0 / 46.0, 0.0},
    Window{"HannWindow", 0.5, 0.5, 0.0},
};

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const DType type = PLANISH_TRY(dtype_attr(ctx, "output_datatype", DType::f32));
  const auto size = ctx.ints(0);
  if (size && (size->size() != 1 || (*size)[0] < 0)) return ctx.error("size must be one number, not negative");
  ctx.set(0, type, Shape{size ? (*size)[0] : kUnknownDim});
  return {};
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  const DType type = PLANISH_TRY(dtype_attr(ctx, "output_datatype", DType::f32));
  if (ctx.in(0).size() != 1) return ctx.error("size must be one number");
  const int64_t size = ctx.in(0).int_at(0);
  Tensor* y = PLANISH_TRY(ctx.output(0, type, {size}));
  const Window* w = kWindows.begin();
  while (w->op != ctx.node().op) ++w;
  const int64_t period = ctx.node().attr_int("periodic", 1) != 0 ? size : size - 1;
  for (int64_t i = 0; i < size; ++i) {
    // A symmetric window of one sample has period 0; its only sample is the peak.
    const double phase =
        period == 0 ? std::numbers::pi : 2.0 * std::numbers::pi * static_cast<double>(i) / static_cast<double>(period);
    y->set(i, w->a0 - w->a1 * std::cos(phase) + w->a2 * std::cos(2.0 * phase));
  }
  return {};
}

constexpr OpDecl row(std::string_view name) {
  return {.name = name, .since = 17, .shape_inputs = 0b1, .infer = infer, .reference = reference};
}

constexpr std::array kOps{row("BlackmanWindow"), row("HammingWindow"), row("HannWindow")};

}  // namespace

std::span<const OpDecl> window_function_ops() { return kOps; }

}  // namespace planish
