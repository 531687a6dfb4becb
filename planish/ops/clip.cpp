// Clip: min(max, max(min, x)) with scalar bounds. https://onnx.ai/onnx/operators/onnx__Clip.html

#include <algorithm>
#include <array>

#include "planish/ops/checks.h"
#include "planish/ops/element_buffer.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  ctx.set(0, ctx.dtype(0), ctx.shape(0));
  return {};
}

template <typename T>
void clip(const Tensor& x, const Tensor* low, const Tensor* high, Tensor& y) {
  std::array<T, kElementBlock> v;
  T lo{};
  T hi{};
  if (low != nullptr) load_elements(low->dtype(), low->raw(), 0, 0, 1, &lo);
  if (high != nullptr) load_elements(high->dtype(), high->raw(), 0, 0, 1, &hi);
  for (int64_t i = 0, total = y.size(); i < total; i += kElementBlock) {
    const int64_t n = std::min(kElementBlock, total - i);
    load_elements(x.dtype(), x.raw(), i, 1, n, v.data());
    // The maximum comes second: it wins when the bounds cross.
    if (low != nullptr)
      for (int64_t j = 0; j < n; ++j) v[static_cast<size_t>(j)] = std::max(v[static_cast<size_t>(j)], lo);
    if (high != nullptr)
      for (int64_t j = 0; j < n; ++j) v[static_cast<size_t>(j)] = std::min(v[static_cast<size_t>(j)], hi);
    store_elements(y.dtype(), y.raw(), i, 1, n, v.data());
  }
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  for (size_t i = 1; i < 3; ++i)
    if (ctx.has(i) && ctx.in(i).size() != 1)
      return ctx.error("a bound has shape " + to_string(ctx.in(i).shape()) + ", expected a scalar");
  const Tensor* low = ctx.has(1) ? &ctx.in(1) : nullptr;
  const Tensor* high = ctx.has(2) ? &ctx.in(2) : nullptr;
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), x.shape()));
  switch (domain_of(x.dtype())) {
    case Domain::real: clip<double>(x, low, high, *y); break;
    case Domain::sint: clip<int64_t>(x, low, high, *y); break;
    case Domain::uint: clip<uint64_t>(x, low, high, *y); break;
  }
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "Clip",
           .since = 1,
           .traits = kTraitPointwise,
           .one_type = 0b111,
           .infer = infer,
           .reference = reference},
};

}  // namespace

std::span<const OpDecl> clip_ops() { return kOps; }

}  // namespace planish
