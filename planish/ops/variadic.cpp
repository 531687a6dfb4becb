// Max, Min, Sum and Mean of any number of broadcast inputs.
// https://onnx.ai/onnx/operators/ (Max, Mean, Min, Sum)

#include <algorithm>
#include <array>
#include <vector>

#include "planish/ops/broadcast.h"
#include "planish/ops/checks.h"
#include "planish/ops/element_buffer.h"
#include "planish/ops/elementwise.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

Status infer(InferContext& ctx) {
  if (ctx.num_inputs() == 0) return ctx.error("has no inputs");
  PLANISH_TRY(require_inputs(ctx, ctx.num_inputs()));
  PLANISH_TRY(require_real(ctx));
  ctx.set(0, ctx.dtype(0), PLANISH_TRY(broadcast_input_shapes(ctx, ctx.num_inputs())));
  return {};
}

template <typename T>
void fold(const RefContext& ctx, void (*block)(int64_t, const T*, const T*, T*), bool mean, Tensor& y) {
  std::vector<BroadcastReader> readers;
  for (size_t i = 0; i < ctx.num_inputs(); ++i) readers.emplace_back(ctx.in(i), y.shape());
  std::array<T, kElementBlock> acc;
  std::array<T, kElementBlock> next;
  const T count = static_cast<T>(readers.size());
  for (int64_t i = 0, total = y.size(); i < total; i += kElementBlock) {
    const int64_t n = std::min(kElementBlock, total - i);
    readers[0].read(n, acc.data());
    for (size_t r = 1; r < readers.size(); ++r) {
      readers[r].read(n, next.data());
      block(n, acc.data(), next.data(), acc.data());
    }
    if (mean)
      for (int64_t j = 0; j < n; ++j) acc[static_cast<size_t>(j)] /= count;
    store_elements(y.dtype(), y.raw(), i, 1, n, acc.data());
  }
}

Status reference(RefContext& ctx) {
  if (ctx.num_inputs() == 0) return ctx.error("has no inputs");
  PLANISH_TRY(require_inputs(ctx, ctx.num_inputs()));
  PLANISH_TRY(require_real(ctx));
  const std::string& op = ctx.node().op;
  const bool mean = op == "Mean";
  const BinaryFunction* f = find_binary_function(mean || op == "Sum" ? "Add" : op);
  const DType dtype = ctx.in(0).dtype();
  Shape shape = PLANISH_TRY(broadcast_input_shapes(ctx, ctx.num_inputs()));
  Tensor* y = PLANISH_TRY(ctx.output(0, dtype, std::move(shape)));
  switch (domain_of(dtype)) {
    case Domain::real: fold(ctx, f->block, mean, *y); break;
    case Domain::sint: fold(ctx, f->block_i64, mean, *y); break;
    case Domain::uint: fold(ctx, f->block_u64, mean, *y); break;
  }
  return {};
}

constexpr OpDecl row(std::string_view name) {
  return {.name = name, .since = 1, .traits = kTraitPointwise, .infer = infer, .reference = reference};
}

constexpr std::array kOps{row("Max"), row("Mean"), row("Min"), row("Sum")};

}  // namespace

std::span<const OpDecl> variadic_ops() { return kOps; }

}  // namespace planish
