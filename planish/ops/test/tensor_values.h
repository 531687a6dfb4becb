#pragma once

#include <utility>
#include <vector>

#include "planish/ops/test/node_runner.h"

namespace planish::test {

/// A tensor with the given elements, converted to `dtype`; missing ones are 0.
inline Tensor tensor(DType dtype, Shape shape, const std::vector<double>& values) {
  Tensor t(dtype, std::move(shape));
  for (size_t i = 0; i < values.size(); ++i) t.set(static_cast<int64_t>(i), values[i]);
  return t;
}

/// Output 0 as doubles; empty when the operator failed.
inline std::vector<double> values_of(const Result<std::vector<Tensor>>& result) {
  std::vector<double> out;
  if (!result.ok()) return out;
  const Tensor& t = result.value()[0];
  for (int64_t i = 0; i < t.size(); ++i) out.push_back(t.at(i));
  return out;
}

}  // namespace planish::test
