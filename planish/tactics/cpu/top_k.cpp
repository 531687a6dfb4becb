// TopK along the last axis in f32: one pass that collects what may be among the K best, cut back to K whenever a buffer
// is full. Order as the reference has it: NaN above everything, both zeros alike, ties to the smaller index.

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include <fmt/format.h>

#include "planish/base/parallel.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {
namespace {

constexpr int64_t kGrain = 4096;       // elements that make a thread worth waking
constexpr int64_t kLongRow = 1 << 16;  // elements of a row that several threads share

/// Value and index as one number whose order is the order of the result: the best first.
using Entry = uint64_t;

template <bool kLargest>
Entry entry_of(float value, int64_t index) {
  const auto bits = std::bit_cast<uint32_t>(value + 0.0F);  // -0 becomes 0
  uint32_t key = (bits >> 31) != 0 ? ~bits : bits | 0x80000000U;
  if (value != value) key = std::numeric_limits<uint32_t>::max();
  return (Entry{kLargest ? ~key : key} << 32) | static_cast<uint32_t>(index);
}

/// Whether a value cannot be better than `bound`. NaN may be, when the largest are asked for, so it is let through.
template <bool kLargest>
bool hopeless(float value, float bound) {
  return kLargest ? value <= bound : value >= bound;
}

/// Keeps the K smallest entries; the order of `kept` is arbitrary.
void cut(std::vector<Entry>& kept, int64_t k) {
  if (static_cast<int64_t>(kept.size()) <= k) return;
  std::nth_element(kept.begin(), kept.begin() + k - 1, kept.end());
  kept.resize(static_cast<size_t>(k));
}

/// Appends to `kept` entries of x[begin, end) among which the K best are.
template <bool kLargest>
void collect(const float* x, int64_t begin, int64_t end, int64_t k, std::vector<Entry>& kept) {
  constexpr int64_t kBlock = 32;
  const auto room = static_cast<size_t>(2 * k + kBlock);
  kept.clear();
  kept.reserve(room + kBlock);
  int64_t i = begin;
  for (; i < std::min(end, begin + k); ++i) kept.push_back(entry_of<kLargest>(x[i], i));
  if (i == end) return;
  const auto bound_of = [&] { return x[static_cast<uint32_t>(*std::max_element(kept.begin(), kept.end()))]; };
  float bound = bound_of();
  for (; i < end; i += kBlock) {
    const int64_t n = std::min(kBlock, end - i);
    bool skip = true;
    for (int64_t j = 0; j < n; ++j) skip &= hopeless<kLargest>(x[i + j], bound);
    if (skip) continue;
    for (int64_t j = 0; j < n; ++j)
      if (!hopeless<kLargest>(x[i + j], bound)) kept.push_back(entry_of<kLargest>(x[i + j], i + j));
    if (kept.size() < room) continue;
    cut(kept, k);
    bound = bound_of();
  }
}

class TopKKernel final : public Kernel {
 public:
  TopKKernel(const NodeView& view, int threads)
      : rows_(view.inputs[0].size() / view.inputs[0].shape.back()),
        n_(view.inputs[0].shape.back()),
        k_(view.outputs[0].shape.back()),
        largest_(view.node->attr_int("largest", 1) != 0),
        has_indices_(view.outputs.size() > 1 && view.outputs[1].present()),
        pieces_(rows_ < threads && n_ >= kLongRow ? threads : 1),
        kept_(static_cast<size_t>(pieces_)) {}

  Status run(const Bindings& b) override {
    if (largest_)
      run_rows<true>(b);
    else
      run_rows<false>(b);
    return {};
  }

 private:
  template <bool kLargest>
  void run_rows(const Bindings& b) {
    const auto* x = host_ptr<const float>(b.inputs[0]);
    auto* y = host_ptr<float>(b.outputs[0]);
    int64_t* indices = has_indices_ ? host_ptr<int64_t>(b.outputs[1]) : nullptr;
    if (pieces_ > 1) {
      for (int64_t r = 0; r < rows_; ++r) {
        parallel_for(pieces_, 1, [&](int64_t begin, int64_t end) {
          for (int64_t p = begin; p < end; ++p) {
            std::vector<Entry>& kept = kept_[static_cast<size_t>(p)];
            collect<kLargest>(x + r * n_, n_ * p / pieces_, n_ * (p + 1) / pieces_, k_, kept);
            cut(kept, k_);
          }
        });
        for (size_t p = 1; p < kept_.size(); ++p) kept_[0].insert(kept_[0].end(), kept_[p].begin(), kept_[p].end());
        write(r, x, kept_[0], y, indices);
      }
      return;
    }
    parallel_for(rows_, std::max<int64_t>(1, kGrain / n_), [&](int64_t begin, int64_t end) {
      thread_local std::vector<Entry> kept;
      for (int64_t r = begin; r < end; ++r) {
        collect<kLargest>(x + r * n_, 0, n_, k_, kept);
        write(r, x, kept, y, indices);
      }
    });
  }

  void write(int64_t row, const float* x, std::vector<Entry>& kept, float* y, int64_t* indices) const {
    cut(kept, k_);
    std::sort(kept.begin(), kept.end());
    for (int64_t i = 0; i < k_; ++i) {
      const auto from = static_cast<int64_t>(static_cast<uint32_t>(kept[static_cast<size_t>(i)]));
      y[row * k_ + i] = x[row * n_ + from];
      if (indices != nullptr) indices[row * k_ + i] = from;
    }
  }

  int64_t rows_;
  int64_t n_;
  int64_t k_;
  bool largest_;
  bool has_indices_;
  int64_t pieces_;  ///< of a row
  std::vector<std::vector<Entry>> kept_;
};

WhyNot supports(const NodeView& view, const Target&) {
  const TensorDesc& x = view.inputs[0];
  if (x.dtype != DType::f32) return fmt::format("orders f32, got {}", dtype_name(x.dtype));
  if (x.layout != Layout::row_major || view.outputs[0].layout != Layout::row_major)
    return "takes row-major tensors only";
  const int64_t axis = view.node->attr_int("axis", -1);
  if (x.rank() < 1 || (axis != -1 && axis != x.rank() - 1)) return "needs the last axis";
  if (x.size() == 0 || view.outputs[0].size() == 0) return "a tensor is empty";
  if (x.shape.back() > INT32_MAX) return "the axis is too long for 32-bit indices";
  return std::nullopt;
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant>, const Target& target) {
  return std::unique_ptr<Kernel>(new TopKKernel(view, target.threads));
}

constexpr std::array<std::string_view, 1> kOps{"TopK"};

}  // namespace

constinit const Tactic kCpuTopK{
    .id = "cpu.top_k", .ops = kOps, .supports = supports, .pack = nullptr, .prepare = prepare, .unpack = nullptr};

}  // namespace planish
