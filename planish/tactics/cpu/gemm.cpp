// Matrix products with constant weights, and 1x1 convolutions of channels-last images, by our packed kernels: directly,
// or with one step of fast multiplication, which has an eighth fewer products and nearly twice the weights.

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "planish/base/isa.h"
#include "planish/base/parallel.h"
#include "planish/kernels/cpu/gemm/gemm.h"
#include "planish/ops/conv_geometry.h"
#include "planish/ops/fused_epilogue.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {
namespace {

using kernels::GemmEpilogue;
using kernels::GemmKernel;
using kernels::GemmPart;
using kernels::GemmProblem;

enum Input : size_t { kA, kB, kBias, kR };

constexpr int kDirect = 1;
constexpr int kStrassen = 7;

bool is_conv(const NodeView& view) { return view.node->op == "FusedConv"; }

/// The weights as a matrix [k, n]; strides in elements.
struct Weights {
  int64_t k = 0;
  int64_t n = 0;
  int64_t k_stride = 0;
  int64_t n_stride = 0;

  explicit Weights(const NodeView& view) {
    const Shape& s = view.inputs[kB].shape;
    const bool by_filter = is_conv(view) || view.node->attr_int("trans_b", 0) != 0;
    k = by_filter ? s[1] : s[0];
    n = by_filter ? s[0] : s[1];
    k_stride = by_filter ? 1 : n;
    n_stride = by_filter ? k : 1;
  }
};

int64_t even(int64_t n) { return n + n % 2; }
int64_t parts(int64_t n, int64_t most) { return (n + most - 1) / most; }

/// How the work is shared out: a grid of threads over rows and panels.
struct Grid {
  int64_t by_rows = 1;
  int64_t by_panels = 1;
  int64_t rows = 0;    ///< of a part
  int64_t panels = 0;  ///< of a part

  /// The least work for the busiest thread; among grids that are within two percent of it, the least memory read.
  Grid(const GemmKernel& kernel, int64_t m, int64_t k, int64_t n, int threads) {
    const int64_t all_panels = parts(n, kernel.panel);
    // What summing A's quadrants costs beside the products of one panel.
    const double sums = kernel.products == kDirect ? 0.0 : 0.02;
    const auto share = [&](int64_t over) { return kernel.products == kDirect ? parts(m, over) : even(parts(m, over)); };
    const auto work = [&](int64_t r) {
      return static_cast<double>(share(r)) * (static_cast<double>(parts(all_panels, threads / r)) + sums);
    };
    const auto traffic = [&](int64_t r) { return r * k * n + threads / r * m * k; };
    double least = work(1);
    for (int64_t r = 2; r <= threads; ++r) least = std::min(least, work(r));
    by_rows = 0;
    for (int64_t r = 1; r <= threads; ++r) {
      constexpr double kNear = 1.02;
      if (work(r) > least * kNear || (by_rows != 0 && traffic(r) >= traffic(by_rows))) continue;
      by_rows = r;
    }
    rows = share(by_rows);
    by_rows = parts(m, rows);
    panels = parts(all_panels, threads / std::min<int64_t>(by_rows, threads));
    by_panels = parts(all_panels, panels);
  }
};

/// A part without its place: what a thread keeps in its second-level cache are, to one `depth`, the weights of a panel
/// and the rows of A; with seven products the quadrants of a pair of panels and the sums of them, while the sums of A
/// stream by.
GemmPart cut(const GemmKernel& kernel, int64_t k, int64_t rows) {
  constexpr int64_t kLeastDepth = 64;
  const bool direct = kernel.products == kDirect;
  const int64_t most_rows = direct ? 96 : 128;
  const int64_t depth = direct ? k : k / 2;
  const int64_t cached = cpu_features().l2_bytes / static_cast<int64_t>(sizeof(float)) /
                         (direct ? 2 * (kernel.width + most_rows) : (4 + kernel.products) * kernel.width);
  const int64_t most = std::max(kLeastDepth, cached);
  GemmPart part;
  part.depth = std::min(depth, (parts(depth, parts(depth, most)) + 15) / 16 * 16);
  part.chunk = even(parts(rows, parts(rows, most_rows)));
  return part;
}

class GemmRunner final : public Kernel {
 public:
  GemmRunner(const NodeView& view, const GemmKernel& kernel, const FusedEpilogue& fused, int threads, Tensor weights)
      : kernel_(kernel), weights_(std::move(weights)), grid_(kernel, rows_of(view), 1, 1, 1) {
    const Weights w(view);
    p_ = {.m = rows_of(view), .n = w.n, .k = w.k, .a_row = w.k, .weights = weights_.data<float>(), .c_row = w.n};
    grid_ = Grid(kernel, p_.m, p_.k, p_.n, threads);
    part_ = cut(kernel, p_.k, grid_.rows);
    scratch_ = kernels::gemm_scratch_size(kernel, part_);
    has_bias_ = view.has_input(kBias);
    has_residual_ = view.has_input(kR);
    p_.epilogue.residual_last = fused.residual_last;
    if (fused.activation == nullptr) return;
    p_.epilogue.activate = kernels::best_pointwise_kernel().fn;
    p_.epilogue.op = *kernels::find_pointwise_op(fused.activation->op, fused.params.approximate_tanh);
    p_.epilogue.alpha = static_cast<float>(fused.params.alpha);
    p_.epilogue.beta = static_cast<float>(fused.params.beta);
  }

