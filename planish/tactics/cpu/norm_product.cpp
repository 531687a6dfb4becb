// planish.Chain of a product and a normalisation of rows (LayerNormalization, RMSNormalization), in either order. In
// front of the product, a chunk of A's rows is normalised into scratch memory that stays in the second-level cache, and
// multiplied from there; behind it, a thread normalises the rows of C that it has just finished. What the first step
// hands to the second is never written as a whole.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <deque>

#include "planish/base/parallel.h"
#include "planish/kernels/cpu/rows/rows.h"
#include "planish/tactics/cpu/chain_parts.h"
#include "planish/tactics/cpu/gemm_product.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {
namespace {

using kernels::GemmPart;
using kernels::GemmProblem;

enum NormInput : size_t { kScale = 1, kShift };

constexpr int kDirect = 1;
constexpr int kStrassen = 7;

Error refused(const NodeView& view, std::string what) {
  return Error{.code = Code::unsupported, .node = view.node->name, .what = std::move(what)};
}

struct NormProduct {
  std::deque<ChainPart> steps;  ///< stay where they are when this moves
  const ChainPart* norm = nullptr;
  const ChainPart* product = nullptr;
  [[nodiscard]] bool norm_first() const { return norm == &steps.front(); }
};

bool is_norm(const Node& node) { return node.is("LayerNormalization") || node.is("RMSNormalization"); }

/// nullopt, or why the second step is not one that reads the first one's result, and that alone, as its rows.
WhyNot order_refusal(const NodeView& chain, const ChainPart& first, const ChainPart& second) {
  const auto inputs = static_cast<int32_t>(chain.inputs.size());
  const auto outside = [=](int32_t operand) { return operand < inputs; };
  if (!std::ranges::all_of(first.operands, outside)) return "the first step has to read the chain's inputs";
  if (second.operands.empty() || second.operands[0] != inputs ||
      !std::all_of(second.operands.begin() + 1, second.operands.end(), outside))
    return "the second step has to read the first one's result, as its rows only";
  return std::nullopt;
}

Result<NormProduct> norm_product_of(const NodeView& chain, const Target& target, const Tactic& gemm) {
  const auto steps = PLANISH_TRY(chain_steps(*chain.node));
  if (steps.size() != 2) return refused(chain, "takes two steps");
  NormProduct out;
  std::vector<TensorDesc> results;
  for (const ChainStep& step : steps) {
    ChainPart& part = out.steps.emplace_back(PLANISH_TRY(chain_part(chain, step, Layout::row_major, results)));
    part.view.node = &part.node;
    const bool norm = is_norm(part.node);
    if (!norm && !part.node.is("FusedMatMul", "planish")) return refused(chain, "a step is no matrix product");
    (norm ? out.norm : out.product) = &part;
    part.tactic = norm ? &kCpuNormalize : &gemm;
  }
  if (out.norm == nullptr || out.product == nullptr)
    return refused(chain, "takes a normalisation of rows and a matrix product");
  for (const ChainPart& part : out.steps)
    if (!part.view.has_input(0) || !part.view.has_input(1)) return refused(chain, "an operand is missing");
  const int32_t weights = out.product->operands[kB];
  int readers = 0;
  for (const ChainPart& part : out.steps) readers += static_cast<int>(std::ranges::count(part.operands, weights));
  if (readers != 1) return refused(chain, "needs weights that nothing else reads");
  if (WhyNot why = order_refusal(chain, out.steps[0], out.steps[1])) return refused(chain, std::move(*why));
  for (const ChainPart& part : out.steps) {
    for (const TensorDesc& d : {part.view.inputs[0], part.view.outputs[0]})
      if (d.dtype != DType::f32 || d.size() == 0) return refused(chain, "computes in f32, and something");
    if (WhyNot why = part.tactic->supports(part.view, target)) return refused(chain, std::move(*why));
  }
  if (chain.outputs[0] != out.steps[1].view.outputs[0]) return refused(chain, "the output is not the second step's");
  const ProductWeights w(out.product->view);
  if (out.norm->view.inputs[kScale].size() != (out.norm_first() ? w.k : w.n))
    return refused(chain, "needs a normalisation of the product's rows");
  return out;
}

/// A normalisation of rows, with its operands by input of the chain.
struct RowNorm {
  const kernels::RowKernels* vector = nullptr;
  bool rms = false;
  float epsilon = 0;
  int64_t columns = 0;
  int32_t scale = -1;
  int32_t shift = -1;

  explicit RowNorm(const ChainPart& part)
      : vector(&kernels::best_row_kernels()),
        rms(part.node.is("RMSNormalization")),
        epsilon(part.node.attr_float("epsilon", 1e-5F)),
        columns(part.view.inputs[kScale].size()),
        scale(part.operands[kScale]),
        shift(part.view.has_input(kShift) ? part.operands[kShift] : -1) {}

