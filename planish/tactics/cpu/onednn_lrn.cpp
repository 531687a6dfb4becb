// Local response normalisation across channels by oneDNN.

#include <array>

#include <fmt/format.h>

#include "planish/tactics/cpu/onednn_internal.h"
#include "planish/tactics/cpu/onednn_tactics.h"

namespace planish {
namespace {

using namespace onednn;
using Pd = dnnl::lrn_forward::primitive_desc;

/// Both define y = x / (bias + alpha / size * sum of squares)^beta.
Pd describe_lrn(const NodeView& view) {
  const Node& n = *view.node;
  const auto x = describe_image(view.inputs[0]);
  return {engine(),
          dnnl::prop_kind::forward_inference,
          dnnl::algorithm::lrn_across_channels,
          x,
          x,
          n.attr_int("size", 1),
          n.attr_float("alpha", 0.0001F),
          n.attr_float("beta", 0.75F),
          n.attr_float("bias", 1),
          user_scratchpad()};
}

WhyNot supports(const NodeView& view, const Target&) {
  const TensorDesc& x = view.inputs[0];
  if (x.dtype != DType::f32) return fmt::format("computes in f32, got {}", dtype_name(x.dtype));
  if (x.rank() != 4 || x.layout != view.outputs[0].layout) return "takes images in one layout on both sides";
  if (x.size() == 0) return "the tensor is empty";
  if (view.node->attr_int("size", 1) % 2 != 1) return "needs an odd number of channels at a time";
  if (x.shape[1] % layout_block(x.layout) != 0) return "needs whole blocks of channels";
  auto pd = guarded(view, [&]() -> Result<Pd> { return describe_lrn(view); });
  if (!pd.ok()) return pd.error().what;
  return std::nullopt;
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant>, const Target&) {
  return guarded(view, [&]() -> Result<std::unique_ptr<Kernel>> {
    const Pd pd = describe_lrn(view);
    return std::unique_ptr<Kernel>(new PrimitiveKernel(
        dnnl::lrn_forward(pd), pd.scratchpad_desc(),
        {{DNNL_ARG_SRC, pd.src_desc(), false, 0}, {DNNL_ARG_DST, pd.dst_desc(), true, 0}}, pd.impl_info_str()));
  });
}

constexpr std::array<std::string_view, 1> kOps{"LRN"};

}  // namespace

constinit const Tactic kOneDnnLrn{
    .id = "cpu.onednn.lrn", .ops = kOps, .supports = supports, .pack = nullptr, .prepare = prepare, .unpack = nullptr};

}  // namespace planish
