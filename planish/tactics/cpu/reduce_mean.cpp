// ReduceMean, ReduceSum, ReduceMax and ReduceMin over neighbouring axes, in row-major and (over all spatial axes)
// channels-last tensors.

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>

#include <fmt/format.h>

#include "planish/base/parallel.h"
#include "planish/kernels/cpu/rows/rows.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {
namespace {

enum class Kind : uint8_t { sum, max, min };

/// y[o, i] = factor * sum (or the extreme) over r of x[o, r, i].
struct Reduction {
  int64_t outer = 1;
  int64_t reduced = 1;
  int64_t inner = 1;
  float factor = 1;
  Kind kind = Kind::sum;
};

/// The operand that wins; NaN does (as in the reference).
struct Larger {
  float operator()(float a, float b) const { return a > b || a != a ? a : b; }
};
struct Smaller {
  float operator()(float a, float b) const { return a < b || a != a ? a : b; }
};

Error refuse(const NodeView& view, std::string what) {
  return Error{.code = Code::unsupported, .node = view.node->name, .what = std::move(what)};
}

int64_t product(const Shape& s, size_t begin, size_t end) {
  return std::accumulate(s.begin() + static_cast<std::ptrdiff_t>(begin), s.begin() + static_cast<std::ptrdiff_t>(end),
                         int64_t{1}, std::multiplies<>());
}

Result<Reduction> plan(const NodeView& view) {
  const TensorDesc& x = view.inputs[0];
  if (x.dtype != DType::f32) return refuse(view, fmt::format("computes in f32, got {}", dtype_name(x.dtype)));
  if (x.size() == 0) return refuse(view, "the tensor is empty");
  std::vector<int64_t> axes;
  if (view.has_input(1)) {
    if (view.constants[1] == nullptr) return refuse(view, "needs axes that are known before the run");
    axes = view.constants[1]->to_i64();
  }
  if (axes.empty()) {
    if (view.node->attr_int("noop_with_empty_axes", 0) != 0) return refuse(view, "reduces nothing");
    for (int64_t i = 0; i < x.rank(); ++i) axes.push_back(i);
  }
  for (int64_t& a : axes) a = a < 0 ? a + x.rank() : a;
  std::ranges::sort(axes);
  for (size_t i = 1; i < axes.size(); ++i)
    if (axes[i] != axes[i - 1] + 1) return refuse(view, "needs neighbouring axes");
  const auto first = static_cast<size_t>(axes.front());
  const size_t end = first + axes.size();
  if (axes.front() < 0 || end > x.shape.size()) return refuse(view, "an axis does not exist");
  Reduction r;
  if (x.layout == Layout::row_major && view.outputs[0].layout == Layout::row_major) {
    r = {product(x.shape, 0, first), product(x.shape, first, end), product(x.shape, end, x.shape.size())};
  } else if (x.layout == Layout::channels_last && first == 2 && end == x.shape.size() &&
             (view.outputs[0].layout == Layout::channels_last || view.outputs[0].layout == Layout::row_major)) {
    // The result has one pixel, so both layouts of the output are the same bytes.
    r = {x.shape[0], product(x.shape, 2, end), x.shape[1]};
  } else {
    return refuse(view, "takes row-major tensors, or channels-last ones over all spatial axes");
  }
  if (view.node->op == "ReduceMean") r.factor = 1.0F / static_cast<float>(r.reduced);
  if (view.node->op == "ReduceMax") r.kind = Kind::max;
  if (view.node->op == "ReduceMin") r.kind = Kind::min;
  return r;
}

class ReduceKernel final : public Kernel {
 public:
  explicit ReduceKernel(const Reduction& r) : r_(r) {}
  Status run(const Bindings& b) override {
    const auto* x = host_ptr<const float>(b.inputs[0]);
    auto* y = host_ptr<float>(b.outputs[0]);
    if (r_.inner == 1) {
      const auto row = r_.kind == Kind::sum ? kernels_.sum : r_.kind == Kind::max ? kernels_.max : kernels_.min;
      const int64_t grain = std::max<int64_t>(1, 8192 / r_.reduced);
      parallel_for(r_.outer, grain, [&](int64_t begin, int64_t end) {
        for (int64_t o = begin; o < end; ++o) y[o] = r_.factor * row(r_.reduced, x + o * r_.reduced);
      });
      return {};
    }
    if (r_.kind == Kind::sum) strips(x, y, std::plus<>());
    if (r_.kind == Kind::max) strips(x, y, Larger());
    if (r_.kind == Kind::min) strips(x, y, Smaller());
    return {};
  }

 private:
  template <typename Combine>
  void strips(const float* x, float* y, Combine combine) const {
    constexpr int64_t kStrip = 64;
    const int64_t strips = (r_.inner + kStrip - 1) / kStrip;
    parallel_for(
        r_.outer * strips, std::max<int64_t>(1, 8192 / (r_.reduced * kStrip)), [&](int64_t begin, int64_t end) {
          for (int64_t item = begin; item < end; ++item) {
            const int64_t at = item % strips * kStrip;
            const int64_t count = std::min(kStrip, r_.inner - at);
            const float* from = x + item / strips * r_.reduced * r_.inner + at;
            std::array<float, kStrip> result{};
            std::copy_n(from, count, result.begin());
            for (int64_t k = 1; k < r_.reduced; ++k)
              for (int64_t i = 0; i < count; ++i)
                result[static_cast<size_t>(i)] = combine(result[static_cast<size_t>(i)], from[k * r_.inner + i]);
            float* to = y + item / strips * r_.inner + at;
            for (int64_t i = 0; i < count; ++i) to[i] = r_.factor * result[static_cast<size_t>(i)];
          }
        });
  }

  const kernels::RowKernels& kernels_ = kernels::best_row_kernels();
  Reduction r_;
};

WhyNot supports(const NodeView& view, const Target&) {
  auto r = plan(view);
  if (!r.ok()) return r.error().what;
  return std::nullopt;
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant>, const Target&) {
  const Reduction r = PLANISH_TRY(plan(view));
  return std::unique_ptr<Kernel>(new ReduceKernel(r));
}

constexpr std::array<std::string_view, 4> kOps{"ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"};

}  // namespace

constinit const Tactic kCpuReduceMean{
    .id = "cpu.reduce_mean", .ops = kOps, .supports = supports, .pack = nullptr, .prepare = prepare, .unpack = nullptr};

}  // namespace planish
