// Max and average pooling, also global, by oneDNN.

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "planish/ops/conv_geometry.h"
#include "planish/tactics/cpu/onednn_internal.h"
#include "planish/tactics/cpu/onednn_tactics.h"

namespace planish {
namespace {

using namespace onednn;

struct Window {
  dnnl::memory::dims strides;
  dnnl::memory::dims kernel;
  dnnl::memory::dims dilations;
  dnnl::memory::dims pads_begin;
  dnnl::memory::dims pads_end;
  dnnl::algorithm algorithm = dnnl::algorithm::pooling_max;
};

Result<Window> describe_window(const NodeView& view) {
  const Node& node = *view.node;
  const Shape& x = view.inputs[0].shape;
  Window w;
  if (node.op == "GlobalAveragePool" || node.op == "GlobalMaxPool") {
    const auto spatial = static_cast<size_t>(view.inputs[0].rank() - 2);
    w.kernel.assign(x.begin() + 2, x.end());
    w.strides.assign(spatial, 1);
    w.dilations.assign(spatial, 0);
    w.pads_begin.assign(spatial, 0);
    w.pads_end.assign(spatial, 0);
    w.algorithm =
        node.op == "GlobalMaxPool" ? dnnl::algorithm::pooling_max : dnnl::algorithm::pooling_avg_exclude_padding;
    return w;
  }
  const WindowGeometry g = PLANISH_TRY(resolve_window(node, std::span(x).subspan(2)));
  w.kernel = to_dims(g.kernel);
  w.strides = to_dims(g.strides);
  for (const int64_t d : g.dilations) w.dilations.push_back(d - 1);
  w.pads_begin = to_dims(g.pads_begin);
  for (size_t i = 0; i < g.axes(); ++i) {
    // ceil_mode lets the last window reach beyond the padded input; oneDNN wants that said as padding.
    const int64_t reach = (g.out[i] - 1) * g.strides[i] + g.extent(i);
    w.pads_end.push_back(std::max(reach - g.in[i] - g.pads_begin[i], int64_t{0}));
  }
  const bool include = node.attr_int("count_include_pad", 0) != 0;
  if (node.op == "AveragePool")
    w.algorithm = include ? dnnl::algorithm::pooling_avg_include_padding : dnnl::algorithm::pooling_avg_exclude_padding;
  return w;
}

Result<dnnl::pooling_forward::primitive_desc> describe_pool(const NodeView& view) {
  const Window w = PLANISH_TRY(describe_window(view));
  return dnnl::pooling_forward::primitive_desc(engine(), dnnl::prop_kind::forward_inference, w.algorithm,
                                               describe(view.inputs[0]), describe(view.outputs[0]), w.strides, w.kernel,
                                               w.dilations, w.pads_begin, w.pads_end, user_scratchpad());
}

WhyNot supports(const NodeView& view, const Target&) {
  const TensorDesc& x = view.inputs[0];
  if (x.rank() < 3 || x.rank() > 5) return fmt::format("needs 1 to 3 spatial dimensions, got rank {}", x.rank());
  const bool largest = view.node->op == "MaxPool" || view.node->op == "GlobalMaxPool";
  const bool bytes = x.dtype == DType::i8 || x.dtype == DType::u8;
  if (!largest || !bytes)
    if (WhyNot why = float_refusal(x.dtype)) return why;
  if (view.outputs.size() > 1 && view.outputs[1].present()) return "does not return the indices of the maxima";
  if (x.layout != view.outputs[0].layout) return "needs one layout on both sides";
  if (x.size() == 0 || view.outputs[0].size() == 0) return "the tensor is empty";
  const bool ceil_average = view.node->op == "AveragePool" && view.node->attr_int("ceil_mode", 0) != 0 &&
                            view.node->attr_int("count_include_pad", 0) != 0;
  if (ceil_average) return "counts padding beyond the declared one";
  auto pd = guarded(view, [&] { return describe_pool(view); });
  if (!pd.ok()) return pd.error().what;
  if (is_reference_impl(pd->impl_info_str())) return "oneDNN has only its reference here";
  return std::nullopt;
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant>, const Target&) {
  return guarded(view, [&]() -> Result<std::unique_ptr<Kernel>> {
    auto pd = PLANISH_TRY(describe_pool(view));
    const std::vector<PrimitiveKernel::Arg> args{{DNNL_ARG_SRC, pd.src_desc(), false, 0},
                                                 {DNNL_ARG_DST, pd.dst_desc(), true, 0}};
    return std::unique_ptr<Kernel>(
        new PrimitiveKernel(dnnl::pooling_forward(pd), pd.scratchpad_desc(), args, pd.impl_info_str()));
  });
}

constexpr std::array<std::string_view, 4> kOps{"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"};

}  // namespace

constinit const Tactic kOneDnnPool{
    .id = "cpu.onednn.pool", .ops = kOps, .supports = supports, .pack = nullptr, .prepare = prepare, .unpack = nullptr};

}  // namespace planish
