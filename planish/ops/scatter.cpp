// ScatterElements (and its old name Scatter), ScatterND, TensorScatter: writing at indices. Any data type for plain
// writes, real types for reductions. https://onnx.ai/onnx/operators/onnx__ScatterElements.html (and ScatterND,
// TensorScatter)

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "planish/ops/checks.h"
#include "planish/ops/elements.h"
#include "planish/ops/indices.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

enum class Reduction { none, add, mul, max, min };

Result<Reduction> reduction_of(const RefContext& ctx) {
  const std::string name = ctx.node().attr_string("reduction", "none");
  if (name == "none") return Reduction::none;
  if (name == "add") return Reduction::add;
  if (name == "mul") return Reduction::mul;
  if (name == "max") return Reduction::max;
  if (name == "min") return Reduction::min;
  return ctx.error(fmt::format("reduction '{}' is not known", name), "use none, add, mul, max or min");
}

template <typename T>
T combine(Reduction reduction, T a, T b) {
  switch (reduction) {
    case Reduction::add: return a + b;
    case Reduction::mul: return a * b;
    case Reduction::max: return std::max(a, b);
    case Reduction::min: return std::min(a, b);
    case Reduction::none: break;
  }
  return b;
}

/// y[to, to+n) = combine(y, updates[from, from+n)) for tensors of the same type.
void reduce_run(Reduction reduction, Tensor& y, int64_t to, const Tensor& updates, int64_t from, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    // 64-bit integers do not fit a double; unsigned arithmetic wraps, as sums of hostile values must not overflow.
    if (y.dtype() == DType::i64 && (reduction == Reduction::max || reduction == Reduction::min))
      y.data<int64_t>()[to + i] = combine(reduction, y.data<int64_t>()[to + i], updates.data<int64_t>()[from + i]);
    else if (y.dtype() == DType::i64 || y.dtype() == DType::u64)
      y.data<uint64_t>()[to + i] = combine(reduction, y.data<uint64_t>()[to + i], updates.data<uint64_t>()[from + i]);
    else
      y.set(to + i, combine(reduction, y.at(to + i), updates.at(from + i)));
  }
}

/// Output 0 as a copy of `data`.
Result<Tensor*> copy_of(RefContext& ctx, const Tensor& data) {
  Tensor* y = PLANISH_TRY(ctx.output(0, data.dtype(), data.shape()));
  if (data.bytes() != 0 && y->raw() != data.raw()) std::memcpy(y->raw(), data.raw(), data.bytes());
  return y;
}

/// Writes blocks of `block` elements: offsets[k] in y receives the k-th block of updates.
void write_blocks(Reduction reduction, Tensor& y, const Tensor& updates, std::span<const int64_t> offsets,
                  int64_t block) {
  if (reduction != Reduction::none || !dtype_is_byte_sized(y.dtype())) {
    for (size_t k = 0; k < offsets.size(); ++k)
      reduce_run(reduction, y, offsets[k], updates, static_cast<int64_t>(k) * block, block);
    return;
  }
  const auto width = static_cast<size_t>(dtype_bits(y.dtype()) / 8);
  const auto bytes = static_cast<size_t>(block) * width;
  auto* to = static_cast<std::byte*>(y.raw());
  const auto* from = static_cast<const std::byte*>(updates.raw());
  for (size_t k = 0; k < offsets.size(); ++k)
    std::memcpy(to + static_cast<size_t>(offsets[k]) * width, from + k * bytes, bytes);
}

Status require_reducible(const RefContext& ctx, Reduction reduction) {
  if (ctx.in(0).dtype() != ctx.in(2).dtype()) return ctx.error("data and updates differ in type");
  if ((reduction != Reduction::none || !dtype_is_byte_sized(ctx.in(0).dtype())) && !is_real(ctx.in(0).dtype()))
    return ctx.error(fmt::format("type {} has no such reduction", dtype_name(ctx.in(0).dtype())));
  return {};
}

Status infer_like_data(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  ctx.set(0, ctx.dtype(0), ctx.shape(0));
  return {};
}

