#pragma once

#include <cstdint>
#include <vector>

#include "planish/base/status.h"
#include "planish/ir/tensor.h"

namespace planish {

/// The elements of a tensor of any numeric type as T (float or double). Borrows the memory when the type is T already,
/// else converts once: f16 and bf16 references compute in f32 and round only their result.
template <typename T>
class FloatInput {
 public:
  FloatInput() = default;
  explicit FloatInput(const Tensor& tensor);
  FloatInput(const FloatInput&) = delete;
  FloatInput& operator=(const FloatInput&) = delete;
  FloatInput(FloatInput&&) noexcept = default;
  FloatInput& operator=(FloatInput&&) noexcept = default;
  /// nullptr when default constructed (an absent input).
  [[nodiscard]] const T* data() const { return data_; }
  T operator[](int64_t i) const { return data_[i]; }

 private:
  std::vector<T> owned_;
  const T* data_ = nullptr;
};

/// Where a reference writes its result: the tensor's own memory when its type is T, else a buffer that finish()
/// rounds into the tensor.
template <typename T>
class FloatOutput {
 public:
  explicit FloatOutput(Tensor& tensor);
  FloatOutput(const FloatOutput&) = delete;
  FloatOutput& operator=(const FloatOutput&) = delete;
  [[nodiscard]] T* data() { return data_; }
  T& operator[](int64_t i) { return data_[i]; }
  void finish();

 private:
  Tensor& tensor_;
  std::vector<T> owned_;
  T* data_ = nullptr;
};

extern template class FloatInput<float>;
extern template class FloatInput<double>;
extern template class FloatOutput<float>;
extern template class FloatOutput<double>;

/// Calls `f(T{})` with the type a reference computes in: double for f64, float for every other type.
template <typename F>
Status in_float_arithmetic(DType dtype, F&& f) {
  if (dtype == DType::f64) return f(double{});
  return f(float{});
}

}  // namespace planish
