#include "planish/runtime/adapted_kernel.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "planish/tactics/layout_choice.h"

namespace planish {
namespace {

constexpr size_t kAlignment = 64;

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

/// Copies one operand between the caller's memory and a place in the workspace, or between two places there.
struct Conversion {
  size_t index = 0;
  std::optional<size_t> from_bytes;  ///< offset in the workspace; nullopt: the caller's operand
  std::optional<size_t> to_bytes;
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
    for (size_t i = 0; i < outer.inputs.size(); ++i) {
      if (outer.inputs[i] == inner.inputs[i] || is_packed(i)) continue;
      const size_t place = reserve(inner.inputs[i]);
      PLANISH_TRY(add_steps(before_, i, outer.inputs[i], std::nullopt, inner.inputs[i], place, table, target));
      operand_places_.push_back({i, place});
    }
    for (size_t i = 0; i < outer.outputs.size(); ++i) {
      if (outer.outputs[i] == inner.outputs[i]) continue;
      const size_t place = reserve(inner.outputs[i]);
      PLANISH_TRY(add_steps(after_, i, inner.outputs[i], place, outer.outputs[i], std::nullopt, table, target));
      result_places_.push_back({i, place});
    }
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
    const auto memory = [&b](std::span<const DevicePtr> given, size_t index, std::optional<size_t> place) {
      return place ? b.workspace + *place : given[index];
    };
    for (const Conversion& c : before_) {
      const DevicePtr from = memory(b.inputs, c.index, c.from_bytes);
      const DevicePtr to = memory({}, 0, c.to_bytes);
      PLANISH_TRY(c.kernel->run({{&from, 1}, {&to, 1}, scratch, b.stream}));
    }
    for (const auto& [index, place] : operand_places_) inputs_[index] = b.workspace + place;
    for (const auto& [index, place] : result_places_) outputs_[index] = b.workspace + place;
    PLANISH_TRY(inner_->run({inputs_, outputs_, scratch, b.stream}));
    for (const Conversion& c : after_) {
      const DevicePtr from = memory({}, 0, c.from_bytes);
      const DevicePtr to = memory(b.outputs, c.index, c.to_bytes);
      PLANISH_TRY(c.kernel->run({{&from, 1}, {&to, 1}, scratch, b.stream}));
    }
    return {};
  }

 private:
  /// One step, or two where type and layout change: what converts both at once is slow where a type is foreign to the
  /// processor, each by itself is not.
  Status add_steps(std::vector<Conversion>& steps, size_t index, const TensorDesc& from,
                   std::optional<size_t> from_place, const TensorDesc& to, std::optional<size_t> to_place,
                   const TacticTable& table, const Target& target) {
    if (from.dtype == to.dtype || from.layout == to.layout) {
      steps.push_back({index, from_place, to_place, PLANISH_TRY(make_reformat(from, to, table, target))});
      return {};
    }
    // The layout changes in f32.
    TensorDesc middle = from.dtype == DType::f32 ? from : to;
    middle.dtype = DType::f32;
    middle.layout = from.dtype == DType::f32 ? to.layout : from.layout;
    const size_t place = reserve(middle);
    steps.push_back({index, from_place, place, PLANISH_TRY(make_reformat(from, middle, table, target))});
    steps.push_back({index, place, to_place, PLANISH_TRY(make_reformat(middle, to, table, target))});
    return {};
  }

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
  std::vector<std::pair<size_t, size_t>> operand_places_;  ///< (input, offset in the workspace)
  std::vector<std::pair<size_t, size_t>> result_places_;
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
