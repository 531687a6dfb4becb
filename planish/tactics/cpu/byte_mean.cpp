// Means over all pixels of quantised channels-last images (planish.QuantizedGlobalAveragePool) from exact sums.

#include <algorithm>
#include <array>
#include <vector>

#include <fmt/format.h>

#include "planish/base/parallel.h"
#include "planish/kernels/cpu/byte_column_sums/byte_column_sums.h"
#include "planish/tactics/cpu/own_tactics.h"
#include "planish/tactics/cpu/quantized_layer.h"

namespace planish {
namespace {

constexpr int64_t kChannelsPerPart = 64;  // a cache line of each pixel

WhyNot supports(const NodeView& view, const Target&) {
  const TensorDesc& x = view.inputs[0];
  constexpr int64_t kMaxPixels = int64_t{1} << 23;  // their sum fits 32 bits
  if (x.size() == 0) return "the tensor is empty";
  if (!lies_channels_last(x)) return "takes channels-last tensors only";
  if (layout_block(view.outputs[0].layout) > 1) return "writes channels side by side";
  const int64_t pixels = x.size() / (x.shape[0] * x.shape[1]);
  if (pixels > kMaxPixels) return fmt::format("sums {} pixels at most, got {}", kMaxPixels, pixels);
  return std::nullopt;
}

class ByteMeanRunner final : public Kernel {
 public:
  explicit ByteMeanRunner(const NodeView& view)
      : images_(view.inputs[0].shape[0]),
        channels_(view.inputs[0].shape[1]),
        pixels_(view.inputs[0].size() / (images_ * channels_)),
        is_signed_(view.inputs[0].dtype == DType::i8),
        factor_(view.node->attr_float("x_scale", 1) / static_cast<float>(pixels_)),
        offset_(view.node->attr_float("x_scale", 1) * -static_cast<float>(view.node->attr_int("x_zero", 0))) {}

  Status run(const Bindings& b) override {
    const auto* x = host_ptr<const uint8_t>(b.inputs[0]);
    auto* y = host_ptr<float>(b.outputs[0]);
    const int64_t parts = (channels_ + kChannelsPerPart - 1) / kChannelsPerPart;
    constexpr int64_t kBytesPerThread = 65536;
    const int64_t grain = std::max<int64_t>(1, kBytesPerThread / (pixels_ * kChannelsPerPart));
    parallel_for(images_ * parts, grain, [&](int64_t begin, int64_t end) {
      std::array<int32_t, kChannelsPerPart> sums;
      for (int64_t item = begin; item < end; ++item) {
        const int64_t image = item / parts;
        const int64_t channel = item % parts * kChannelsPerPart;
        const int64_t count = std::min(kChannelsPerPart, channels_ - channel);
        kernels::best_byte_column_sums_kernel().fn(pixels_, count, channels_, x + image * pixels_ * channels_ + channel,
                                                   is_signed_, sums.data());
        for (int64_t c = 0; c < count; ++c)
          y[image * channels_ + channel + c] = static_cast<float>(sums[static_cast<size_t>(c)]) * factor_ + offset_;
      }
    });
    return {};
  }

  [[nodiscard]] std::string detail() const override {
    return std::string(kernels::best_byte_column_sums_kernel().name);
  }

 private:
  int64_t images_;
  int64_t channels_;
  int64_t pixels_;
  bool is_signed_;
  float factor_;
  float offset_;
};

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant>, const Target&) {
  return std::unique_ptr<Kernel>(new ByteMeanRunner(view));
}

constexpr std::array<std::string_view, 1> kOps{"planish.QuantizedGlobalAveragePool"};

}  // namespace

constinit const Tactic kCpuByteMean{
    .id = "cpu.byte_mean", .ops = kOps, .supports = supports, .pack = nullptr, .prepare = prepare, .unpack = nullptr};

}  // namespace planish
