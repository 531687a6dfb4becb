// GridSample and RoiAlign: indices and weights are computed once for a tile of output points, then every channel is a
// weighted sum.

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "planish/base/parallel.h"
#include "planish/kernels/cpu/taps/taps.h"
#include "planish/ops/grid_sample.h"
#include "planish/ops/roi_align.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {
namespace {

constexpr int64_t kTile = 64;     // output points
constexpr int64_t kMaxTaps = 64;  // a cube of four pixels per dimension

/// Indices and weights of a tile, [taps][points].
struct TapTable {
  std::array<int32_t, kMaxTaps * kTile> index;
  std::array<float, kMaxTaps * kTile> weight;
};

WhyNot image_refusal(const NodeView& view, size_t floats) {
  for (size_t i = 0; i < floats; ++i)
    if (view.inputs[i].dtype != DType::f32) return fmt::format("samples f32, got {}", dtype_name(view.inputs[i].dtype));
  for (const TensorDesc& d : view.inputs)
    if (d.layout != Layout::row_major) return "takes row-major tensors only";
  if (view.outputs[0].layout != Layout::row_major) return "writes row-major tensors only";
  if (view.inputs[0].size() == 0 || view.outputs[0].size() == 0) return "the tensor is empty";
  if (view.inputs[0].size() / view.inputs[0].shape[0] > INT32_MAX) return "the image is too large for 32-bit indices";
  return std::nullopt;
}

class GridSampleKernel final : public Kernel {
 public:
  GridSampleKernel(const NodeView& view, const SampleRule& rule) : rule_(rule) {
    const Shape& x = view.inputs[0].shape;
    dims_.assign(x.begin() + 2, x.end());
    images_ = x[0];
    channels_ = x[1];
    plane_ = element_count(dims_);
    points_ = view.outputs[0].size() / (images_ * channels_);
  }

  Status run(const Bindings& b) override {
    const auto* x = host_ptr<const float>(b.inputs[0]);
    const auto* grid = host_ptr<const float>(b.inputs[1]);
    auto* y = host_ptr<float>(b.outputs[0]);
    const auto fn = kernels::best_taps_kernel().fn;
    const int64_t tiles = (points_ + kTile - 1) / kTile;
    parallel_for(images_ * tiles, std::max<int64_t>(1, 128 / channels_), [&](int64_t begin, int64_t end) {
      TapTable table;
      for (int64_t i = begin; i < end; ++i) {
        const int64_t image = i / tiles;
        const int64_t first = i % tiles * kTile;
        const int64_t count = std::min(kTile, points_ - first);
        const int64_t taps = fill(grid + (image * points_ + first) * axes(), count, table);
        for (int64_t c = 0; c < channels_; ++c)
          fn(count, taps, kTile, table.index.data(), table.weight.data(), x + (image * channels_ + c) * plane_, false,
             y + (image * channels_ + c) * points_ + first);
      }
    });
    return {};
  }

  [[nodiscard]] std::string detail() const override { return std::string(kernels::best_taps_kernel().name); }

 private:
  [[nodiscard]] int64_t axes() const { return static_cast<int64_t>(dims_.size()); }

  /// The product of the taps of all dimensions, for `count` points of the grid. Returns how many there are.
  int64_t fill(const float* grid, int64_t count, TapTable& table) const {
    int64_t taps = 1;
    for (size_t d = 0; d < dims_.size(); ++d) taps *= rule_.taps();
    for (int64_t p = 0; p < count; ++p) {
      std::array<AxisTaps, 3> axis;
      for (size_t d = 0; d < dims_.size(); ++d)  // the grid names the innermost dimension first
        axis[d] = axis_taps(rule_, static_cast<double>(grid[(p + 1) * axes() - 1 - static_cast<int64_t>(d)]), dims_[d]);
      for (int64_t t = 0; t < taps; ++t) {
        int64_t index = 0;
        double weight = 1;
        int64_t rest = t;
        for (size_t d = 0; d < dims_.size(); ++d) {
          const auto k = static_cast<size_t>(rest % rule_.taps());
          rest /= rule_.taps();
          index = index < 0 || axis[d].index[k] < 0 ? -1 : index * dims_[d] + axis[d].index[k];
          weight *= axis[d].weight[k];
        }
        table.index[static_cast<size_t>(t * kTile + p)] = static_cast<int32_t>(index);
        table.weight[static_cast<size_t>(t * kTile + p)] = static_cast<float>(weight);
      }
    }
    return taps;
  }

  SampleRule rule_;
  std::vector<int64_t> dims_;
  int64_t images_ = 0;
  int64_t channels_ = 0;
  int64_t plane_ = 0;
  int64_t points_ = 0;
};

WhyNot supports_grid_sample(const NodeView& view, const Target&) {
  if (WhyNot why = image_refusal(view, 2)) return why;
  if (view.inputs[0].rank() > 5) return "samples in three dimensions at most";
  const auto rule = sample_rule(*view.node);
  if (!rule.ok()) return rule.error().what;
  return std::nullopt;
}

Result<std::unique_ptr<Kernel>> prepare_grid_sample(const NodeView& view, std::span<const PackedConstant>,
                                                    const Target&) {
  const SampleRule rule = PLANISH_TRY(sample_rule(*view.node));
  return std::unique_ptr<Kernel>(new GridSampleKernel(view, rule));
}

class RoiAlignKernel final : public Kernel {
 public:
  explicit RoiAlignKernel(const NodeView& view)
      : node_(*view.node), x_(view.inputs[0].shape), y_(view.outputs[0].shape) {}

