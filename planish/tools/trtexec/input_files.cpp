#include "planish/tools/trtexec/input_files.h"

#include <fmt/format.h>

#include <cctype>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

Error file_error(const std::string& path, const std::string& tensor, Code code, std::string what, std::string fix) {
  Error error;
  error.code = code;
  error.file = path;
  error.tensor = tensor;
  error.what = std::move(what);
  error.fix = std::move(fix);
  return error;
}

/// Value of a key in the Python dictionary of a .npy header, up to the end of that value.
std::string header_value(const std::string& header, std::string_view key) {
  const size_t at = header.find(fmt::format("'{}'", key));
  if (at == std::string::npos) return "";
  size_t start = header.find(':', at);
  if (start == std::string::npos) return "";
  start = header.find_first_not_of(' ', start + 1);
  if (start == std::string::npos) return "";
  const char closer = header[start] == '(' ? ')' : ',';
  return header.substr(start, header.find(closer, start) - start);
}

struct NpyHeader {
  std::string type;  ///< "f4", "i8", without byte order
  bool little_endian = true;
  bool fortran_order = false;
  Dims dims;
  size_t data_offset = 0;
};

Result<NpyHeader> parse_npy_header(const std::string& path, const std::vector<std::byte>& bytes) {
  const auto broken = [&] {
    return file_error(path, "", Code::corrupt, "is not a complete .npy file", "write it again with numpy.save");
  };
  if (bytes.size() < 12 || std::memcmp(bytes.data(), "\x93NUMPY", 6) != 0) return broken();
  const bool long_form = std::to_integer<int>(bytes[6]) >= 2;
  size_t length = 0;
  for (size_t i = 0; i < (long_form ? 4u : 2u); ++i) length |= std::to_integer<size_t>(bytes[8 + i]) << (8 * i);
  const size_t start = long_form ? 12 : 10;
  if (length > bytes.size() - start) return broken();
  const std::string text(reinterpret_cast<const char*>(bytes.data()) + start, length);
  NpyHeader header;
  header.data_offset = start + length;
  const std::string descr = header_value(text, "descr");
  if (descr.size() < 4 || descr.front() != '\'') return broken();
  header.little_endian = descr[1] != '>';
  header.type = descr.substr(2, descr.find('\'', 1) - 2);
  header.fortran_order = header_value(text, "fortran_order").rfind("True", 0) == 0;
  std::string shape = header_value(text, "shape");
  if (shape.empty() || shape.front() != '(') return broken();
  for (std::string& part : split_list(shape.substr(1), ',')) {
    part.erase(0, part.find_first_not_of(' '));
    if (part.empty()) continue;
    auto dim = parse_integer(part, 0, int64_t{1} << 40, path);
    if (!dim) return broken();
    header.dims.push_back(*dim);
  }
  return header;
}

std::string npy_type(DType dtype) {
  switch (dtype) {
    case DType::f32: return "f4";
    case DType::f64: return "f8";
    case DType::f16: return "f2";
    case DType::i8: return "i1";
    case DType::u8: return "u1";
    case DType::i16: return "i2";
    case DType::u16: return "u2";
    case DType::i32: return "i4";
    case DType::u32: return "u4";
    case DType::i64: return "i8";
    case DType::u64: return "u8";
    case DType::boolean: return "b1";
    default: return "";
  }
}

uint64_t splitmix64(uint64_t& state) {
  // Steele et al. 2014, "Fast splittable pseudorandom number generators".
  uint64_t z = (state += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

}  // namespace

int64_t element_count(const Dims& dims) {
  int64_t count = 1;
  for (int64_t dim : dims) count *= dim;
  return count;
}

Result<std::vector<std::byte>> read_tensor_file(const std::string& path, const TensorRecord& tensor, const Dims& dims) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> chars{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file.is_open() || file.bad()) {
    return file_error(path, tensor.name, Code::io, fmt::format("cannot be read: {}", std::strerror(errno)),
                      "give an existing file");
  }
  std::vector<std::byte> bytes(chars.size());
  if (!chars.empty()) std::memcpy(bytes.data(), chars.data(), chars.size());
  if (path.size() > 4 && path.compare(path.size() - 4, 4, ".npy") == 0) {
    const NpyHeader header = PLANISH_TRY(parse_npy_header(path, bytes));
    if (header.type != npy_type(tensor.dtype) || !header.little_endian || header.fortran_order) {
      return file_error(
          path, tensor.name, Code::invalid_argument,
          fmt::format("holds type {}{}, the tensor is {}", header.type, header.fortran_order ? " in Fortran order" : "",
                      dtype_numpy_name(tensor.dtype)),
          fmt::format("save numpy.ascontiguousarray(array.astype('{}'))", dtype_numpy_name(tensor.dtype)));
    }
    if (header.dims != dims) {
      return file_error(
          path, tensor.name, Code::shape_mismatch,
          fmt::format("has shape {}, the run uses {}", dims_text(header.dims), dims_text(dims)),
          fmt::format("pass --shapes={}:{} if the engine's profile allows it", tensor.name, dims_text(header.dims)));
    }
    bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(header.data_offset));
  }
  const size_t expected = dtype_bytes(tensor.dtype, element_count(dims));
  if (bytes.size() != expected) {
    return file_error(path, tensor.name, Code::shape_mismatch,
                      fmt::format("holds {} bytes, shape {} of {} needs {}", bytes.size(), dims_text(dims),
                                  dtype_numpy_name(tensor.dtype), expected),
                      "write the values in C order with the tensor's own type");
  }
  return bytes;
}

std::vector<std::byte> random_values(const TensorRecord& tensor, const Dims& dims, uint64_t seed) {
  const int64_t count = element_count(dims);
  std::vector<std::byte> bytes(dtype_bytes(tensor.dtype, count));
  uint64_t state = seed;
  for (char c : tensor.name) state = state * 131 + static_cast<unsigned char>(c);
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t bits = splitmix64(state);
    double value = 0;
    if (tensor.dtype == DType::boolean) {
      value = static_cast<double>(bits & 1);
    } else if (dtype_is_float(tensor.dtype)) {
      value = static_cast<double>(bits >> 11) * 0x1p-52 - 1;
    } else {
      const int width = dtype_bits(tensor.dtype) < 8 ? dtype_bits(tensor.dtype) : 8;
      const auto low = static_cast<double>(bits & ((uint64_t{1} << width) - 1));
      value = dtype_is_signed(tensor.dtype) ? low - static_cast<double>(uint64_t{1} << (width - 1)) : low;
    }
    store_element(tensor.dtype, bytes.data(), i, value);
  }
  return bytes;
}

std::vector<std::byte> constant_values(const TensorRecord& tensor, const Dims& dims, double value) {
  const int64_t count = element_count(dims);
  std::vector<std::byte> bytes(dtype_bytes(tensor.dtype, count));
  for (int64_t i = 0; i < count; ++i) store_element(tensor.dtype, bytes.data(), i, value);
  return bytes;
}

}  // namespace planish::tools
