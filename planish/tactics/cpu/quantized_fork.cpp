// planish.QuantizedFork: two integer convolutions that write their channels of every pixel in place, or that write
// tensors of their own which are copied.

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

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

/// Errors: the shapes do not fit.
Result<std::unique_ptr<Parts>> parts_of(const NodeView& view) {
  const TensorDesc& y = view.outputs[0];
  if (y.rank() != 4)
    return Error{.code = Code::unsupported, .node = view.node->name, .what = "needs two spatial dimensions"};
  int64_t channels = 0;
  auto parts = std::make_unique<Parts>();
  for (size_t i = 0; i < kForkParts; ++i) {
    Node& node = parts->nodes[i] = fork_part(*view.node, i);
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
    part.outputs = {{y.dtype, c.output(), Layout::channels_last}};
    channels += c.k;
    Shape whole = c.output();
    whole[1] = y.shape[1];
    if (whole != y.shape || channels > y.shape[1])
      return Error{.code = Code::invalid_model, .node = view.node->name, .what = "the parts do not fit the output"};
  }
  if (channels == y.shape[1]) return parts;
  return Error{.code = Code::invalid_model, .node = view.node->name, .what = "the parts leave channels of the output"};
}

/// In place, which kCpuIgemm alone can: the parts write every pixel's channels into rows of the whole.
template <const Tactic& kPart, bool kInPlace>
struct Fork {
  static WhyNot supports(const NodeView& view, const Target& target) {
    if (view.inputs[0].rank() != 4) return "needs two spatial dimensions";
    if (!lies_channels_last(view.inputs[0]) || !lies_channels_last(view.outputs[0]))
      return "takes channels-last tensors only";
    if (dtype_bits(view.outputs[0].dtype) != 8) return "writes bytes only";
    const auto parts = parts_of(view);
    if (!parts.ok()) return parts.error().what;
    for (const NodeView& part : (*parts)->views)
      if (WhyNot why = kPart.supports(part, target)) return why;
    return std::nullopt;
  }

  static Result<std::vector<PackedConstant>> pack(const NodeView& view, const Target& target) {
    const auto parts = PLANISH_TRY(parts_of(view));
    std::vector<PackedConstant> out;
    for (size_t i = 0; i < kForkParts; ++i)
      for (PackedConstant& p : PLANISH_TRY(kPart.pack(parts->views[i], target))) {
        p.input = static_cast<int32_t>(input_of(i, static_cast<size_t>(p.input)));
        out.push_back(std::move(p));
      }
    return out;
  }

  /// The part whose weights input `input` is, kForkParts when it is no weights.
  static size_t part_of(int32_t input) {
    size_t i = 0;
    while (i < kForkParts && std::cmp_not_equal(input, fork_weights(i))) ++i;
    return i;
  }
  static PackedConstant own(const PackedConstant& p) { return {static_cast<int32_t>(kQuantW), p.format, p.data}; }

  static Result<Tensor> unpack(const NodeView& view, const PackedConstant& packed) {
    const size_t part = part_of(packed.input);
    if (part == kForkParts)
      return Error{.code = Code::corrupt, .node = view.node->name, .what = "packed weights belong to no part"};
    const auto parts = PLANISH_TRY(parts_of(view));
    return kPart.unpack(parts->views[part], own(packed));
  }

  static Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant> packed,
                                                 const Target& target) {
    auto parts = PLANISH_TRY(parts_of(view));
    std::array<std::unique_ptr<Kernel>, kForkParts> kernels;
    for (size_t i = 0; i < kForkParts; ++i) {
      std::vector<PackedConstant> mine;
      for (const PackedConstant& p : packed)
        if (part_of(p.input) == i) mine.push_back(own(p));
      if constexpr (kInPlace)
        kernels[i] = PLANISH_TRY(prepare_igemm_rows(parts->views[i], mine, target, view.outputs[0].shape[1]));
      else
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
          .packs = Tactic::kSeveral,
          .version = 2};
}

}  // namespace

constinit const Tactic kCpuFork = fork_tactic<kCpuIgemm, true>("cpu.fork");
constinit const Tactic kCpuForkOneDnn = fork_tactic<kOneDnnQuantizedConv, false>("cpu.fork.onednn");

}  // namespace planish
