#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "planish/base/dtype.h"
#include "planish/ir/shape.h"

namespace planish {

/// A row-major tensor in host memory: constants of a graph, arguments of reference operators, inputs and outputs of
/// the command line. Copies share the data. Device tensors are handles (see device/), never a Tensor.
class Tensor {
 public:
  Tensor() = default;
  /// Allocates zero-filled memory (64-byte aligned) for `shape`, whose dimensions must all be known.
  Tensor(DType dtype, Shape shape);
  /// The same without the zeros, for who writes all of it.
  static Tensor uninitialised(DType dtype, Shape shape);
  /// Wraps memory that lives at least as long as the Tensor (and every copy).
  static Tensor borrow(DType dtype, Shape shape, void* data);
  /// Wraps memory kept alive by `owner`.
  static Tensor share(DType dtype, Shape shape, std::shared_ptr<const void> owner, const void* data);
  /// One-dimensional and scalar helpers.
  static Tensor from_i64(std::span<const int64_t> values);
  static Tensor from_f32(std::span<const float> values);
  static Tensor scalar_i64(int64_t value);
  static Tensor scalar_f32(float value);

  [[nodiscard]] bool defined() const { return dtype_ != DType::undefined; }
  [[nodiscard]] DType dtype() const { return dtype_; }
  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] int64_t rank() const { return static_cast<int64_t>(shape_.size()); }
  [[nodiscard]] int64_t dim(int64_t i) const { return shape_[static_cast<size_t>(i < 0 ? i + rank() : i)]; }
  [[nodiscard]] int64_t size() const { return element_count(shape_); }
  [[nodiscard]] size_t bytes() const { return dtype_bytes(dtype_, size()); }

  [[nodiscard]] const void* raw() const { return data_.get(); }
  [[nodiscard]] void* raw() {
    return const_cast<void*>(data_.get());
  }  // the owner allowed writing by giving out Tensor&
  template <typename T>
  [[nodiscard]] const T* data() const {
    return static_cast<const T*>(raw());
  }
  template <typename T>
  [[nodiscard]] T* data() {
    return static_cast<T*>(raw());
  }
  template <typename T>
  [[nodiscard]] std::span<const T> span() const {
    return {data<T>(), static_cast<size_t>(size())};
  }
  template <typename T>
  [[nodiscard]] std::span<T> span() {
    return {data<T>(), static_cast<size_t>(size())};
  }

  /// Element `i` in row-major order as double / int64 (exact for 64-bit integers), whatever the type.
  [[nodiscard]] double at(int64_t i) const { return load_element(dtype_, raw(), i); }
  [[nodiscard]] int64_t int_at(int64_t i) const;
  void set(int64_t i, double value) { store_element(dtype_, raw(), i, value); }
  /// All elements as int64 (shape-like inputs).
  [[nodiscard]] std::vector<int64_t> to_i64() const;

  /// The same data under another shape with as many elements.
  [[nodiscard]] Tensor reshaped(Shape shape) const;
  /// A deep copy that nothing else shares.
  [[nodiscard]] Tensor clone() const;
  /// A copy converted element by element (round to nearest even, saturating for integers and FP8).
  [[nodiscard]] Tensor cast(DType to) const;

 private:
  DType dtype_ = DType::undefined;
  Shape shape_;
  std::shared_ptr<const void> data_;
};

/// Same type, shape and bytes.
bool bitwise_equal(const Tensor& a, const Tensor& b);

}  // namespace planish
