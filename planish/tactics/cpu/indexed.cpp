// GatherElements, ScatterElements and ScatterND: reading and writing at indices, in loops that know the width of an
// element and the type of an index. Elements of any type are moved by their bytes; sums and extremes are for f32.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include <fmt/format.h>

#include "planish/base/parallel.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {
namespace {

enum Input : size_t { kData, kIndices, kUpdates };
constexpr int64_t kGrain = 8192;  // elements that make a thread worth waking

int64_t product(const Shape& s, size_t begin, size_t end) {
  int64_t n = 1;
  for (size_t i = begin; i < end; ++i) n *= s[i];
  return n;
}

int64_t width_of(const TensorDesc& d) { return dtype_bits(d.dtype) / 8; }

WhyNot plain(const NodeView& view) {
  for (const TensorDesc& d : view.inputs)
    if (d.layout != Layout::row_major) return "takes row-major tensors only";
  if (view.outputs[0].layout != Layout::row_major) return "writes row-major tensors only";
  if (!dtype_is_byte_sized(view.inputs[kData].dtype) || width_of(view.inputs[kData]) > 8)
    return fmt::format("moves elements of 1 to 8 bytes, got {}", dtype_name(view.inputs[kData].dtype));
  if (const DType index = view.inputs[kIndices].dtype; index != DType::i64 && index != DType::i32)
    return "needs 32 or 64-bit indices";
  if (view.inputs[kData].size() == 0 || view.outputs[0].size() == 0 || view.inputs[kIndices].size() == 0)
    return "a tensor is empty";
  return std::nullopt;
}

/// fn(element of that width, index of that type)
template <typename F>
void with_types(int64_t width, DType index, F&& fn) {
  const auto with_index = [&](auto element) {
    if (index == DType::i64)
      fn(element, int64_t{});
    else
      fn(element, int32_t{});
  };
  switch (width) {
    case 1: return with_index(uint8_t{});
    case 2: return with_index(uint16_t{});
    case 4: return with_index(uint32_t{});
    default: return with_index(uint64_t{});
  }
}

/// An index counted from the front; `valid` becomes false, and the result 0, where there is no such element.
template <typename I>
int64_t resolve(I index, int64_t dim, bool& valid) {
  const int64_t i = index < 0 ? static_cast<int64_t>(index) + dim : static_cast<int64_t>(index);
  const bool inside = i >= 0 && i < dim;
  valid &= inside;
  return inside ? i : 0;
}

Error out_of_range(const Node& node, std::string_view what) {
  return Error{.code = Code::invalid_argument,
               .node = node.name,
               .what = fmt::format("{}: an index is out of the range of {}", node.op, what)};
}

/// The positions of an index tensor around an axis: `outer` x (rows of the last dimension), with where each row starts
/// in `data` when the coordinate along the axis is 0.
class RowsOfIndices {
 public:
  RowsOfIndices(const Shape& indices, const Shape& data, int64_t axis) : axis_is_last_(axis + 1 == rank(data)) {
    const auto a = static_cast<size_t>(axis);
    dim_ = data[a];
    axis_stride_ = product(data, a + 1, data.size());
    length_ = indices.back();
    outer_ = product(indices, 0, a);
    const int64_t count = product(indices, 0, indices.size() - 1);
    rows_ = count / outer_;
    starts_.reserve(static_cast<size_t>(count));
    for (int64_t row = 0; row < count; ++row) {
      int64_t start = 0;
      int64_t stride = data.back();
      int64_t rest = row;
      for (size_t d = indices.size() - 1; d-- > 0;) {
        if (d != a) start += rest % indices[d] * stride;
        rest /= indices[d];
        stride *= data[d];
      }
      starts_.push_back(start);
    }
  }

  /// Elements of the data's axis, and how far apart they are.
  [[nodiscard]] int64_t dim() const { return dim_; }
  [[nodiscard]] int64_t length() const { return length_; }
  /// Groups of rows that never meet in the data.
  [[nodiscard]] int64_t groups() const { return outer_; }
  [[nodiscard]] int64_t rows_per_group() const { return rows_; }

