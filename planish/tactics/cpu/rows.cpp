// LayerNormalization, RMSNormalization, Softmax and LogSoftmax by our own vector loops, one row (or a strip of columns)
// at a time. Rows in 16-bit types are widened into a buffer: the arithmetic is f32.

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "planish/base/parallel.h"
#include "planish/kernels/cpu/convert/tile.h"
#include "planish/kernels/cpu/rows/rows.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {
namespace {

int64_t product(const Shape& s, size_t begin, size_t end) {
  return std::accumulate(s.begin() + static_cast<std::ptrdiff_t>(begin), s.begin() + static_cast<std::ptrdiff_t>(end),
                         int64_t{1}, std::multiplies<>());
}

size_t axis_of(const NodeView& view) {
  const int64_t axis = view.node->attr_int("axis", -1);
  return static_cast<size_t>(axis < 0 ? axis + view.inputs[0].rank() : axis);
}

WhyNot plain_floats(const NodeView& view) {
  for (size_t i = 0; i < view.inputs.size(); ++i) {
    const TensorDesc& d = view.inputs[i];
    if (!d.present()) continue;
    if (d.layout != Layout::row_major) return "takes row-major tensors only";
    const bool known = i == 0 ? kernels::tile_reader(d.dtype) != nullptr : d.dtype == DType::f32;
    if (!known)
      return fmt::format("reads f32, f16 and bf16 with parameters in f32, got {} as input {}", dtype_name(d.dtype), i);
  }
  if (kernels::tile_writer(view.outputs[0].dtype) == nullptr || view.outputs[0].layout != Layout::row_major)
    return "writes row-major f32, f16 and bf16 only";
  if (axis_of(view) >= view.inputs[0].shape.size()) return "the axis does not exist";
  return std::nullopt;
}

/// Rows of some type, each shown to an f32 kernel: in place, or through a buffer of the thread.
class RowAccess {
 public:
  RowAccess(const TensorDesc& x, const TensorDesc& y, int64_t n)
      : n_(n),
        x_bytes_(dtype_bits(x.dtype) / 8),
        y_bytes_(dtype_bits(y.dtype) / 8),
        read_(x.dtype == DType::f32 ? nullptr : kernels::tile_reader(x.dtype)),
        write_(y.dtype == DType::f32 ? nullptr : kernels::tile_writer(y.dtype)) {}

  /// kernel(x, y) for row `r`.
  template <typename F>
  void visit(const Bindings& b, int64_t r, F&& kernel) const {
    const auto* x = host_ptr<const std::byte>(b.inputs[0]) + r * n_ * x_bytes_;
    auto* y = host_ptr<std::byte>(b.outputs[0]) + r * n_ * y_bytes_;
    if (read_ == nullptr && write_ == nullptr) {
      kernel(reinterpret_cast<const float*>(x), reinterpret_cast<float*>(y));
      return;
    }
    thread_local std::vector<float> buffer;
    if (buffer.size() < static_cast<size_t>(n_)) buffer.resize(static_cast<size_t>(n_));
    const float* from = reinterpret_cast<const float*>(x);
    if (read_ != nullptr) {
      read_(n_, x, buffer.data());
      from = buffer.data();
    }
    float* to = write_ != nullptr ? buffer.data() : reinterpret_cast<float*>(y);
    kernel(from, to);
    if (write_ != nullptr) write_(n_, to, y);
  }

 private:
  int64_t n_;
  int64_t x_bytes_;
  int64_t y_bytes_;
  kernels::ReadTile read_;
  kernels::WriteTile write_;
};

/// Rows that make a thread worth waking.
int64_t row_grain(int64_t n) { return std::max<int64_t>(1, 4096 / std::max<int64_t>(n, 1)); }

class NormalizeKernel final : public Kernel {
 public:
  NormalizeKernel(RowAccess access, int64_t rows, int64_t n, float epsilon, bool rms)
      : access_(access), rows_(rows), n_(n), epsilon_(epsilon), rms_(rms) {}
  Status run(const Bindings& b) override {
    const auto* scale = host_ptr<const float>(b.inputs[1]);
    const auto* bias = b.inputs.size() > 2 ? host_ptr<const float>(b.inputs[2]) : nullptr;
    parallel_for(rows_, row_grain(n_), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        access_.visit(b, r, [&](const float* x, float* y) {
          if (rms_)
            kernels_.rms_norm(n_, x, scale, epsilon_, y);
          else
            kernels_.layer_norm(n_, x, scale, bias, epsilon_, y);
        });
    });
    return {};
  }
  [[nodiscard]] std::string detail() const override { return std::string(kernels_.name); }

 private:
  const kernels::RowKernels& kernels_ = kernels::best_row_kernels();
  RowAccess access_;
  int64_t rows_;
  int64_t n_;
  float epsilon_;
  bool rms_;
};

WhyNot supports_normalize(const NodeView& view, const Target&) {
  if (WhyNot why = plain_floats(view)) return why;
  for (size_t i = 1; i < view.outputs.size(); ++i)
    if (view.outputs[i].present()) return "does not return mean and deviation";
  const auto& s = view.inputs[0].shape;
  const int64_t n = product(s, axis_of(view), s.size());
  for (size_t i = 1; i < view.inputs.size(); ++i)
    if (view.has_input(i) && view.inputs[i].size() != n) return "needs scale and bias of the normalised shape";
  return std::nullopt;
}

Result<std::unique_ptr<Kernel>> prepare_normalize(const NodeView& view, std::span<const PackedConstant>,
                                                  const Target&) {
  const auto& s = view.inputs[0].shape;
  const size_t axis = axis_of(view);
  const int64_t n = product(s, axis, s.size());
  return std::unique_ptr<Kernel>(new NormalizeKernel(RowAccess(view.inputs[0], view.outputs[0], n), product(s, 0, axis),
                                                     n, view.node->attr_float("epsilon", 1e-5F),
                                                     view.node->op == "RMSNormalization"));
}

