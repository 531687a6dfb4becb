// Change of the physical layout by oneDNN's reorder.

#include <array>

#include "planish/tactics/cpu/onednn_internal.h"
#include "planish/tactics/cpu/onednn_tactics.h"

namespace planish {
namespace {

using namespace onednn;

dnnl::reorder::primitive_desc describe_reorder(const NodeView& view) {
  return {engine(), describe(view.inputs[0]), engine(), describe(view.outputs[0]), user_scratchpad()};
}

WhyNot supports(const NodeView& view, const Target&) {
  if (view.inputs[0].size() == 0) return "the tensor is empty";
  auto made = guarded(view, [&]() -> Status {
    describe_reorder(view);
    return {};
  });
  if (!made.ok()) return made.error().what;
  return std::nullopt;
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant>, const Target&) {
  return guarded(view, [&]() -> Result<std::unique_ptr<Kernel>> {
    auto pd = describe_reorder(view);
    const std::vector<PrimitiveKernel::Arg> args{{DNNL_ARG_FROM, pd.src_desc(), false, 0},
                                                 {DNNL_ARG_TO, pd.dst_desc(), true, 0}};
    return std::unique_ptr<Kernel>(
        new PrimitiveKernel(dnnl::reorder(pd), pd.scratchpad_desc(), args, pd.impl_info_str()));
  });
}

constexpr std::array<std::string_view, 1> kOps{"planish.Reformat"};

}  // namespace

constinit const Tactic kOneDnnReformat{.id = "cpu.onednn.reformat",
                                       .ops = kOps,
                                       .supports = supports,
                                       .pack = nullptr,
                                       .prepare = prepare,
                                       .unpack = nullptr};

}  // namespace planish
