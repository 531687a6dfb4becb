#pragma once

// The loops around products by packed panels of columns, for every type whose factors are summed by fours of bytes: a
// panel holds, for each four bytes of a row of A, the four bytes of each of its columns side by side. All sizes along
// a row of A are in bytes. Included by the files of the families that multiply so, and by nothing else.

#include <cstdint>

#include "planish/base/macros.h"

namespace planish::kernels {
namespace {

/// Columns of a packed panel.
constexpr int64_t kPanelColumns = 32;
/// Bytes of a row of sums.
constexpr int64_t kPanelSumsRow = kPanelColumns * static_cast<int64_t>(sizeof(int32_t));

/// No std::min here: what a file for one instruction set emits out of line may be linked for all.
PLANISH_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/// Sums of `rows` rows of A over `depth` bytes with one panel, [rows][kPanelColumns] numbers of 32 bits at `sums`.
struct PanelStep {
  int64_t rows;
  const char* a;
  int64_t a_row;
  const char* b;
  int64_t depth;
  void* sums;
  bool first;            ///< the sums begin
  const int32_t* start;  ///< with these, one per column; nullptr: at zero
  const char* ahead;     ///< weights that are needed next, `ahead_lines` lines of the cache; may be null
  int64_t ahead_lines;
};

/// What one call multiplies, and how it is cut: `chunk` rows at a time, and for these `depth` bytes of each at a time.
/// Between two depths the sums wait in `sums`.
struct PanelWork {
  const char* a = nullptr;  ///< the first of all rows
  int64_t a_row = 0;
  int64_t k = 0;
  const char* weights = nullptr;  ///< the first of all panels
  int64_t row = 0;
  int64_t rows = 0;
  int64_t panel = 0;
  int64_t panels = 0;
  int64_t depth = 0;
  int64_t chunk = 0;
  void* sums = nullptr;            ///< chunk * kPanelColumns numbers of 32 bits, at the beginning of a cache line
  const int32_t* start = nullptr;  ///< of all columns, in whole panels; nullptr: zeros
};

/// Complete sums on their way into C, some rows at a time: while the next ones are made.
template <class Finish>
class PanelStorer {
 public:
  explicit PanelStorer(Finish finish) : finish_(finish) {}

  void set(int64_t row, int64_t rows, int64_t column, void* sums) {
    row_ = row;
    left_ = rows;
    column_ = column;
    sums_ = static_cast<char*>(sums);
  }
  PLANISH_INLINE void go_on(int64_t rows) {
    if (left_ > 0) store(least(rows, left_));
  }
  PLANISH_INLINE void finish() { go_on(left_); }
  /// Rows a time, for `times` times.
  [[nodiscard]] PLANISH_INLINE int64_t share(int64_t times) const { return (left_ + times - 1) / times; }

 private:
  __attribute__((noinline)) void store(int64_t rows) {
    finish_(row_, rows, column_, sums_);
    row_ += rows;
    left_ -= rows;
    sums_ += rows * kPanelSumsRow;
  }

  Finish finish_;
  int64_t row_ = 0;
  int64_t left_ = 0;
  int64_t column_ = 0;
  char* sums_ = nullptr;
};

/// Sums: `kRows` at a time, by `add(PanelStep, PanelStorer&)`, which finishes what is stored before it writes its sums.
/// finish(row, rows, column, sums): complete sums of some rows.
template <class Sums, class Finish>
PLANISH_INLINE void run_panels(Sums& sums, const PanelWork& w, Finish finish) {
  constexpr int64_t kLine = 64;
  const int64_t panel_size = w.k * kPanelColumns;
  const char* const end = w.weights + (w.panel + w.panels) * panel_size;
  PanelStorer<Finish> before(finish);
  for (int64_t row = w.row; row < w.row + w.rows; row += w.chunk) {
    const int64_t rows = least(w.chunk, w.row + w.rows - row);
    const int64_t steps = (rows + Sums::kRows - 1) / Sums::kRows;
    for (int64_t panel = w.panel; panel < w.panel + w.panels; ++panel) {
      for (int64_t k = 0; k < w.k; k += w.depth) {
        const int64_t depth = least(w.depth, w.k - k);
        const char* const b = w.weights + panel * panel_size + k * kPanelColumns;
        // The next depth or panel lies right behind; each step of rows fetches its share. Later rows find them cached.
        const char* ahead = b + depth * kPanelColumns;
        const int64_t lines = (depth * kPanelColumns / kLine + steps - 1) / steps;
        for (int64_t i = 0; i < rows; i += Sums::kRows, ahead += lines * kLine) {
          const int64_t count = least(Sums::kRows, rows - i);
          // What is complete is stored before the next is written, which may have its place: the first-level cache
          // keeps one.
          void* const at = static_cast<char*>(w.sums) + (depth == w.k ? 0 : i * kPanelSumsRow);
          sums.add(PanelStep{.rows = count,
                             .a = w.a + (row + i) * w.a_row + k,
                             .a_row = w.a_row,
                             .b = b,
                             .depth = depth,
                             .sums = at,
                             .first = k == 0,
                             .start = w.start == nullptr ? nullptr : w.start + panel * kPanelColumns,
                             .ahead = row == w.row && ahead + lines * kLine <= end ? ahead : nullptr,
                             .ahead_lines = lines},
                   before);
          if (k + depth == w.k) before.set(row + i, count, panel * kPanelColumns, at);
        }
      }
    }
  }
  before.finish();
}

}  // namespace
}  // namespace planish::kernels
