// Matrix products with constant weights, and 1x1 convolutions of channels-last images, by our packed kernels: directly,
// or with one step of fast multiplication, which has an eighth fewer products and nearly twice the weights.

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "planish/base/isa.h"
#include "planish/base/parallel.h"
#include "planish/kernels/cpu/gemm/gemm.h"
#include "planish/ops/fused_epilogue.h"
#include "planish/tactics/cpu/own_tactics.h"
#include "planish/tactics/cpu/packed_product.h"

namespace planish {
namespace {

using kernels::GemmEpilogue;
using kernels::GemmKernel;
using kernels::GemmPart;
using kernels::GemmProblem;

constexpr int kDirect = 1;
constexpr int kStrassen = 7;

int64_t even(int64_t n) { return n + n % 2; }

/// The work as the grid sees it: with seven products rows come in pairs, and summing A's quadrants costs a little
/// beside the products of one panel.
ProductGrid grid_of(const GemmKernel& kernel, int64_t m, int64_t k, int64_t n, int threads) {
  const bool direct = kernel.products == kDirect;
  // Rows that the same thread wrote in the layer before are in its cache, while weights come from the shared one, or
  // from memory once for all: with enough rows per thread reading all weights costs less than reading others' rows.
  constexpr int64_t kOwnRows = 48;
  return {{.m = m,
           .k = k,
           .n = n,
           .panel = kernel.panel,
           .row_unit = direct ? 1 : 2,
           .overhead = direct ? 0.0 : 0.02,
           .own_rows = kOwnRows},
          threads};
}

/// A part without its place: what a thread keeps in its second-level cache are, to one `depth`, the weights of a panel
/// and the rows of A; with seven products the quadrants of a pair of panels, the four sums of them, and seven numbers
/// for each pair of rows.
GemmPart cut(const GemmKernel& kernel, int64_t k, int64_t rows) {
  constexpr int64_t kLeastDepth = 64;
  constexpr int64_t kDirectRows = 96;
  constexpr int64_t kLeastPairedRows = 128;
  constexpr int64_t kMostPairedRows = 256;
  const bool direct = kernel.products == kDirect;
  const int64_t cached = cpu_features().l2_bytes / static_cast<int64_t>(sizeof(float));
  const int64_t depth = direct ? k : k / 2;
  // Each chunk of rows makes the sums of weights again, so there are few where a short depth leaves room.
  const int64_t most_rows =
      direct ? kDirectRows : std::clamp(cached / (kernel.products * depth) / 2 * 2, kLeastPairedRows, kMostPairedRows);
  const int64_t kept = direct ? 2 * (kernel.width + most_rows) : 8 * kernel.width + kernel.products * most_rows / 2;
  const int64_t most = std::max(kLeastDepth, cached / kept);
  GemmPart part;
  part.depth = std::min(depth, (parts(depth, parts(depth, most)) + 15) / 16 * 16);
  part.chunk = even(parts(rows, parts(rows, most_rows)));
  return part;
}

class GemmRunner final : public Kernel {
 public:
  GemmRunner(const NodeView& view, const GemmKernel& kernel, const FusedEpilogue& fused, int threads, Tensor weights)
      : kernel_(kernel), weights_(std::move(weights)) {
    const ProductWeights w(view);
    p_ = {.m = rows_of(view), .n = w.n, .k = w.k, .a_row = w.k, .weights = weights_.data<float>(), .c_row = w.n};
    grid_ = grid_of(kernel, p_.m, p_.k, p_.n, threads);
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
  static int64_t rows_of(const NodeView& view) { return view.inputs[kA].size() / ProductWeights(view).k; }

  const GemmKernel& kernel_;
  Tensor weights_;
  ProductGrid grid_;
  GemmProblem p_;
  GemmPart part_;
  int64_t scratch_ = 0;
  bool has_bias_ = false;
  bool has_residual_ = false;
};

template <int kProducts>
WhyNot supports(const NodeView& view, const Target&) {
  const TensorDesc& y = view.outputs[0];
  for (const TensorDesc& d : {view.inputs[kA], view.inputs[kB], y})
    if (d.dtype != DType::f32) return fmt::format("computes in f32, got {}", dtype_name(d.dtype));
  if (!view.is_constant(kB)) return "needs constant weights";
  if (view.inputs[kA].size() == 0 || y.size() == 0) return "the tensor is empty";
  if (WhyNot why = product_refusal(view)) return why;
  const ProductWeights w(view);
  const int64_t rows = view.inputs[kA].size() / w.k;
  if (view.has_input(kBias)) {
    const TensorDesc& bias = view.inputs[kBias];
    if (bias.dtype != DType::f32 || bias.rank() == 0 || bias.size() != w.n || bias.shape.back() != w.n)
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
  const ProductWeights w(view);
  Tensor packed(DType::f32, {kernels::gemm_weights_size(kernel, w.k, w.n)});
  kernels::pack_gemm_weights(kernel, w.k, w.n, view.constants[kB]->data<float>(), w.k_stride, w.n_stride,
                             packed.data<float>());
  return std::vector<PackedConstant>{{static_cast<int32_t>(kB), format_of(kernel), std::move(packed)}};
}

/// The kernel that wrote the constant, also when this machine cannot run it; nullptr when none did.
const GemmKernel* writer_of(const NodeView& view, const PackedConstant& packed) {
  const ProductWeights w(view);
  for (const GemmKernel& kernel : kernels::gemm_kernels())
    if (format_of(kernel) == packed.format && (kernel.products == kDirect || w.k % 2 == 0) &&
        packed.data.bytes() == static_cast<size_t>(kernels::gemm_weights_size(kernel, w.k, w.n)) * sizeof(float))
      return &kernel;
  return nullptr;
}

Result<Tensor> unpack(const NodeView& view, const PackedConstant& packed) {
  const GemmKernel* kernel = writer_of(view, packed);
  if (kernel == nullptr)
    return Error{.code = Code::corrupt,
                 .node = view.node->name,
                 .what = fmt::format("packed weights have an unknown format or size ('{}')", packed.format),
                 .fix = "build the engine again"};
  const ProductWeights w(view);
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
                                .version = 7};
constinit const Tactic kCpuStrassen{.id = "cpu.strassen",
                                    .ops = kOps,
                                    .supports = supports<kStrassen>,
                                    .pack = pack<kStrassen>,
                                    .prepare = prepare<kStrassen>,
                                    .unpack = unpack,
                                    .version = 9};

}  // namespace planish