Status scatter_elements(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  const Tensor& data = ctx.in(0);
  const Tensor& updates = ctx.in(2);
  const Shape& shape = ctx.in(1).shape();
  if (shape.size() != data.shape().size() || updates.shape() != shape)
    return ctx.error(fmt::format("data {}, indices {} and updates {} do not fit", to_string(data.shape()),
                                 to_string(shape), to_string(updates.shape())));
  const Reduction reduction = PLANISH_TRY(reduction_of(ctx));
  PLANISH_TRY(require_reducible(ctx, reduction));
  const int64_t axis = PLANISH_TRY(normalize_axis(ctx, ctx.node().attr_int("axis", 0), data.rank()));
  PLANISH_TRY(require_fits(ctx, shape, data.shape(), axis));
  std::vector<int64_t> offsets = PLANISH_TRY(read_indices(ctx, ctx.in(1), data.dim(axis)));
  Tensor* y = PLANISH_TRY(copy_of(ctx, data));
  ElementOffsets walk(shape, data.shape(), axis);
  for (int64_t& i : offsets) i = walk.next(i);
  write_blocks(reduction, *y, updates, offsets, 1);
  return {};
}

Status scatter_nd(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  const Tensor& data = ctx.in(0);
  const Tensor& indices = ctx.in(1);
  const Tensor& updates = ctx.in(2);
  if (indices.rank() < 1 || indices.dim(-1) > data.rank() || !dtype_is_integer(indices.dtype()))
    return ctx.error(fmt::format("indices {} do not fit data {}", to_string(indices.shape()), to_string(data.shape())));
  const int64_t tuple = indices.dim(-1);
  Shape expected(indices.shape().begin(), indices.shape().end() - 1);
  expected.insert(expected.end(), data.shape().begin() + tuple, data.shape().end());
  if (updates.shape() != expected)
    return ctx.error(fmt::format("updates are {}, expected {}", to_string(updates.shape()), to_string(expected)));
  const Reduction reduction = PLANISH_TRY(reduction_of(ctx));
  PLANISH_TRY(require_reducible(ctx, reduction));
  Tensor* y = PLANISH_TRY(copy_of(ctx, data));
  if (updates.size() == 0) return {};
  const std::vector<int64_t> offsets = PLANISH_TRY(tuple_offsets(ctx, indices, data.shape(), 0));
  write_blocks(reduction, *y, updates, offsets, product(data.shape(), tuple, data.rank()));
  return {};
}

Status infer_tensor_scatter(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  ctx.set(0, ctx.dtype(0), ctx.shape(0));
  return {};
}

/// past_cache with `update` written at write_indices[batch] along the sequence axis.
Status tensor_scatter(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  const Tensor& past = ctx.in(0);
  const Tensor& update = ctx.in(1);
  const int64_t axis = PLANISH_TRY(normalize_axis(ctx, ctx.node().attr_int("axis", -2), past.rank()));
  const std::string mode = ctx.node().attr_string("mode", "linear");
  if (mode != "linear" && mode != "circular") return ctx.error(fmt::format("mode '{}' is not known", mode));
  Shape expected = past.shape();
  expected[static_cast<size_t>(axis)] = update.rank() == past.rank() ? update.dim(axis) : 0;
  if (axis == 0 || update.shape() != expected || update.dtype() != past.dtype() || update.dim(axis) > past.dim(axis))
    return ctx.error(
        fmt::format("update {} does not fit the cache {}", to_string(update.shape()), to_string(past.shape())));
  if (ctx.has(2) && ctx.in(2).size() != past.dim(0)) return ctx.error("write_indices needs one entry per sample");
  Tensor* y = PLANISH_TRY(copy_of(ctx, past));
  const int64_t length = update.dim(axis);
  const int64_t capacity = past.dim(axis);
  const int64_t rows = product(past.shape(), 0, axis);
  const int64_t block = product(past.shape(), axis + 1, past.rank());
  std::vector<int64_t> offsets;
  for (int64_t row = 0; row < (update.size() == 0 ? 0 : rows); ++row) {
    const int64_t start = ctx.has(2) ? ctx.in(2).int_at(row / (rows / past.dim(0))) : 0;
    if (start < 0 || (mode == "linear" && start > capacity - length))
      return ctx.error(fmt::format("write index {} does not leave room for {} in {}", start, length, capacity));
    for (int64_t i = 0; i < length; ++i)
      offsets.push_back((row * capacity + (start % capacity + i) % capacity) * block);
  }
  write_blocks(Reduction::none, *y, update, offsets, block);
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "Scatter", .since = 9, .infer = infer_like_data, .reference = scatter_elements},
    OpDecl{.name = "ScatterElements", .since = 11, .infer = infer_like_data, .reference = scatter_elements},
    OpDecl{.name = "ScatterND", .since = 11, .infer = infer_like_data, .reference = scatter_nd},
    OpDecl{.name = "TensorScatter", .since = 24, .infer = infer_tensor_scatter, .reference = tensor_scatter},
};

}  // namespace

std::span<const OpDecl> scatter_ops() { return kOps; }

}  // namespace planish
