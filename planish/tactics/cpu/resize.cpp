// Resize of the spatial axes (nearest and linear, and whatever else is a table of taps per axis) in every layout.

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>

#include "planish/base/parallel.h"
#include "planish/kernels/cpu/convert/tile.h"
#include "planish/kernels/cpu/taps/taps.h"
#include "planish/ops/resize_axis.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {
namespace {

enum Input : size_t { kX, kRoi, kScales, kSizes };

/// Taps along one axis in f32, and the image geometry: `lanes` neighbouring floats are resampled together (1 for
/// row-major, the channels or a block of them otherwise).
struct Axis {
  int64_t in = 1;
  int64_t out = 1;
  int64_t taps = 1;
  std::vector<int64_t> index;  ///< [out][taps]
  std::vector<float> weight;
};

/// The same as [taps][out], for the kernel of weighted sums.
struct TapTable {
  std::vector<int32_t> index;
  std::vector<float> weight;

  explicit TapTable(const Axis& a) : index(a.index.size()), weight(a.weight.size()) {
    for (int64_t i = 0; i < a.out; ++i)
      for (int64_t t = 0; t < a.taps; ++t) {
        const auto to = static_cast<size_t>(t * a.out + i);
        const auto from = static_cast<size_t>(i * a.taps + t);
        index[to] = static_cast<int32_t>(a.index[from]);
        weight[to] = a.weight[from];
      }
  }
};

Error refuse(const NodeView& view, std::string what) {
  return Error{.code = Code::unsupported, .node = view.node->name, .what = std::move(what)};
}

Result<Axis> make_axis(const NodeView& view, const ResizeRule& rule, size_t dim) {
  Axis a;
  a.in = view.inputs[kX].shape[dim];
  a.out = view.outputs[0].shape[dim];
  double scale = static_cast<double>(a.out) / static_cast<double>(a.in);
  if (view.has_input(kScales) && view.inputs[kScales].size() != 0) {
    const Tensor* scales = view.constants[kScales];
    if (scales == nullptr) return refuse(view, "needs scales that are known before the run");
    const auto axes = view.node->attr_ints("axes");
    int64_t at = static_cast<int64_t>(dim);
    if (!axes.empty()) {
      at = -1;
      for (size_t i = 0; i < axes.size(); ++i)
        if ((axes[i] < 0 ? axes[i] + view.inputs[kX].rank() : axes[i]) == static_cast<int64_t>(dim))
          at = static_cast<int64_t>(i);
    }
    if (at >= 0 && at < scales->size()) scale = scales->at(at);
  }
  ResizeAxis table = PLANISH_TRY(resize_axis(rule, a.in, a.out, scale, 0.0, 1.0));
  if (table.taps == 0) {
    for (int64_t i = 0; i < a.out; ++i) a.index.push_back(i);
    a.weight.assign(static_cast<size_t>(a.out), 1.0F);
    return a;
  }
  if (std::ranges::any_of(table.outside, [](char c) { return c != 0; })) return refuse(view, "does not extrapolate");
  a.taps = table.taps;
  a.index = std::move(table.index);
  a.weight.assign(table.weight.begin(), table.weight.end());
  return a;
}

class ResizeKernel final : public Kernel {
 public:
  ResizeKernel(int64_t images, int64_t lanes, Axis rows, Axis columns, DType type)
      : images_(images),
        lanes_(lanes),
        rows_(std::move(rows)),
        columns_(std::move(columns)),
        column_taps_(columns_),
        element_bytes_(dtype_bits(type) / 8) {
    if (type == DType::f32) return;
    read_ = kernels::tile_reader(type);
    write_ = kernels::tile_writer(type);
  }