  /// visit(position in the index tensor, offset in the data) for a row of indices; false when one is out of range.
  template <typename I, typename Visit>
  bool row(const I* indices, int64_t row, Visit&& visit) const {
    const int64_t base = row * length_;
    const int64_t start = starts_[static_cast<size_t>(row)];
    bool valid = true;
    if (axis_is_last_)
      for (int64_t j = 0; j < length_; ++j) visit(base + j, start + resolve(indices[base + j], dim_, valid));
    else
      for (int64_t j = 0; j < length_; ++j)
        visit(base + j, start + j + resolve(indices[base + j], dim_, valid) * axis_stride_);
    return valid;
  }

 private:
  static int64_t rank(const Shape& s) { return static_cast<int64_t>(s.size()); }

  bool axis_is_last_;
  int64_t dim_ = 0;
  int64_t axis_stride_ = 0;
  int64_t length_ = 0;
  int64_t outer_ = 0;
  int64_t rows_ = 0;
  std::vector<int64_t> starts_;  ///< of every row
};

int64_t axis_of(const NodeView& view) {
  const int64_t axis = view.node->attr_int("axis", 0);
  return axis < 0 ? axis + view.inputs[kData].rank() : axis;
}

WhyNot element_refusal(const NodeView& view) {
  if (WhyNot why = plain(view)) return why;
  const Shape& data = view.inputs[kData].shape;
  const Shape& indices = view.inputs[kIndices].shape;
  const int64_t axis = axis_of(view);
  if (data.size() != indices.size() || axis < 0 || axis >= view.inputs[kData].rank()) return "the shapes do not fit";
  for (size_t d = 0; d < data.size(); ++d)
    if (static_cast<int64_t>(d) != axis && indices[d] > data[d]) return "the indices are larger than the data";
  return std::nullopt;
}

class GatherElementsKernel final : public Kernel {
 public:
  explicit GatherElementsKernel(const NodeView& view)
      : node_(*view.node),
        width_(width_of(view.inputs[kData])),
        index_(view.inputs[kIndices].dtype),
        rows_(view.inputs[kIndices].shape, view.inputs[kData].shape, axis_of(view)) {}

  Status run(const Bindings& b) override {
    std::atomic<bool> valid{true};
    with_types(width_, index_, [&](auto element, auto index) {
      using T = decltype(element);
      using I = decltype(index);
      const auto* x = host_ptr<const T>(b.inputs[kData]);
      const auto* i = host_ptr<const I>(b.inputs[kIndices]);
      auto* y = host_ptr<T>(b.outputs[0]);
      const int64_t rows = rows_.groups() * rows_.rows_per_group();
      parallel_for(rows, std::max<int64_t>(1, kGrain / rows_.length()), [&](int64_t begin, int64_t end) {
        bool ok = true;
        for (int64_t r = begin; r < end; ++r) ok &= rows_.row(i, r, [&](int64_t at, int64_t from) { y[at] = x[from]; });
        if (!ok) valid = false;
      });
    });
    if (!valid) return out_of_range(node_, fmt::format("{} elements", rows_.dim()));
    return {};
  }

 private:
  Node node_;
  int64_t width_;
  DType index_;
  RowsOfIndices rows_;
};

enum class Reduction { none, add, mul, max, min };

std::optional<Reduction> reduction_of(const NodeView& view) {
  constexpr std::array<std::string_view, 5> kNames{"none", "add", "mul", "max", "min"};
  const auto it = std::ranges::find(kNames, view.node->attr_string("reduction", "none"));
  if (it == kNames.end()) return std::nullopt;
  return static_cast<Reduction>(it - kNames.begin());
}

void copy_data(const Bindings& b, int64_t bytes) {
  const auto* from = host_ptr<const std::byte>(b.inputs[kData]);
  auto* to = host_ptr<std::byte>(b.outputs[0]);
  if (from == to) return;
  parallel_for(bytes, kGrain * 8, [&](int64_t begin, int64_t end) {
    std::memcpy(to + begin, from + begin, static_cast<size_t>(end - begin));
  });
}

class ScatterElementsKernel final : public Kernel {
 public:
  ScatterElementsKernel(const NodeView& view, Reduction reduction)
      : node_(*view.node),
        width_(width_of(view.inputs[kData])),
        bytes_(view.inputs[kData].size() * width_),
        index_(view.inputs[kIndices].dtype),
        reduction_(reduction),
        rows_(view.inputs[kIndices].shape, view.inputs[kData].shape, axis_of(view)) {}

