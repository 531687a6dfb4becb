// Matrix products with constant weights in bfloat16, and 1x1 convolutions of channels-last images, by our packed
// kernels, where the processor multiplies bfloat16.

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "planish/base/parallel.h"
#include "planish/kernels/cpu/bf16_gemm/bf16_gemm.h"
#include "planish/ops/fused_epilogue.h"
#include "planish/tactics/cpu/own_tactics.h"
#include "planish/tactics/cpu/packed_product.h"

namespace planish {
namespace {

using kernels::Bf16GemmKernel;
using kernels::Bf16Part;
using kernels::Bf16Problem;

constexpr std::string_view kFormat = "bf16_pairs:32";
constexpr int64_t kCacheLine = 64;

bool is_bf16_or_f32(DType dtype) { return dtype == DType::bf16 || dtype == DType::f32; }

/// A part without its place. The weights of a panel to one `depth` stay in the first-level cache beside the sums of
/// `chunk` rows; the rows come from the second.
Bf16Part cut(const Bf16GemmKernel& kernel, int64_t k, int64_t rows) {
  constexpr int64_t kMostRows = 128;
  constexpr int64_t kMostDepth = 256;
  const int64_t step = kernel.depth_step(k);
  const int64_t depths = parts(k, kMostDepth);
  Bf16Part part;
  part.depth = parts(parts(k, depths), step) * step;
  const int64_t chunks = parts(rows, kMostRows);
  part.chunk = parts(parts(rows, chunks), kernel.rows) * kernel.rows;
  return part;
}

class Bf16GemmRunner final : public Kernel {
 public:
  Bf16GemmRunner(const NodeView& view, const FusedEpilogue& fused, int threads, Tensor weights)
      : weights_(std::move(weights)) {
    const ProductWeights w(view);
    kernel_ = &kernels::best_bf16_gemm_kernel(w.k);
    p_.m = view.inputs[kA].size() / w.k;
    p_.n = w.n;
    p_.k = w.k;
    p_.a_row = w.k;
    p_.c_row = w.n;
    p_.weights = static_cast<const uint16_t*>(weights_.raw());
    p_.c_wide = view.outputs[0].dtype == DType::f32;
    grid_ = ProductGrid({.m = p_.m,
                         .k = p_.k,
                         .n = p_.n,
                         .panel = kernels::kBf16Panel,
                         .row_unit = std::min<int64_t>(kernel_->rows, 16)},
                        threads);
    part_ = cut(*kernel_, p_.k, grid_.rows);
    has_bias_ = view.has_input(kBias);
    has_residual_ = view.has_input(kR);
    if (has_bias_) p_.bias.wide = view.inputs[kBias].dtype == DType::f32;
    if (has_residual_) p_.residual.wide = view.inputs[kR].dtype == DType::f32;
    p_.act.residual_last = fused.residual_last;
    if (fused.activation == nullptr) return;
    kernels::set_activation(p_.act, *kernels::find_pointwise_op(fused.activation->op, fused.params.approximate_tanh),
                            static_cast<float>(fused.params.alpha), static_cast<float>(fused.params.beta));
  }

  [[nodiscard]] size_t workspace_bytes() const override {
    return static_cast<size_t>(grid_.by_rows * grid_.by_panels * sums_size()) * sizeof(float) + kCacheLine;
  }
  [[nodiscard]] std::string detail() const override { return std::string(kernel_->name); }

  Status run(const Bindings& b) override {
    Bf16Problem p = p_;
    p.a = host_ptr<const uint16_t>(b.inputs[kA]);
    p.c = host_ptr<void>(b.outputs[0]);
    if (has_bias_) p.bias.data = host_ptr<const void>(b.inputs[kBias]);
    if (has_residual_) p.residual.data = host_ptr<const void>(b.inputs[kR]);
    const auto workspace = reinterpret_cast<uintptr_t>(host_ptr<float>(b.workspace));
    auto* sums = reinterpret_cast<float*>((workspace + kCacheLine - 1) / kCacheLine * kCacheLine);
    const int64_t panels = parts(p.n, kernels::kBf16Panel);
    parallel_for(grid_.by_rows * grid_.by_panels, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        Bf16Part part = part_;
        part.row = i / grid_.by_panels * grid_.rows;
        part.rows = std::min(grid_.rows, p.m - part.row);
        part.panel = i % grid_.by_panels * grid_.panels;
        part.panels = std::min(grid_.panels, panels - part.panel);
        part.sums = sums + i * sums_size();
        kernel_->run(p, part);
      }
    });
    return {};
  }