  [[nodiscard]] size_t workspace_bytes() const override {
    return static_cast<size_t>(grid_.by_rows * grid_.by_panels * scratch_) * sizeof(float);
  }
  [[nodiscard]] std::string detail() const override { return std::string(kernel_.name); }

  Status run(const Bindings& b) override {
    GemmProblem p = p_;
    p.a = host_ptr<const float>(b.inputs[kA]);
    p.c = host_ptr<float>(b.outputs[0]);
    if (has_bias_) p.epilogue.bias = host_ptr<const float>(b.inputs[kBias]);
    if (has_residual_) p.epilogue.residual = host_ptr<const float>(b.inputs[kR]);
    auto* scratch = host_ptr<float>(b.workspace);
    const int64_t panels = parts(p.n, kernel_.panel);
    parallel_for(grid_.by_rows * grid_.by_panels, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        GemmPart part = part_;
        part.row = i / grid_.by_panels * grid_.rows;
        part.rows = std::min(grid_.rows, p.m - part.row);
        part.panel = i % grid_.by_panels * grid_.panels;
        part.panels = std::min(grid_.panels, panels - part.panel);
        part.scratch = scratch + i * scratch_;
        kernel_.run(p, part);
      }
    });
    return {};
  }

 private:
  static int64_t rows_of(const NodeView& view) { return view.inputs[kA].size() / Weights(view).k; }

  const GemmKernel& kernel_;
  Tensor weights_;
  Grid grid_;
  GemmProblem p_;
  GemmPart part_;
  int64_t scratch_ = 0;
  bool has_bias_ = false;
  bool has_residual_ = false;
};

WhyNot conv_refusal(const NodeView& view) {
  const TensorDesc& x = view.inputs[kA];
  const auto conv = resolve_conv(*view.node, x.shape, view.inputs[kB].shape);
  if (!conv.ok()) return conv.error().what;
  const WindowGeometry& g = conv->window;
  const auto is = [](const std::vector<int64_t>& v, int64_t n) {
    return std::ranges::all_of(v, [n](int64_t i) { return i == n; });
  };
  if (!is(g.kernel, 1) || !is(g.strides, 1) || conv->groups != 1 || g.in != g.out)
    return "needs a kernel of one pixel, stride 1, no padding, one group";
  if (x.layout != Layout::channels_last || view.outputs[0].layout != Layout::channels_last)
    return "takes channels-last images only";
  return std::nullopt;
}

WhyNot matmul_refusal(const NodeView& view) {
  const Node& node = *view.node;
  if (view.inputs[kB].rank() != 2) return "needs one matrix of weights";
  if (view.inputs[kA].rank() < 2 || node.attr_int("trans_a", 0) != 0) return "needs rows of A that are contiguous";
  if (node.attr_float("alpha", 1.0F) != 1.0F) return "has no scale";
  for (size_t i = 0; i < view.inputs.size(); ++i)
    if (view.has_input(i) && view.inputs[i].layout != Layout::row_major) return "takes row-major tensors only";
  if (view.outputs[0].layout != Layout::row_major) return "writes row-major tensors only";
  return std::nullopt;
}