  /// `from` may be `to`.
  void run(int64_t rows, const float* from, const float* scales, const float* shifts, float* to) const {
    for (int64_t r = 0; r < rows; ++r, from += columns, to += columns) {
      if (rms)
        vector->rms_norm(columns, from, scales, epsilon, to);
      else
        vector->layer_norm(columns, from, scales, shifts, epsilon, to);
    }
  }
};

class NormProductRunner final : public Kernel {
 public:
  NormProductRunner(const NormProduct& pair, GemmProduct product)
      : product_(std::move(product)),
        norm_(*pair.norm),
        norm_first_(pair.norm_first()),
        x_(pair.steps[0].operands[0]),
        bias_(pair.product->view.has_input(kBias) ? pair.product->operands[kBias] : -1),
        residual_(pair.product->view.has_input(kR) ? pair.product->operands[kR] : -1),
        own_((product_.scratch_size() + kLine - 1) / kLine * kLine),
        per_part_(own_ + (norm_first_ ? (product_.chunk() * norm_.columns + kLine - 1) / kLine * kLine : 0)) {}

  [[nodiscard]] size_t workspace_bytes() const override {
    return static_cast<size_t>(product_.parts() * per_part_) * sizeof(float);
  }
  [[nodiscard]] std::string detail() const override {
    const auto& norm = norm_.vector->name;
    return norm_first_ ? fmt::format("{}+{}", norm, product_.kernel().name)
                       : fmt::format("{}+{}", product_.kernel().name, norm);
  }

  Status run(const Bindings& b) override {
    const auto input = [&b](int32_t i) {
      return i < 0 ? nullptr : host_ptr<const float>(b.inputs[static_cast<size_t>(i)]);
    };
    const GemmProblem p = product_.problem(
        {.a = input(x_), .bias = input(bias_), .residual = input(residual_), .c = host_ptr<float>(b.outputs[0])});
    const float* scales = input(norm_.scale);
    const float* shifts = input(norm_.shift);
    auto* workspace = host_ptr<float>(b.workspace);
    parallel_for(product_.parts(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const GemmPart part = product_.part(i, workspace + i * per_part_);
        for (int64_t row = 0; row < part.rows; row += part.chunk) run_chunk(p, part, row, scales, shifts);
      }
    });
    return {};
  }

 private:
  /// The chunk of `part` that begins with its row `first`.
  void run_chunk(GemmProblem p, GemmPart part, int64_t first, const float* scales, const float* shifts) const {
    const int64_t row = part.row + first;
    part.rows = std::min(part.chunk, part.rows - first);
    part.row = 0;
    p.a += row * p.a_row;
    p.c += row * p.c_row;
    if (p.epilogue.residual != nullptr) p.epilogue.residual += row * p.c_row;
    if (norm_first_) {
      float* normalised = part.scratch + own_;
      norm_.run(part.rows, p.a, scales, shifts, normalised);
      p.a = normalised;
    }
    product_.kernel().run(p, part);
    if (!norm_first_) norm_.run(part.rows, p.c, scales, shifts, p.c);
  }

  static constexpr int64_t kLine = 16;  ///< floats of a cache line

  GemmProduct product_;
  RowNorm norm_;
  bool norm_first_;
  int32_t x_, bias_, residual_;  ///< inputs of the chain, -1: none
  int64_t own_;                  ///< floats of the product's scratch memory, behind which normalised rows lie
  int64_t per_part_;
};

template <const Tactic& kGemm>
WhyNot supports(const NodeView& view, const Target& target) {
  const auto pair = norm_product_of(view, target, kGemm);
  if (!pair.ok()) return pair.error().what;
  return std::nullopt;
}

template <const Tactic& kGemm>
Result<std::vector<PackedConstant>> pack(const NodeView& view, const Target& target) {
  const NormProduct pair = PLANISH_TRY(norm_product_of(view, target, kGemm));
  return pack_parts(std::array{pair.product}, target);
}

template <const Tactic& kGemm>
Result<Tensor> unpack(const NodeView& view, const PackedConstant& packed) {
  return unpack_part(view, packed, std::array{&kGemm});
}

template <const Tactic& kGemm, int kProducts>
Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant> packed,
                                        const Target& target) {
  const NormProduct pair = PLANISH_TRY(norm_product_of(view, target, kGemm));
  const auto weights = packed_weights_of(*pair.product, packed);
  // The product's own tactic judges the packed form.
  PLANISH_TRY(kGemm.prepare(pair.product->view, weights, target));
  const auto sharing = pair.norm_first() ? GemmProduct::Sharing::any : GemmProduct::Sharing::whole_rows;
  GemmProduct product = PLANISH_TRY(GemmProduct::of(pair.product->view, kernels::best_gemm_kernel(kProducts),
                                                    target.threads, weights[0].data, sharing));
  return std::unique_ptr<Kernel>(new NormProductRunner(pair, std::move(product)));
}

constexpr std::array<std::string_view, 1> kOps{"planish.Chain"};

}  // namespace

constinit const Tactic kCpuNormGemm{.id = "cpu.norm_gemm",
                                    .ops = kOps,
                                    .supports = supports<kCpuGemm>,
                                    .pack = pack<kCpuGemm>,
                                    .prepare = prepare<kCpuGemm, kDirect>,
                                    .unpack = unpack<kCpuGemm>,
                                    .packs = Tactic::kSeveral,
                                    .version = 3};
constinit const Tactic kCpuNormStrassen{.id = "cpu.norm_strassen",
                                        .ops = kOps,
                                        .supports = supports<kCpuStrassen>,
                                        .pack = pack<kCpuStrassen>,
                                        .prepare = prepare<kCpuStrassen, kStrassen>,
                                        .unpack = unpack<kCpuStrassen>,
                                        .packs = Tactic::kSeveral,
                                        .version = 5};

}  // namespace planish
