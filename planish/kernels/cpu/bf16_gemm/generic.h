#pragma once

// The loops behind every instruction set; included by one file per instruction set and nothing else.

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/kernels/cpu/bf16_gemm/bf16_gemm.h"
#include "planish/kernels/cpu/panel_product/generic.h"

namespace planish::kernels {
namespace {

static_assert(kBf16Panel == kPanelColumns);

/// What finished sums become: rows and columns of C from `row` and `column` on.
struct Bf16Finish {
  const Bf16Problem& p;
  int64_t row;
  int64_t rows;
  int64_t column;
  float* sums;
};

/// Sums: made from the bytes of a row of A, see run_panels.
template <class Sums, void (*kFinish)(const Bf16Finish&)>
void run_bf16_gemm(const Bf16Problem& p, const Bf16Part& part) {
  constexpr auto kBytes = static_cast<int64_t>(sizeof(uint16_t));
  Sums sums(p.k * kBytes);
  run_panels(
      sums,
      {.a = reinterpret_cast<const char*>(p.a),
       .a_row = p.a_row * kBytes,
       .k = p.k * kBytes,
       .weights = reinterpret_cast<const char*>(p.weights),
       .row = part.row,
       .rows = part.rows,
       .panel = part.panel,
       .panels = part.panels,
       .depth = part.depth * kBytes,
       .chunk = part.chunk,
       .sums = part.sums},
      [&p](int64_t row, int64_t rows, int64_t column, void* complete) __attribute__((always_inline)) {
        kFinish({p, row, rows, column, static_cast<float*>(complete)});
      });
}

}  // namespace
}  // namespace planish::kernels
