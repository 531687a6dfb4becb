#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "planish/base/status.h"
#include "planish/ir/tensor.h"

namespace planish {

/// Decodes a NumPy .npy file, format versions 1 to 3. Big-endian and Fortran-ordered data become native and row-major.
/// Types without a NumPy name: 'V2' is bf16 (as ml_dtypes writes it); 'V1' becomes `one_byte_void`, an FP8 type or u8;
/// 4- and 2-bit types are stored one element a byte and come back as i8 or u8. Pickled objects and text are refused.
/// `name` is used in errors. Errors: corrupt, unsupported.
Result<Tensor> npy_decode(std::span<const uint8_t> bytes, const std::string& name, DType one_byte_void = DType::u8);
Result<Tensor> read_npy(const std::string& path);

/// What the header of a .npy file says. `bytes` may end anywhere behind the header.
struct NpyHeader {
  DType dtype = DType::undefined;
  Shape shape;
  size_t data_offset = 0;
  bool plain = true;  ///< row-major and little-endian: rows can be read as they lie in the file
};
Result<NpyHeader> npy_header(std::span<const uint8_t> bytes, const std::string& name);

/// Elements of a text array (dtype 'U' or 'S') as UTF-8, trailing zeros removed.
Result<std::vector<std::string>> npy_decode_strings(std::span<const uint8_t> bytes, const std::string& name);

/// Encodes as .npy version 1 with 64-byte aligned data, little-endian and row-major. bf16 is written as '<V2', FP8 as
/// '|V1', 4- and 2-bit integers as int8 or uint8, f4e2m1 as float32. Error unsupported: an undefined or string tensor.
Result<std::vector<uint8_t>> npy_encode(const Tensor& tensor);
Status write_npy(const std::string& path, const Tensor& tensor);

}  // namespace planish
