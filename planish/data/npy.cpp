#include "planish/data/npy.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>

#include "planish/base/atomic_file.h"

namespace planish {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kDataAlignment = 64;
constexpr size_t kMaxRank = 64;

struct TypeCode {
  DType dtype;
  std::string_view code;  // NumPy's kind and bytes per element
};
constexpr std::array kTypeCodes{
    TypeCode{DType::f32, "f4"},        TypeCode{DType::f64, "f8"},        TypeCode{DType::f16, "f2"},
    TypeCode{DType::i64, "i8"},        TypeCode{DType::i32, "i4"},        TypeCode{DType::i16, "i2"},
    TypeCode{DType::i8, "i1"},         TypeCode{DType::u64, "u8"},        TypeCode{DType::u32, "u4"},
    TypeCode{DType::u16, "u2"},        TypeCode{DType::u8, "u1"},         TypeCode{DType::boolean, "b1"},
    TypeCode{DType::c64, "c8"},        TypeCode{DType::c128, "c16"},      TypeCode{DType::bf16, "V2"},
    TypeCode{DType::f8e4m3fn, "V1"},   TypeCode{DType::f8e4m3fnuz, "V1"}, TypeCode{DType::f8e5m2, "V1"},
    TypeCode{DType::f8e5m2fnuz, "V1"}, TypeCode{DType::f8e8m0, "V1"}};

struct Header {
  bool big_endian = false;
  bool fortran_order = false;
  std::string type;  // "f4", "U10", ...
  Shape shape;
  size_t data_offset = 0;
};

Error corrupt_npy(const std::string& name, std::string what) {
  return Error{.code = Code::corrupt,
               .file = name,
               .what = "malformed .npy data: " + std::move(what),
               .fix = "save the array again with numpy.save"};
}

/// Text after `'key':` in the header's Python dict, blanks skipped; empty when the key is missing.
std::string_view value_of(std::string_view dict, std::string_view key) {
  for (const char quote : {'\'', '"'}) {
    const std::string quoted = quote + std::string(key) + quote;
    const size_t at = dict.find(quoted);
    if (at == std::string_view::npos) continue;
    std::string_view rest = dict.substr(at + quoted.size());
    rest.remove_prefix(std::min(rest.find_first_not_of(" :"), rest.size()));
    return rest;
  }
  return {};
}

std::optional<Shape> parse_shape(std::string_view text) {
  const size_t end = text.find(')');
  if (text.empty() || text[0] != '(' || end == std::string_view::npos) return std::nullopt;
  text = text.substr(1, end - 1);
  Shape shape;
  while (true) {
    text.remove_prefix(std::min(text.find_first_not_of(" ,"), text.size()));
    if (text.empty()) return shape;
    int64_t dim = 0;
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), dim);
    if (error != std::errc() || dim < 0 || shape.size() >= kMaxRank) return std::nullopt;
    shape.push_back(dim);
    text.remove_prefix(static_cast<size_t>(rest - text.data()));
    if (!text.empty() && text[0] == 'L') text.remove_prefix(1);  // Python 2 wrote long integers so
    if (!text.empty() && text[0] != ',' && text[0] != ' ') return std::nullopt;
  }
}

Result<Header> parse_header(std::span<const uint8_t> bytes, const std::string& name) {
  if (bytes.size() < 10 || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0)
    return corrupt_npy(name, "it does not start with \\x93NUMPY");
  const int major = bytes[6];
  if (major < 1 || major > 3)
    return Error{.code = Code::version,
                 .file = name,
                 .what = fmt::format(".npy format version {}.{}", major, bytes[7]),
                 .fix = "save it as version 1, 2 or 3"};
  const size_t length_bytes = major == 1 ? 2 : 4;
  if (bytes.size() < 8 + length_bytes) return corrupt_npy(name, "the header is cut off");
  size_t length = 0;
  for (size_t i = 0; i < length_bytes; ++i) length |= static_cast<size_t>(bytes[8 + i]) << (8 * i);
  Header header;
  header.data_offset = 8 + length_bytes + length;
  if (header.data_offset > bytes.size()) return corrupt_npy(name, "the header is cut off");

  const std::string_view dict(reinterpret_cast<const char*>(bytes.data()) + 8 + length_bytes, length);
  const std::string_view type = value_of(dict, "descr"), order = value_of(dict, "fortran_order");
  if (!type.empty() && type[0] == '[')
    return Error{.code = Code::unsupported,
                 .file = name,
                 .what = "structured arrays cannot be read",
                 .fix = "save one plain array per field"};
  const size_t type_end = type.size() < 4 ? std::string_view::npos : type.find(type[0], 1);
  if (type_end == std::string_view::npos || type_end < 3) return corrupt_npy(name, "no usable 'descr'");
  header.big_endian = type[1] == '>';
  header.type = type.substr(std::string_view("<>|=").find(type[1]) != std::string_view::npos ? 2 : 1);
  header.type.resize(header.type.size() - (type.size() - type_end));
  if (order.substr(0, 4) != "True" && order.substr(0, 5) != "False") return corrupt_npy(name, "no 'fortran_order'");
  header.fortran_order = order[0] == 'T';
  const auto shape = parse_shape(value_of(dict, "shape"));
  if (!shape) return corrupt_npy(name, "no usable 'shape'");
  header.shape = *shape;
  return header;
}

