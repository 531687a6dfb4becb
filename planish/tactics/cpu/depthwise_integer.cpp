// Depthwise ConvInteger with constant weights by the kernels of quantised depthwise convolutions. The zero point of the
// input may be one that only the run knows (dynamic quantisation).
//
// As in integer_products.cpp, weights without sign are moved by 128 into signed bytes, and what is left of their zero
// points, d[c], is taken off behind: sum(x * (w - d)) = sum(x * w) - d * sum(x), where a second run with weights of one
// makes sum(x). Both runs are a small part of what the layer's floats around them take.

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "planish/base/parallel.h"
#include "planish/kernels/cpu/depthwise_int8/depthwise_int8.h"
#include "planish/ops/conv_geometry.h"
#include "planish/tactics/cpu/own_tactics.h"
#include "planish/tactics/cpu/quantized_layer.h"
#include "planish/tactics/cpu/window.h"

namespace planish {
namespace {

using kernels::DepthwiseInt8Kernel;
using kernels::DepthwisePlan;
using kernels::DepthwiseShape;

constexpr size_t kX = 0;
constexpr size_t kW = 1;
constexpr size_t kXZero = 2;
constexpr size_t kWZero = 3;

bool is_byte(DType t) { return t == DType::i8 || t == DType::u8; }

Result<DepthwiseShape> shape_of(const NodeView& view) {
  const ConvShape c = PLANISH_TRY(resolve_conv(*view.node, view.inputs[kX].shape, view.inputs[kW].shape));
  DepthwiseShape s;
  s.images = c.n;
  s.channels = c.c;
  set_window(c.window, s);
  return s;
}

/// The fastest kernel of this machine that is exact for all bytes.
const DepthwiseInt8Kernel& kernel_for_bytes() {
  const auto table = kernels::depthwise_int8_kernels();
  for (const DepthwiseInt8Kernel& k : table)
    if (cpu_features().has(k.isa) && depthwise_is_exact(k, 255)) return k;
  return table.back();
}

WhyNot supports(const NodeView& view, const Target&) {
  const TensorDesc& x = view.inputs[kX];
  const TensorDesc& w = view.inputs[kW];
  if (!is_byte(x.dtype) || !is_byte(w.dtype)) return "multiplies bytes only";
  if (!view.is_constant(kW)) return "needs constant weights";
  if (x.size() == 0 || w.size() == 0 || view.outputs[0].size() == 0) return "the tensor is empty";
  if (view.has_input(kXZero) && view.inputs[kXZero].size() != 1) return "needs one zero point for the whole input";
  if (view.has_input(kWZero) && (!view.is_constant(kWZero) || view.inputs[kWZero].rank() > 1))
    return "needs constant zero points of the weights, one or one per channel";
  if (x.rank() != 3 && x.rank() != 4) return fmt::format("needs 1 or 2 spatial dimensions, got rank {}", x.rank());
  if (view.node->attr_int("group", 1) != x.shape[1] || w.shape[0] != x.shape[1] || w.shape[1] != 1)
    return "needs one filter and one channel per group";
  if (!lies_channels_last(x) || !lies_channels_last(view.outputs[0])) return "takes channels-last tensors only";
  auto shape = shape_of(view);
  if (!shape.ok()) return shape.error().what;
  if (!depthwise_fits(*shape, kernel_for_bytes())) return "the window is too large";
  return std::nullopt;
}

/// Weights of a pass in the kernel's form, and its plan.
class Pass {
 public:
  Pass(const DepthwiseShape& s, bool is_signed, const std::vector<int8_t>& weights)
      : packed_(depthwise_packed_bytes(s, kernel_for_bytes().format)) {
    const DepthwiseInt8Kernel& kernel = kernel_for_bytes();
    depthwise_pack(s, kernel.format, weights.data(), packed_.data());
    plan_ = plan_depthwise_int8(s, kernel, is_signed, -128, 0, packed_.data());
  }

  void run(const void* x, int32_t zero, int32_t* y) {
    set_zero(zero);
    kernels::QuantizedEpilogue epilogue;
    epilogue.y_type = kernels::QuantizedType::i32;
    epilogue.y_row = plan_.shape.channels;
    epilogue.y = y;
    run_depthwise_int8(plan_, x, packed_.data(), epilogue);
  }

