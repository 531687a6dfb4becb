#include "planish/ir/tensor.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include "planish/base/huge_pages.h"

namespace planish {
namespace {

constexpr size_t kAlignment = 64;  // one cache line, and the widest vector register

std::shared_ptr<const void> allocate(size_t bytes, bool zeroed) {
  const size_t padded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  void* p = allocate_pages(padded, kAlignment);
  if (p == nullptr) throw std::bad_alloc();
  if (zeroed) std::memset(p, 0, padded);
  return {p, [](const void* q) { std::free(const_cast<void*>(q)); }};
}

}  // namespace

Tensor::Tensor(DType dtype, Shape shape)
    : dtype_(dtype), shape_(std::move(shape)), data_(allocate(dtype_bytes(dtype, element_count(shape_)), true)) {}

Tensor Tensor::uninitialised(DType dtype, Shape shape) {
  Tensor t;
  t.dtype_ = dtype;
  t.shape_ = std::move(shape);
  t.data_ = allocate(dtype_bytes(dtype, element_count(t.shape_)), false);
  return t;
}

Tensor Tensor::borrow(DType dtype, Shape shape, void* data) {
  // Aliasing constructor with an empty owner: no control block, hence no allocation.
  return share(dtype, std::move(shape), std::shared_ptr<const void>(), data);
}

Tensor Tensor::share(DType dtype, Shape shape, std::shared_ptr<const void> owner, const void* data) {
  Tensor t;
  t.dtype_ = dtype;
  t.shape_ = std::move(shape);
  t.data_ = std::shared_ptr<const void>(owner, data);
  return t;
}

Tensor Tensor::from_i64(std::span<const int64_t> values) {
  Tensor t(DType::i64, {static_cast<int64_t>(values.size())});
  std::copy(values.begin(), values.end(), t.data<int64_t>());
  return t;
}

Tensor Tensor::from_f32(std::span<const float> values) {
  Tensor t(DType::f32, {static_cast<int64_t>(values.size())});
  std::copy(values.begin(), values.end(), t.data<float>());
  return t;
}

Tensor Tensor::scalar_i64(int64_t value) {
  Tensor t(DType::i64, {});
  *t.data<int64_t>() = value;
  return t;
}

Tensor Tensor::scalar_f32(float value) {
  Tensor t(DType::f32, {});
  *t.data<float>() = value;
  return t;
}

int64_t Tensor::int_at(int64_t i) const {
  if (dtype_ == DType::i64) return data<int64_t>()[i];
  if (dtype_ == DType::u64) return static_cast<int64_t>(data<uint64_t>()[i]);
  return static_cast<int64_t>(at(i));
}

std::vector<int64_t> Tensor::to_i64() const {
  std::vector<int64_t> out(static_cast<size_t>(size()));
  for (size_t i = 0; i < out.size(); ++i) out[i] = int_at(static_cast<int64_t>(i));
  return out;
}

Tensor Tensor::reshaped(Shape shape) const {
  Tensor t = *this;
  t.shape_ = std::move(shape);
  assert(element_count(t.shape_) == size());
  return t;
}

Tensor Tensor::clone() const {
  Tensor t(dtype_, shape_);
  if (bytes() != 0) std::memcpy(t.raw(), raw(), bytes());
  return t;
}

Tensor Tensor::cast(DType to) const {
  if (to == dtype_) return *this;
  Tensor t(to, shape_);
  const bool integers = !dtype_is_float(to) && !dtype_is_float(dtype_) && dtype_is_byte_sized(to);
  for (int64_t i = 0, n = size(); i < n; ++i) {
    if (integers && to == DType::i64)
      t.data<int64_t>()[i] = int_at(i);
    else
      t.set(i, at(i));
  }
  return t;
}

bool bitwise_equal(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         (a.bytes() == 0 || std::memcmp(a.raw(), b.raw(), a.bytes()) == 0);
}

}  // namespace planish