  Status run(const Bindings& b) override {
    const auto* x = host_ptr<const std::byte>(b.inputs[kX]);
    auto* y = host_ptr<std::byte>(b.outputs[0]);
    const int64_t row_elements = columns_.out * lanes_;
    const int64_t grain = std::max<int64_t>(1, 8192 / std::max<int64_t>(row_elements, 1));
    parallel_for(images_ * rows_.out, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const std::byte* image = x + i / rows_.out * rows_.in * columns_.in * lanes_ * element_bytes_;
        std::byte* to = y + i * row_elements * element_bytes_;
        if (rows_.taps == 1 && columns_.taps == 1)
          copy_row(image, i % rows_.out, to);
        else
          resize_row(image, i % rows_.out, to);
      }
    });
    return {};
  }

 private:
  void copy_row(const std::byte* image, int64_t row, std::byte* y) const {
    const int64_t bytes = lanes_ * element_bytes_;
    const std::byte* from = image + rows_.index[static_cast<size_t>(row)] * columns_.in * bytes;
    for (int64_t c = 0; c < columns_.out; ++c)
      std::memcpy(y + c * bytes, from + columns_.index[static_cast<size_t>(c)] * bytes, static_cast<size_t>(bytes));
  }

  /// Mixes the input rows that the output row needs (widened to f32), then the columns of what came out.
  void resize_row(const std::byte* image, int64_t row, std::byte* y) const {
    thread_local std::vector<float> buffer;
    const int64_t in_elements = columns_.in * lanes_;
    const int64_t out_elements = columns_.out * lanes_;
    buffer.resize(static_cast<size_t>(2 * in_elements + out_elements));
    float* mixed = buffer.data() + out_elements;
    float* wide = mixed + in_elements;
    std::fill_n(mixed, in_elements, 0.0F);
    for (int64_t r = 0; r < rows_.taps; ++r) {
      const auto ri = static_cast<size_t>(row * rows_.taps + r);
      const std::byte* from = image + rows_.index[ri] * in_elements * element_bytes_;
      if (read_ != nullptr) read_(in_elements, from, wide);
      const float* x = read_ != nullptr ? wide : reinterpret_cast<const float*>(from);
      for (int64_t i = 0; i < in_elements; ++i) mixed[i] += rows_.weight[ri] * x[i];
    }
    float* to = write_ != nullptr ? buffer.data() : reinterpret_cast<float*>(y);
    if (lanes_ == 1)
      kernels::best_taps_kernel().fn(columns_.out, columns_.taps, columns_.out, column_taps_.index.data(),
                                     column_taps_.weight.data(), mixed, false, to);
    else
      mix_columns(mixed, to);
    if (write_ != nullptr) write_(out_elements, to, y);
  }

  void mix_columns(const float* mixed, float* y) const {
    for (int64_t c = 0; c < columns_.out; ++c) {
      float* to = y + c * lanes_;
      std::fill_n(to, lanes_, 0.0F);
      for (int64_t s = 0; s < columns_.taps; ++s) {
        const auto ci = static_cast<size_t>(c * columns_.taps + s);
        const float* from = mixed + columns_.index[ci] * lanes_;
        for (int64_t l = 0; l < lanes_; ++l) to[l] += columns_.weight[ci] * from[l];
      }
    }
  }

  int64_t images_;
  int64_t lanes_;
  Axis rows_;
  Axis columns_;
  TapTable column_taps_;
  int64_t element_bytes_;
  kernels::ReadTile read_ = nullptr;  ///< nullptr: f32
  kernels::WriteTile write_ = nullptr;
};

struct Planned {
  int64_t images = 0;
  int64_t lanes = 1;
  Axis rows;
  Axis columns;
};

Result<Planned> plan(const NodeView& view) {
  const TensorDesc& x = view.inputs[kX];
  const TensorDesc& y = view.outputs[0];
  if (kernels::tile_reader(x.dtype) == nullptr || kernels::tile_writer(x.dtype) == nullptr)
    return refuse(view, fmt::format("resizes f32, f16 and bf16, got {}", dtype_name(x.dtype)));
  if (x.rank() != 4 || x.layout != y.layout) return refuse(view, "takes images [N,C,H,W] in one layout on both sides");
  if (x.shape[0] != y.shape[0] || x.shape[1] != y.shape[1]) return refuse(view, "resizes the spatial axes only");
  if (x.size() == 0 || y.size() == 0) return refuse(view, "the tensor is empty");
  const Node& n = *view.node;
  ResizeRule rule;
  rule.mode = n.attr_string("mode", "nearest");
  rule.nearest_mode = n.attr_string("nearest_mode", "round_prefer_floor");
  rule.transform = n.attr_string("coordinate_transformation_mode", "half_pixel");
  rule.antialias = n.attr_int("antialias", 0) != 0;
  rule.exclude_outside = n.attr_int("exclude_outside", 0) != 0;
  rule.cubic_coeff_a = static_cast<double>(n.attr_float("cubic_coeff_a", -0.75F));
  if (rule.transform == "tf_crop_and_resize") return refuse(view, "does not crop");
  if (n.attr_string("keep_aspect_ratio_policy", "stretch") != "stretch") return refuse(view, "stretches only");
  Planned p;
  p.rows = PLANISH_TRY(make_axis(view, rule, 2));
  p.columns = PLANISH_TRY(make_axis(view, rule, 3));
  if (dtype_is_integer(x.dtype) && (p.rows.taps != 1 || p.columns.taps != 1))
    return refuse(view, "chooses integers, but does not mix them");
  const int64_t block = layout_block(x.layout);
  if (block > 1 && x.shape[1] % block != 0) return refuse(view, "needs whole blocks of channels");
  p.lanes = x.layout == Layout::channels_last ? x.shape[1] : block;
  p.images = x.shape[0] * x.shape[1] / p.lanes;
  return p;
}

WhyNot supports(const NodeView& view, const Target&) {
  auto p = plan(view);
  if (!p.ok()) return p.error().what;
  return std::nullopt;
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant>, const Target&) {
  Planned p = PLANISH_TRY(plan(view));
  return std::unique_ptr<Kernel>(
      new ResizeKernel(p.images, p.lanes, std::move(p.rows), std::move(p.columns), view.inputs[kX].dtype));
}

constexpr std::array<std::string_view, 1> kOps{"Resize"};

}  // namespace

constinit const Tactic kCpuResize{.id = "cpu.resize",
                                  .ops = kOps,
                                  .supports = supports,
                                  .pack = nullptr,
                                  .prepare = prepare,
                                  .unpack = nullptr,
                                  .version = 2};

}  // namespace planish
