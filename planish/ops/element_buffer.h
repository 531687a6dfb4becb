#pragma once

#include <cstdint>

#include "planish/base/dtype.h"

namespace planish {

/// Elements that reference operators convert at a time: three buffers of doubles stay in the first-level cache.
inline constexpr int64_t kElementBlock = 1024;

/// Number system in which elements of a type are computed without loss.
enum class Domain : uint8_t { real, sint, uint };  ///< double, int64_t, uint64_t

/// real for floating-point types, uint for bool and unsigned types, sint for signed ones.
Domain domain_of(DType t);

/// Reads `count` elements of type `t` from index `first` in steps of `stride` elements (0 repeats one element).
/// T is double, float, int64_t or uint64_t. Integers are kept modulo 2^64; floats become integers by truncation,
/// saturated, NaN as 0. Types without a real value read as 0.
template <typename T>
void load_elements(DType t, const void* data, int64_t first, int64_t stride, int64_t count, T* out);

/// Writes `count` values to index `first` in steps of `stride` elements. Integers keep the low bits of integers
/// and the saturated truncation of floats (4- and 2-bit ones its low bits, as ONNX's Cast tests ask); bool is `value !=
/// 0`; floating-point types round once to nearest even, and FP8 and FP4 saturate.
template <typename T>
void store_elements(DType t, void* data, int64_t first, int64_t stride, int64_t count, const T* in);

extern template void load_elements(DType, const void*, int64_t, int64_t, int64_t, double*);
extern template void load_elements(DType, const void*, int64_t, int64_t, int64_t, float*);
extern template void load_elements(DType, const void*, int64_t, int64_t, int64_t, int64_t*);
extern template void load_elements(DType, const void*, int64_t, int64_t, int64_t, uint64_t*);
extern template void store_elements(DType, void*, int64_t, int64_t, int64_t, const double*);
extern template void store_elements(DType, void*, int64_t, int64_t, int64_t, const float*);
extern template void store_elements(DType, void*, int64_t, int64_t, int64_t, const int64_t*);
extern template void store_elements(DType, void*, int64_t, int64_t, int64_t, const uint64_t*);

}  // namespace planish
