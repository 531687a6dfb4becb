#include "planish/runtime/adapted_kernel.h"

#include <algorithm>

#include "planish/tactics/layout_choice.h"

namespace planish {
namespace {

constexpr size_t kAlignment = 64;

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

/// Copies one operand between the caller's memory and a place in the workspace.
struct Conversion {
  size_t index = 0;
  size_t offset_bytes = 0;
  std::unique_ptr<Kernel> kernel;
};

Result<std::unique_ptr<Kernel>> make_reformat(const TensorDesc& from, const TensorDesc& to, const TacticTable& table,
                                              const Target& target) {
  Node node;
  const NodeView view = reformat_view(from, to.layout, node, to.dtype);
  std::vector<Refusal> refusals;
  for (const Tactic* tactic : supporting_tactics(table, view, target, &refusals)) {
    auto kernel = tactic->prepare(view, {}, target);
    if (kernel.ok()) return kernel;
    refusals.push_back({std::string(tactic->id), kernel.error().message()});
  }
  return no_tactic_error(view, refusals);
}

class AdaptedKernel final : public Kernel {
 public:
  AdaptedKernel(std::unique_ptr<Kernel> inner, const NodeView& view)
      : inner_(std::move(inner)), inputs_(view.inputs.size()), outputs_(view.outputs.size()) {}

  Status convert(const NodeView& inner, const NodeView& outer, std::span<const PackedConstant> packed,
                 const TacticTable& table, const Target& target) {
    const auto is_packed = [&packed](size_t i) {
      return std::ranges::any_of(packed, [i](const PackedConstant& p) { return static_cast<size_t>(p.input) == i; });
    };
    for (size_t i = 0; i < outer.inputs.size(); ++i)
      if (outer.inputs[i] != inner.inputs[i] && !is_packed(i))
        before_.push_back(
            {i, reserve(inner.inputs[i]), PLANISH_TRY(make_reformat(outer.inputs[i], inner.inputs[i], table, target))});
    for (size_t i = 0; i < outer.outputs.size(); ++i)
      if (outer.outputs[i] != inner.outputs[i])
        after_.push_back({i, reserve(inner.outputs[i]),
                          PLANISH_TRY(make_reformat(inner.outputs[i], outer.outputs[i], table, target))});
    scratch_bytes_ = inner_->workspace_bytes();
    for (const auto* list : {&before_, &after_})
      for (const Conversion& c : *list) scratch_bytes_ = std::max(scratch_bytes_, c.kernel->workspace_bytes());
    return {};
  }

  [[nodiscard]] size_t workspace_bytes() const override { return operand_bytes_ + scratch_bytes_; }
  [[nodiscard]] std::string detail() const override { return inner_->detail(); }

  Status run(const Bindings& b) override {
    std::ranges::copy(b.inputs, inputs_.begin());
    std::ranges::copy(b.outputs, outputs_.begin());
    const DevicePtr scratch = b.workspace + operand_bytes_;
    for (const Conversion& c : before_) {
      inputs_[c.index] = b.workspace + c.offset_bytes;
      PLANISH_TRY(c.kernel->run({b.inputs.subspan(c.index, 1), {&inputs_[c.index], 1}, scratch, b.stream}));
    }
    for (const Conversion& c : after_) outputs_[c.index] = b.workspace + c.offset_bytes;
    PLANISH_TRY(inner_->run({inputs_, outputs_, scratch, b.stream}));
    for (const Conversion& c : after_)
      PLANISH_TRY(c.kernel->run({{&outputs_[c.index], 1}, b.outputs.subspan(c.index, 1), scratch, b.stream}));
    return {};
  }

 private:
  size_t reserve(const TensorDesc& desc) {
    const size_t offset = operand_bytes_;
    operand_bytes_ += aligned(desc.bytes());
    return offset;
  }

  std::unique_ptr<Kernel> inner_;
  std::vector<DevicePtr> inputs_;
  std::vector<DevicePtr> outputs_;
  std::vector<Conversion> before_;
  std::vector<Conversion> after_;
  size_t operand_bytes_ = 0;
  size_t scratch_bytes_ = 0;
};

}  // namespace

Result<std::unique_ptr<Kernel>> adapt_forms(std::unique_ptr<Kernel> inner, const NodeView& inner_view,
                                            const NodeView& outer_view, std::span<const PackedConstant> packed,
                                            const TacticTable& table, const Target& target) {
  auto kernel = std::make_unique<AdaptedKernel>(std::move(inner), inner_view);
  PLANISH_TRY(kernel->convert(inner_view, outer_view, packed, table, target));
  return std::unique_ptr<Kernel>(std::move(kernel));
}

}  // namespace planish