/// Bytes that the data must have; refuses products that overflow.
Result<size_t> check_data(const Header& header, size_t element_bytes, std::span<const uint8_t> bytes,
                          const std::string& name) {
  const auto count = static_cast<uint64_t>(element_count(header.shape));
  const size_t present = bytes.size() - header.data_offset;
  if (element_bytes != 0 && count > present / element_bytes)
    return corrupt_npy(name, fmt::format("shape {} needs {} elements of {} bytes but {} bytes follow",
                                         to_string(header.shape), count, element_bytes, present));
  return static_cast<size_t>(count) * element_bytes;
}

/// Copies column-major `in` to row-major `out`.
void copy_fortran(const Shape& shape, size_t element_bytes, const uint8_t* in, uint8_t* out) {
  std::vector<int64_t> index(shape.size(), 0), strides(shape.size());
  int64_t stride = 1;
  for (size_t d = 0; d < shape.size(); ++d) {
    strides[d] = stride;
    stride *= shape[d];
  }
  int64_t source = 0;
  for (int64_t i = 0, n = element_count(shape); i < n; ++i) {
    std::memcpy(out + static_cast<size_t>(i) * element_bytes, in + static_cast<size_t>(source) * element_bytes,
                element_bytes);
    for (size_t d = shape.size(); d-- > 0;) {
      source += strides[d];
      if (++index[d] < shape[d]) break;
      source -= strides[d] * shape[d];
      index[d] = 0;
    }
  }
}

void swap_bytes(DType dtype, uint8_t* data, size_t bytes) {
  size_t unit = static_cast<size_t>(dtype_bits(dtype)) / 8;
  if (dtype == DType::c64 || dtype == DType::c128) unit /= 2;
  for (size_t i = 0; i + unit <= bytes; i += unit) std::reverse(data + i, data + i + unit);
}

Result<DType> dtype_of(const Header& header, DType one_byte_void, const std::string& name) {
  if (header.type == "V1") return one_byte_void;
  for (const auto& row : kTypeCodes)
    if (row.code == header.type) return row.dtype;
  return Error{.code = Code::unsupported,
               .file = name,
               .what = fmt::format("NumPy type '{}' is not a tensor type", header.type),
               .fix = header.type == "O" ? "save without pickled objects (a plain numeric array)"
                                         : "convert the array to a numeric type"};
}

std::string utf8(std::span<const uint8_t> code_points, bool big_endian) {
  std::string out;
  for (size_t i = 0; i + 4 <= code_points.size(); i += 4) {
    uint32_t c = 0;
    for (size_t k = 0; k < 4; ++k) c |= static_cast<uint32_t>(code_points[i + (big_endian ? 3 - k : k)]) << (8 * k);
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if (c < 0x800) {
      out += static_cast<char>(0xC0 | c >> 6);
      out += static_cast<char>(0x80 | (c & 63));
    } else if (c < 0x10000) {
      out += static_cast<char>(0xE0 | c >> 12);
      out += static_cast<char>(0x80 | (c >> 6 & 63));
      out += static_cast<char>(0x80 | (c & 63));
    } else {
      out += static_cast<char>(0xF0 | (c >> 18 & 7));
      out += static_cast<char>(0x80 | (c >> 12 & 63));
      out += static_cast<char>(0x80 | (c >> 6 & 63));
      out += static_cast<char>(0x80 | (c & 63));
    }
  }
  return out;
}

/// Type that stores `dtype` in the file when NumPy has no packed counterpart.
DType stored_dtype(DType dtype) {
  switch (dtype) {
    case DType::i4:
    case DType::i2: return DType::i8;
    case DType::u4:
    case DType::u2: return DType::u8;
    case DType::f4e2m1: return DType::f32;
    default: return dtype;
  }
}

std::string shape_tuple(const Shape& shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i)
    text += fmt::format("{}{}", shape[i], shape.size() == 1 ? "," : i + 1 < shape.size() ? ", " : "");
  return text + ")";
}

}  // namespace