  Status run(const Bindings& b) override {
    copy_data(b, bytes_);
    std::atomic<bool> valid{true};
    const auto all = [&](auto element, auto index, auto combine) {
      using T = decltype(element);
      using I = decltype(index);
      const auto* i = host_ptr<const I>(b.inputs[kIndices]);
      const auto* u = host_ptr<const T>(b.inputs[kUpdates]);
      auto* y = host_ptr<T>(b.outputs[0]);
      const int64_t per_group = rows_.rows_per_group();
      parallel_for(rows_.groups(), std::max<int64_t>(1, kGrain / (per_group * rows_.length())),
                   [&](int64_t begin, int64_t end) {
                     bool ok = true;
                     for (int64_t r = begin * per_group; r < end * per_group; ++r)
                       ok &= rows_.row(i, r, [&](int64_t at, int64_t to) { y[to] = combine(y[to], u[at]); });
                     if (!ok) valid = false;
                   });
    };
    if (reduction_ == Reduction::none)
      with_types(width_, index_,
                 [&](auto element, auto index) { all(element, index, [](auto, auto update) { return update; }); });
    else if (index_ == DType::i64)
      reduce(int64_t{}, all);
    else
      reduce(int32_t{}, all);
    if (!valid) return out_of_range(node_, fmt::format("{} elements", rows_.dim()));
    return {};
  }

 private:
  template <typename I, typename All>
  void reduce(I index, const All& all) {
    switch (reduction_) {
      case Reduction::add: return all(float{}, index, [](float a, float b) { return a + b; });
      case Reduction::mul: return all(float{}, index, [](float a, float b) { return a * b; });
      case Reduction::max: return all(float{}, index, [](float a, float b) { return std::max(a, b); });
      default: return all(float{}, index, [](float a, float b) { return std::min(a, b); });
    }
  }

  Node node_;
  int64_t width_;
  int64_t bytes_;
  DType index_;
  Reduction reduction_;
  RowsOfIndices rows_;
};

WhyNot scatter_refusal(const NodeView& view) {
  if (view.inputs[kUpdates].dtype != view.inputs[kData].dtype) return "data and updates differ in type";
  const auto reduction = reduction_of(view);
  if (!reduction) return "the reduction is not known";
  if (*reduction != Reduction::none && view.inputs[kData].dtype != DType::f32) return "reduces f32 only";
  return std::nullopt;
}

WhyNot supports_gather_elements(const NodeView& view, const Target&) { return element_refusal(view); }

WhyNot supports_scatter_elements(const NodeView& view, const Target&) {
  if (WhyNot why = element_refusal(view)) return why;
  if (view.inputs[kUpdates].shape != view.inputs[kIndices].shape) return "the shapes do not fit";
  return scatter_refusal(view);
}

class ScatterNdKernel final : public Kernel {
 public:
  explicit ScatterNdKernel(const NodeView& view)
      : node_(*view.node),
        width_(width_of(view.inputs[kData])),
        bytes_(view.inputs[kData].size() * width_),
        index_(view.inputs[kIndices].dtype) {
    const Shape& data = view.inputs[kData].shape;
    const auto tuple = static_cast<size_t>(view.inputs[kIndices].shape.back());
    dims_.assign(data.begin(), data.begin() + static_cast<std::ptrdiff_t>(tuple));
    tuples_ = view.inputs[kIndices].size() / static_cast<int64_t>(tuple);
    block_ = product(data, tuple, data.size());
  }