 private:
  /// The sums of the weights, which start values are made of, lie behind them.
  void set_zero(int32_t zero) {
    if (plan_.zero == zero) return;
    plan_.zero = zero;
    const auto channels = static_cast<size_t>(plan_.shape.channels);
    const int8_t* sums = packed_.data() + packed_.size() - channels * sizeof(int32_t);
    for (size_t c = 0; c < channels; ++c) {
      int32_t sum = 0;
      std::memcpy(&sum, sums + c * sizeof(sum), sizeof(sum));
      plan_.start[c] = -(zero + plan_.shift) * sum;
    }
  }

  std::vector<int8_t> packed_;
  DepthwisePlan plan_;
};

class DepthwiseIntegerRunner final : public Kernel {
 public:
  /// `offsets`: d of every channel; empty when all are zero.
  DepthwiseIntegerRunner(Pass product, std::optional<Pass> total, std::vector<int32_t> offsets, DType zero_type,
                         int64_t pixels)
      : product_(std::move(product)),
        total_(std::move(total)),
        offsets_(std::move(offsets)),
        zero_type_(zero_type),
        pixels_(pixels) {}

  [[nodiscard]] size_t workspace_bytes() const override {
    return static_cast<size_t>(pixels_) * offsets_.size() * sizeof(int32_t);
  }
  [[nodiscard]] std::string detail() const override { return std::string(kernel_for_bytes().name); }

  Status run(const Bindings& b) override {
    int32_t zero = 0;
    if (zero_type_ != DType::undefined)
      zero = static_cast<int32_t>(load_element(zero_type_, host_ptr(b.inputs[kXZero]), 0));
    const auto* x = host_ptr<const void>(b.inputs[kX]);
    auto* y = host_ptr<int32_t>(b.outputs[0]);
    product_.run(x, zero, y);
    if (!total_) return {};
    auto* totals = host_ptr<int32_t>(b.workspace);
    total_->run(x, zero, totals);
    const auto channels = static_cast<int64_t>(offsets_.size());
    parallel_for(pixels_, 256, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p)
        for (int64_t c = 0; c < channels; ++c)
          y[p * channels + c] -= offsets_[static_cast<size_t>(c)] * totals[p * channels + c];
    });
    return {};
  }

 private:
  Pass product_;
  std::optional<Pass> total_;
  std::vector<int32_t> offsets_;
  DType zero_type_;
  int64_t pixels_;
};

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant> packed, const Target&) {
  const DepthwiseShape s = PLANISH_TRY(shape_of(view));
  const Tensor* weights = view.constants[kW];
  if (weights == nullptr && !packed.empty()) weights = &packed[0].data;
  if (weights == nullptr) return Error{.code = Code::internal, .node = view.node->name, .what = "weights are missing"};
  const bool flipped = weights->dtype() == DType::u8;
  std::vector<int8_t> bytes(static_cast<size_t>(weights->size()));
  for (int64_t i = 0; i < weights->size(); ++i)
    bytes[static_cast<size_t>(i)] = static_cast<int8_t>(weights->int_at(i) - (flipped ? 128 : 0));
  const Tensor* zero = view.has_input(kWZero) ? view.constants[kWZero] : nullptr;
  std::vector<int32_t> offsets(static_cast<size_t>(s.channels), flipped ? -128 : 0);
  for (int64_t c = 0; zero != nullptr && c < s.channels; ++c)
    offsets[static_cast<size_t>(c)] += static_cast<int32_t>(zero->int_at(zero->size() == 1 ? 0 : c));
  if (std::ranges::all_of(offsets, [](int32_t d) { return d == 0; })) offsets.clear();
  const bool is_signed = view.inputs[kX].dtype == DType::i8;
  std::optional<Pass> total;
  if (!offsets.empty()) total.emplace(s, is_signed, std::vector<int8_t>(bytes.size(), 1));
  const DType zero_type = view.has_input(kXZero) ? view.inputs[kXZero].dtype : DType::undefined;
  return std::unique_ptr<Kernel>(new DepthwiseIntegerRunner(
      Pass(s, is_signed, bytes), std::move(total), std::move(offsets), zero_type, s.images * s.out_h * s.out_w));
}

constexpr std::array<std::string_view, 1> kOps{"ConvInteger"};

}  // namespace

constinit const Tactic kCpuDepthwiseInteger{.id = "cpu.depthwise_integer",
                                            .ops = kOps,
                                            .supports = supports,
                                            .pack = nullptr,
                                            .prepare = prepare,
                                            .unpack = nullptr};

}  // namespace planish
