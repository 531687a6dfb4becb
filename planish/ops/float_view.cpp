#include "planish/ops/float_view.h"

#include <type_traits>

#include "planish/base/half.h"

namespace planish {
namespace {

template <typename T>
constexpr DType kOwnType = std::is_same_v<T, double> ? DType::f64 : DType::f32;

template <typename From, typename To>
void convert(const From* from, To* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = static_cast<To>(static_cast<float>(from[i]));
}

}  // namespace

template <typename T>
FloatInput<T>::FloatInput(const Tensor& tensor) {
  if (tensor.dtype() == kOwnType<T>) {
    data_ = tensor.data<T>();
    return;
  }
  const int64_t n = tensor.size();
  owned_.resize(static_cast<size_t>(n) + 1);  // never empty: data() tells presence
  if (tensor.dtype() == DType::f16)
    convert(tensor.data<f16>(), owned_.data(), n);
  else if (tensor.dtype() == DType::bf16)
    convert(tensor.data<bf16>(), owned_.data(), n);
  else if (tensor.dtype() == DType::f32)
    convert(tensor.data<float>(), owned_.data(), n);
  else
    for (int64_t i = 0; i < n; ++i) owned_[static_cast<size_t>(i)] = static_cast<T>(tensor.at(i));
  data_ = owned_.data();
}

template <typename T>
FloatOutput<T>::FloatOutput(Tensor& tensor) : tensor_(tensor) {
  if (tensor.dtype() == kOwnType<T>) {
    data_ = tensor.data<T>();
    return;
  }
  owned_.resize(static_cast<size_t>(tensor.size()));
  data_ = owned_.data();
}

template <typename T>
void FloatOutput<T>::finish() {
  const int64_t n = static_cast<int64_t>(owned_.size());
  if (tensor_.dtype() == DType::f16)
    for (int64_t i = 0; i < n; ++i) tensor_.data<f16>()[i] = f16(static_cast<float>(data_[i]));
  else if (tensor_.dtype() == DType::bf16)
    for (int64_t i = 0; i < n; ++i) tensor_.data<bf16>()[i] = bf16(static_cast<float>(data_[i]));
  else
    for (int64_t i = 0; i < n; ++i) tensor_.set(i, static_cast<double>(data_[i]));
}

template class FloatInput<float>;
template class FloatInput<double>;
template class FloatOutput<float>;
template class FloatOutput<double>;

}  // namespace planish
