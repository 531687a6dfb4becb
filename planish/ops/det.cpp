// Det: determinants of square matrices. https://onnx.ai/onnx/operators/onnx__Det.html

#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "planish/ops/checks.h"
#include "planish/ops/element_buffer.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

template <typename Context>
Result<Shape> output_shape(const Context& ctx, Shape x) {
  const size_t rank = x.size();
  const auto fits = [](int64_t a, int64_t b) { return a == b || a < 0 || b < 0; };
  if (rank < 2 || !fits(x[rank - 1], x[rank - 2]))
    return ctx.error("input has shape " + to_string(x) + ", expected square matrices");
  x.resize(rank - 2);
  return x;
}

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  ctx.set(0, ctx.dtype(0), PLANISH_TRY(output_shape(ctx, ctx.shape(0))));
  return {};
}

/// Product of the pivots of Gaussian elimination with row exchanges. `m` is row-major n x n and is overwritten.
double determinant(std::vector<double>& m, size_t n) {
  double det = 1.0;
  for (size_t c = 0; c < n; ++c) {
    size_t pivot = c;
    for (size_t r = c + 1; r < n; ++r)
      if (std::fabs(m[r * n + c]) > std::fabs(m[pivot * n + c])) pivot = r;
    if (m[pivot * n + c] == 0.0) return 0.0;
    if (pivot != c) {
      for (size_t k = c; k < n; ++k) std::swap(m[c * n + k], m[pivot * n + k]);
      det = -det;
    }
    det *= m[c * n + c];
    for (size_t r = c + 1; r < n; ++r) {
      const double factor = m[r * n + c] / m[c * n + c];
      for (size_t k = c + 1; k < n; ++k) m[r * n + k] -= factor * m[c * n + k];
    }
  }
  return det;
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  Shape shape = PLANISH_TRY(output_shape(ctx, x.shape()));
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), std::move(shape)));
  const int64_t n = x.dim(-1);
  std::vector<double> matrix(static_cast<size_t>(n * n));
  for (int64_t i = 0, count = y->size(); i < count; ++i) {
    load_elements(x.dtype(), x.raw(), i * n * n, 1, n * n, matrix.data());
    y->set(i, determinant(matrix, static_cast<size_t>(n)));
  }
  return {};
}

constexpr std::array kOps{OpDecl{.name = "Det", .since = 11, .infer = infer, .reference = reference}};

}  // namespace

std::span<const OpDecl> det_ops() { return kOps; }

}  // namespace planish
