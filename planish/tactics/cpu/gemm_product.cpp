#include "planish/tactics/cpu/gemm_product.h"

#include <fmt/format.h>

#include <algorithm>

#include "planish/base/isa.h"
#include "planish/ops/fused_epilogue.h"

namespace planish {
namespace {

using kernels::GemmKernel;
using kernels::GemmPart;
using kernels::GemmProblem;

int64_t even(int64_t n) { return n + n % 2; }

/// The work as the grid sees it: with seven products rows come in pairs, and summing A's quadrants costs a little
/// beside the products of one panel.
ProductShape shape_of(const GemmKernel& kernel, const GemmProblem& p) {
  const bool direct = kernel.products == 1;
  // Rows that the same thread wrote in the layer before are in its cache, while weights come from the shared one, or
  // from memory once for all: with enough rows per thread reading all weights costs less than reading others' rows.
  constexpr int64_t kOwnRows = 48;
  return {.m = p.m,
          .k = p.k,
          .n = p.n,
          .panel = kernel.panel,
          .row_unit = direct ? 1 : 2,
          .overhead = direct ? 0.0 : 0.02,
          .own_rows = kOwnRows};
}

ProductGrid by_rows_only(const ProductShape& s, int threads) {
  ProductGrid grid;
  grid.rows = parts(parts(s.m, threads), s.row_unit) * s.row_unit;
  grid.by_rows = parts(s.m, grid.rows);
  grid.panels = parts(s.n, s.panel);
  return grid;
}

/// A part without its place: what a thread keeps in its second-level cache are, to one `depth`, the weights of a panel
/// and the rows of A; with seven products the quadrants of a pair of panels, the three sums of them, and seven numbers
/// for each pair of rows.
GemmPart cut(const GemmKernel& kernel, int64_t k, int64_t rows) {
  constexpr int64_t kLeastDepth = 64;
  constexpr int64_t kDirectRows = 96;
  constexpr int64_t kLeastPairedRows = 128;
  constexpr int64_t kMostPairedRows = 256;
  const bool direct = kernel.products == 1;
  const int64_t cached = cpu_features().l2_bytes / static_cast<int64_t>(sizeof(float));
  const int64_t depth = direct ? k : k / 2;
  // Each chunk of rows makes the sums of weights again, so there are few where a short depth leaves room.
  const int64_t most_rows =
      direct ? kDirectRows : std::clamp(cached / (kernel.products * depth) / 2 * 2, kLeastPairedRows, kMostPairedRows);
  const int64_t kept = direct ? 2 * (kernel.width + most_rows) : 7 * kernel.width + kernel.products * most_rows / 2;
  // The first panels come out of memory with nobody to fetch them ahead: fewer of them to a smaller depth.
  constexpr int64_t kMostSummedDepth = 384;
  const int64_t most = std::max(kLeastDepth, direct ? cached / kept : std::min(cached / kept, kMostSummedDepth));
  GemmPart part;
  part.depth = std::min(depth, (parts(depth, parts(depth, most)) + 15) / 16 * 16);
  part.chunk = even(parts(rows, parts(rows, most_rows)));
  return part;
}

}  // namespace

WhyNot float_product_refusal(const NodeView& view) {
  const TensorDesc& y = view.outputs[0];
  for (const TensorDesc& d : {view.inputs[kA], view.inputs[kB], y})
    if (d.dtype != DType::f32) return fmt::format("computes in f32, got {}", dtype_name(d.dtype));
  if (!view.is_constant(kB)) return "needs constant weights";
  if (view.inputs[kA].size() == 0 || y.size() == 0) return "the tensor is empty";
  if (WhyNot why = product_refusal(view)) return why;
  if (view.has_input(kBias)) {
    const TensorDesc& bias = view.inputs[kBias];
    const int64_t n = ProductWeights(view).n;
    if (bias.dtype != DType::f32 || bias.rank() == 0 || bias.size() != n || bias.shape.back() != n)
      return "needs one bias per column, in f32";
  }
  if (view.has_input(kR) && view.inputs[kR] != y) return "needs a residual in the output's shape, type and layout";
  const auto fused = read_epilogue(*view.node);
  if (!fused.ok()) return fused.error().what;
  if (fused->activation != nullptr &&
      !kernels::find_pointwise_op(fused->activation->op, fused->params.approximate_tanh))
    return fmt::format("has no activation {}", fused->activation->op);
  return std::nullopt;
}

Result<GemmProduct> GemmProduct::of(const NodeView& view, const GemmKernel& kernel, int threads, Tensor weights,
                                    Sharing sharing) {
  const FusedEpilogue fused = PLANISH_TRY(read_epilogue(*view.node));
  const ProductWeights w(view);
  GemmProduct product;
  product.kernel_ = &kernel;
  product.weights_ = std::move(weights);
  GemmProblem& p = product.problem_;
  p = {.m = view.inputs[kA].size() / w.k,
       .n = w.n,
       .k = w.k,
       .a_row = w.k,
       .weights = product.weights_.data<float>(),
       .c_row = w.n};
  const ProductShape shape = shape_of(kernel, p);
  product.grid_ = sharing == Sharing::any ? ProductGrid(shape, threads) : by_rows_only(shape, threads);
  product.cut_ = cut(kernel, p.k, product.grid_.rows);
  product.scratch_ = kernels::gemm_scratch_size(kernel, product.cut_);
  p.epilogue.residual_last = fused.residual_last;
  if (fused.activation == nullptr) return product;
  const auto op = kernels::find_pointwise_op(fused.activation->op, fused.params.approximate_tanh);
  if (!op)
    return Error{.code = Code::unsupported, .node = view.node->name, .what = "the activation has no vector form"};
  p.epilogue.activate = kernels::best_pointwise_kernel().fn;
  p.epilogue.op = *op;
  p.epilogue.alpha = static_cast<float>(fused.params.alpha);
  p.epilogue.beta = static_cast<float>(fused.params.beta);
  return product;
}

GemmProblem GemmProduct::problem(const Operands& operands) const {
  GemmProblem p = problem_;
  p.a = operands.a;
  p.c = operands.c;
  p.epilogue.bias = operands.bias;
  p.epilogue.residual = operands.residual;
  return p;
}

GemmPart GemmProduct::part(int64_t i, float* scratch) const {
  GemmPart part = cut_;
  part.row = i / grid_.by_panels * grid_.rows;
  part.rows = std::min(grid_.rows, problem_.m - part.row);
  part.panel = i % grid_.by_panels * grid_.panels;
  part.panels = std::min(grid_.panels, planish::parts(problem_.n, kernel_->panel) - part.panel);
  part.scratch = scratch;
  return part;
}

}  // namespace planish
