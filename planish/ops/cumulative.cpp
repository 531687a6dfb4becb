// CumSum and CumProd along one axis. https://onnx.ai/onnx/operators/ (CumProd, CumSum)

#include <algorithm>
#include <array>
#include <vector>

#include "planish/ops/axis_view.h"
#include "planish/ops/checks.h"
#include "planish/ops/element_buffer.h"
#include "planish/ops/registry.h"
#include "planish/ops/scalar_functions.h"

namespace planish {
namespace {

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  ctx.set(0, ctx.dtype(0), ctx.shape(0));
  return {};
}

/// Runs along the axis for `count` neighbouring lines at a time. Exclusive results lag by one element and start with
/// the neutral one.
template <typename T>
void scan_lines(const Tensor& x, const AxisView& view, int64_t first, int64_t count, T neutral, bool exclusive,
                bool reverse, void (*block)(int64_t, const T*, const T*, T*), Tensor& y) {
  std::array<T, kElementBlock> sum;
  std::array<T, kElementBlock> next;
  std::fill_n(sum.begin(), count, neutral);
  for (int64_t k = 0; k < view.length; ++k) {
    const int64_t at = first + (reverse ? view.length - 1 - k : k) * view.inner;
    load_elements(x.dtype(), x.raw(), at, 1, count, next.data());
    if (exclusive) store_elements(y.dtype(), y.raw(), at, 1, count, sum.data());
    block(count, sum.data(), next.data(), sum.data());
    if (!exclusive) store_elements(y.dtype(), y.raw(), at, 1, count, sum.data());
  }
}

template <typename T>
void scan_all(const Node& node, const Tensor& x, const AxisView& view, void (*block)(int64_t, const T*, const T*, T*),
              Tensor& y) {
  const T neutral = node.op == "CumSum" ? T{0} : T{1};
  const bool exclusive = node.attr_int("exclusive", 0) != 0;
  const bool reverse = node.attr_int("reverse", 0) != 0;
  for (int64_t o = 0; o < view.outer; ++o)
    for (int64_t i = 0; i < view.inner; i += kElementBlock)
      scan_lines(x, view, o * view.length * view.inner + i, std::min(kElementBlock, view.inner - i), neutral, exclusive,
                 reverse, block, y);
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  if (ctx.in(1).size() != 1) return ctx.error("axis has shape " + to_string(ctx.in(1).shape()) + ", expected a scalar");
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), x.shape()));
  const int64_t axis = PLANISH_TRY(normalize_axis(ctx, ctx.in(1).int_at(0), x.rank()));
  const AxisView view = axis_view(x.shape(), axis);
  const BinaryFunction* f = find_binary_function(ctx.node().op == "CumSum" ? "Add" : "Mul");
  switch (domain_of(x.dtype())) {
    case Domain::real: scan_all(ctx.node(), x, view, f->block, *y); break;
    case Domain::sint: scan_all(ctx.node(), x, view, f->block_i64, *y); break;
    case Domain::uint: scan_all(ctx.node(), x, view, f->block_u64, *y); break;
  }
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "CumProd", .since = 26, .infer = infer, .reference = reference},
    OpDecl{.name = "CumSum", .since = 11, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> cumulative_ops() { return kOps; }

}  // namespace planish
