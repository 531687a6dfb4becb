// MatMulInteger and ConvInteger with constant weights by our own integer kernels. The zero point of the input may be
// one that only the run knows (dynamic quantisation).
//
// Weights without sign are moved by 128 into signed bytes, and what is left of their zero points, d[n], is taken off
// behind the product: sum(x * (w - d)) = sum(x * w) - d * sum(x). A last column of ones in every group makes sum(x).

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <vector>

#include "planish/base/parallel.h"
#include "planish/kernels/cpu/igemm/igemm.h"
#include "planish/ops/conv_geometry.h"
#include "planish/ops/matmul_shape.h"
#include "planish/tactics/contiguous_parts.h"
#include "planish/tactics/cpu/own_tactics.h"
#include "planish/tactics/cpu/quantized_layer.h"
#include "planish/tactics/cpu/window.h"

namespace planish {
namespace {

using kernels::IgemmFormat;
using kernels::IgemmKernel;
using kernels::IgemmShape;

constexpr size_t kX = 0;
constexpr size_t kW = 1;
constexpr size_t kXZero = 2;
constexpr size_t kWZero = 3;

bool is_byte(DType t) { return t == DType::i8 || t == DType::u8; }
bool is_matmul(const NodeView& view) { return view.node->op == "MatMulInteger"; }

/// The product as the node has it, without a column of ones.
Result<IgemmShape> shape_of(const NodeView& view) {
  IgemmShape s;
  const Shape& x = view.inputs[kX].shape;
  if (is_matmul(view)) {
    s.channels = x.back();
    s.outputs = view.inputs[kW].shape.back();
    s.in_h = s.out_h = element_count(x) / std::max<int64_t>(1, x.back());
    return s;
  }
  const ConvShape c = PLANISH_TRY(resolve_conv(*view.node, x, view.inputs[kW].shape));
  s.images = c.n;
  s.groups = c.groups;
  s.channels = c.c / c.groups;
  s.outputs = c.k / c.groups;
  set_window(c.window, s);
  return s;
}

WhyNot supports(const NodeView& view, const Target&) {
  const TensorDesc& x = view.inputs[kX];
  const TensorDesc& w = view.inputs[kW];
  if (!is_byte(x.dtype) || !is_byte(w.dtype)) return "multiplies bytes only";
  if (!view.is_constant(kW)) return "needs constant weights";
  if (x.size() == 0 || w.size() == 0 || view.outputs[0].size() == 0) return "the tensor is empty";
  if (view.has_input(kXZero) && view.inputs[kXZero].size() != 1) return "needs one zero point for the whole input";
  if (view.has_input(kWZero) && (!view.is_constant(kWZero) || view.inputs[kWZero].rank() > 1))
    return "needs constant zero points of the weights, one or one per column";
  if (is_matmul(view)) {
    if (x.rank() < 2 || w.rank() != 2) return "needs matrices, and one of weights";
    if (x.layout != Layout::row_major || view.outputs[0].layout != Layout::row_major)
      return "takes row-major tensors only";
    return std::nullopt;
  }
  if (x.rank() != 3 && x.rank() != 4) return fmt::format("needs 1 or 2 spatial dimensions, got rank {}", x.rank());
  if (!lies_channels_last(x)) return "takes channels-last images only";
  const TensorDesc& y = view.outputs[0];
  if (y.layout != Layout::row_major && y.layout != Layout::channels_last)
    return "writes row-major or channels-last sums only";
  auto shape = shape_of(view);
  if (!shape.ok()) return shape.error().what;
  return std::nullopt;
}

/// d[n]: what the zero point of every output channel is away from the middle of the weights' type.
std::vector<int32_t> zero_offsets(const NodeView& view, int64_t channels) {
  const Tensor* zero = view.has_input(kWZero) ? view.constants[kWZero] : nullptr;
  const int64_t middle = view.inputs[kW].dtype == DType::u8 ? 128 : 0;
  std::vector<int32_t> d(static_cast<size_t>(channels));
  for (int64_t n = 0; n < channels; ++n) {
    const int64_t z = zero == nullptr ? 0 : zero->int_at(zero->size() == 1 ? 0 : n);
    d[static_cast<size_t>(n)] = static_cast<int32_t>(z - middle);
  }
  return d;
}

bool needs_ones(const std::vector<int32_t>& d) {
  return std::ranges::any_of(d, [](int32_t v) { return v != 0; });
}

// --- weights ------------------------------------------------------------------------------------------------------

/// How packed weights lie: a kernel's format, with or without a column of ones.
struct StoredFormat {
  IgemmFormat igemm;
  bool ones = false;
  bool operator==(const StoredFormat&) const = default;
};

std::string format_name(const StoredFormat& f) {
  return fmt::format("integer_igemm:{},{},{},{}", f.igemm.depth, f.igemm.lanes, f.igemm.block, f.ones ? 1 : 0);
}

std::optional<StoredFormat> parse_format(std::string_view name) {
  constexpr std::string_view kPrefix = "integer_igemm:";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  std::array<int32_t, 4> fields{};
  for (int32_t& field : fields) {
    const auto [end, ec] = std::from_chars(name.data(), name.data() + name.size(), field);
    if (ec != std::errc() || field < 0 || field > 1024) return std::nullopt;
    name.remove_prefix(static_cast<size_t>(end - name.data()));
    if (name.starts_with(",")) name.remove_prefix(1);
  }
  const StoredFormat f{{fields[0], fields[1], fields[2]}, fields[3] != 0};
  if (!name.empty() || fields[0] < 1 || fields[1] < 1 || fields[2] < 1 || f.igemm.block % f.igemm.lanes != 0)
    return std::nullopt;
  return f;
}

IgemmShape with_ones(IgemmShape s, bool ones) {
  if (ones) ++s.outputs;
  return s;
}

/// Address of weight `i` of output channel `n` in the graph's form: [K,N] for products, [channel, ...] for
/// convolutions.
struct WeightOrder {
  int64_t channel_step;
  int64_t inner_step;
};

WeightOrder weight_order(const NodeView& view, const IgemmShape& s) {
  if (is_matmul(view)) return {1, s.outputs};
  return {s.channels * s.kernel_h * s.kernel_w, 1};
}

Tensor pack_weights(const NodeView& view, const IgemmShape& s, const StoredFormat& f, const Tensor& weights) {
  const IgemmShape packed_shape = with_ones(s, f.ones);
  const int64_t inner = s.channels * s.kernel_h * s.kernel_w;
  const WeightOrder order = weight_order(view, s);
  const uint8_t flip = weights.dtype() == DType::u8 ? 0x80 : 0;
  std::vector<int8_t> rows(static_cast<size_t>(packed_shape.weights()), 1);
  for (int64_t g = 0; g < s.groups; ++g)
    for (int64_t n = 0; n < s.outputs; ++n) {
      const uint8_t* from = weights.data<uint8_t>() + (g * s.outputs + n) * order.channel_step;
      int8_t* to = rows.data() + (g * packed_shape.outputs + n) * inner;
      for (int64_t i = 0; i < inner; ++i) to[i] = static_cast<int8_t>(from[i * order.inner_step] ^ flip);
    }
  Tensor packed(DType::u8, {static_cast<int64_t>(igemm_packed_bytes(packed_shape, f.igemm))});
  igemm_pack(packed_shape, f.igemm, rows.data(), packed.data<int8_t>());
  return packed;
}

/// The weights in the graph's form. Error corrupt: the format or the size is not ours.
Result<Tensor> unpack(const NodeView& view, const PackedConstant& p) {
  const IgemmShape s = PLANISH_TRY(shape_of(view));
  const auto f = parse_format(p.format);
  if (!f || p.data.bytes() < igemm_packed_bytes(with_ones(s, f->ones), f->igemm))
    return Error{.code = Code::corrupt, .node = view.node->name, .what = "packed weights have an unknown format"};
  const IgemmShape packed_shape = with_ones(s, f->ones);
  const int64_t inner = s.channels * s.kernel_h * s.kernel_w;
  const WeightOrder order = weight_order(view, s);
  std::vector<int8_t> rows(static_cast<size_t>(packed_shape.weights()));
  igemm_unpack(packed_shape, f->igemm, p.data.data<int8_t>(), rows.data());
  Tensor weights(view.inputs[kW].dtype, view.inputs[kW].shape);
  const uint8_t flip = weights.dtype() == DType::u8 ? 0x80 : 0;
  for (int64_t g = 0; g < s.groups; ++g)
    for (int64_t n = 0; n < s.outputs; ++n) {
      const int8_t* from = rows.data() + (g * packed_shape.outputs + n) * inner;
      uint8_t* to = weights.data<uint8_t>() + (g * s.outputs + n) * order.channel_step;
      for (int64_t i = 0; i < inner; ++i) to[i * order.inner_step] = static_cast<uint8_t>(from[i]) ^ flip;
    }
  return weights;
}

const IgemmKernel& kernel_for_bytes(const IgemmShape& s) { return kernels::best_igemm_kernel(s, 255); }

Result<std::vector<PackedConstant>> pack(const NodeView& view, const Target&) {
  const IgemmShape s = PLANISH_TRY(shape_of(view));
  const StoredFormat f{kernel_for_bytes(s).format, needs_ones(zero_offsets(view, s.groups * s.outputs))};
  return std::vector<PackedConstant>{
      {static_cast<int32_t>(kW), format_name(f), pack_weights(view, s, f, *view.constants[kW])}};
}

// --- run ----------------------------------------------------------------------------------------------------------

class IntegerProductRunner final : public Kernel {
 public:
  /// `planes`: output channels lie apart, `image_pixels` elements each. `own`: weights packed here because the
  /// engine's have another form; undefined when the engine's serve.
  IntegerProductRunner(kernels::IgemmPlan plan, std::vector<int32_t> offsets, DType zero_type, bool planes,
                       int64_t image_pixels, Tensor own)
      : plan_(std::move(plan)),
        offsets_(std::move(offsets)),
        zero_type_(zero_type),
        planes_(planes),
        image_pixels_(image_pixels),
        own_(std::move(own)) {
    epilogue_.y_type = kernels::QuantizedType::i32;
    epilogue_.y_row = plan_.shape.groups * plan_.shape.outputs;
  }

