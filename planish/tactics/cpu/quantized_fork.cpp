// planish.QuantizedFork: two integer convolutions that write their channels of every pixel in place, or that write
// tensors of their own which are copied.

#include <algorithm>
#include <array>
#include <cstring>

#include "planish/base/parallel.h"
#include "planish/ops/conv_geometry.h"
#include "planish/ops/quantized_fork.h"
#include "planish/tactics/cpu/onednn_tactics.h"
#include "planish/tactics/cpu/own_tactics.h"
#include "planish/tactics/cpu/quantized_layer.h"

namespace planish {
namespace {

constexpr size_t kPartInputs = 4;

/// The layers as nodes of their own. Views point to the nodes: not copied.
struct Parts {
  std::array<Node, kForkParts> nodes;
  std::array<NodeView, kForkParts> views;
  Parts() = default;
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;
};

size_t input_of(size_t i, size_t slot) { return slot == kQuantX ? 0 : fork_weights(i) + slot - kQuantW; }

/// `in_place`: parts write every pixel's channels into rows of the whole. Errors: the shapes do not fit.
Result<std::unique_ptr<Parts>> parts_of(const NodeView& view, bool in_place) {
  auto parts = std::make_unique<Parts>();
  for (size_t i = 0; i < kForkParts; ++i) {
    Node& node = parts->nodes[i] = fork_part(*view.node, i);
    if (in_place) node.attrs["y_row"] = view.outputs[0].shape[1];
    NodeView& part = parts->views[i];
    part.node = &node;
    part.inputs.resize(kPartInputs);
    part.constants.resize(kPartInputs, nullptr);
    part.constant_inputs.resize(kPartInputs, false);
    for (size_t slot = 0; slot < kPartInputs; ++slot) {
      const size_t from = input_of(i, slot);
      if (!view.has_input(from)) continue;
      part.inputs[slot] = view.inputs[from];
      part.constants[slot] = view.constants[from];
      part.constant_inputs[slot] = view.is_constant(from);
    }
    const ConvShape c = PLANISH_TRY(resolve_conv(node, part.inputs[kQuantX].shape, part.inputs[kQuantW].shape));
    part.outputs = {{view.outputs[0].dtype, c.output(), Layout::channels_last}};
  }
  return parts;
}

template <const Tactic& kPart, bool kInPlace>
struct Fork {
  static WhyNot supports(const NodeView& view, const Target& target) {
    if (view.inputs[0].rank() != 4) return "needs two spatial dimensions";
    if (!lies_channels_last(view.inputs[0]) || !lies_channels_last(view.outputs[0]))
      return "takes channels-last tensors only";
    if (dtype_bits(view.outputs[0].dtype) != 8) return "writes bytes only";
    const auto parts = parts_of(view, kInPlace);
    if (!parts.ok()) return parts.error().what;
    for (const NodeView& part : (*parts)->views)
      if (WhyNot why = kPart.supports(part, target)) return why;
    return std::nullopt;
  }

  static Result<std::vector<PackedConstant>> pack(const NodeView& view, const Target& target) {
    const auto parts = PLANISH_TRY(parts_of(view, kInPlace));
    std::vector<PackedConstant> out;
    for (size_t i = 0; i < kForkParts; ++i)
      for (PackedConstant& p : PLANISH_TRY(kPart.pack(parts->views[i], target))) {
        p.input = static_cast<int32_t>(input_of(i, static_cast<size_t>(p.input)));
        out.push_back(std::move(p));
      }
    return out;
  }

  static size_t part_of(size_t input) { return (input - fork_weights(0)) / (fork_weights(1) - fork_weights(0)); }
  static PackedConstant own(const PackedConstant& p) {
    const auto input = static_cast<size_t>(p.input);
    return {static_cast<int32_t>(input - fork_weights(part_of(input)) + kQuantW), p.format, p.data};
  }

  static Result<Tensor> unpack(const NodeView& view, const PackedConstant& packed) {
    const auto parts = PLANISH_TRY(parts_of(view, kInPlace));
    return kPart.unpack(parts->views[part_of(static_cast<size_t>(packed.input))], own(packed));
  }

