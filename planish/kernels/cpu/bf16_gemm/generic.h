#pragma once

// The loops behind every instruction set; included by one file per instruction set and nothing else.

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/kernels/cpu/bf16_gemm/bf16_gemm.h"

namespace planish::kernels {
namespace {

/// No std::min here: what a file for one instruction set emits out of line may be linked for all.
PLANISH_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/// Sums of `rows` rows of A over `depth` numbers with one panel, [rows][kBf16Panel] at `sums`.
struct Bf16Step {
  int64_t rows;
  const uint16_t* a;
  int64_t a_row;
  const uint16_t* b;
  int64_t depth;
  float* sums;
  bool first;             ///< the sums begin at zero
  const uint16_t* ahead;  ///< weights that are needed next: a line for each of `ahead_lines` per number; may be null
  int64_t ahead_lines;
};

/// What finished sums become: rows and columns of C from `row` and `column` on.
struct Bf16Finish {
  const Bf16Problem& p;
  int64_t row;
  int64_t rows;
  int64_t column;
  float* sums;
};

/// Sums: `begin` for a problem, `add(Bf16Step)`; End: a function of Bf16Finish.
template <class Sums, void (*kFinish)(const Bf16Finish&)>
void run_bf16_gemm(const Bf16Problem& p, const Bf16Part& part) {
  Sums sums(p.k);
  const int64_t panel_size = p.k * kBf16Panel;
  const uint16_t* const end = p.weights + (part.panel + part.panels) * panel_size;
  for (int64_t row = part.row; row < part.row + part.rows; row += part.chunk) {
    const int64_t rows = least(part.chunk, part.row + part.rows - row);
    const int64_t steps = (rows + Sums::kRows - 1) / Sums::kRows;
    for (int64_t panel = part.panel; panel < part.panel + part.panels; ++panel) {
      for (int64_t k = 0; k < p.k; k += part.depth) {
        const int64_t depth = least(part.depth, p.k - k);
        const uint16_t* const b = p.weights + panel * panel_size + k * kBf16Panel;
        // The next depth or panel lies right behind; each step of rows fetches its share.
        const uint16_t* ahead = b + depth * kBf16Panel;
        const int64_t lines = (depth + steps - 1) / steps;
        for (int64_t i = 0; i < rows; i += Sums::kRows, ahead += lines * kBf16Panel) {
          const int64_t count = least(Sums::kRows, rows - i);
          float* const at = part.sums + i * kBf16Panel;
          sums.add({.rows = count,
                    .a = p.a + (row + i) * p.a_row + k,
                    .a_row = p.a_row,
                    .b = b,
                    .depth = depth,
                    .sums = at,
                    .first = k == 0,
                    .ahead = ahead + lines * kBf16Panel <= end ? ahead : nullptr,
                    .ahead_lines = lines});
          // At once: the first-level cache still holds them.
          if (k + depth == p.k) kFinish({p, row + i, count, panel * kBf16Panel, at});
        }
      }
    }
  }
}

}  // namespace
}  // namespace planish::kernels
