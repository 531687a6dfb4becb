#include "planish/onnx/tensor_proto.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>
#include <new>

#include "onnx.pb.h"

namespace planish {
namespace {

Error tensor_error(const onnx::TensorProto& proto, Code code, std::string what, std::string fix = {}) {
  return Error{.code = code, .tensor = proto.name(), .what = std::move(what), .fix = std::move(fix)};
}

/// Elements that one entry of a typed field (float_data, int32_data, ...) contributes: bytes of packed 4- and 2-bit
/// types, halves of complex numbers, else elements.
int64_t typed_entries(DType dtype, int64_t elements) {
  if (dtype == DType::c64 || dtype == DType::c128) return elements * 2;
  return dtype_is_byte_sized(dtype) ? elements : static_cast<int64_t>(dtype_bytes(dtype, elements));
}

template <typename To, typename Field>
void copy_entries(const Field& field, void* out) {
  To* to = static_cast<To*>(out);
  for (const auto entry : field) *to++ = static_cast<To>(entry);
}

int64_t typed_size(const onnx::TensorProto& p, DType dtype) {
  switch (dtype) {
    case DType::f32:
    case DType::c64: return p.float_data_size();
    case DType::f64:
    case DType::c128: return p.double_data_size();
    case DType::i64: return p.int64_data_size();
    case DType::u32:
    case DType::u64: return p.uint64_data_size();
    default: return p.int32_data_size();
  }
}

void copy_typed(const onnx::TensorProto& p, DType dtype, void* out) {
  switch (dtype) {
    case DType::f32:
    case DType::c64: copy_entries<float>(p.float_data(), out); break;
    case DType::f64:
    case DType::c128: copy_entries<double>(p.double_data(), out); break;
    case DType::i64: copy_entries<int64_t>(p.int64_data(), out); break;
    case DType::u64: copy_entries<uint64_t>(p.uint64_data(), out); break;
    case DType::u32: copy_entries<uint32_t>(p.uint64_data(), out); break;
    case DType::i32: copy_entries<uint32_t>(p.int32_data(), out); break;
    case DType::boolean: {
      auto* to = static_cast<uint8_t*>(out);
      for (const int32_t entry : p.int32_data()) *to++ = entry != 0 ? 1 : 0;
      break;
    }
    default:
      // FP16 and BF16 entries are bit patterns, like the packed types.
      if (dtype_bits(dtype) == 16)
        copy_entries<uint16_t>(p.int32_data(), out);
      else
        copy_entries<uint8_t>(p.int32_data(), out);
  }
}

Result<Tensor> allocate(const onnx::TensorProto& proto, DType dtype, Shape shape) {
  try {
    return Tensor(dtype, std::move(shape));
  } catch (const std::bad_alloc&) {
    return tensor_error(proto, Code::out_of_memory, "not enough memory for this tensor");
  }
}

/// Any nonzero byte is true in ONNX files; kernels expect 0 and 1.
void normalise_bool(Tensor& t) {
  if (t.dtype() != DType::boolean) return;
  auto values = t.span<uint8_t>();
  if (std::ranges::any_of(values, [](uint8_t v) { return v > 1; }))
    for (uint8_t& v : values) v = v != 0 ? 1 : 0;
}

struct Header {
  DType dtype;
  Shape shape;
  int64_t elements;
};

/// Type and dimensions, refused when they cannot be those of a stored tensor.
Result<Header> read_header(const onnx::TensorProto& proto) {
  Header h{dtype_of_onnx(proto.data_type()), Shape(proto.dims().begin(), proto.dims().end()), 0};
  if (h.dtype == DType::undefined)
    return tensor_error(proto, Code::unsupported,
                        fmt::format("element type number {} is not known to planish", proto.data_type()),
                        "store the tensor as a type up to INT2 (26)");
  if (h.dtype == DType::string)
    return tensor_error(proto, Code::unsupported, "string tensors are not supported",
                        "move string processing out of the model");
  if (proto.has_segment())
    return tensor_error(proto, Code::unsupported, "tensors stored in segments are not supported",
                        "save the model again with a current onnx package");
  if (std::ranges::any_of(h.shape, [](int64_t d) { return d < 0; }))
    return tensor_error(proto, Code::corrupt, fmt::format("negative dimension in {}", to_string(h.shape)));
  if (h.shape.size() > 64)
    return tensor_error(proto, Code::corrupt, fmt::format("{} dimensions are too many", h.shape.size()));
  h.elements = element_count(h.shape);
  // No file holds 2^58 elements; beyond it byte counts would overflow.
  if (h.elements > (int64_t{1} << 58))
    return tensor_error(proto, Code::corrupt, fmt::format("dimensions {} are too large", to_string(h.shape)));
  return h;
}

Error wrong_size(const onnx::TensorProto& proto, const Header& h, std::string_view has) {
  return tensor_error(proto, Code::corrupt,
                      fmt::format("{}{} takes {} bytes, but the file holds {}", dtype_name(h.dtype), to_string(h.shape),
                                  dtype_bytes(h.dtype, h.elements), has),
                      "the file is damaged; export the model again");
}

Result<Tensor> read_typed(const onnx::TensorProto& proto, const Header& h) {
  const int64_t entries = typed_size(proto, h.dtype);
  if (entries != typed_entries(h.dtype, h.elements))
    return wrong_size(proto, h, fmt::format("{} numbers for it", entries));
  Tensor t = PLANISH_TRY(allocate(proto, h.dtype, h.shape));
  copy_typed(proto, h.dtype, t.raw());
  return t;
}

bool parse_offset(const std::string& text, int64_t& out) {
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), out);
  return ec == std::errc() && end == text.data() + text.size() && out >= 0;
}

