// GroupNormalization and InstanceNormalization (one channel per group) over row-major tensors, by our row loops.

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "planish/base/parallel.h"
#include "planish/kernels/cpu/rows/rows.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {
namespace {

struct Groups {
  int64_t batch = 0;
  int64_t groups = 0;
  int64_t channels = 0;  ///< of one group
  int64_t plane = 0;     ///< elements of one channel
  float epsilon = 1e-5F;
};

Groups groups_of(const NodeView& view) {
  const TensorDesc& x = view.inputs[0];
  Groups g{.batch = x.shape[0]};
  const int64_t channels = x.shape[1];
  g.groups = view.node->op == "InstanceNormalization" ? channels : view.node->attr_int("num_groups", 1);
  if (g.groups > 0) g.channels = channels / g.groups;
  if (x.size() > 0) g.plane = x.size() / (g.batch * channels);
  g.epsilon = view.node->attr_float("epsilon", 1e-5F);
  return g;
}

WhyNot supports(const NodeView& view, const Target&) {
  for (size_t i = 0; i < view.inputs.size(); ++i) {
    if (view.inputs[i].dtype != DType::f32)
      return fmt::format("computes in f32, got {}", dtype_name(view.inputs[i].dtype));
    if (view.inputs[i].layout != Layout::row_major) return "takes row-major tensors only";
  }
  const TensorDesc& y = view.outputs[0];
  if (y.dtype != DType::f32 || y.layout != Layout::row_major) return "writes row-major f32 only";
  if (view.inputs.size() < 3 || view.inputs[0].rank() < 2 || view.inputs[0].size() == 0)
    return "needs an input [N,C,...] with elements, a scale and a bias";
  const Groups g = groups_of(view);
  const int64_t channels = view.inputs[0].shape[1];
  if (g.groups <= 0 || channels % g.groups != 0 || view.inputs[1].size() != channels ||
      view.inputs[2].size() != channels)
    return "the groups, the scale or the bias do not fit the channels";
  return std::nullopt;
}

class GroupNormKernel final : public Kernel {
 public:
  explicit GroupNormKernel(const Groups& groups) : g_(groups) {}
  [[nodiscard]] std::string detail() const override { return std::string(kernels_.name); }

  Status run(const Bindings& b) override {
    const auto* x = host_ptr<const float>(b.inputs[0]);
    const auto* scale = host_ptr<const float>(b.inputs[1]);
    const auto* bias = host_ptr<const float>(b.inputs[2]);
    auto* y = host_ptr<float>(b.outputs[0]);
    const int64_t size = g_.channels * g_.plane;
    parallel_for(g_.batch * g_.groups, std::max<int64_t>(1, 8192 / size), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const float* from = x + row * size;
        const auto n = static_cast<double>(size);
        const double mean = in_parts(size, from, [this](int64_t m, const float* p) { return kernels_.sum(m, p); }) / n;
        const auto center = static_cast<float>(mean);
        const double variance =
            in_parts(size, from, [&](int64_t m, const float* p) { return kernels_.squares(m, p, center); }) / n;
        const double inverse = 1.0 / std::sqrt(variance + static_cast<double>(g_.epsilon));
        for (int64_t c = 0; c < g_.channels; ++c) {
          const int64_t channel = row % g_.groups * g_.channels + c;
          kernels_.affine(g_.plane, from + c * g_.plane, center,
                          static_cast<float>(inverse * static_cast<double>(scale[channel])), bias[channel],
                          y + row * size + c * g_.plane);
        }
      }
    });
    return {};
  }

 private:
  /// A sum over f32 partial sums of a few thousand elements, so that its error does not grow with the image.
  template <typename F>
  static double in_parts(int64_t n, const float* x, F&& part) {
    constexpr int64_t kPart = 4096;
    double sum = 0;
    for (int64_t i = 0; i < n; i += kPart) sum += static_cast<double>(part(std::min(kPart, n - i), x + i));
    return sum;
  }

  const kernels::RowKernels& kernels_ = kernels::best_row_kernels();
  Groups g_;
};

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant>, const Target&) {
  return std::unique_ptr<Kernel>(new GroupNormKernel(groups_of(view)));
}

constexpr std::array<std::string_view, 2> kOps{"GroupNormalization", "InstanceNormalization"};

}  // namespace

constinit const Tactic kCpuGroupNorm{
    .id = "cpu.group_norm", .ops = kOps, .supports = supports, .pack = nullptr, .prepare = prepare, .unpack = nullptr};

}  // namespace planish