 private:
  [[nodiscard]] int64_t sums_size() const { return part_.chunk * kernels::kBf16Panel; }

  const Bf16GemmKernel* kernel_ = nullptr;
  Tensor weights_;
  ProductGrid grid_;
  Bf16Problem p_;
  Bf16Part part_;
  bool has_bias_ = false;
  bool has_residual_ = false;
};

WhyNot supports(const NodeView& view, const Target&) {
  const TensorDesc& y = view.outputs[0];
  for (const TensorDesc& d : {view.inputs[kA], view.inputs[kB]})
    if (d.dtype != DType::bf16) return fmt::format("multiplies bf16, got {}", dtype_name(d.dtype));
  if (!is_bf16_or_f32(y.dtype)) return fmt::format("writes bf16 and f32, asked for {}", dtype_name(y.dtype));
  if (!view.is_constant(kB)) return "needs constant weights";
  if (view.inputs[kA].size() == 0 || y.size() == 0) return "the tensor is empty";
  if (WhyNot why = product_refusal(view)) return why;
  const ProductWeights w(view);
  if (w.k % 2 != 0) return fmt::format("needs an even number of columns of A, got {}", w.k);
  if (kernels::best_bf16_gemm_kernel(w.k).isa == Isa::baseline) return "needs a processor that multiplies bfloat16";
  if (view.has_input(kBias)) {
    const TensorDesc& bias = view.inputs[kBias];
    if (!is_bf16_or_f32(bias.dtype) || bias.rank() == 0 || bias.size() != w.n || bias.shape.back() != w.n)
      return "needs one bias per column, in bf16 or f32";
  }
  if (view.has_input(kR)) {
    const TensorDesc& r = view.inputs[kR];
    if (r.shape != y.shape || r.layout != y.layout || !is_bf16_or_f32(r.dtype))
      return "needs a residual in the output's shape and layout, in bf16 or f32";
  }
  const auto fused = read_epilogue(*view.node);
  if (!fused.ok()) return fused.error().what;
  if (fused->activation != nullptr &&
      !kernels::find_pointwise_op(fused->activation->op, fused->params.approximate_tanh))
    return fmt::format("has no activation {}", fused->activation->op);
  return std::nullopt;
}

Result<std::vector<PackedConstant>> pack(const NodeView& view, const Target&) {
  const ProductWeights w(view);
  Tensor packed(DType::bf16, {kernels::bf16_weights_size(w.k, w.n)});
  kernels::pack_bf16_weights(w.k, w.n, static_cast<const uint16_t*>(view.constants[kB]->raw()), w.k_stride, w.n_stride,
                             static_cast<uint16_t*>(packed.raw()));
  return std::vector<PackedConstant>{{static_cast<int32_t>(kB), std::string(kFormat), std::move(packed)}};
}

bool is_packed(const NodeView& view, const PackedConstant& packed) {
  const ProductWeights w(view);
  return packed.format == kFormat && view.inputs[kB].dtype == DType::bf16 && w.k % 2 == 0 &&
         packed.data.bytes() == static_cast<size_t>(kernels::bf16_weights_size(w.k, w.n)) * sizeof(uint16_t);
}

Result<Tensor> unpack(const NodeView& view, const PackedConstant& packed) {
  if (!is_packed(view, packed))
    return Error{
        .code = Code::corrupt, .node = view.node->name, .what = "packed weights have an unknown format or size"};
  const ProductWeights w(view);
  Tensor weights(DType::bf16, view.inputs[kB].shape);
  kernels::unpack_bf16_weights(w.k, w.n, static_cast<const uint16_t*>(packed.data.raw()),
                               static_cast<uint16_t*>(weights.raw()), w.k_stride, w.n_stride);
  return weights;
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant> packed,
                                        const Target& target) {
  if (packed.empty())
    return Error{.code = Code::internal, .node = view.node->name, .what = "the weights are not packed"};
  if (!is_packed(view, packed[0]))
    return Error{.code = Code::unsupported,
                 .node = view.node->name,
                 .what = fmt::format("weights packed as {} need another machine", packed[0].format)};
  const FusedEpilogue fused = PLANISH_TRY(read_epilogue(*view.node));
  return std::unique_ptr<Kernel>(new Bf16GemmRunner(view, fused, target.threads, packed[0].data));
}

constexpr std::array<std::string_view, 2> kOps{"planish.FusedMatMul", "planish.FusedConv"};

}  // namespace

constinit const Tactic kCpuBf16Gemm{
    .id = "cpu.bf16_gemm", .ops = kOps, .supports = supports, .pack = pack, .prepare = prepare, .unpack = unpack};

}  // namespace planish