/// Largest dense form of a sparse tensor that stores `stored_bytes`: a small file must not take much memory.
size_t dense_limit(size_t stored_bytes) { return std::max<size_t>(size_t{256} << 20, stored_bytes * 1024); }

Result<int64_t> sparse_position(const Tensor& indices, int64_t k, const Shape& dims, const onnx::TensorProto& proto) {
  const int64_t rank = static_cast<int64_t>(dims.size());
  int64_t position = 0;
  if (indices.rank() == 1) {
    position = indices.int_at(k);
  } else {
    for (int64_t d = 0; d < rank; ++d) {
      const int64_t index = indices.int_at(k * rank + d);
      if (index < 0 || index >= dims[static_cast<size_t>(d)])
        return tensor_error(proto, Code::corrupt, "a sparse index is out of range");
      position = position * dims[static_cast<size_t>(d)] + index;
    }
  }
  if (position < 0 || position >= element_count(dims))
    return tensor_error(proto, Code::corrupt, "a sparse index is out of range");
  return position;
}

}  // namespace

DType dtype_of_onnx(int32_t data_type) {
  return data_type > 0 && data_type <= static_cast<int32_t>(DType::i2) ? static_cast<DType>(data_type)
                                                                       : DType::undefined;
}

Result<Tensor> TensorReader::read_external(const onnx::TensorProto& proto, DType dtype, Shape shape) {
  std::string location;
  int64_t offset = 0;
  int64_t length = -1;
  for (const auto& entry : proto.external_data()) {
    bool good = true;
    if (entry.key() == "location") location = entry.value();
    if (entry.key() == "offset") good = parse_offset(entry.value(), offset);
    if (entry.key() == "length") good = parse_offset(entry.value(), length);
    if (!good)
      return tensor_error(proto, Code::corrupt,
                          fmt::format("external data has {} '{}'", entry.key(), entry.value().substr(0, 40)));
  }
  const auto wanted = static_cast<int64_t>(dtype_bytes(dtype, element_count(shape)));
  if (length >= 0 && length != wanted)
    return tensor_error(proto, Code::corrupt,
                        fmt::format("{}{} takes {} bytes, but its external data has {}", dtype_name(dtype),
                                    to_string(shape), wanted, length));
  auto data = external_.read(location, offset, wanted);
  if (!data.ok()) {
    Error e = std::move(data).take_error();
    e.tensor = proto.name();
    return e;
  }
  const size_t alignment = static_cast<size_t>(std::max(8, dtype_bits(dtype)) / 8);
  const std::byte* p = data->bytes.data();
  if (dtype != DType::boolean && reinterpret_cast<uintptr_t>(p) % std::min<size_t>(alignment, 8) == 0)
    return Tensor::share(dtype, std::move(shape), data->owner, p);
  Tensor t = PLANISH_TRY(allocate(proto, dtype, std::move(shape)));
  if (wanted != 0) std::memcpy(t.raw(), p, static_cast<size_t>(wanted));
  normalise_bool(t);
  return t;
}

Result<Tensor> TensorReader::read(const onnx::TensorProto& proto) {
  if (const auto it = known_.find(&proto); it != known_.end()) return it->second;
  Tensor t = PLANISH_TRY(read_fresh(proto));
  known_.emplace(&proto, t);
  return t;
}

Result<Tensor> TensorReader::read_fresh(const onnx::TensorProto& proto) {
  const Header h = PLANISH_TRY(read_header(proto));
  if (proto.data_location() == onnx::TensorProto::EXTERNAL) return read_external(proto, h.dtype, h.shape);
  if (!proto.has_raw_data()) return read_typed(proto, h);
  if (proto.raw_data().size() != dtype_bytes(h.dtype, h.elements))
    return wrong_size(proto, h, fmt::format("{}", proto.raw_data().size()));
  Tensor t = PLANISH_TRY(allocate(proto, h.dtype, h.shape));
  if (!proto.raw_data().empty()) std::memcpy(t.raw(), proto.raw_data().data(), proto.raw_data().size());
  normalise_bool(t);
  return t;
}