class SoftmaxKernel final : public Kernel {
 public:
  SoftmaxKernel(RowAccess access, int64_t outer, int64_t n, int64_t inner)
      : access_(access), outer_(outer), n_(n), inner_(inner) {}
  Status run(const Bindings& b) override {
    if (inner_ == 1) {
      parallel_for(outer_, row_grain(n_), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r)
          access_.visit(b, r, [this](const float* x, float* y) { kernels_.softmax(n_, x, y); });
      });
      return {};
    }
    const auto* x = host_ptr<const float>(b.inputs[0]);
    auto* y = host_ptr<float>(b.outputs[0]);
    const int64_t strips = (inner_ + kernels::kMaxColumns - 1) / kernels::kMaxColumns;
    parallel_for(outer_ * strips, row_grain(n_ * kernels::kMaxColumns), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t column = i % strips * kernels::kMaxColumns;
        const int64_t at = i / strips * n_ * inner_ + column;
        kernels_.softmax_columns(n_, std::min(kernels::kMaxColumns, inner_ - column), inner_, x + at, y + at);
      }
    });
    return {};
  }
  [[nodiscard]] std::string detail() const override { return std::string(kernels_.name); }

 private:
  const kernels::RowKernels& kernels_ = kernels::best_row_kernels();
  RowAccess access_;
  int64_t outer_;
  int64_t n_;
  int64_t inner_;
};

WhyNot supports_softmax(const NodeView& view, const Target&) {
  if (WhyNot why = plain_floats(view)) return why;
  const auto& s = view.inputs[0].shape;
  const bool f32 = view.inputs[0].dtype == DType::f32 && view.outputs[0].dtype == DType::f32;
  if (!f32 && product(s, axis_of(view) + 1, s.size()) != 1) return "needs the last axis outside f32";
  return std::nullopt;
}

Result<std::unique_ptr<Kernel>> prepare_softmax(const NodeView& view, std::span<const PackedConstant>, const Target&) {
  const auto& s = view.inputs[0].shape;
  const size_t axis = axis_of(view);
  return std::unique_ptr<Kernel>(new SoftmaxKernel(RowAccess(view.inputs[0], view.outputs[0], s[axis]),
                                                   product(s, 0, axis), s[axis], product(s, axis + 1, s.size())));
}

class LogSoftmaxKernel final : public Kernel {
 public:
  LogSoftmaxKernel(RowAccess access, int64_t rows, int64_t n) : access_(access), rows_(rows), n_(n) {}
  Status run(const Bindings& b) override {
    parallel_for(rows_, row_grain(n_), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        access_.visit(b, r, [this](const float* x, float* y) { log_softmax(x, y); });
    });
    return {};
  }
  [[nodiscard]] std::string detail() const override { return std::string(kernels_.name); }

 private:
  /// x - max - log(sum of exp(x - max)); the sum is the inverse of the largest softmax, whose numerator is exp(0).
  void log_softmax(const float* x, float* y) const {
    thread_local std::vector<float> shares;  // x may be y
    if (shares.size() < static_cast<size_t>(n_)) shares.resize(static_cast<size_t>(n_));
    const float top = kernels_.max(n_, x);
    kernels_.softmax(n_, x, shares.data());
    kernels_.affine(n_, x, top, 1.0F, std::log(kernels_.max(n_, shares.data())), y);
  }

  const kernels::RowKernels& kernels_ = kernels::best_row_kernels();
  RowAccess access_;
  int64_t rows_;
  int64_t n_;
};

WhyNot supports_log_softmax(const NodeView& view, const Target&) {
  if (WhyNot why = plain_floats(view)) return why;
  const auto& s = view.inputs[0].shape;
  if (product(s, axis_of(view) + 1, s.size()) != 1) return "needs the last axis";
  if (s[axis_of(view)] == 0) return "the axis is empty";
  return std::nullopt;
}

Result<std::unique_ptr<Kernel>> prepare_log_softmax(const NodeView& view, std::span<const PackedConstant>,
                                                    const Target&) {
  const auto& s = view.inputs[0].shape;
  const int64_t n = s[axis_of(view)];
  return std::unique_ptr<Kernel>(
      new LogSoftmaxKernel(RowAccess(view.inputs[0], view.outputs[0], n), product(s, 0, axis_of(view)), n));
}

constexpr std::array<std::string_view, 2> kNormalizeOps{"LayerNormalization", "RMSNormalization"};
constexpr std::array<std::string_view, 1> kSoftmaxOps{"Softmax"};
constexpr std::array<std::string_view, 1> kLogSoftmaxOps{"LogSoftmax"};

}  // namespace

constinit const Tactic kCpuNormalize{.id = "cpu.normalize",
                                     .ops = kNormalizeOps,
                                     .supports = supports_normalize,
                                     .pack = nullptr,
                                     .prepare = prepare_normalize,
                                     .unpack = nullptr};
constinit const Tactic kCpuSoftmax{.id = "cpu.softmax",
                                   .ops = kSoftmaxOps,
                                   .supports = supports_softmax,
                                   .pack = nullptr,
                                   .prepare = prepare_softmax,
                                   .unpack = nullptr};
constinit const Tactic kCpuLogSoftmax{.id = "cpu.log_softmax",
                                      .ops = kLogSoftmaxOps,
                                      .supports = supports_log_softmax,
                                      .pack = nullptr,
                                      .prepare = prepare_log_softmax,
                                      .unpack = nullptr};

}  // namespace planish
