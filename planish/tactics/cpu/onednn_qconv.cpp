// Quantised convolution (with bias, residual, activation and requantisation) by oneDNN, where it multiplies bytes
// exactly.

#include <array>

#include <fmt/format.h>

#include "planish/ops/conv_geometry.h"
#include "planish/tactics/cpu/onednn_quantized_internal.h"
#include "planish/tactics/cpu/onednn_tactics.h"

namespace planish {
namespace {

using namespace onednn;
using Md = dnnl::memory::desc;
using Type = dnnl::memory::data_type;

int64_t groups_of(const NodeView& view) { return view.node->attr_int("group", 1); }

/// [G,K/G,C/G,R,S] for grouped convolutions, [K,C,R,S] otherwise.
dnnl::memory::dims weight_dims(const NodeView& view) {
  const Shape& w = view.inputs[kQuantW].shape;
  dnnl::memory::dims dims{w[0]};
  if (groups_of(view) != 1) dims = {groups_of(view), w[0] / groups_of(view)};
  dims.insert(dims.end(), w.begin() + 1, w.end());
  return dims;
}

Md plain_weights(const NodeView& view) {
  const auto dims = weight_dims(view);
  return {dims, Type::s8, dnnl::memory::dims(row_major_strides(dims))};
}

Md any_weights(const NodeView& view) { return {weight_dims(view), Type::s8, dnnl::memory::format_tag::any}; }

struct Described {
  dnnl::convolution_forward::primitive_desc pd;
  QuantizedAttrs attrs;
  int residual_post_op = -1;
};

/// `in_place`: the residual is what the output's memory holds.
Result<Described> describe_conv(const NodeView& view, bool in_place = false) {
  const ConvShape conv = PLANISH_TRY(resolve_conv(*view.node, view.inputs[kQuantX].shape, view.inputs[kQuantW].shape));
  const WindowGeometry& g = conv.window;
  PLANISH_TRY(check_reach(*view.node, g));
  if (WhyNot why = wrong_on_amx(view.inputs[kQuantX], conv))
    return Error{.code = Code::unsupported, .node = view.node->name, .what = std::move(*why)};
  Described d;
  d.attrs = PLANISH_TRY(read_quantized_attrs(*view.node));
  dnnl::memory::dims dilations;
  for (const int64_t dilation : g.dilations) dilations.push_back(dilation - 1);
  Md x = describe_image(view.inputs[kQuantX]);
  if (const Type type = first_operand_type(view, d.attrs); type != x.get_data_type()) {
    TensorDesc positive = view.inputs[kQuantX];
    positive.dtype = DType::u8;
    x = describe_image(positive);
  }
  std::optional<Md> residual;
  if (view.has_input(kQuantResidual)) residual = describe_image(view.inputs[kQuantResidual]);
  const int mask = groups_of(view) != 1 ? 3 : 1;
  const QuantizedPrimitive p = quantized_primitive(view, d.attrs, mask, std::nullopt, residual, in_place);
  d.residual_post_op = p.residual_post_op;
  const Md bias = view.has_input(kQuantBias) ? describe(view.inputs[kQuantBias]) : Md();
  d.pd = dnnl::convolution_forward::primitive_desc(engine(), dnnl::prop_kind::forward_inference,
                                                   dnnl::algorithm::convolution_direct, x, any_weights(view), bias,
                                                   describe_image(view.outputs[0]), to_dims(g.strides), dilations,
                                                   to_dims(g.pads_begin), to_dims(g.pads_end), p.attr);
  return d;
}

WhyNot supports(const NodeView& view, const Target&) {
  if (WhyNot why = quantized_product_refusal(view)) return why;
  const TensorDesc& x = view.inputs[kQuantX];
  const TensorDesc& y = view.outputs[0];
  if (x.rank() < 3 || x.rank() > 5) return fmt::format("needs 1 to 3 spatial dimensions, got rank {}", x.rank());
  if (!view.is_constant(kQuantW)) return "needs constant weights";
  if (view.has_input(kQuantResidual) &&
      (view.inputs[kQuantResidual].shape != y.shape || view.inputs[kQuantResidual].layout != y.layout))
    return "needs a residual in the output's shape and layout";
  if (x.layout == Layout::row_major && y.layout == Layout::row_major) return "row-major convolution is left to others";
  auto d = guarded(view, [&] { return describe_conv(view); });
  if (!d.ok()) return d.error().what;
  if (is_reference_impl(d->pd.impl_info_str())) return "oneDNN has only its reference here";
  return std::nullopt;
}

/// Formats with corrections for signed inputs or zero points have no name; then the kernel makes them when it is
/// prepared, and the engine keeps the plain weights.
Result<std::vector<PackedConstant>> pack(const NodeView& view, const Target&) {
  return guarded(view, [&]() -> Result<std::vector<PackedConstant>> {
    const Described d = PLANISH_TRY(describe_conv(view));
    const std::string format = format_name(d.pd.weights_desc());
    if (format.empty()) return std::vector<PackedConstant>{};
    Tensor data = reorder(*view.constants[kQuantW], plain_weights(view), d.pd.weights_desc());
    return std::vector<PackedConstant>{{static_cast<int32_t>(kQuantW), format, std::move(data)}};
  });
}

Result<Md> stored_weights(const NodeView& view, const PackedConstant& p) {
  const auto md = format_desc(p.format, weight_dims(view), Type::s8);
  if (md && md->get_size() <= p.data.bytes()) return *md;
  return Error{
      .code = Code::unsupported, .node = view.node->name, .what = "packed weights have a format of another version"};
}

Result<Tensor> unpack(const NodeView& view, const PackedConstant& p) {
  return guarded(view, [&]() -> Result<Tensor> {
    const Md from = PLANISH_TRY(stored_weights(view, p));
    const Tensor bytes = reorder(p.data, from, plain_weights(view));
    return Tensor::share(DType::i8, view.inputs[kQuantW].shape, std::make_shared<Tensor>(bytes), bytes.raw());
  });
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant> packed, const Target&) {
  return guarded(view, [&]() -> Result<std::unique_ptr<Kernel>> {
    Md stored = plain_weights(view);
    if (!packed.empty()) stored = PLANISH_TRY(stored_weights(view, packed[0]));
    Described d = PLANISH_TRY(describe_conv(view));
    bool in_place = false;
    if (view.may_overwrite) {
      auto over = guarded(view, [&] { return describe_conv(view, true); });
      in_place = over.ok() && same_kernel(over->pd, d.pd);
      if (in_place) d = std::move(*over);
    }
    const bool as_stored = d.pd.weights_desc() == stored;
    std::vector<PrimitiveKernel::Arg> args{{DNNL_ARG_SRC, d.pd.src_desc(), false, kQuantX},
                                           {DNNL_ARG_DST, d.pd.dst_desc(), true, 0}};
    if (as_stored) args.push_back({DNNL_ARG_WEIGHTS, stored, false, kQuantW});
    if (view.has_input(kQuantBias)) args.push_back({DNNL_ARG_BIAS, d.pd.bias_desc(), false, kQuantBias});
    if (d.residual_post_op >= 0)
      args.push_back({DNNL_ARG_ATTR_MULTIPLE_POST_OP(d.residual_post_op) | DNNL_ARG_SRC_1,
                      describe_image(view.inputs[kQuantResidual]), false, kQuantResidual});
    auto kernel = std::make_unique<PrimitiveKernel>(dnnl::convolution_forward(d.pd), d.pd.scratchpad_desc(), args,
                                                    d.pd.impl_info_str());
    if (in_place) kernel->set_overwrites();
    own_quantization(*kernel, view, d.attrs);
    if (!as_stored) PLANISH_TRY(own_weights(*kernel, view, packed, kQuantW, stored, d.pd.weights_desc()));
    return std::unique_ptr<Kernel>(std::move(kernel));
  });
}

constexpr std::array<std::string_view, 1> kOps{"planish.QuantizedConv"};

}  // namespace

constinit const Tactic kOneDnnQuantizedConv{.id = "cpu.onednn.qconv",
                                            .ops = kOps,
                                            .supports = supports,
                                            .pack = pack,
                                            .prepare = prepare,
                                            .unpack = unpack,
                                            .overwrites = static_cast<int32_t>(kQuantResidual),
                                            .version = 3};

}  // namespace planish
