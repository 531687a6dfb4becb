// Reductions over a set of axes. Real types accumulate in double and round once; integers are exact modulo 2^64.
// https://onnx.ai/onnx/operators/ (ReduceL1, ReduceL2, ..., ReduceSumSquare)

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include "planish/ops/broadcast.h"
#include "planish/ops/checks.h"
#include "planish/ops/element_buffer.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

/// Which dimensions are reduced, from the axes input (nullptr: not given).
template <typename Context>
Result<std::vector<bool>> reduced_dims(const Context& ctx, const std::vector<int64_t>* axes, int64_t rank) {
  if (axes == nullptr || axes->empty()) {
    const bool all = ctx.node().attr_int("noop_with_empty_axes", 0) == 0;
    return std::vector<bool>(static_cast<size_t>(rank), all);
  }
  std::vector<bool> reduced(static_cast<size_t>(rank), false);
  for (const int64_t axis : *axes) {
    const int64_t a = PLANISH_TRY(normalize_axis(ctx, axis, rank));
    reduced[static_cast<size_t>(a)] = true;
  }
  return reduced;
}

Shape reduced_shape(const Shape& in, const std::vector<bool>& reduced, bool keepdims) {
  Shape out;
  for (size_t i = 0; i < in.size(); ++i) {
    if (!reduced[i])
      out.push_back(in[i]);
    else if (keepdims)
      out.push_back(1);
  }
  return out;
}

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  const bool keepdims = ctx.node().attr_int("keepdims", 1) != 0;
  const auto axes = ctx.ints(1);
  const bool given = ctx.has(1) && !(ctx.rank(1) == 1 && ctx.shape(1)[0] == 0);
  if (given && !axes) {
    std::optional<Shape> shape;
    if (keepdims) shape = Shape(ctx.shape(0).size(), kUnknownDim);
    ctx.set(0, ctx.dtype(0), std::move(shape));
    return {};
  }
  const auto reduced = PLANISH_TRY(reduced_dims(ctx, axes ? &*axes : nullptr, ctx.rank(0)));
  ctx.set(0, ctx.dtype(0), reduced_shape(ctx.shape(0), reduced, keepdims));
  return {};
}

struct Sum {
  template <typename T>
  static T step(T acc, T x) {
    if constexpr (std::is_same_v<T, int64_t>)
      return static_cast<int64_t>(static_cast<uint64_t>(acc) + static_cast<uint64_t>(x));
    else
      return acc + x;
  }
};
struct Product {
  template <typename T>
  static T step(T acc, T x) {
    if constexpr (std::is_same_v<T, int64_t>)
      return static_cast<int64_t>(static_cast<uint64_t>(acc) * static_cast<uint64_t>(x));
    else
      return acc * x;
  }
};
struct SumOfAbs {
  template <typename T>
  static T step(T acc, T x) {
    return Sum::step(acc, x < T{0} ? Product::step(static_cast<T>(-1), x) : x);
  }
};
struct SumOfSquares {
  template <typename T>
  static T step(T acc, T x) {
    return Sum::step(acc, Product::step(x, x));
  }
};
struct Largest {
  template <typename T>
  static T step(T acc, T x) {
    return acc > x || acc != acc ? acc : x;  // NaN wins
  }
};
struct Smallest {
  template <typename T>
  static T step(T acc, T x) {
    return acc < x || acc != acc ? acc : x;
  }
};

/// Calls visit(output index, element) for every element of x, in row-major order. `strides` leads from a position
/// in x to the output: 0 in reduced dimensions.
template <typename T, typename Visit>
void walk(const Tensor& x, const std::vector<int64_t>& strides, Visit&& visit) {
  StridedCursor cursor(x.shape(), strides);
  std::array<T, kElementBlock> v;
  for (int64_t i = 0, total = x.size(); i < total;) {
    const auto run = cursor.next(std::min(kElementBlock, total - i));
    load_elements(x.dtype(), x.raw(), i, 1, run.length, v.data());
    for (int64_t j = 0; j < run.length; ++j) visit(run.offset + j * run.stride, v[static_cast<size_t>(j)]);
    i += run.length;
  }
}

template <typename Op, typename T>
std::vector<T> accumulate(const Tensor& x, const std::vector<int64_t>& strides, int64_t outputs, T start) {
  std::vector<T> acc(static_cast<size_t>(outputs), start);
  walk<T>(x, strides, [&acc](int64_t o, T v) {
    T& a = acc[static_cast<size_t>(o)];
    a = Op::template step<T>(a, v);
  });
  return acc;
}