template <int kProducts>
WhyNot supports(const NodeView& view, const Target&) {
  const TensorDesc& y = view.outputs[0];
  for (const TensorDesc& d : {view.inputs[kA], view.inputs[kB], y})
    if (d.dtype != DType::f32) return fmt::format("computes in f32, got {}", dtype_name(d.dtype));
  if (!view.is_constant(kB)) return "needs constant weights";
  if (view.inputs[kA].size() == 0 || y.size() == 0) return "the tensor is empty";
  if (WhyNot why = is_conv(view) ? conv_refusal(view) : matmul_refusal(view)) return why;
  const Weights w(view);
  const int64_t rows = view.inputs[kA].size() / w.k;
  if (view.has_input(kBias)) {
    const TensorDesc& bias = view.inputs[kBias];
    if (bias.dtype != DType::f32 || bias.size() != w.n || bias.shape.back() != w.n)
      return "needs one bias per column, in f32";
  }
  if (view.has_input(kR) && view.inputs[kR] != y) return "needs a residual in the output's shape, type and layout";
  const auto fused = read_epilogue(*view.node);
  if (!fused.ok()) return fused.error().what;
  if (fused->activation != nullptr &&
      !kernels::find_pointwise_op(fused->activation->op, fused->params.approximate_tanh))
    return fmt::format("has no activation {}", fused->activation->op);
  if constexpr (kProducts == kStrassen) {
    constexpr int64_t kLeastRows = 16;
    constexpr int64_t kLeastDepth = 64;
    if (w.k % 2 != 0) return fmt::format("needs an even number of columns of A, got {}", w.k);
    if (rows < kLeastRows || w.k < kLeastDepth || w.n < kernels::best_gemm_kernel(kStrassen).width)
      return fmt::format("a product of {} x {} x {} is too small to pay", rows, w.k, w.n);
  }
  return std::nullopt;
}

std::string format_of(const GemmKernel& kernel) {
  return fmt::format("{}:{}", kernel.products == kDirect ? "columns" : "pairs", kernel.width);
}

template <int kProducts>
Result<std::vector<PackedConstant>> pack(const NodeView& view, const Target&) {
  const GemmKernel& kernel = kernels::best_gemm_kernel(kProducts);
  const Weights w(view);
  Tensor packed(DType::f32, {kernels::gemm_weights_size(kernel, w.k, w.n)});
  kernels::pack_gemm_weights(kernel, w.k, w.n, view.constants[kB]->data<float>(), w.k_stride, w.n_stride,
                             packed.data<float>());
  return std::vector<PackedConstant>{{static_cast<int32_t>(kB), format_of(kernel), std::move(packed)}};
}

/// The kernel that wrote the constant, also when this machine cannot run it; nullptr when none did.
const GemmKernel* writer_of(const NodeView& view, const PackedConstant& packed) {
  const Weights w(view);
  for (const GemmKernel& kernel : kernels::gemm_kernels())
    if (format_of(kernel) == packed.format && (kernel.products == kDirect || w.k % 2 == 0) &&
        packed.data.bytes() == static_cast<size_t>(kernels::gemm_weights_size(kernel, w.k, w.n)) * sizeof(float))
      return &kernel;
  return nullptr;
}

Result<Tensor> unpack(const NodeView& view, const PackedConstant& packed) {
  const GemmKernel* kernel = writer_of(view, packed);
  if (kernel == nullptr)
    return Error{
        .code = Code::corrupt, .node = view.node->name, .what = "packed weights have an unknown format or size"};
  const Weights w(view);
  Tensor weights(DType::f32, view.inputs[kB].shape);
  kernels::unpack_gemm_weights(*kernel, w.k, w.n, packed.data.data<float>(), weights.data<float>(), w.k_stride,
                               w.n_stride);
  return weights;
}

template <int kProducts>
Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant> packed,
                                        const Target& target) {
  if (packed.empty())
    return Error{.code = Code::internal, .node = view.node->name, .what = "the weights are not packed"};
  const GemmKernel& kernel = kernels::best_gemm_kernel(kProducts);
  if (packed[0].format != format_of(kernel) || writer_of(view, packed[0]) == nullptr)
    return Error{.code = Code::unsupported,
                 .node = view.node->name,
                 .what = fmt::format("weights packed as {} need another machine", packed[0].format)};
  const FusedEpilogue fused = PLANISH_TRY(read_epilogue(*view.node));
  return std::unique_ptr<Kernel>(new GemmRunner(view, kernel, fused, target.threads, packed[0].data));
}

constexpr std::array<std::string_view, 2> kOps{"planish.FusedMatMul", "planish.FusedConv"};

}  // namespace

constinit const Tactic kCpuGemm{.id = "cpu.gemm",
                                .ops = kOps,
                                .supports = supports<kDirect>,
                                .pack = pack<kDirect>,
                                .prepare = prepare<kDirect>,
                                .unpack = unpack,
                                .version = 5};
constinit const Tactic kCpuStrassen{.id = "cpu.strassen",
                                    .ops = kOps,
                                    .supports = supports<kStrassen>,
                                    .pack = pack<kStrassen>,
                                    .prepare = prepare<kStrassen>,
                                    .unpack = unpack,
                                    .version = 6};

}  // namespace planish
