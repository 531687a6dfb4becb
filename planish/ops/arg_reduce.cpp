// ArgMax and ArgMin: index of the extreme element along an axis.
// https://onnx.ai/onnx/operators/ (ArgMax, ArgMin)

#include <array>
#include <vector>

#include "planish/ops/axis_view.h"
#include "planish/ops/checks.h"
#include "planish/ops/element_buffer.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

Shape output_shape(Shape shape, int64_t axis, bool keepdims) {
  if (keepdims)
    shape[static_cast<size_t>(axis)] = 1;
  else
    shape.erase(shape.begin() + axis);
  return shape;
}

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  const int64_t axis = PLANISH_TRY(normalize_axis(ctx, ctx.node().attr_int("axis", 0), ctx.rank(0)));
  ctx.set(0, DType::i64, output_shape(ctx.shape(0), axis, ctx.node().attr_int("keepdims", 1) != 0));
  return {};
}

template <typename T>
bool beats(T x, T best, bool max, bool last) {
  if (best != best) return last && x != x;  // a NaN is the extreme, as in numpy
  if (x != x) return true;
  if (x == best) return last;
  return max ? x > best : x < best;
}

template <typename T>
void search(const Tensor& x, const AxisView& view, bool max, bool last, int64_t* out) {
  std::vector<T> line(static_cast<size_t>(view.length));
  for (int64_t o = 0; o < view.outer; ++o)
    for (int64_t i = 0; i < view.inner; ++i) {
      load_elements(x.dtype(), x.raw(), o * view.length * view.inner + i, view.inner, view.length, line.data());
      size_t best = 0;
      for (size_t a = 1; a < line.size(); ++a)
        if (beats(line[a], line[best], max, last)) best = a;
      *out++ = static_cast<int64_t>(best);
    }
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  const int64_t axis = PLANISH_TRY(normalize_axis(ctx, ctx.node().attr_int("axis", 0), x.rank()));
  Shape shape = output_shape(x.shape(), axis, ctx.node().attr_int("keepdims", 1) != 0);
  Tensor* y = PLANISH_TRY(ctx.output(0, DType::i64, std::move(shape)));
  const AxisView view = axis_view(x.shape(), axis);
  if (y->size() == 0) return {};
  if (view.length == 0) return ctx.error("the axis is empty, so that no element is the extreme one");
  const bool max = ctx.node().op == "ArgMax";
  const bool last = ctx.node().attr_int("select_last_index", 0) != 0;
  switch (domain_of(x.dtype())) {
    case Domain::real: search<double>(x, view, max, last, y->data<int64_t>()); break;
    case Domain::sint: search<int64_t>(x, view, max, last, y->data<int64_t>()); break;
    case Domain::uint: search<uint64_t>(x, view, max, last, y->data<int64_t>()); break;
  }
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "ArgMax", .since = 1, .infer = infer, .reference = reference},
    OpDecl{.name = "ArgMin", .since = 1, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> arg_reduce_ops() { return kOps; }

}  // namespace planish
