#include "planish/api/gram.h"

#include <algorithm>
#include <vector>

#include "planish/base/isa.h"
#include "planish/base/parallel.h"
#include "planish/kernels/cpu/gemm/gemm.h"

namespace planish::api {
namespace {

/// Fewer multiplications than this are not worth packing.
constexpr int64_t kSmall = int64_t{1} << 15;
/// Rows of the result that are made at once, and of the factors that are summed at once: they stay in the second-level
/// cache.
constexpr int64_t kRows = 48;
constexpr int64_t kDepth = 256;
constexpr int64_t kTile = 32;

/// x as [a, n].
void transpose(int64_t n, int64_t a, const GramOperand& x, float* out) {
  parallel_for((a + kTile - 1) / kTile, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin * kTile; row < std::min(a, end * kTile); row += kTile)
      for (int64_t first = 0; first < n; first += kTile)
        for (int64_t r = row; r < std::min(a, row + kTile); ++r)
          for (int64_t i = first; i < std::min(n, first + kTile); ++i) out[r * n + i] = x.at(i, r);
  });
}

/// Memory that is used again by the next product.
struct Buffers {
  std::vector<float> rows;
  std::vector<float> packed;
};

void multiply(int64_t n, int64_t a, int64_t b, const GramOperand& x, const GramOperand& y, float* out,
              Buffers& buffers) {
  const kernels::GemmKernel& kernel = kernels::best_gemm_kernel(1);
  const bool in_rows = x.n_step == 1;
  if (!in_rows) {
    buffers.rows.resize(static_cast<size_t>(a * n));
    transpose(n, a, x, buffers.rows.data());
  }
  buffers.packed.resize(static_cast<size_t>(kernels::gemm_weights_size(kernel, n, b)));
  kernels::pack_gemm_weights(kernel, n, b, y.data, y.n_step, y.step, buffers.packed.data());
  const bool symmetric = x.data == y.data && x.n_step == y.n_step && x.step == y.step && a == b;
  const int64_t panels = (b + kernel.panel - 1) / kernel.panel;
  const int64_t blocks = (a + kRows - 1) / kRows;
  const kernels::GemmProblem problem{.m = a,
                                     .n = b,
                                     .k = n,
                                     .a = in_rows ? x.data : buffers.rows.data(),
                                     .a_row = in_rows ? x.step : n,
                                     .weights = buffers.packed.data(),
                                     .c = out,
                                     .c_row = b};
  parallel_for(blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      // Of a symmetric result the first blocks have the most columns: each thread gets long and short ones.
      const int64_t block = i % 2 == 0 ? i / 2 : blocks - 1 - i / 2;
      kernels::GemmPart part{.row = block * kRows, .depth = std::min(n, kDepth), .chunk = kRows};
      part.rows = std::min(kRows, a - part.row);
      part.panel = symmetric ? part.row / kernel.panel : 0;
      part.panels = panels - part.panel;
      kernel.run(problem, part);
    }
  });
  for (int64_t r = 0; symmetric && r < a; ++r)
    for (int64_t c = 0; c < r; ++c) out[r * b + c] = out[c * b + r];
}

}  // namespace

GramFunction packed_gram(int threads) {
  const int count = threads_or_all(threads);
  return
      [count, buffers = Buffers()](int64_t n, int64_t a, int64_t b, GramOperand x, GramOperand y, float* out) mutable {
        if (n * a * b < kSmall) return gram_by_loops(n, a, b, x, y, out);
        set_num_threads(count);
        multiply(n, a, b, x, y, out, buffers);
      };
}

}  // namespace planish::api
