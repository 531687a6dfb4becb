// Weights in blocks of few bits: MatMulNBits and GatherBlockQuantized become DequantizeLinear with block_size.
// https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md

#include <fmt/format.h>

#include <array>
#include <optional>
#include <string>

#include "planish/onnx/quantised_forms.h"

namespace planish {
namespace {

constexpr int64_t kAll = 1000;  // any opset

/// Unsigned values of `bits` bits, packed from the lowest bits up.
class PackedBits {
 public:
  PackedBits(const uint8_t* data, int64_t bits) : data_(data), bits_(bits) {}
  /// Element `i` behind byte `first_byte`.
  [[nodiscard]] int64_t at(int64_t first_byte, int64_t i) const {
    const int64_t bit = i * bits_;
    return data_[first_byte + bit / 8] >> (bit % 8) & ((1 << bits_) - 1);
  }

 private:
  const uint8_t* data_;
  int64_t bits_;
};

DType unsigned_type(int64_t bits) { return bits == 2 ? DType::u2 : bits == 4 ? DType::u4 : DType::u8; }

/// Sizes of MatMulNBits' weights: N columns of K elements, in blocks along K.
struct BlockShape {
  int64_t n = 0;
  int64_t k = 0;
  int64_t bits = 4;
  int64_t block = 32;
  [[nodiscard]] int64_t blocks() const { return (k + block - 1) / block; }
  [[nodiscard]] int64_t column_bytes() const { return blocks() * (block * bits / 8); }
  [[nodiscard]] int64_t zero_bytes() const { return (blocks() * bits + 7) / 8; }
};

Result<BlockShape> block_shape(const AdaptContext& ctx) {
  const Node& n = ctx.node;
  const BlockShape s{n.attr_int("N", 0), n.attr_int("K", 0), n.attr_int("bits", 4), n.attr_int("block_size", 32)};
  constexpr int64_t kMaxSize = int64_t{1} << 30;  // products of two stay far from overflow
  if (s.n < 1 || s.k < 1 || s.n > kMaxSize || s.k > kMaxSize || s.block < 16 || s.block > kMaxSize ||
      (s.block & (s.block - 1)) != 0)
    return ctx.error(fmt::format("N={}, K={}, block_size={} are not sizes that it can have", s.n, s.k, s.block));
  if (s.bits != 2 && s.bits != 4 && s.bits != 8)
    return ctx.error(fmt::format("weights of {} bits are not supported", s.bits), "quantise to 2, 4 or 8 bits");
  return s;
}

/// The constant behind input `i`, with as many elements as it must have.
Result<const Tensor*> constant_input(const AdaptContext& ctx, size_t i, int64_t size) {
  const Tensor* t = ctx.graph.constant_of(ctx.node.in(i));
  if (t == nullptr) return ctx.error(fmt::format("input {} must be an initialiser", i));
  if (t->size() != size) return ctx.error(fmt::format("input {} has {} elements, expected {}", i, t->size(), size));
  return t;
}

/// Zero points [blocks, N], one per block; nullopt: half the range everywhere.
Result<Tensor> zero_points(const AdaptContext& ctx, const BlockShape& s) {
  const Tensor* given = ctx.graph.constant_of(ctx.node.in(3));
  if (ctx.has_input(3) && given == nullptr) return ctx.error("the zero points must be an initialiser");
  const bool as_float = given != nullptr && given->dtype() != DType::u8;
  if (given != nullptr && given->size() != s.n * (as_float ? s.blocks() : s.zero_bytes()))
    return ctx.error(fmt::format("the zero points have {} elements", given->size()));
  Tensor zero(as_float ? DType::f32 : unsigned_type(s.bits), {s.blocks(), s.n});
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t b = 0; b < s.blocks(); ++b) {
      double value = static_cast<double>(int64_t{1} << (s.bits - 1));
      if (as_float)
        value = given->at(n * s.blocks() + b);
      else if (given != nullptr)
        value = static_cast<double>(PackedBits(given->data<uint8_t>(), s.bits).at(n * s.zero_bytes(), b));
      zero.set(b * s.n + n, value);
    }
  return zero;
}

/// Weights [K,N] in float, for forms that DequantizeLinear lacks: zero points that are no integers, and g_idx, which
/// names the block of every row.
Tensor expanded(const BlockShape& s, const Tensor& packed, const Tensor& scale, const Tensor& zero,
                const Tensor* group_of_row) {
  Tensor w(DType::f32, {s.k, s.n});
  const PackedBits bits(packed.data<uint8_t>(), s.bits);
  for (int64_t k = 0; k < s.k; ++k) {
    const int64_t b = group_of_row == nullptr ? k / s.block : group_of_row->int_at(k);
    for (int64_t n = 0; n < s.n; ++n)
      w.data<float>()[k * s.n + n] = static_cast<float>(
          (static_cast<double>(bits.at(n * s.column_bytes(), k)) - zero.at(b * s.n + n)) * scale.at(b * s.n + n));
  }
  return w;
}

Result<ValueId> float_weights(AdaptContext& ctx, const BlockShape& s, const Tensor& packed, const Tensor& scale,
                              const Tensor& zero) {
  const Tensor* groups = nullptr;
  if (ctx.has_input(4)) {
    groups = PLANISH_TRY(constant_input(ctx, 4, s.k));
    for (int64_t k = 0; k < s.k; ++k)
      if (groups->int_at(k) < 0 || groups->int_at(k) >= s.blocks())
        return ctx.error(fmt::format("g_idx names block {}, there are {}", groups->int_at(k), s.blocks()));
  }
  const DType type = scale.dtype();
  return ctx.constant("weights", expanded(s, packed, scale, zero, groups).cast(type));
}

/// Inputs A, B [N, blocks, block bytes], scales [N, blocks], zero_points?, g_idx?, bias?: A * dequantised [K,N] + bias.
Status matmul_n_bits(AdaptContext& ctx) {
  const Node n = ctx.node;
  const BlockShape s = PLANISH_TRY(block_shape(ctx));
  const Tensor* packed = PLANISH_TRY(constant_input(ctx, 1, s.n * s.column_bytes()));
  const Tensor* column_scales = PLANISH_TRY(constant_input(ctx, 2, s.n * s.blocks()));
  if (packed->dtype() != DType::u8) return ctx.error("the weights must be packed in uint8");
  Tensor scale(column_scales->dtype(), {s.blocks(), s.n});
  for (int64_t b = 0; b < s.blocks(); ++b)
    for (int64_t c = 0; c < s.n; ++c) scale.set(b * s.n + c, column_scales->at(c * s.blocks() + b));
  Tensor zero = PLANISH_TRY(zero_points(ctx, s));
  ValueId w = kNoValue;
  if (zero.dtype() == DType::f32 || ctx.has_input(4)) {
    w = PLANISH_TRY(float_weights(ctx, s, *packed, scale, zero));
  } else {
    Tensor q(unsigned_type(s.bits), {s.k, s.n});
    const PackedBits bits(packed->data<uint8_t>(), s.bits);
    for (int64_t k = 0; k < s.k; ++k)
      for (int64_t c = 0; c < s.n; ++c) q.set(k * s.n + c, static_cast<double>(bits.at(c * s.column_bytes(), k)));
    w = ctx.emit("DequantizeLinear",
                 {ctx.constant("weights", std::move(q)), ctx.constant("scales", std::move(scale)),
                  ctx.constant("zero_points", std::move(zero))},
                 {{"axis", int64_t{0}}, {"block_size", s.block}});
  }
  if (n.in(5) == kNoValue)
    become(ctx.node, "MatMul", {n.in(0), w});
  else
    become(ctx.node, "Add", {ctx.emit("MatMul", {n.in(0), w}), n.in(5)});
  return {};
}

/// uint8 data holds elements of `bits` bits along the last dimension, as zero points do.
Tensor unpacked(const Tensor& data, int64_t bits, std::optional<int64_t> last_dim = {}) {
  Shape shape = data.shape();
  const int64_t bytes = shape.back();
  shape.back() = last_dim.value_or(bytes * 8 / bits);
  Tensor out(unsigned_type(bits), shape);
  const PackedBits in(data.data<uint8_t>(), bits);
  for (int64_t i = 0, rows = bytes == 0 ? 0 : data.size() / bytes; i < rows; ++i)
    for (int64_t j = 0; j < shape.back(); ++j) out.set(i * shape.back() + j, static_cast<double>(in.at(i * bytes, j)));
  return out;
}

/// Inputs data, indices, scales, zero_points?: rows of a dequantised table.
Status gather_block_quantized(AdaptContext& ctx) {
  const Node n = ctx.node;
  const Tensor* data = ctx.graph.constant_of(n.in(0));
  const Tensor* scale = ctx.graph.constant_of(n.in(2));
  const Tensor* zero = ctx.graph.constant_of(n.in(3));
  if (data == nullptr || scale == nullptr || (ctx.has_input(3) && zero == nullptr))
    return ctx.error("the table, its scales and its zero points must be initialisers");
  const int64_t bits = n.attr_int("bits", 4);
  const int64_t rank = data->rank();
  int64_t axis = n.attr_int("quantize_axis", 1);
  if (axis < 0) axis += rank;
  if (rank < 1 || axis < 0 || axis >= rank || scale->rank() != rank || (bits != 2 && bits != 4 && bits != 8) ||
      (zero != nullptr && zero->rank() != rank))
    return ctx.error("the table, its scales and its zero points must have one rank, and 2, 4 or 8 bits");
  Tensor table = *data;
  Tensor zeros = zero == nullptr ? Tensor() : *zero;
  if (data->dtype() == DType::u8) {
    if (zero != nullptr && (zero->dtype() != DType::u8 || zero->dim(-1) * 8 / bits < scale->dim(-1)))
      return ctx.error("the zero points must be packed like the table, one per scale");
    table = unpacked(*data, bits);
    if (zero != nullptr) zeros = unpacked(*zero, bits, scale->shape().back());
    if (zero == nullptr) {
      zeros = Tensor(table.dtype(), scale->shape());
      for (int64_t i = 0; i < zeros.size(); ++i) zeros.set(i, static_cast<double>(int64_t{1} << (bits - 1)));
    }
  }
  std::vector<ValueId> inputs{ctx.constant("table", std::move(table)), n.in(2)};
  if (zeros.defined()) inputs.push_back(ctx.constant("zero_points", std::move(zeros)));
  const ValueId real =
      ctx.emit("DequantizeLinear", std::move(inputs), {{"axis", axis}, {"block_size", n.attr_int("block_size", 128)}});
  become(ctx.node, "Gather", {real, n.in(1)}, {{"axis", n.attr_int("gather_axis", 0)}});
  return {};
}

constexpr std::array kRows{
    Adapter{"GatherBlockQuantized", 0, kAll, gather_block_quantized, kMicrosoftDomain, 0x7},
    Adapter{"MatMulNBits", 0, kAll, matmul_n_bits, kMicrosoftDomain, 0x7},
};

}  // namespace

std::span<const Adapter> block_quantised_adapters() { return kRows; }

}  // namespace planish
