// Convolution (with bias, residual and activation) by oneDNN, in any of its layouts.

#include <array>

#include <fmt/format.h>

#include "planish/ops/conv_geometry.h"
#include "planish/tactics/cpu/onednn_internal.h"
#include "planish/tactics/cpu/onednn_tactics.h"

namespace planish {
namespace {

using namespace onednn;
using Md = dnnl::memory::desc;

constexpr size_t kX = 0;
constexpr size_t kW = 1;
constexpr size_t kB = 2;
constexpr size_t kR = 3;

/// Weights as oneDNN sees them: [G,K/G,C/G,R,S] for grouped convolutions, [K,C,R,S] otherwise.
dnnl::memory::dims weight_dims(const NodeView& view) {
  const Shape& w = view.inputs[kW].shape;
  const int64_t groups = view.node->attr_int("group", 1);
  dnnl::memory::dims dims;
  if (groups != 1)
    dims = {groups, w[0] / groups};
  else
    dims = {w[0]};
  dims.insert(dims.end(), w.begin() + 1, w.end());
  return dims;
}

Md plain_weights(const NodeView& view) {
  const auto dims = weight_dims(view);
  return {dims, *data_type(view.inputs[kW].dtype), dnnl::memory::dims(row_major_strides(dims))};
}

using ConvDesc = dnnl::convolution_forward::primitive_desc;

/// `in_place`: the residual is what the output's memory holds.
Result<ConvDesc> describe_conv(const NodeView& view, const Md& weights, bool in_place = false) {
  const Node& node = *view.node;
  const ConvShape conv = PLANISH_TRY(resolve_conv(node, view.inputs[kX].shape, view.inputs[kW].shape));
  const WindowGeometry& g = conv.window;
  PLANISH_TRY(check_reach(node, g));
  if (WhyNot why = wrong_on_amx(view.inputs[kX], conv))
    return Error{.code = Code::unsupported, .node = node.name, .what = std::move(*why)};
  dnnl::memory::dims dilations;
  for (const int64_t d : g.dilations) dilations.push_back(d - 1);
  dnnl::primitive_attr attr = user_scratchpad();
  dnnl::post_ops post;
  const bool residual = view.has_input(kR);
  const bool last = node.attr_int("residual_last", 0) != 0;
  const auto add_residual = [&] {
    if (in_place)
      post.append_sum();
    else
      post.append_binary(dnnl::algorithm::binary_add, describe_image(view.inputs[kR]));
  };
  if (residual && !last) add_residual();
  append_activation(post, node);
  if (residual && last) add_residual();
  attr.set_post_ops(post);
  const Md bias = view.has_input(kB) ? describe(view.inputs[kB]) : Md();
  return ConvDesc(engine(), dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_direct,
                  describe_image(view.inputs[kX]), weights, bias, describe_image(view.outputs[0]), to_dims(g.strides),
                  dilations, to_dims(g.pads_begin), to_dims(g.pads_end), attr);
}

Md any_weights(const NodeView& view) {
  return {weight_dims(view), *data_type(view.inputs[kW].dtype), dnnl::memory::format_tag::any};
}

WhyNot supports(const NodeView& view, const Target&) {
  const TensorDesc& x = view.inputs[kX];
  const TensorDesc& y = view.outputs[0];
  if (x.rank() < 3 || x.rank() > 5) return fmt::format("needs 1 to 3 spatial dimensions, got rank {}", x.rank());
  if (!view.is_constant(kW)) return "needs constant weights";
  if (WhyNot why = float_refusal(view.inputs[kX].dtype)) return why;
  if (view.inputs[kW].dtype != x.dtype) return "needs weights of the input's type";
  if (y.size() == 0 || x.size() == 0) return "the tensor is empty";
  if (view.has_input(kR) && view.inputs[kR] != y) return "needs a residual in the output's shape, type and layout";
  if (x.layout == Layout::row_major && y.layout == Layout::row_major) return "row-major convolution is left to others";
  if (WhyNot why = activation_refusal(*view.node)) return why;
  auto pd = guarded(view, [&] { return describe_conv(view, any_weights(view)); });
  if (!pd.ok()) return pd.error().what;
  if (is_reference_impl(pd->impl_info_str())) return "oneDNN has only its reference here";
  return std::nullopt;
}

Result<std::vector<PackedConstant>> pack(const NodeView& view, const Target&) {
  return guarded(view, [&]() -> Result<std::vector<PackedConstant>> {
    const auto pd = PLANISH_TRY(describe_conv(view, any_weights(view)));
    const std::string format = format_name(pd.weights_desc());
    if (format.empty()) return std::vector<PackedConstant>{};
    Tensor data = reorder(*view.constants[kW], plain_weights(view), pd.weights_desc());
    return std::vector<PackedConstant>{{static_cast<int32_t>(kW), format, std::move(data)}};
  });
}

Result<Tensor> unpack(const NodeView& view, const PackedConstant& p) {
  return guarded(view, [&]() -> Result<Tensor> {
    const Md plain = plain_weights(view);
    const auto from = format_desc(p.format, weight_dims(view), plain.get_data_type());
    if (!from || from->get_size() > p.data.bytes())
      return Error{.code = Code::corrupt, .node = view.node->name, .what = "packed weights have an unknown format"};
    const Tensor bytes = reorder(p.data, *from, plain);
    return Tensor::share(view.inputs[kW].dtype, view.inputs[kW].shape, std::make_shared<Tensor>(bytes), bytes.raw());
  });
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant> packed, const Target&) {
  return guarded(view, [&]() -> Result<std::unique_ptr<Kernel>> {
    Md stored = plain_weights(view);
    if (!packed.empty()) {
      const auto md = format_desc(packed[0].format, weight_dims(view), stored.get_data_type());
      if (!md || md->get_size() > packed[0].data.bytes())
        return Error{.code = Code::unsupported,
                     .node = view.node->name,
                     .what = "packed weights have a format of another oneDNN version"};
      stored = *md;
    }
    // Other shapes than the tuned ones can prefer another weight format; then the kernel keeps a copy of its own.
    auto pd = PLANISH_TRY(describe_conv(view, any_weights(view)));
    bool in_place = false;
    if (view.may_overwrite) {
      auto over = guarded(view, [&] { return describe_conv(view, any_weights(view), true); });
      in_place = over.ok() && same_kernel(*over, pd);
      if (in_place) pd = std::move(*over);
    }
    const bool as_stored = pd.weights_desc() == stored;
    std::vector<PrimitiveKernel::Arg> args{{DNNL_ARG_SRC, pd.src_desc(), false, kX},
                                           {DNNL_ARG_DST, pd.dst_desc(), true, 0}};
    if (as_stored) args.push_back({DNNL_ARG_WEIGHTS, stored, false, kW});
    if (view.has_input(kB)) args.push_back({DNNL_ARG_BIAS, pd.bias_desc(), false, kB});
    if (view.has_input(kR) && !in_place) {
      const bool after =
          view.node->attr_int("residual_last", 0) != 0 && !view.node->attr_string("activation", "").empty();
      args.push_back(
          {DNNL_ARG_ATTR_MULTIPLE_POST_OP(after ? 1 : 0) | DNNL_ARG_SRC_1, describe_image(view.inputs[kR]), false, kR});
    }
    auto kernel = std::make_unique<PrimitiveKernel>(dnnl::convolution_forward(pd), pd.scratchpad_desc(), args,
                                                    pd.impl_info_str());
    if (in_place) kernel->set_overwrites();
    if (!as_stored) PLANISH_TRY(own_weights(*kernel, view, packed, kW, stored, pd.weights_desc()));
    return std::unique_ptr<Kernel>(std::move(kernel));
  });
}

constexpr std::array<std::string_view, 1> kOps{"planish.FusedConv"};

}  // namespace

constinit const Tactic kOneDnnConv{.id = "cpu.onednn.conv",
                                   .ops = kOps,
                                   .supports = supports,
                                   .pack = pack,
                                   .prepare = prepare,
                                   .unpack = unpack,
                                   .overwrites = static_cast<int32_t>(kR),
                                   .version = 2};

}  // namespace planish
