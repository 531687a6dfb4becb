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

/// x_i = (x_i - sum of factor[j] * x_j) / factor[i] over j in [first, last), which ends or begins beside i.
void eliminate(std::array<float, kColumns>& xi, const float* factor, const std::array<float, kColumns>* x, size_t first,
               size_t last) {
  std::array<float, kColumns> sum = xi;
  for (size_t j = first; j < last; ++j)
    for (size_t c = 0; c < sum.size(); ++c) sum[c] -= factor[j] * x[j][c];
  const float pivot = factor[&xi - x];
  for (size_t c = 0; c < sum.size(); ++c) xi[c] = sum[c] / pivot;
}

}  // namespace

bool cholesky(std::vector<double>& a, int64_t k) {
  double* const p = a.data();
  for (int64_t first = 0; first < k; first += kPanel) {
    const int64_t last = std::min(k, first + kPanel);
    for (int64_t j = first; j < last; ++j) {
      for (int64_t c = first; c < j; ++c) p[j * k + c] = (p[j * k + c] - dot(p + j * k, p + c * k, c)) / p[c * k + c];
      const double pivot = p[j * k + j] - dot(p + j * k, p + j * k, j);
      if (!(pivot > 0)) return false;
      p[j * k + j] = std::sqrt(pivot);
    }
    parallel_for(k - last, 16, [&](int64_t begin, int64_t end) {
      for (int64_t i = last + begin; i < last + end; ++i)
        for (int64_t c = first; c < last; ++c)
          p[i * k + c] = (p[i * k + c] - dot(p + i * k, p + c * k, c)) / p[c * k + c];
    });
  }
  return true;
}

void solve_cholesky(const std::vector<double>& l, int64_t k, std::vector<float>& b, int64_t m) {
  const auto size = static_cast<size_t>(k);
  const std::vector<float> lower(l.begin(), l.end());
  std::vector<float> upper(size * size);
  parallel_for(k, 16, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i)
      for (size_t j = 0; j < size; ++j) upper[i * size + j] = lower[j * size + i];
  });
  parallel_for((m + kColumns - 1) / kColumns, 1, [&](int64_t begin, int64_t end) {
    std::vector<std::array<float, kColumns>> x(size);
    for (int64_t block = begin; block < end; ++block) {
      const auto first = static_cast<size_t>(block * kColumns);
      const size_t width = std::min(static_cast<size_t>(kColumns), static_cast<size_t>(m) - first);
      for (size_t i = 0; i < size; ++i) {
        x[i] = {};
        std::copy_n(b.data() + i * static_cast<size_t>(m) + first, width, x[i].data());
        eliminate(x[i], lower.data() + i * size, x.data(), 0, i);
      }
      for (size_t i = size; i-- > 0;) {
        eliminate(x[i], upper.data() + i * size, x.data(), i + 1, size);
        for (size_t c = 0; c < width; ++c) b[i * static_cast<size_t>(m) + first + c] = x[i][c];
      }
    }
  });
}

}  // namespace planish
