#pragma once

#include <cstdint>
#include <vector>

#include "planish/quant/gram.h"

namespace planish {

/// A = L L^T in place: `a` [k, k], row-major and symmetric (its lower triangle counts), becomes L below and on the
/// diagonal. Products of L are summed in single precision. False when A is not positive definite.
bool cholesky(std::vector<double>& a, int64_t k, const GramFunction& gram);

/// Solves L L^T X = B in place for `b` [k, m], row-major.
void solve_cholesky(const std::vector<double>& l, int64_t k, std::vector<float>& b, int64_t m,
                    const GramFunction& gram);

}  // namespace planish
