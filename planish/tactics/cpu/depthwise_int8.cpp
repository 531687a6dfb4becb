// Quantised depthwise convolutions by our own integer kernels.

#include "planish/kernels/cpu/depthwise_int8/depthwise_int8.h"

#include <fmt/format.h>

#include <array>
#include <charconv>

#include "planish/ops/conv_geometry.h"
#include "planish/tactics/cpu/own_tactics.h"
#include "planish/tactics/cpu/quantized_layer.h"
#include "planish/tactics/cpu/window.h"

namespace planish {
namespace {

using kernels::DepthwiseFormat;
using kernels::DepthwiseInt8Kernel;
using kernels::DepthwiseShape;

Result<DepthwiseShape> shape_of(const NodeView& view) {
  const ConvShape c = PLANISH_TRY(resolve_conv(*view.node, view.inputs[kQuantX].shape, view.inputs[kQuantW].shape));
  DepthwiseShape s;
  s.images = c.n;
  s.channels = c.c;
  set_window(c.window, s);
  return s;
}

WhyNot supports(const NodeView& view, const Target&) {
  if (WhyNot why = quantized_refusal(view)) return why;
  const Shape& x = view.inputs[kQuantX].shape;
  const Shape& w = view.inputs[kQuantW].shape;
  if (x.size() != 3 && x.size() != 4) return fmt::format("needs 1 or 2 spatial dimensions, got rank {}", x.size());
  if (view.node->attr_int("group", 1) != x[1] || w[0] != x[1] || w[1] != 1)
    return "needs one filter and one channel per group";
  if (!lies_channels_last(view.inputs[kQuantX]) || !lies_channels_last(view.outputs[0]))
    return "takes channels-last tensors only";
  auto shape = shape_of(view);
  if (!shape.ok()) return shape.error().what;
  for (const DepthwiseInt8Kernel& k : kernels::depthwise_int8_kernels())
    if (cpu_features().has(k.isa) && !depthwise_fits(*shape, k)) return "the window is too large";
  return std::nullopt;
}

std::string format_name(const DepthwiseFormat& f) { return fmt::format("depthwise:{},{}", f.depth, f.block); }

std::optional<DepthwiseFormat> parse_format(std::string_view name) {
  constexpr std::string_view kPrefix = "depthwise:";
  constexpr int32_t kLargest = 1024;
  if (!name.starts_with(kPrefix)) return std::nullopt;
  DepthwiseFormat f;
  const char* end = name.data() + name.size();
  const auto depth = std::from_chars(name.data() + kPrefix.size(), end, f.depth);
  if (depth.ec != std::errc() || depth.ptr == end || *depth.ptr != ',') return std::nullopt;
  const auto block = std::from_chars(depth.ptr + 1, end, f.block);
  if (block.ec != std::errc() || block.ptr != end) return std::nullopt;
  if (f.depth < 1 || f.block < 1 || f.depth > kLargest || f.block > kLargest) return std::nullopt;
  return f;
}

Tensor pack_weights(const DepthwiseShape& s, const DepthwiseFormat& f, const Tensor& weights) {
  Tensor packed(DType::u8, {static_cast<int64_t>(depthwise_packed_bytes(s, f))});
  depthwise_pack(s, f, weights.data<int8_t>(), packed.data<int8_t>());
  return packed;
}

Result<Tensor> unpack(const NodeView& view, const PackedConstant& p) {
  const DepthwiseShape s = PLANISH_TRY(shape_of(view));
  const auto f = parse_format(p.format);
  if (!f || p.data.bytes() < depthwise_packed_bytes(s, *f))
    return Error{.code = Code::corrupt, .node = view.node->name, .what = "packed weights have an unknown format"};
  Tensor weights(DType::i8, view.inputs[kQuantW].shape);
  depthwise_unpack(s, *f, p.data.data<int8_t>(), weights.data<int8_t>());
  return weights;
}

/// A kernel and weights in its form.
struct Choice {
  const DepthwiseInt8Kernel* kernel = nullptr;
  Tensor own;                    ///< packed here; undefined when the engine's weights have the right form
  const int8_t* data = nullptr;  ///< of `own`, or of the engine's
};

/// The fastest kernel of this machine that is exact for the layer's inputs and weights.
Result<Choice> choose(const NodeView& view, const DepthwiseShape& s, const kernels::IgemmInputType& type,
                      std::span<const PackedConstant> packed) {
  Tensor plain;
  if (packed.empty() && view.constants[kQuantW] != nullptr) plain = *view.constants[kQuantW];
  for (const DepthwiseInt8Kernel& k : kernels::depthwise_int8_kernels()) {
    if (!cpu_features().has(k.isa)) continue;
    Choice c{.kernel = &k, .own = {}, .data = nullptr};
    if (!packed.empty() && parse_format(packed[0].format) == k.format &&
        packed[0].data.bytes() >= depthwise_packed_bytes(s, k.format)) {
      c.data = packed[0].data.data<int8_t>();
    } else {
      if (!plain.defined()) {
        if (packed.empty())
          return Error{.code = Code::internal, .node = view.node->name, .what = "weights are missing"};
        plain = PLANISH_TRY(unpack(view, packed[0]));
      }
      c.own = pack_weights(s, k.format, plain);
      c.data = c.own.data<int8_t>();
    }
    if (depthwise_is_exact(k, igemm_max_input(type), depthwise_max_pair(s, k.format, c.data))) return c;
  }
  return Error{.code = Code::internal, .node = view.node->name, .what = "no integer kernel is exact"};
}

Result<std::vector<PackedConstant>> pack(const NodeView& view, const Target&) {
  const DepthwiseShape s = PLANISH_TRY(shape_of(view));
  const QuantizedAttrs attrs = PLANISH_TRY(read_quantized_attrs(*view.node));
  Choice c = PLANISH_TRY(choose(view, s, input_type(view, attrs), {}));
  return std::vector<PackedConstant>{{static_cast<int32_t>(kQuantW), format_name(c.kernel->format), std::move(c.own)}};
}

class DepthwiseRunner final : public Kernel {
 public:
  /// `own`: weights packed here because the engine's have another form; undefined when the engine's serve.
  DepthwiseRunner(kernels::DepthwisePlan plan, QuantizedLayer layer, Tensor own)
      : plan_(std::move(plan)), layer_(std::move(layer)), own_(std::move(own)) {
    layer_.epilogue.y_row = plan_.shape.channels;
  }