  [[nodiscard]] size_t workspace_bytes() const override { return sums_at() + (finishes() ? sums_bytes() : 0); }
  [[nodiscard]] std::string detail() const override { return std::string(plan_.kernel->name); }

  Status run(const Bindings& b) override {
    const auto* weights = own_.defined() ? own_.data<int8_t>() : host_ptr<const int8_t>(b.inputs[kW]);
    int32_t zero = 0;
    if (zero_type_ != DType::undefined)
      zero = static_cast<int32_t>(load_element(zero_type_, host_ptr(b.inputs[kXZero]), 0));
    set_igemm_zero(plan_, zero, weights);
    auto* y = host_ptr<int32_t>(b.outputs[0]);
    auto* workspace = host_ptr<std::byte>(b.workspace);
    auto* sums = finishes() ? reinterpret_cast<int32_t*>(workspace + sums_at()) : y;
    epilogue_.y = sums;
    run_igemm(plan_, host_ptr<const void>(b.inputs[kX]), weights, epilogue_, workspace);
    if (finishes()) finish(sums, y);
    return {};
  }

 private:
  static constexpr int64_t kTile = 64;  ///< pixels whose sums stay in the cache while all channels are written

  /// True when the sums are not the output yet.
  [[nodiscard]] bool finishes() const { return planes_ || !offsets_.empty(); }
  [[nodiscard]] int64_t pixels() const { return plan_.shape.images * plan_.shape.out_h * plan_.shape.out_w; }
  [[nodiscard]] size_t sums_at() const { return (plan_.scratch_bytes() + 63) / 64 * 64; }
  [[nodiscard]] size_t sums_bytes() const {
    return static_cast<size_t>(pixels() * plan_.shape.groups * plan_.shape.outputs) * sizeof(int32_t);
  }

