#pragma once

#include <cstdint>
#include <vector>

#include "planish/quant/gram.h"

namespace planish {

/// A = L L^T in place: `a` [k, k], row-major and symmetric (its lower triangle counts), becomes L below and on the
/// diagonal. Sums are of double precision within 32 columns, of single precision between them. False when A is not
/// positive definite.
bool cholesky(std::vector<float>& a, int64_t k, const GramFunction& gram);

/// Solves L L^T X = B in place for `b` [k, m], row-major.
void solve_cholesky(const std::vector<float>& l, int64_t k, std::vector<float>& b, int64_t m, const GramFunction& gram);

}  // namespace planish
