// GlobalAveragePool of channels-last and blocked images: what is a few microseconds of work in front of a classifier is
// done in less time than a library's primitive takes to begin.

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "planish/base/parallel.h"
#include "planish/kernels/cpu/channel_gate/channel_gate.h"
#include "planish/tactics/cpu/float_conv.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {
namespace {

class GlobalMeanRunner final : public Kernel {
 public:
  explicit GlobalMeanRunner(const NodeView& view)
      : images_(view.inputs[0].shape[0]),
        channels_(view.inputs[0].shape[1]),
        pixels_(view.inputs[0].size() / (images_ * channels_)),
        block_(layout_block(view.inputs[0].layout)),
        stored_(stored_channels(view.inputs[0])),
        out_stored_(stored_channels(view.outputs[0])) {}

  [[nodiscard]] std::string detail() const override { return std::string(kernel_.name); }

  Status run(const Bindings& b) override {
    const auto* x = host_ptr<const float>(b.inputs[0]);
    auto* y = host_ptr<float>(b.outputs[0]);
    // Vectors of channels: blocks lie one behind the other, each with all pixels.
    const int64_t width = block_ > 1 ? block_ : kVector;
    const int64_t pixel = block_ > 1 ? block_ : channels_;
    const int64_t vectors = (channels_ + width - 1) / width;
    parallel_for(images_ * vectors, std::max<int64_t>(1, kGrain / (pixels_ * width)), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i % vectors * width;
        const int64_t count = std::min(width, channels_ - first);
        float* to = y + i / vectors * out_stored_ + first;
        std::fill_n(to, std::min(width, out_stored_ - first), 0.0F);
        const float* from = x + i / vectors * stored_ * pixels_ + first * (block_ > 1 ? pixels_ : 1);
        // Sums of pieces: one number after the other would lose what is small beside the sum.
        for (int64_t at = 0; at < pixels_; at += kPiece) {
          std::array<float, kVector> piece{};
          kernel_.add_columns(std::min(kPiece, pixels_ - at), count, pixel, from + at * pixel, piece.data());
          for (int64_t c = 0; c < count; ++c) to[c] += piece[static_cast<size_t>(c)];
        }
        for (int64_t c = 0; c < count; ++c) to[c] /= static_cast<float>(pixels_);
      }
    });
    return {};
  }

 private:
  static constexpr int64_t kVector = 16;    ///< channels at a time where they are not in blocks, and at most
  static constexpr int64_t kPiece = 1024;   ///< pixels
  static constexpr int64_t kGrain = 16384;  ///< floats that make a thread worth waking

  const kernels::ChannelGateKernel& kernel_ = kernels::best_channel_gate_kernel();
  int64_t images_;
  int64_t channels_;
  int64_t pixels_;
  int64_t block_;
  int64_t stored_;
  int64_t out_stored_;
};

WhyNot supports(const NodeView& view, const Target&) {
  const TensorDesc& x = view.inputs[0];
  const TensorDesc& y = view.outputs[0];
  if (x.dtype != DType::f32 || y.dtype != DType::f32)
    return fmt::format("computes in f32, got {}", dtype_name(x.dtype));
  if (x.rank() < 3 || x.size() == 0) return "takes images only";
  if (x.layout == Layout::row_major) return "takes channels-last and blocked images only";
  // One pixel: what is not blocked is the channels one behind the other.
  if (layout_block(y.layout) > 1 && y.layout != x.layout) return "needs the same blocks on both sides";
  return std::nullopt;
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant>, const Target&) {
  return std::unique_ptr<Kernel>(new GlobalMeanRunner(view));
}

constexpr std::array<std::string_view, 1> kOps{"GlobalAveragePool"};

}  // namespace

constinit const Tactic kCpuGlobalMean{
    .id = "cpu.global_mean", .ops = kOps, .supports = supports, .pack = nullptr, .prepare = prepare, .unpack = nullptr};

}  // namespace planish