  /// y = sums - offset * (the last column of the group); the sums wrap as 32-bit numbers do.
  void finish(const int32_t* sums, int32_t* y) const {
    const int64_t tiles = (image_pixels_ + kTile - 1) / kTile;
    const int64_t images = pixels() / image_pixels_;
    parallel_for(images * tiles, 1, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const int64_t first = t % tiles * kTile;
        finish_tile(sums, y, t / tiles, first, std::min(kTile, image_pixels_ - first));
      }
    });
  }

  void finish_tile(const int32_t* sums, int32_t* y, int64_t image, int64_t first, int64_t count) const {
    const int64_t row = plan_.shape.groups * plan_.shape.outputs;
    const int64_t ones = offsets_.empty() ? 0 : 1;
    const int64_t outputs = plan_.shape.outputs - ones;
    const int64_t channels = plan_.shape.groups * outputs;
    const int64_t pixel = image * image_pixels_ + first;
    for (int64_t g = 0; g < plan_.shape.groups; ++g) {
      const int32_t* from = sums + pixel * row + g * (outputs + ones);
      const int32_t* offset = ones == 0 ? nullptr : offsets_.data() + g * outputs;
      if (planes_)
        to_planes(from, row, outputs, offset, count, y + (image * channels + g * outputs) * image_pixels_ + first);
      else
        to_rows(from, row, outputs, offset, count, y + pixel * channels + g * outputs, channels);
    }
  }