  static Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant> packed,
                                                 const Target& target) {
    auto parts = PLANISH_TRY(parts_of(view, kInPlace));
    std::array<std::unique_ptr<Kernel>, kForkParts> kernels;
    for (size_t i = 0; i < kForkParts; ++i) {
      std::vector<PackedConstant> mine;
      for (const PackedConstant& p : packed)
        if (part_of(static_cast<size_t>(p.input)) == i) mine.push_back(own(p));
      kernels[i] = PLANISH_TRY(kPart.prepare(parts->views[i], mine, target));
    }
    return std::unique_ptr<Kernel>(new Runner(std::move(parts), std::move(kernels)));
  }

  class Runner final : public Kernel {
   public:
    Runner(std::unique_ptr<Parts> parts, std::array<std::unique_ptr<Kernel>, kForkParts> kernels)
        : parts_(std::move(parts)), kernels_(std::move(kernels)) {
      constexpr size_t kAlignment = 64;
      for (size_t i = 0; i < kForkParts; ++i) {
        const TensorDesc& y = parts_->views[i].outputs[0];
        channels_[i] = static_cast<size_t>(y.shape[1]);
        pixels_ = y.size() / y.shape[1];
        offsets_[i] = own_bytes_;
        if (!kInPlace) own_bytes_ += (y.bytes() + kAlignment - 1) / kAlignment * kAlignment;
      }
    }

    [[nodiscard]] size_t workspace_bytes() const override {
      return own_bytes_ + std::max(kernels_[0]->workspace_bytes(), kernels_[1]->workspace_bytes());
    }
    [[nodiscard]] std::string detail() const override { return kernels_[0]->detail() + "+" + kernels_[1]->detail(); }

    Status run(const Bindings& b) override {
      std::array<DevicePtr, kForkParts> made{b.outputs[0], DevicePtr{b.outputs[0].value + channels_[0]}};
      for (size_t i = 0; i < kForkParts; ++i) {
        std::array<DevicePtr, kPartInputs> inputs{};
        for (size_t slot = 0; slot < kPartInputs; ++slot)
          if (const size_t from = input_of(i, slot); from < b.inputs.size()) inputs[slot] = b.inputs[from];
        if (!kInPlace) made[i] = DevicePtr{b.workspace.value + offsets_[i]};
        const std::array<DevicePtr, 1> y{made[i]};
        PLANISH_TRY(kernels_[i]->run({inputs, y, DevicePtr{b.workspace.value + own_bytes_}, b.stream}));
      }
      if (!kInPlace)
        copy(host_ptr<const uint8_t>(made[0]), host_ptr<const uint8_t>(made[1]), host_ptr<uint8_t>(b.outputs[0]));
      return {};
    }

   private:
    void copy(const uint8_t* first, const uint8_t* second, uint8_t* y) const {
      constexpr int64_t kPixelsPerThread = 256;
      const auto [a, c] = channels_;
      parallel_for(pixels_, kPixelsPerThread, [&, a = a, c = c](int64_t begin, int64_t end) {
        for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
          std::memcpy(y + i * (a + c), first + i * a, a);
          std::memcpy(y + i * (a + c) + a, second + i * c, c);
        }
      });
    }

    std::unique_ptr<Parts> parts_;
    std::array<std::unique_ptr<Kernel>, kForkParts> kernels_;
    std::array<size_t, kForkParts> channels_{};
    std::array<size_t, kForkParts> offsets_{};
    size_t own_bytes_ = 0;
    int64_t pixels_ = 0;
  };
};

constexpr std::array<std::string_view, 1> kOps{"planish.QuantizedFork"};

template <const Tactic& kPart, bool kInPlace>
constexpr Tactic fork_tactic(std::string_view id) {
  using F = Fork<kPart, kInPlace>;
  return {.id = id,
          .ops = kOps,
          .supports = F::supports,
          .pack = F::pack,
          .prepare = F::prepare,
          .unpack = F::unpack,
          .packs = Tactic::kSeveral};
}

}  // namespace

constinit const Tactic kCpuFork = fork_tactic<kCpuIgemm, true>("cpu.fork");
constinit const Tactic kCpuForkOneDnn = fork_tactic<kOneDnnQuantizedConv, false>("cpu.fork.onednn");

}  // namespace planish
