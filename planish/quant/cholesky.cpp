#include "planish/quant/cholesky.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "planish/base/parallel.h"

namespace planish {
namespace {

/// Columns that are finished together: their rows stay in the cache while all rows below are brought up to date.
constexpr int64_t kPanel = 32;

/// Rows below the corner of a panel that are finished side by side.
constexpr int64_t kRows = 8;
using Rows = std::array<double, kRows>;

/// The corner of a panel, in the precision that its sums need.
using Corner = std::array<std::array<double, kPanel>, kPanel>;

/// Factors the corner at (first, first), from which `product` (may be null) is still to be taken. False where it is not
/// positive definite.
bool factor_corner(float* a, int64_t k, int64_t first, int64_t width, const float* product, Corner& corner) {
  for (int64_t r = 0; r < width; ++r)
    for (int64_t c = 0; c <= r; ++c) {
      float& element = a[(first + r) * k + first + c];
      double sum = static_cast<double>(element);
      if (product != nullptr) sum -= static_cast<double>(product[r * width + c]);
      auto& row = corner[static_cast<size_t>(r)];
      const auto& above = corner[static_cast<size_t>(c)];
      for (size_t j = 0; j < static_cast<size_t>(c); ++j) sum -= row[j] * above[j];
      if (c == r && !(sum > 0)) return false;
      row[static_cast<size_t>(c)] = c == r ? std::sqrt(sum) : sum / above[static_cast<size_t>(c)];
      element = static_cast<float>(row[static_cast<size_t>(c)]);
    }
  return true;
}

/// The rows [row, row + count) of a panel below its corner.
void finish_rows(float* a, int64_t k, int64_t first, int64_t width, const float* product, const Corner& corner,
                 int64_t row, size_t count) {
  std::array<Rows, kPanel> x{};
  for (size_t i = 0; i < count; ++i) {
    const int64_t at = row + static_cast<int64_t>(i);
    for (int64_t c = 0; c < width; ++c) {
      double& v = x[static_cast<size_t>(c)][i];
      v = static_cast<double>(a[at * k + first + c]);
      if (product != nullptr) v -= static_cast<double>(product[(at - first) * width + c]);
    }
  }
  for (size_t c = 0; c < static_cast<size_t>(width); ++c) {
    Rows sum = x[c];
    for (size_t j = 0; j < c; ++j)
      for (size_t i = 0; i < sum.size(); ++i) sum[i] -= x[j][i] * corner[c][j];
    for (double& v : sum) v /= corner[c][c];
    x[c] = sum;
  }
  for (size_t i = 0; i < count; ++i)
    for (int64_t c = 0; c < width; ++c)
      a[(row + static_cast<int64_t>(i)) * k + first + c] = static_cast<float>(x[static_cast<size_t>(c)][i]);
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

/// Solves with the corner at (first, first) of the lower triangle `l` alone, or of its transpose, for the same rows of
/// `b` [k, m].
void solve_corner(const std::vector<float>& l, bool transposed, int64_t k, int64_t first, int64_t last,
                  std::vector<float>& b, int64_t m) {
  const auto size = static_cast<size_t>(last - first);
  std::array<float, kPanel * kPanel> corner{};
  for (size_t r = 0; r < size; ++r)
    for (size_t c = 0; c <= r; ++c)
      corner[transposed ? c * kPanel + r : r * kPanel + c] =
          l[static_cast<size_t>((first + static_cast<int64_t>(r)) * k + first) + c];
  parallel_for((m + kColumns - 1) / kColumns, 4, [&](int64_t begin, int64_t end) {
    std::array<Columns, kPanel> x{};
    for (int64_t column = begin * kColumns; column < std::min(m, end * kColumns); column += kColumns) {
      const auto width = static_cast<size_t>(std::min(kColumns, m - column));
      float* const out = b.data() + first * m + column;
      for (size_t i = 0; i < size; ++i) {
        x[i] = {};
        std::copy_n(out + i * static_cast<size_t>(m), width, x[i].data());
      }
      for (size_t i = 0; !transposed && i < size; ++i) eliminate(x.data(), i, corner.data() + i * kPanel, 0, i);
      for (size_t i = size; transposed && i-- > 0;) eliminate(x.data(), i, corner.data() + i * kPanel, i + 1, size);
      for (size_t i = 0; i < size; ++i) std::copy_n(x[i].data(), width, out + i * static_cast<size_t>(m));
    }
  });
}

/// Takes what the `count` solved rows of `b` from `first` on contribute out of the rows [begin, end). `factors`:
/// theirs.
void take_out(GramOperand factors, int64_t first, int64_t count, int64_t begin, int64_t end, std::vector<float>& b,
              int64_t m, const GramFunction& gram, std::vector<float>& product) {
  product.resize(static_cast<size_t>((end - begin) * m));
  gram(count, end - begin, m, factors, {b.data() + first * m, m}, product.data());
  float* const out = b.data() + begin * m;
  for (size_t i = 0; i < product.size(); ++i) out[i] -= product[i];
}

}  // namespace

bool cholesky(std::vector<float>& a, int64_t k, const GramFunction& gram) {
  std::vector<float> sums;
  Corner corner{};
  for (int64_t first = 0; first < k; first += kPanel) {
    const int64_t width = std::min(kPanel, k - first);
    if (first > 0) {  // what the columns so far contribute
      sums.resize(static_cast<size_t>((k - first) * width));
      const GramOperand rows{a.data() + first * k, 1, k};
      gram(first, k - first, width, rows, rows, sums.data());
    }
    const float* const product = first > 0 ? sums.data() : nullptr;
    if (!factor_corner(a.data(), k, first, width, product, corner)) return false;
    const int64_t below = k - first - width;
    parallel_for((below + kRows - 1) / kRows, 4, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin * kRows; i < std::min(below, end * kRows); i += kRows)
        finish_rows(a.data(), k, first, width, product, corner, first + width + i,
                    static_cast<size_t>(std::min(kRows, below - i)));
    });
  }
  return true;
}

void solve_cholesky(const std::vector<float>& l, int64_t k, std::vector<float>& b, int64_t m,
                    const GramFunction& gram) {
  std::vector<float> product;
  for (int64_t first = 0; first < k; first += kPanel) {
    const int64_t last = std::min(k, first + kPanel);
    solve_corner(l, false, k, first, last, b, m);
    if (last < k) take_out({l.data() + last * k + first, 1, k}, first, last - first, last, k, b, m, gram, product);
  }
  for (int64_t first = (k - 1) / kPanel * kPanel; first >= 0; first -= kPanel) {
    const int64_t last = std::min(k, first + kPanel);
    solve_corner(l, true, k, first, last, b, m);
    if (first > 0) take_out({l.data() + first * k, k, 1}, first, last - first, 0, first, b, m, gram, product);
  }
}

}  // namespace planish
