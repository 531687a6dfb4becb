// The portable implementations of ops/ as tactics: on the host, and behind the handles of the test device.

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "planish/ops/op.h"
#include "planish/tactics/tactic.h"

namespace planish {
namespace {

using Resolve = void* (*)(DevicePtr);

class ReferenceKernel final : public Kernel {
 public:
  ReferenceKernel(const NodeView& view, Resolve resolve)
      : node_(*view.node), inputs_(view.inputs), outputs_(view.outputs), resolve_(resolve) {}

  Status run(const Bindings& b) override {
    std::vector<Tensor> in(inputs_.size());
    std::vector<const Tensor*> in_ptrs(inputs_.size(), nullptr);
    for (size_t i = 0; i < inputs_.size(); ++i) {
      if (!inputs_[i].present()) continue;
      in[i] = Tensor::borrow(inputs_[i].dtype, inputs_[i].shape, resolve_(b.inputs[i]));
      in_ptrs[i] = &in[i];
    }
    std::vector<Tensor> out(outputs_.size());
    for (size_t i = 0; i < outputs_.size(); ++i)
      if (outputs_[i].present()) out[i] = Tensor::borrow(outputs_[i].dtype, outputs_[i].shape, resolve_(b.outputs[i]));
    return run_reference(node_, in_ptrs, out);
  }

 private:
  Node node_;
  std::vector<TensorDesc> inputs_;
  std::vector<TensorDesc> outputs_;
  Resolve resolve_;
};

WhyNot supports(const NodeView& view, const Target&) {
  const OpDecl* op = find_op(view.node->domain, view.node->op);
  if (op == nullptr || op->reference == nullptr) return "the operator has no reference implementation";
  const auto plain = [](const TensorDesc& d) { return d.layout == Layout::row_major; };
  if (!std::ranges::all_of(view.inputs, plain) || !std::ranges::all_of(view.outputs, plain))
    return "takes row-major tensors only";
  return std::nullopt;
}

void* resolve_host(DevicePtr p) { return host_ptr(p); }

template <Resolve kResolve>
Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant>, const Target&) {
  return std::unique_ptr<Kernel>(new ReferenceKernel(view, kResolve));
}

constexpr Tactic kOpaqueReference{.id = "test.reference",
                                  .ops = {},
                                  .supports = supports,
                                  .pack = nullptr,
                                  .prepare = prepare<opaque_test_resolve>,
                                  .unpack = nullptr};

}  // namespace

constinit const Tactic kHostReferenceTactic{.id = "cpu.reference",
                                            .ops = {},
                                            .supports = supports,
                                            .pack = nullptr,
                                            .prepare = prepare<resolve_host>,
                                            .unpack = nullptr};

const TacticTable& opaque_test_tactics() {
  static const TacticTable table{{&kOpaqueReference}};
  return table;
}

}  // namespace planish