Result<Tensor> npy_decode(std::span<const uint8_t> bytes, const std::string& name, DType one_byte_void) {
  const Header header = PLANISH_TRY(parse_header(bytes, name));
  const DType dtype = PLANISH_TRY(dtype_of(header, one_byte_void, name));
  const size_t element_bytes = static_cast<size_t>(dtype_bits(dtype)) / 8;
  const size_t data_bytes = PLANISH_TRY(check_data(header, element_bytes, bytes, name));
  Tensor tensor(dtype, header.shape);
  if (data_bytes == 0) return tensor;
  const uint8_t* data = bytes.data() + header.data_offset;
  if (header.fortran_order)
    copy_fortran(header.shape, element_bytes, data, tensor.data<uint8_t>());
  else
    std::memcpy(tensor.raw(), data, data_bytes);
  if (header.big_endian) swap_bytes(dtype, tensor.data<uint8_t>(), data_bytes);
  return tensor;
}

Result<NpyHeader> npy_header(std::span<const uint8_t> bytes, const std::string& name) {
  const Header header = PLANISH_TRY(parse_header(bytes, name));
  const DType dtype = PLANISH_TRY(dtype_of(header, DType::u8, name));
  return NpyHeader{dtype, header.shape, header.data_offset, !header.big_endian && !header.fortran_order};
}

Result<Tensor> read_npy(const std::string& path) {
  const auto bytes = PLANISH_TRY(read_file_bytes(path));
  return npy_decode(bytes, path);
}

Result<std::vector<std::string>> npy_decode_strings(std::span<const uint8_t> bytes, const std::string& name) {
  const Header header = PLANISH_TRY(parse_header(bytes, name));
  size_t width = 0;
  const char kind = header.type[0];
  const char* end = header.type.data() + header.type.size();
  if ((kind != 'U' && kind != 'S') || std::from_chars(header.type.data() + 1, end, width).ptr != end || width > 65536)
    return Error{.code = Code::unsupported,
                 .file = name,
                 .what = fmt::format("NumPy type '{}' is not text", header.type),
                 .fix = "save the names as an array of str"};
  if (kind == 'U') width *= 4;
  if (width == 0) return std::vector<std::string>(header.shape.size() == 1 ? 0 : 1);
  PLANISH_TRY(check_data(header, width, bytes, name));
  std::vector<std::string> texts;
  for (int64_t i = 0, n = element_count(header.shape); i < n; ++i) {
    const auto item = bytes.subspan(header.data_offset + static_cast<size_t>(i) * width, width);
    std::string text = kind == 'U' ? utf8(item, header.big_endian) : std::string(item.begin(), item.end());
    text.resize(text.find_last_not_of('\0') + 1);
    texts.push_back(std::move(text));
  }
  return texts;
}

Result<std::vector<uint8_t>> npy_encode(const Tensor& tensor) {
  const DType dtype = stored_dtype(tensor.dtype());
  std::string_view code;
  for (const auto& row : kTypeCodes)
    if (row.dtype == dtype) code = row.code;
  if (code.empty())
    return Error{.code = Code::unsupported,
                 .what = fmt::format("a tensor of type {} cannot be written as .npy", dtype_name(tensor.dtype())),
                 .fix = "cast it to a numeric type"};
  const Tensor stored = tensor.cast(dtype);
  const bool ordered = dtype_bits(dtype) > 8;  // NumPy writes '|' where byte order means nothing
  std::string header = fmt::format("{{'descr': '{}{}', 'fortran_order': False, 'shape': {}, }}", ordered ? '<' : '|',
                                   code, shape_tuple(tensor.shape()));
  const size_t preamble = kMagic.size() + 4;
  header.append((kDataAlignment - (preamble + header.size() + 1) % kDataAlignment) % kDataAlignment, ' ');
  header += '\n';
  if (header.size() > 0xFFFF)
    return Error{.code = Code::unsupported, .what = "the shape is too long for .npy", .fix = "reshape the tensor"};

  std::vector<uint8_t> out(kMagic.begin(), kMagic.end());
  out.insert(out.end(), {1, 0, static_cast<uint8_t>(header.size()), static_cast<uint8_t>(header.size() >> 8)});
  out.insert(out.end(), header.begin(), header.end());
  const auto* data = stored.data<uint8_t>();
  out.insert(out.end(), data, data + stored.bytes());
  return out;
}

Status write_npy(const std::string& path, const Tensor& tensor) {
  const auto bytes = PLANISH_TRY(npy_encode(tensor));
  return write_file_atomically(path, bytes);
}

}  // namespace planish
