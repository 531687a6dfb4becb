// Matrix products with constant weights, and 1x1 convolutions of channels-last images, by our packed kernels: directly,
// or with one step of fast multiplication, which has an eighth fewer products and nearly twice the weights.

#include <fmt/format.h>

#include <array>

#include "planish/base/parallel.h"
#include "planish/kernels/cpu/gemm/gemm.h"
#include "planish/tactics/cpu/gemm_product.h"
#include "planish/tactics/cpu/own_tactics.h"
#include "planish/tactics/cpu/packed_product.h"

namespace planish {
namespace {

using kernels::GemmKernel;
using kernels::GemmProblem;

constexpr int kDirect = 1;
constexpr int kStrassen = 7;

class GemmRunner final : public Kernel {
 public:
  GemmRunner(const NodeView& view, GemmProduct product)
      : product_(std::move(product)), has_bias_(view.has_input(kBias)), has_residual_(view.has_input(kR)) {}

  [[nodiscard]] size_t workspace_bytes() const override {
    return static_cast<size_t>(product_.parts() * product_.scratch_size()) * sizeof(float);
  }
  [[nodiscard]] std::string detail() const override { return std::string(product_.kernel().name); }

  Status run(const Bindings& b) override {
    const GemmProblem p = product_.problem({.a = host_ptr<const float>(b.inputs[kA]),
                                            .bias = has_bias_ ? host_ptr<const float>(b.inputs[kBias]) : nullptr,
                                            .residual = has_residual_ ? host_ptr<const float>(b.inputs[kR]) : nullptr,
                                            .c = host_ptr<float>(b.outputs[0])});
    auto* scratch = host_ptr<float>(b.workspace);
    parallel_for(product_.parts(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        product_.kernel().run(p, product_.part(i, scratch + i * product_.scratch_size()));
    });
    return {};
  }

 private:
  GemmProduct product_;
  bool has_bias_;
  bool has_residual_;
};

template <int kProducts>
WhyNot supports(const NodeView& view, const Target&) {
  if (WhyNot why = float_product_refusal(view)) return why;
  const ProductWeights w(view);
  const int64_t rows = view.inputs[kA].size() / w.k;
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
  return fmt::format("{}:{}", kernel.products == kDirect ? "columns" : "quadrants", kernel.width);
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
  GemmProduct product =
      PLANISH_TRY(GemmProduct::of(view, kernel, target.threads, packed[0].data, GemmProduct::Sharing::any));
  return std::unique_ptr<Kernel>(new GemmRunner(view, std::move(product)));
}

constexpr std::array<std::string_view, 2> kOps{"planish.FusedMatMul", "planish.FusedConv"};

}  // namespace

constinit const Tactic kCpuGemm{.id = "cpu.gemm",
                                .ops = kOps,
                                .supports = supports<kDirect>,
                                .pack = pack<kDirect>,
                                .prepare = prepare<kDirect>,
                                .unpack = unpack,
                                .version = 10};
constinit const Tactic kCpuStrassen{.id = "cpu.strassen",
                                    .ops = kOps,
                                    .supports = supports<kStrassen>,
                                    .pack = pack<kStrassen>,
                                    .prepare = prepare<kStrassen>,
                                    .unpack = unpack,
                                    .version = 14};

}  // namespace planish