  static int32_t corrected(int32_t sum, uint32_t offset, int32_t total) {
    return static_cast<int32_t>(static_cast<uint32_t>(sum) - offset * static_cast<uint32_t>(total));
  }

  void to_planes(const int32_t* from, int64_t row, int64_t outputs, const int32_t* offset, int64_t count,
                 int32_t* to) const {
    for (int64_t c = 0; c < outputs; ++c) {
      const auto d = offset == nullptr ? 0U : static_cast<uint32_t>(offset[c]);
      for (int64_t p = 0; p < count; ++p)
        to[c * image_pixels_ + p] =
            d == 0 ? from[p * row + c] : corrected(from[p * row + c], d, from[p * row + outputs]);
    }
  }

  /// Only called with offsets: without them the product itself writes rows.
  static void to_rows(const int32_t* from, int64_t row, int64_t outputs, const int32_t* offset, int64_t count,
                      int32_t* to, int64_t to_row) {
    for (int64_t p = 0; p < count; ++p)
      for (int64_t c = 0; c < outputs; ++c)
        to[p * to_row + c] = corrected(from[p * row + c], static_cast<uint32_t>(offset[c]), from[p * row + outputs]);
  }

  kernels::IgemmPlan plan_;
  kernels::QuantizedEpilogue epilogue_;
  std::vector<int32_t> offsets_;  ///< per output channel; empty: all are zero
  DType zero_type_;
  bool planes_;
  int64_t image_pixels_;
  Tensor own_;
};

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant> packed,
                                        const Target& target) {
  const IgemmShape s = PLANISH_TRY(shape_of(view));
  std::vector<int32_t> offsets = zero_offsets(view, s.groups * s.outputs);
  const IgemmKernel& kernel = kernel_for_bytes(s);
  const StoredFormat wanted{kernel.format, needs_ones(offsets)};
  if (!wanted.ones) offsets.clear();
  const IgemmShape product = with_ones(s, wanted.ones);
  Tensor own;
  const bool as_stored = !packed.empty() && parse_format(packed[0].format) == wanted &&
                         packed[0].data.bytes() >= igemm_packed_bytes(product, wanted.igemm);
  if (!as_stored) {
    Tensor weights;
    if (!packed.empty())
      weights = PLANISH_TRY(unpack(view, packed[0]));
    else if (view.constants[kW] != nullptr)
      weights = *view.constants[kW];
    else
      return Error{.code = Code::internal, .node = view.node->name, .what = "weights are missing"};
    own = pack_weights(view, s, wanted, weights);
  }
  const int8_t* data = as_stored ? packed[0].data.data<int8_t>() : own.data<int8_t>();
  const kernels::IgemmInputType type{
      .is_signed = view.inputs[kX].dtype == DType::i8, .never_negative = false, .zero = 0};
  const DType zero_type = view.has_input(kXZero) ? view.inputs[kXZero].dtype : DType::undefined;
  const bool planes = !is_matmul(view) && !lies_channels_last(view.outputs[0]);
  return std::unique_ptr<Kernel>(new IntegerProductRunner(plan_igemm(product, kernel, type, data, target.threads),
                                                          std::move(offsets), zero_type, planes, s.out_h * s.out_w,
                                                          std::move(own)));
}

constexpr std::array<std::string_view, 2> kOps{"MatMulInteger", "ConvInteger"};

}  // namespace

constinit const Tactic kCpuIntegerProduct{.id = "cpu.igemm_integer",
                                          .ops = kOps,
                                          .supports = supports,
                                          .pack = pack,
                                          .prepare = prepare,
                                          .unpack = unpack,
                                          .version = 3};

}  // namespace planish
