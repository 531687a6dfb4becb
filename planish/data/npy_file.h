#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "planish/base/status.h"
#include "planish/ir/tensor.h"

namespace planish {

/// A .npy file that is read row by row (a row: one index of the first axis), so that data sets larger than memory can
/// be walked through. Big-endian and column-major files are read as a whole when they are opened.
class NpyFile {
 public:
  /// Errors: not_found, io, corrupt (also when the file is shorter than its header says), unsupported.
  static Result<NpyFile> open(const std::string& path);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] DType dtype() const { return dtype_; }
  [[nodiscard]] const Shape& shape() const { return shape_; }
  /// Rows [first, first + count); the whole array when it has no axis. Errors: invalid_argument, io.
  [[nodiscard]] Result<Tensor> rows(int64_t first, int64_t count) const;
  [[nodiscard]] Result<Tensor> all() const;

 private:
  [[nodiscard]] Result<Tensor> read(size_t offset, Shape shape) const;

  std::string path_;
  DType dtype_ = DType::undefined;
  Shape shape_;
  size_t data_offset_ = 0;
  std::shared_ptr<const int> descriptor_;  ///< closes the file with the last copy
  Tensor whole_;                           ///< only for files that cannot be read in pieces
};

}  // namespace planish