/// log(sum(exp(x))), shifted by the maximum so that nothing overflows.
std::vector<double> log_sum_exp(const Tensor& x, const std::vector<int64_t>& strides, int64_t outputs) {
  const auto max = accumulate<Largest, double>(x, strides, outputs, -std::numeric_limits<double>::infinity());
  std::vector<double> acc(static_cast<size_t>(outputs), 0.0);
  walk<double>(x, strides, [&](int64_t o, double v) {
    const double m = max[static_cast<size_t>(o)];
    acc[static_cast<size_t>(o)] += std::isinf(m) ? 0.0 : std::exp(v - m);
  });
  for (size_t o = 0; o < acc.size(); ++o) acc[o] = std::isinf(max[o]) ? max[o] : max[o] + std::log(acc[o]);
  return acc;
}

/// Smallest and largest value of an integer type or bool, as the number system holds it.
template <typename T>
T lowest(DType t) {
  if constexpr (std::is_same_v<T, double>) return -std::numeric_limits<double>::infinity();
  return dtype_is_signed(t) ? static_cast<T>(std::numeric_limits<int64_t>::min() >> (64 - dtype_bits(t))) : T{0};
}
template <typename T>
T highest(DType t) {
  if constexpr (std::is_same_v<T, double>) return std::numeric_limits<double>::infinity();
  if (t == DType::boolean) return T{1};
  const uint64_t all = ~uint64_t{0} >> (64 - dtype_bits(t));
  return static_cast<T>(dtype_is_signed(t) ? all >> 1 : all);
}

template <typename T>
std::vector<T> reduce(const std::string& op, const Tensor& x, const std::vector<int64_t>& strides, int64_t n) {
  if (op == "ReduceSum") return accumulate<Sum, T>(x, strides, n, T{0});
  if (op == "ReduceProd") return accumulate<Product, T>(x, strides, n, T{1});
  if (op == "ReduceMax") return accumulate<Largest, T>(x, strides, n, lowest<T>(x.dtype()));
  if (op == "ReduceMin") return accumulate<Smallest, T>(x, strides, n, highest<T>(x.dtype()));
  if (op == "ReduceL1") return accumulate<SumOfAbs, T>(x, strides, n, T{0});
  if (op == "ReduceSumSquare") return accumulate<SumOfSquares, T>(x, strides, n, T{0});
  std::vector<T> acc = accumulate<Sum, T>(x, strides, n, T{0});  // ReduceMean
  const int64_t count = n == 0 ? 0 : x.size() / n;
  for (T& a : acc) {
    if constexpr (std::is_same_v<T, double>)
      a /= static_cast<double>(count);
    else
      a = count == 0 ? T{0} : a / static_cast<T>(count);
  }
  return acc;
}

/// Reductions whose result is not an integer even for integers.
std::vector<double> reduce_real(const std::string& op, const Tensor& x, const std::vector<int64_t>& strides,
                                int64_t n) {
  if (op == "ReduceLogSumExp") return log_sum_exp(x, strides, n);
  if (op == "ReduceL2") {
    auto acc = accumulate<SumOfSquares, double>(x, strides, n, 0.0);
    for (double& a : acc) a = std::sqrt(a);
    return acc;
  }
  auto acc = accumulate<Sum, double>(x, strides, n, 0.0);  // ReduceLogSum
  for (double& a : acc) a = std::log(a);
  return acc;
}

template <typename T>
void store(const std::vector<T>& values, Tensor& y) {
  store_elements(y.dtype(), y.raw(), 0, 1, y.size(), values.data());
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  std::vector<int64_t> axes;
  if (ctx.has(1)) axes = ctx.in(1).to_i64();
  const auto reduced = PLANISH_TRY(reduced_dims(ctx, &axes, x.rank()));
  const bool keepdims = ctx.node().attr_int("keepdims", 1) != 0;
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), reduced_shape(x.shape(), reduced, keepdims)));

  const Shape kept = reduced_shape(x.shape(), reduced, true);
  const std::vector<int64_t> strides = broadcast_strides(kept, x.shape());
  const std::string& op = ctx.node().op;
  const Domain domain = domain_of(x.dtype());
  if (op == "ReduceL2" || op == "ReduceLogSum" || op == "ReduceLogSumExp")
    store(reduce_real(op, x, strides, y->size()), *y);
  else if (domain == Domain::real)
    store(reduce<double>(op, x, strides, y->size()), *y);
  else if (domain == Domain::sint)
    store(reduce<int64_t>(op, x, strides, y->size()), *y);
  else
    store(reduce<uint64_t>(op, x, strides, y->size()), *y);
  return {};
}

constexpr OpDecl row(std::string_view name) {
  return {.name = name, .since = 1, .shape_inputs = 0b10, .infer = infer, .reference = reference};
}

constexpr std::array kOps{
    row("ReduceL1"),   row("ReduceL2"),  row("ReduceLogSum"), row("ReduceLogSumExp"), row("ReduceMax"),
    row("ReduceMean"), row("ReduceMin"), row("ReduceProd"),   row("ReduceSum"),       row("ReduceSumSquare"),
};

}  // namespace

std::span<const OpDecl> reduce_ops() { return kOps; }

}  // namespace planish
