#include "compare.h"

#include <fmt/format.h>
#include <cstdint>

#include <algorithm>
#include <cmath>

namespace planish {
namespace {

bool close(double expected, double actual, double rtol, double atol) {
  if (std::isnan(expected) || std::isnan(actual)) return std::isnan(expected) && std::isnan(actual);
  if (std::isinf(expected) || std::isinf(actual)) return expected == actual;
  return std::abs(actual - expected) <= atol + rtol * std::abs(expected);
}

/// Complex tensors are compared part by part.
Tensor as_real(const Tensor& t) {
  if (t.dtype() != DType::c64 && t.dtype() != DType::c128) return t;
  Shape shape = t.shape();
  shape.push_back(2);
  return Tensor::borrow(t.dtype() == DType::c64 ? DType::f32 : DType::f64, std::move(shape),
                        const_cast<void*>(t.raw()));
}

}  // namespace

WhyNot why_different(const Tensor& expected, const Tensor& actual, double rtol, double atol) {
  if (!actual.defined()) return "the output was not computed";
  if (expected.dtype() != actual.dtype())
    return fmt::format("type {} instead of {}", dtype_name(actual.dtype()), dtype_name(expected.dtype()));
  if (expected.shape() != actual.shape())
    return fmt::format("shape {} instead of {}", to_string(actual.shape()), to_string(expected.shape()));
  if (expected.dtype() == DType::bf16) rtol = std::max(rtol, 0x1p-6);
  const Tensor want = as_real(expected);
  const Tensor got = as_real(actual);
  int64_t wrong = 0;
  int64_t first = -1;
  for (int64_t i = 0, n = want.size(); i < n; ++i) {
    const bool integers = want.dtype() == DType::i64 || want.dtype() == DType::u64;
    if (integers ? want.int_at(i) == got.int_at(i) : close(want.at(i), got.at(i), rtol, atol)) continue;
    if (first < 0) first = i;
    ++wrong;
  }
  if (wrong == 0) return std::nullopt;
  return fmt::format("{} of {} elements differ, first at {}: {} instead of {}", wrong, want.size(), first,
                     got.at(first), want.at(first));
}

}  // namespace planish
