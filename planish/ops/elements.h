#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "planish/ir/tensor.h"

namespace planish {

/// Elements of a tensor as whole bytes, for operators that move data whatever its type: packed 4- and 2-bit elements
/// are spread over one byte each, all others are read in place.
class ElementReader {
 public:
  explicit ElementReader(const Tensor& tensor);
  [[nodiscard]] const std::byte* data() const { return data_; }
  /// Bytes per element.
  [[nodiscard]] int64_t width() const { return width_; }

 private:
  std::vector<std::byte> spread_;
  const std::byte* data_;
  int64_t width_;
};

/// The same for writing; packed types are packed when the writer goes out of scope.
class ElementWriter {
 public:
  explicit ElementWriter(Tensor& tensor);
  ~ElementWriter();
  ElementWriter(const ElementWriter&) = delete;
  ElementWriter& operator=(const ElementWriter&) = delete;
  [[nodiscard]] std::byte* data() { return data_; }
  [[nodiscard]] int64_t width() const { return width_; }

 private:
  Tensor& tensor_;
  std::vector<std::byte> spread_;
  std::byte* data_;
  int64_t width_;
};

/// Fills `count` elements of `width` bytes at `dst` with copies of the one at `value`.
void fill_elements(std::byte* dst, int64_t count, const std::byte* value, int64_t width);

/// Copies blocks of `bytes` to `dst`, one behind the other: the k-th from `src` + offsets[k] * `unit`.
void gather_blocks(std::byte* dst, const std::byte* src, std::span<const int64_t> offsets, int64_t unit, int64_t bytes);

/// `axis` counted from the front, or nullopt when it is not in [-rank, rank).
inline std::optional<int64_t> normalise_axis(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank) return std::nullopt;
  return axis < 0 ? axis + rank : axis;
}

/// Axes counted from the front in the given order, or nullopt when one is out of range or named twice.
std::optional<std::vector<int64_t>> normalise_axes(std::span<const int64_t> axes, int64_t rank);

/// Product of dims [begin, end); all must be known.
int64_t product(std::span<const int64_t> dims, int64_t begin, int64_t end);

}  // namespace planish