  Status run(const Bindings& b) override {
    copy_data(b, bytes_);
    bool valid = true;
    with_types(width_, index_, [&](auto element, auto index) {
      using T = decltype(element);
      using I = decltype(index);
      const auto* i = host_ptr<const I>(b.inputs[kIndices]);
      const auto* u = host_ptr<const T>(b.inputs[kUpdates]);
      auto* y = host_ptr<T>(b.outputs[0]);
      for (int64_t t = 0; t < tuples_; ++t, u += block_) {  // in order: the last of several writers wins
        int64_t at = 0;
        for (const int64_t dim : dims_) at = at * dim + resolve(*i++, dim, valid);
        if (block_ == 1)
          y[at] = *u;
        else
          std::memcpy(y + at * block_, u, static_cast<size_t>(block_) * sizeof(T));
      }
    });
    if (!valid) return out_of_range(node_, to_string(dims_));
    return {};
  }

 private:
  Node node_;
  int64_t width_;
  int64_t bytes_;
  DType index_;
  Shape dims_;  ///< that a tuple indexes
  int64_t tuples_ = 0;
  int64_t block_ = 1;
};

WhyNot supports_scatter_nd(const NodeView& view, const Target&) {
  if (WhyNot why = plain(view)) return why;
  if (WhyNot why = scatter_refusal(view)) return why;
  if (*reduction_of(view) != Reduction::none) return "writes without a reduction only";
  const Shape& data = view.inputs[kData].shape;
  const Shape& indices = view.inputs[kIndices].shape;
  if (indices.empty() || indices.back() < 1 || indices.back() > view.inputs[kData].rank())
    return "the indices do not fit";
  Shape expected(indices.begin(), indices.end() - 1);
  expected.insert(expected.end(), data.begin() + indices.back(), data.end());
  if (view.inputs[kUpdates].shape != expected) return "the updates do not fit";
  return std::nullopt;
}

Result<std::unique_ptr<Kernel>> prepare_gather_elements(const NodeView& view, std::span<const PackedConstant>,
                                                        const Target&) {
  return std::unique_ptr<Kernel>(new GatherElementsKernel(view));
}

Result<std::unique_ptr<Kernel>> prepare_scatter_elements(const NodeView& view, std::span<const PackedConstant>,
                                                         const Target&) {
  return std::unique_ptr<Kernel>(new ScatterElementsKernel(view, *reduction_of(view)));
}

Result<std::unique_ptr<Kernel>> prepare_scatter_nd(const NodeView& view, std::span<const PackedConstant>,
                                                   const Target&) {
  return std::unique_ptr<Kernel>(new ScatterNdKernel(view));
}

constexpr std::array<std::string_view, 1> kGatherElementsOps{"GatherElements"};
constexpr std::array<std::string_view, 1> kScatterElementsOps{"ScatterElements"};
constexpr std::array<std::string_view, 1> kScatterNdOps{"ScatterND"};

}  // namespace

constinit const Tactic kCpuGatherElements{.id = "cpu.gather_elements",
                                          .ops = kGatherElementsOps,
                                          .supports = supports_gather_elements,
                                          .pack = nullptr,
                                          .prepare = prepare_gather_elements,
                                          .unpack = nullptr};
constinit const Tactic kCpuScatterElements{.id = "cpu.scatter_elements",
                                           .ops = kScatterElementsOps,
                                           .supports = supports_scatter_elements,
                                           .pack = nullptr,
                                           .prepare = prepare_scatter_elements,
                                           .unpack = nullptr};
constinit const Tactic kCpuScatterNd{.id = "cpu.scatter_nd",
                                     .ops = kScatterNdOps,
                                     .supports = supports_scatter_nd,
                                     .pack = nullptr,
                                     .prepare = prepare_scatter_nd,
                                     .unpack = nullptr};

}  // namespace planish
