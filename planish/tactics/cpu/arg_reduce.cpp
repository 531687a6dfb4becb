// ArgMax and ArgMin in f32: strips of columns, each with the best value and its index so far.

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "planish/base/parallel.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {
namespace {

constexpr int64_t kStrip = 128;   // columns at a time
constexpr int64_t kGrain = 8192;  // elements that make a thread worth waking

/// x seen as [outer, length, inner] around the axis.
struct AxisView {
  int64_t outer = 1;
  int64_t length = 1;
  int64_t inner = 1;
};

AxisView view_of(const NodeView& view) {
  const Shape& s = view.inputs[0].shape;
  const int64_t given = view.node->attr_int("axis", 0);
  const int64_t axis = given < 0 ? given + view.inputs[0].rank() : given;
  AxisView v;
  for (int64_t d = 0; d < view.inputs[0].rank(); ++d)
    (d < axis ? v.outer : d == axis ? v.length : v.inner) *= s[static_cast<size_t>(d)];
  return v;
}

/// Whether x takes the place of `best`: NaN is the extreme, as in numpy.
template <bool kMax, bool kLast>
bool beats(float x, float best) {
  const bool better = kMax ? x > best : x < best;
  const bool first_nan = x != x && best == best;
  const bool as_good = kLast && (x == best || (x != x && best != best));
  return better || first_nan || as_good;
}

class ArgReduceKernel final : public Kernel {
 public:
  explicit ArgReduceKernel(const NodeView& view)
      : v_(view_of(view)), max_(view.node->op == "ArgMax"), last_(view.node->attr_int("select_last_index", 0) != 0) {}

  Status run(const Bindings& b) override {
    const auto* x = host_ptr<const float>(b.inputs[0]);
    auto* y = host_ptr<int64_t>(b.outputs[0]);
    if (max_)
      last_ ? search<true, true>(x, y) : search<true, false>(x, y);
    else
      last_ ? search<false, true>(x, y) : search<false, false>(x, y);
    return {};
  }

 private:
  template <bool kMax, bool kLast>
  void search(const float* x, int64_t* y) const {
    const int64_t strips = (v_.inner + kStrip - 1) / kStrip;
    const int64_t each = v_.length * std::min(v_.inner, kStrip);
    parallel_for(v_.outer * strips, std::max<int64_t>(1, kGrain / each), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t outer = i / strips;
        const int64_t column = i % strips * kStrip;
        const float* from = x + outer * v_.length * v_.inner + column;
        int64_t* to = y + outer * v_.inner + column;
        if (v_.inner == 1)
          *to = search_row<kMax, kLast>(from);
        else
          search_strip<kMax, kLast>(from, std::min(kStrip, v_.inner - column), to);
      }
    });
  }

  template <bool kMax, bool kLast>
  [[nodiscard]] int64_t search_row(const float* x) const {
    constexpr int64_t kBlock = 32;
    int64_t best = 0;
    for (int64_t a = 1; a < v_.length; a += kBlock) {
      const int64_t n = std::min(kBlock, v_.length - a);
      const float value = x[best];
      bool any = false;
      for (int64_t j = 0; j < n; ++j) any |= beats<kMax, kLast>(x[a + j], value);
      for (int64_t j = 0; any && j < n; ++j)
        if (beats<kMax, kLast>(x[a + j], x[best])) best = a + j;
    }
    return best;
  }

  template <bool kMax, bool kLast>
  void search_strip(const float* x, int64_t columns, int64_t* y) const {
    std::array<float, kStrip> best{};
    std::array<int32_t, kStrip> index{};
    std::copy_n(x, columns, best.begin());
    for (int64_t a = 1; a < v_.length; ++a) {
      const float* line = x + a * v_.inner;
      for (int64_t c = 0; c < columns; ++c) {
        const auto at = static_cast<size_t>(c);
        const bool take = beats<kMax, kLast>(line[c], best[at]);
        best[at] = take ? line[c] : best[at];
        index[at] = take ? static_cast<int32_t>(a) : index[at];
      }
    }
    std::copy_n(index.begin(), columns, y);
  }

  AxisView v_;
  bool max_;
  bool last_;
};

WhyNot supports(const NodeView& view, const Target&) {
  const TensorDesc& x = view.inputs[0];
  if (x.dtype != DType::f32) return fmt::format("compares f32, got {}", dtype_name(x.dtype));
  if (x.layout != Layout::row_major || view.outputs[0].layout != Layout::row_major)
    return "takes row-major tensors only";
  if (x.size() == 0) return "the tensor is empty";
  const int64_t axis = view.node->attr_int("axis", 0);
  if (axis < -x.rank() || axis >= x.rank()) return "the axis does not exist";
  if (view_of(view).length > INT32_MAX) return "the axis is too long for 32-bit indices";
  return std::nullopt;
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant>, const Target&) {
  return std::unique_ptr<Kernel>(new ArgReduceKernel(view));
}

constexpr std::array<std::string_view, 2> kOps{"ArgMax", "ArgMin"};

}  // namespace

constinit const Tactic kCpuArgReduce{
    .id = "cpu.arg_reduce", .ops = kOps, .supports = supports, .pack = nullptr, .prepare = prepare, .unpack = nullptr};

}  // namespace planish