  [[nodiscard]] std::string detail() const override { return std::string(plan_.kernel->name); }

  Status run(const Bindings& b) override {
    const auto* weights = own_.defined() ? own_.data<int8_t>() : host_ptr<const int8_t>(b.inputs[kQuantW]);
    run_depthwise_int8(plan_, host_ptr<const void>(b.inputs[kQuantX]), weights, bind_epilogue(layer_, b));
    return {};
  }

 private:
  kernels::DepthwisePlan plan_;
  QuantizedLayer layer_;
  Tensor own_;
};

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant> packed, const Target&) {
  const DepthwiseShape s = PLANISH_TRY(shape_of(view));
  const QuantizedAttrs attrs = PLANISH_TRY(read_quantized_attrs(*view.node));
  const kernels::IgemmInputType type = input_type(view, attrs);
  Choice c = PLANISH_TRY(choose(view, s, type, packed));
  QuantizedLayer layer = PLANISH_TRY(make_quantized_layer(view, s.channels));
  auto plan = plan_depthwise_int8(s, *c.kernel, type.is_signed, type.low, type.zero, c.data);
  return std::unique_ptr<Kernel>(new DepthwiseRunner(std::move(plan), std::move(layer), std::move(c.own)));
}

constexpr std::array<std::string_view, 1> kOps{"planish.QuantizedConv"};

}  // namespace

constinit const Tactic kCpuDepthwiseInt8{.id = "cpu.depthwise_int8",
                                         .ops = kOps,
                                         .supports = supports,
                                         .pack = pack,
                                         .prepare = prepare,
                                         .unpack = unpack,
                                         .version = 3};

}  // namespace planish
