#include "planish/quant/cholesky.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "planish/base/parallel.h"

namespace planish {
namespace {

/// Columns that are finished together: their rows stay in the cache while all rows below are brought up to date.
constexpr int64_t kPanel = 32;

double dot(const double* x, const double* y, int64_t n) {
  std::array<double, 8> sum{};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (size_t j = 0; j < 8; ++j) sum[j] += x[i + static_cast<int64_t>(j)] * y[i + static_cast<int64_t>(j)];
  for (; i < n; ++i) sum[0] += x[i] * y[i];
  double total = 0;
  for (const double s : sum) total += s;
  return total;
}

/// Right-hand sides that are solved for together: a row of them fits the registers.
constexpr int64_t kColumns = 16;
using Columns = std::array<float, kColumns>;

/// x[i] = (x[i] - sum of factor[j] * x[j]) / factor[i] over j in [first, last), which ends or begins beside i.
void eliminate(Columns* x, size_t i, const float* factor, size_t first, size_t last) {
  Columns sum = x[i];
  for (size_t j = first; j < last; ++j)
    for (size_t c = 0; c < sum.size(); ++c) sum[c] -= factor[j] * x[j][c];
  for (size_t c = 0; c < sum.size(); ++c) x[i][c] = sum[c] / factor[i];
}

/// Solves with the rows [first, last) of a triangle alone, for the same rows of `b` [k, m].
void solve_block(const std::vector<float>& triangle, bool is_lower, int64_t k, int64_t first, int64_t last,
                 std::vector<float>& b, int64_t m) {
  const auto size = static_cast<size_t>(last - first);
  const float* const corner = triangle.data() + first * k + first;
  parallel_for((m + kColumns - 1) / kColumns, 4, [&](int64_t begin, int64_t end) {
    std::vector<Columns> x(size);
    for (int64_t column = begin * kColumns; column < std::min(m, end * kColumns); column += kColumns) {
      const auto width = static_cast<size_t>(std::min(kColumns, m - column));
      float* const out = b.data() + first * m + column;
      for (size_t i = 0; i < size; ++i) {
        x[i] = {};
        std::copy_n(out + i * static_cast<size_t>(m), width, x[i].data());
      }
      for (size_t i = 0; is_lower && i < size; ++i) eliminate(x.data(), i, corner + i * static_cast<size_t>(k), 0, i);
      for (size_t i = size; !is_lower && i-- > 0;)
        eliminate(x.data(), i, corner + i * static_cast<size_t>(k), i + 1, size);
      for (size_t i = 0; i < size; ++i) std::copy_n(x[i].data(), width, out + i * static_cast<size_t>(m));
    }
  });
}

/// Takes what the solved rows [first, last) of `b` contribute out of the rows [begin, end), whose factors `triangle`
/// holds.
void take_out(const std::vector<float>& triangle, int64_t k, int64_t first, int64_t last, int64_t begin, int64_t end,
              std::vector<float>& b, int64_t m, const GramFunction& gram, std::vector<float>& product) {
  if (begin >= end) return;
  product.resize(static_cast<size_t>((end - begin) * m));
  gram(last - first, end - begin, m, {triangle.data() + begin * k + first, 1, k}, {b.data() + first * m, m},
       product.data());
  float* const out = b.data() + begin * m;
  for (size_t i = 0; i < product.size(); ++i) out[i] -= product[i];
}

}  // namespace

bool cholesky(std::vector<double>& a, int64_t k, const GramFunction& gram) {
  double* const p = a.data();
  std::vector<float> done(static_cast<size_t>(k * k));  // the columns of L so far
  std::vector<float> product;
  for (int64_t first = 0; first < k; first += kPanel) {
    const int64_t last = std::min(k, first + kPanel);
    const int64_t width = last - first;
    if (first > 0) {
      product.resize(static_cast<size_t>((k - first) * width));
      const GramOperand rows{done.data() + first * k, 1, k};
      gram(first, k - first, width, rows, rows, product.data());
    }
    const auto finish = [&](int64_t i, int64_t end) {
      for (int64_t c = first; c < end; ++c) {
        const double sum = dot(p + i * k + first, p + c * k + first, c - first);
        p[i * k + c] = (p[i * k + c] - sum) / p[c * k + c];
      }
      for (int64_t c = first; c < end; ++c) done[static_cast<size_t>(i * k + c)] = static_cast<float>(p[i * k + c]);
    };
    const auto bring_up = [&](int64_t i) {
      for (int64_t c = first; first > 0 && c < last; ++c)
        p[i * k + c] -= static_cast<double>(product[static_cast<size_t>((i - first) * width + c - first)]);
    };
    for (int64_t j = first; j < last; ++j) {
      bring_up(j);
      finish(j, j);
      const double pivot = p[j * k + j] - dot(p + j * k + first, p + j * k + first, j - first);
      if (!(pivot > 0)) return false;
      p[j * k + j] = std::sqrt(pivot);
      done[static_cast<size_t>(j * k + j)] = static_cast<float>(p[j * k + j]);
    }
    parallel_for(k - last, 16, [&](int64_t begin, int64_t end) {
      for (int64_t i = last + begin; i < last + end; ++i) {
        bring_up(i);
        finish(i, last);
      }
    });
  }
  return true;
}

void solve_cholesky(const std::vector<double>& l, int64_t k, std::vector<float>& b, int64_t m,
                    const GramFunction& gram) {
  const auto size = static_cast<size_t>(k);
  const std::vector<float> lower(l.begin(), l.end());
  std::vector<float> upper(size * size);
  parallel_for(k, 16, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i)
      for (size_t j = 0; j < size; ++j) upper[i * size + j] = lower[j * size + i];
  });
  std::vector<float> product;
  for (int64_t first = 0; first < k; first += kPanel) {
    const int64_t last = std::min(k, first + kPanel);
    solve_block(lower, true, k, first, last, b, m);
    take_out(lower, k, first, last, last, k, b, m, gram, product);
  }
  for (int64_t first = (k - 1) / kPanel * kPanel; first >= 0; first -= kPanel) {
    const int64_t last = std::min(k, first + kPanel);
    solve_block(upper, false, k, first, last, b, m);
    take_out(upper, k, first, last, 0, first, b, m, gram, product);
  }
}

}  // namespace planish
