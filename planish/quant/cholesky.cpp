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
  parallel_for(m, 8, [&](int64_t begin, int64_t end) {
    const int64_t width = end - begin;
    std::vector<double> x(static_cast<size_t>(k * width));
    const auto row = [&](int64_t i) { return x.data() + i * width; };
    for (int64_t i = 0; i < k; ++i) {
      for (int64_t c = 0; c < width; ++c) row(i)[c] = b[static_cast<size_t>(i * m + begin + c)];
      for (int64_t j = 0; j < i; ++j) {
        const double f = l[static_cast<size_t>(i * k + j)];
        for (int64_t c = 0; c < width; ++c) row(i)[c] -= f * row(j)[c];
      }
      for (int64_t c = 0; c < width; ++c) row(i)[c] /= l[static_cast<size_t>(i * k + i)];
    }
    for (int64_t i = k; i-- > 0;) {
      for (int64_t c = 0; c < width; ++c) row(i)[c] /= l[static_cast<size_t>(i * k + i)];
      for (int64_t j = 0; j < i; ++j) {
        const double f = l[static_cast<size_t>(i * k + j)];
        for (int64_t c = 0; c < width; ++c) row(j)[c] -= f * row(i)[c];
      }
      for (int64_t c = 0; c < width; ++c) b[static_cast<size_t>(i * m + begin + c)] = static_cast<float>(row(i)[c]);
    }
  });
}

}  // namespace planish
