#include "planish/ops/elements.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

namespace planish {
namespace {

int64_t element_width(DType t) { return dtype_is_byte_sized(t) ? dtype_bits(t) / 8 : (dtype_bits(t) == 0 ? 0 : 1); }
bool is_packed(DType t) { return dtype_bits(t) > 0 && dtype_bits(t) < 8; }

}  // namespace

ElementReader::ElementReader(const Tensor& tensor)
    : data_(static_cast<const std::byte*>(tensor.raw())), width_(element_width(tensor.dtype())) {
  if (!is_packed(tensor.dtype())) return;
  const int bits = dtype_bits(tensor.dtype());
  const int per_byte = 8 / bits;
  const auto mask = static_cast<std::byte>((1 << bits) - 1);
  spread_.resize(static_cast<size_t>(tensor.size()));
  for (size_t i = 0; i < spread_.size(); ++i) {
    const auto shift = static_cast<int>(i % static_cast<size_t>(per_byte)) * bits;
    spread_[i] = (data_[i / static_cast<size_t>(per_byte)] >> shift) & mask;
  }
  data_ = spread_.data();
}

ElementWriter::ElementWriter(Tensor& tensor)
    : tensor_(tensor), data_(static_cast<std::byte*>(tensor.raw())), width_(element_width(tensor.dtype())) {
  if (!is_packed(tensor.dtype())) return;
  spread_.resize(static_cast<size_t>(tensor.size()));
  data_ = spread_.data();
}

ElementWriter::~ElementWriter() {
  if (!is_packed(tensor_.dtype())) return;
  const int bits = dtype_bits(tensor_.dtype());
  const auto per_byte = static_cast<size_t>(8 / bits);
  auto* out = static_cast<std::byte*>(tensor_.raw());
  std::memset(out, 0, tensor_.bytes());
  for (size_t i = 0; i < spread_.size(); ++i)
    out[i / per_byte] |= spread_[i] << (static_cast<int>(i % per_byte) * bits);
}

void gather_blocks(std::byte* dst, const std::byte* src, std::span<const int64_t> offsets, int64_t unit,
                   int64_t bytes) {
  const auto copy = [&](auto width) {
    for (const int64_t offset : offsets) {
      std::memcpy(dst, src + offset * unit, width);
      dst += width;
    }
  };
  // A width that the compiler knows is one load and one store.
  switch (bytes) {
    case 1: return copy(std::integral_constant<size_t, 1>());
    case 2: return copy(std::integral_constant<size_t, 2>());
    case 4: return copy(std::integral_constant<size_t, 4>());
    case 8: return copy(std::integral_constant<size_t, 8>());
    case 16: return copy(std::integral_constant<size_t, 16>());
    default: return copy(static_cast<size_t>(bytes));
  }
}

void fill_elements(std::byte* dst, int64_t count, const std::byte* value, int64_t width) {
  if (count <= 0 || width <= 0) return;
  const auto total = static_cast<size_t>(count * width);
  const auto first = static_cast<size_t>(width);
  std::memcpy(dst, value, first);
  for (size_t done = first; done < total; done *= 2) std::memcpy(dst + done, dst, std::min(done, total - done));
}

std::optional<std::vector<int64_t>> normalise_axes(std::span<const int64_t> axes, int64_t rank) {
  std::vector<int64_t> out;
  for (const int64_t axis : axes) {
    const auto a = normalise_axis(axis, rank);
    if (!a || std::ranges::find(out, *a) != out.end()) return std::nullopt;
    out.push_back(*a);
  }
  return out;
}

int64_t product(std::span<const int64_t> dims, int64_t begin, int64_t end) {
  return element_count(dims.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
}

}  // namespace planish