  Status run(const Bindings& b) override {
    const auto* rois = host_ptr<const float>(b.inputs[1]);
    const auto* image = host_ptr<const int64_t>(b.inputs[2]);
    for (int64_t n = 0; n < y_[0]; ++n) {
      PLANISH_TRY(region(rois, n));
      if (image[n] < 0 || image[n] >= x_[0])
        return Error{.code = Code::invalid_argument,
                     .node = node_.name,
                     .what = fmt::format("RoiAlign: batch index {} is out of range", image[n])};
    }
    parallel_for(y_[0], 1, [&](int64_t begin, int64_t end) {
      TapTable table;
      for (int64_t n = begin; n < end; ++n)
        pool(*region(rois, n), host_ptr<const float>(b.inputs[0]) + image[n] * x_[1] * x_[2] * x_[3], table,
             host_ptr<float>(b.outputs[0]) + n * y_[1] * y_[2] * y_[3]);
    });
    return {};
  }

  [[nodiscard]] std::string detail() const override { return std::string(kernels::best_taps_kernel().name); }

 private:
  [[nodiscard]] Result<RoiRegion> region(const float* rois, int64_t n) const {
    const float* r = rois + n * 4;
    return roi_region(node_, {r[0], r[1], r[2], r[3]}, y_[2], y_[3]);
  }

  void pool(const RoiRegion& r, const float* x, TapTable& table, float* y) const {
    const int64_t bins = y_[2] * y_[3];
    const int64_t samples = r.grid_h * r.grid_w;
    constexpr int64_t kSamples = kMaxTaps / 4;
    if (samples == 0) std::fill_n(y, y_[1] * bins, 0.0F);
    for (int64_t bin = 0; bin < bins; bin += kTile)
      for (int64_t sample = 0; sample < samples; sample += kSamples) {
        const int64_t count = std::min(kTile, bins - bin);
        const int64_t taken = std::min(kSamples, samples - sample);
        for (int64_t i = 0; i < count; ++i)
          for (int64_t s = 0; s < taken; ++s) {
            const RoiCorners corners = roi_sample(r, (bin + i) / y_[3], (bin + i) % y_[3], (sample + s) / r.grid_w,
                                                  (sample + s) % r.grid_w, x_[2], x_[3]);
            for (int64_t k = 0; k < 4; ++k) {
              const auto at = static_cast<size_t>((4 * s + k) * kTile + i);
              table.index[at] = static_cast<int32_t>(corners.offset[static_cast<size_t>(k)]);
              table.weight[at] =
                  static_cast<float>(corners.weight[static_cast<size_t>(k)] / static_cast<double>(samples));
            }
          }
        for (int64_t c = 0; c < y_[1]; ++c)
          kernels::best_taps_kernel().fn(count, 4 * taken, kTile, table.index.data(), table.weight.data(),
                                         x + c * x_[2] * x_[3], sample != 0, y + c * bins + bin);
      }
  }

  Node node_;
  Shape x_;  ///< [N,C,H,W]
  Shape y_;  ///< [regions,C,P,Q]
};

WhyNot supports_roi_align(const NodeView& view, const Target&) {
  if (WhyNot why = image_refusal(view, 2)) return why;
  if (view.inputs[2].dtype != DType::i64) return "needs 64-bit batch indices";
  if (view.inputs[2].size() != view.inputs[1].shape[0]) return "needs one batch index per region";
  if (view.node->attr_string("mode", "avg") != "avg") return "averages only";
  return std::nullopt;
}

Result<std::unique_ptr<Kernel>> prepare_roi_align(const NodeView& view, std::span<const PackedConstant>,
                                                  const Target&) {
  return std::unique_ptr<Kernel>(new RoiAlignKernel(view));
}

constexpr std::array<std::string_view, 1> kGridSampleOps{"GridSample"};
constexpr std::array<std::string_view, 1> kRoiAlignOps{"RoiAlign"};

}  // namespace

constinit const Tactic kCpuGridSample{.id = "cpu.grid_sample",
                                      .ops = kGridSampleOps,
                                      .supports = supports_grid_sample,
                                      .pack = nullptr,
                                      .prepare = prepare_grid_sample,
                                      .unpack = nullptr};
constinit const Tactic kCpuRoiAlign{.id = "cpu.roi_align",
                                    .ops = kRoiAlignOps,
                                    .supports = supports_roi_align,
                                    .pack = nullptr,
                                    .prepare = prepare_roi_align,
                                    .unpack = nullptr};

}  // namespace planish
