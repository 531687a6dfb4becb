// Softmax, LogSoftmax and Hardmax along one axis, computed in double.
// https://onnx.ai/onnx/operators/ (Hardmax, LogSoftmax, Softmax)

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "planish/ops/axis_view.h"
#include "planish/ops/checks.h"
#include "planish/ops/element_buffer.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  (void)PLANISH_TRY(normalize_axis(ctx, ctx.node().attr_int("axis", -1), ctx.rank(0)));
  ctx.set(0, ctx.dtype(0), ctx.shape(0));
  return {};
}

void softmax(std::vector<double>& line) {
  const double max = *std::ranges::max_element(line);
  double sum = 0;
  for (double& v : line) sum += v = std::exp(v - max);
  for (double& v : line) v /= sum;
}

void log_softmax(std::vector<double>& line) {
  const double max = *std::ranges::max_element(line);
  double sum = 0;
  for (const double v : line) sum += std::exp(v - max);
  const double shift = max + std::log(sum);
  for (double& v : line) v -= shift;
}

void hardmax(std::vector<double>& line) {
  const auto best = std::ranges::max_element(line) - line.begin();
  std::ranges::fill(line, 0.0);
  line[static_cast<size_t>(best)] = 1.0;
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  const int64_t axis = PLANISH_TRY(normalize_axis(ctx, ctx.node().attr_int("axis", -1), x.rank()));
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), x.shape()));
  if (y->size() == 0) return {};
  const std::string& op = ctx.node().op;
  auto* const normalise = op == "Softmax" ? softmax : (op == "LogSoftmax" ? log_softmax : hardmax);
  const AxisView view = axis_view(x.shape(), axis);
  std::vector<double> line(static_cast<size_t>(view.length));
  for (int64_t o = 0; o < view.outer; ++o)
    for (int64_t i = 0; i < view.inner; ++i) {
      const int64_t first = o * view.length * view.inner + i;
      load_elements(x.dtype(), x.raw(), first, view.inner, view.length, line.data());
      normalise(line);
      store_elements(y->dtype(), y->raw(), first, view.inner, view.length, line.data());
    }
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "Hardmax", .since = 1, .infer = infer, .reference = reference},
    OpDecl{.name = "LogSoftmax", .since = 1, .infer = infer, .reference = reference},
    OpDecl{.name = "Softmax", .since = 1, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> softmax_ops() { return kOps; }

}  // namespace planish
