#pragma once

#include <cstdint>
#include <functional>

namespace planish {

/// A matrix whose element (n, i) lies at data[n * n_step + i * step].
struct GramOperand {
  const float* data = nullptr;
  int64_t n_step = 0;
  int64_t step = 1;
  [[nodiscard]] float at(int64_t n, int64_t i) const { return data[n * n_step + i * step]; }
};

/// out[a, b] = sum over n of x(n, a) * y(n, b); row-major, out is overwritten. The largest part of the work.
using GramFunction = std::function<void(int64_t n, int64_t a, int64_t b, GramOperand x, GramOperand y, float* out)>;
/// Plain loops; for tests and small sizes.
void gram_by_loops(int64_t n, int64_t a, int64_t b, GramOperand x, GramOperand y, float* out);

}  // namespace planish
