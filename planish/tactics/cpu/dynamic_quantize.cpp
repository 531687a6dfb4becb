// DynamicQuantizeLinear by our own vector loops: one pass for the range, one that quantises.

#include "planish/kernels/cpu/dynamic_quantize/dynamic_quantize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "planish/base/parallel.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {
namespace {

constexpr int64_t kGrain = 16384;

WhyNot supports(const NodeView& view, const Target&) {
  if (view.inputs[0].dtype != DType::f32) return "quantises f32 only";
  // Padding of blocked layouts would count as elements; any order of the real ones serves.
  if (view.inputs[0].layout != view.outputs[0].layout) return "keeps the layout";
  if (layout_block(view.inputs[0].layout) > 1) return "takes row-major and channels-last tensors only";
  return std::nullopt;
}

class DynamicQuantizeRunner final : public Kernel {
 public:
  explicit DynamicQuantizeRunner(int64_t n)
      : n_(n), parts_((n + kGrain - 1) / kGrain), low_(static_cast<size_t>(parts_)), high_(low_) {}

  [[nodiscard]] std::string detail() const override { return std::string(kernels_.id); }

  Status run(const Bindings& b) override {
    const auto* x = host_ptr<const float>(b.inputs[0]);
    auto* y = host_ptr<uint8_t>(b.outputs[0]);
    parallel_for(parts_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) {
        const auto at = static_cast<size_t>(p);
        kernels_.range(size_of(p), x + p * kGrain, &low_[at], &high_[at]);
      }
    });
    float low = 0;
    float high = 0;
    for (const float v : low_) low = std::min(low, v);
    for (const float v : high_) high = std::max(high, v);
    // A constant zero input has no range; any scale represents it.
    const float scale = high > low ? (high - low) / 255.0F : 1.0F;
    const float zero = std::clamp(std::nearbyint(-low / scale), 0.0F, 255.0F);
    const auto zero_point = std::isnan(zero) ? uint8_t{0} : static_cast<uint8_t>(zero);
    parallel_for(parts_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p)
        kernels_.quantize(size_of(p), x + p * kGrain, scale, zero_point, y + p * kGrain);
    });
    if (b.outputs.size() > 1 && b.outputs[1].value != 0) *host_ptr<float>(b.outputs[1]) = scale;
    if (b.outputs.size() > 2 && b.outputs[2].value != 0) *host_ptr<uint8_t>(b.outputs[2]) = zero_point;
    return {};
  }

 private:
  [[nodiscard]] int64_t size_of(int64_t part) const { return std::min(kGrain, n_ - part * kGrain); }

  int64_t n_;
  int64_t parts_;
  std::vector<float> low_;
  std::vector<float> high_;
  const kernels::DynamicQuantizeKernels& kernels_ = kernels::best_dynamic_quantize_kernels();
};

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant>, const Target&) {
  return std::unique_ptr<Kernel>(new DynamicQuantizeRunner(view.inputs[0].size()));
}

constexpr std::array<std::string_view, 1> kOps{"DynamicQuantizeLinear"};

}  // namespace

constinit const Tactic kCpuDynamicQuantize{.id = "cpu.dynamic_quantize",
                                           .ops = kOps,
                                           .supports = supports,
                                           .pack = nullptr,
                                           .prepare = prepare,
                                           .unpack = nullptr};

}  // namespace planish