Result<Tensor> TensorReader::take(onnx::TensorProto& proto) {
  constexpr size_t kSmall = 4096;  // below it a copy in aligned memory is the better deal
  if (proto.data_location() == onnx::TensorProto::EXTERNAL || proto.raw_data().size() < kSmall) return read(proto);
  const Header h = PLANISH_TRY(read_header(proto));
  if (proto.raw_data().size() != dtype_bytes(h.dtype, h.elements))
    return wrong_size(proto, h, fmt::format("{}", proto.raw_data().size()));
  const auto owner = std::make_shared<std::string>(std::move(*proto.mutable_raw_data()));
  proto.clear_raw_data();
  Tensor t = Tensor::share(h.dtype, h.shape, owner, owner->data());
  normalise_bool(t);
  return t;
}

Result<Tensor> TensorReader::read_sparse(const onnx::SparseTensorProto& proto) {
  if (const auto it = known_.find(&proto); it != known_.end()) return it->second;
  Tensor t = PLANISH_TRY(read_sparse_fresh(proto));
  known_.emplace(&proto, t);
  return t;
}

Result<Tensor> TensorReader::read_sparse_fresh(const onnx::SparseTensorProto& proto) {
  const onnx::TensorProto& named = proto.values();
  const Tensor values = PLANISH_TRY(read(named));
  const Tensor indices = PLANISH_TRY(read(proto.indices()));
  const Shape dims(proto.dims().begin(), proto.dims().end());
  if (std::ranges::any_of(dims, [](int64_t d) { return d < 0; }) || dims.size() > 64)
    return tensor_error(named, Code::corrupt, fmt::format("sparse dimensions {} are invalid", to_string(dims)));
  const int64_t stored = values.size();
  const Shape flat{stored};
  const Shape per_axis{stored, static_cast<int64_t>(dims.size())};
  if (values.rank() != 1 || indices.dtype() != DType::i64 || (indices.shape() != flat && indices.shape() != per_axis))
    return tensor_error(named, Code::corrupt,
                        fmt::format("sparse values {} and indices {} do not fit together", to_string(values.shape()),
                                    to_string(indices.shape())));
  const int64_t count = element_count(dims);
  if (count > (int64_t{1} << 40) || dtype_bytes(values.dtype(), count) > dense_limit(values.bytes()))
    return tensor_error(named, Code::unsupported, fmt::format("sparse tensor {} is too large", to_string(dims)),
                        "store it as a dense tensor");
  Tensor dense = PLANISH_TRY(allocate(named, values.dtype(), dims));
  const auto bits = static_cast<size_t>(dtype_bits(values.dtype()));
  for (int64_t k = 0; k < stored; ++k) {
    const int64_t at = PLANISH_TRY(sparse_position(indices, k, dims, named));
    if (bits < 8)
      dense.set(at, values.at(k));
    else
      std::memcpy(static_cast<std::byte*>(dense.raw()) + static_cast<size_t>(at) * (bits / 8),
                  static_cast<const std::byte*>(values.raw()) + static_cast<size_t>(k) * (bits / 8), bits / 8);
  }
  return dense;
}

void write_tensor(const Tensor& tensor, onnx::TensorProto& proto) {
  proto.set_data_type(static_cast<int32_t>(tensor.dtype()));
  for (const int64_t d : tensor.shape()) proto.add_dims(d);
  proto.set_raw_data(tensor.raw(), tensor.bytes());
}

DeclaredType read_type(const onnx::TypeProto& proto) {
  DeclaredType out;
  switch (proto.value_case()) {
    case onnx::TypeProto::kTensorType: break;
    case onnx::TypeProto::kSequenceType: out.refusal = "a sequence"; return out;
    case onnx::TypeProto::kMapType: out.refusal = "a map"; return out;
    case onnx::TypeProto::kOptionalType: out.refusal = "an optional"; return out;
    case onnx::TypeProto::kSparseTensorType: out.refusal = "a sparse tensor"; return out;
    case onnx::TypeProto::kOpaqueType: out.refusal = "an opaque type"; return out;
    case onnx::TypeProto::VALUE_NOT_SET: return out;
  }
  const auto& tensor = proto.tensor_type();
  out.dtype = dtype_of_onnx(tensor.elem_type());
  if (out.dtype == DType::undefined && tensor.elem_type() != 0)
    out.refusal = fmt::format("of unknown element type {}", tensor.elem_type());
  if (out.dtype == DType::string) out.refusal = "a string tensor";
  if (!tensor.has_shape() || tensor.shape().dim_size() > 64) return out;
  out.shape.emplace();
  bool named = false;
  for (const auto& dim : tensor.shape().dim()) {
    // Some exporters write -1 for "unknown".
    out.shape->push_back(dim.has_dim_value() && dim.dim_value() >= 0 ? dim.dim_value() : kUnknownDim);
    out.dim_names.push_back(dim.dim_param());
    named = named || !dim.dim_param().empty();
  }
  if (!named) out.dim_names.clear();
  return out;
}

}  // namespace planish
