// Images times one number per channel, in blocked layouts and also where the last block is padded: the gates of
// squeeze-and-excite blocks, where these are not one layer with what is around them.

#include "planish/kernels/cpu/channel_gate/channel_gate.h"

#include <algorithm>
#include <array>

#include "planish/base/parallel.h"
#include "planish/tactics/cpu/float_conv.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {
namespace {

constexpr size_t kLast = 1;  ///< exporters put the image behind the gate

/// The operand that is as large as the result.
size_t image_of(const NodeView& view) { return view.inputs[kLast].shape == view.outputs[0].shape ? kLast : 1 - kLast; }

class ChannelGateRunner final : public Kernel {
 public:
  explicit ChannelGateRunner(const NodeView& view)
      : image_(image_of(view)),
        overwrites_(view.may_overwrite && image_ == kLast),
        block_(layout_block(view.outputs[0].layout)),
        channels_(view.outputs[0].shape[1]),
        blocks_(stored_channels(view.outputs[0]) / block_),
        images_(view.outputs[0].shape[0]),
        pixels_(view.outputs[0].size() / (images_ * channels_)),
        gate_stride_(stored_channels(view.inputs[1 - image_])) {}

  [[nodiscard]] bool overwrites() const override { return overwrites_; }
  [[nodiscard]] std::string detail() const override { return std::string(kernel_.name); }

  Status run(const Bindings& b) override {
    const auto* gates = host_ptr<const float>(b.inputs[1 - image_]);
    auto* y = host_ptr<float>(b.outputs[0]);
    const auto* x = overwrites_ ? y : host_ptr<const float>(b.inputs[image_]);
    parallel_for(images_ * blocks_ * pixels_, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t at = begin; at < end;) {
        const int64_t block = at / pixels_;
        const int64_t count = std::min(end - at, pixels_ - at % pixels_);
        // Zeros for the padding, which is zero times them again.
        std::array<float, kMostBlock> factors{};
        const int64_t first = block % blocks_ * block_;
        std::copy_n(gates + block / blocks_ * gate_stride_ + first, std::min(block_, channels_ - first),
                    factors.begin());
        kernel_.scale_columns(count, block_, block_, x + at * block_, factors.data(), y + at * block_);
        at += count;
      }
    });
    return {};
  }

  static constexpr int64_t kMostBlock = 16;

 private:
  static constexpr int64_t kGrain = 128;  ///< pixels of a block

  const kernels::ChannelGateKernel& kernel_ = kernels::best_channel_gate_kernel();
  size_t image_;
  bool overwrites_;
  int64_t block_;
  int64_t channels_;
  int64_t blocks_;
  int64_t images_;
  int64_t pixels_;
  int64_t gate_stride_;
};

WhyNot supports(const NodeView& view, const Target&) {
  const TensorDesc& y = view.outputs[0];
  const TensorDesc& x = view.inputs[image_of(view)];
  const TensorDesc& gates = view.inputs[1 - image_of(view)];
  if (x.dtype != DType::f32 || gates.dtype != DType::f32) return "computes in f32";
  const int64_t block = layout_block(y.layout);
  if (y.rank() < 3) return "takes images only";
  if (block <= 1 || block > ChannelGateRunner::kMostBlock || x.layout != y.layout) return "takes blocked images only";
  if (x.shape != y.shape || y.size() == 0) return "needs an operand as large as the result";
  const bool per_channel = gates.rank() == y.rank() && gates.shape[0] == y.shape[0] && gates.shape[1] == y.shape[1] &&
                           gates.size() == y.shape[0] * y.shape[1];
  return per_channel ? std::nullopt : WhyNot("needs one number per image and channel");
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant>, const Target&) {
  return std::unique_ptr<Kernel>(new ChannelGateRunner(view));
}

constexpr std::array<std::string_view, 1> kOps{"Mul"};

}  // namespace

constinit const Tactic kCpuChannelGate{.id = "cpu.channel_gate",
                                       .ops = kOps,
                                       .supports = supports,
                                       .pack = nullptr,
                                       .prepare = prepare,
                                       .unpack = nullptr,
                                       .overwrites = static_cast<int32_t>(kLast)};

}  // namespace planish
