// Products with constant integers: by kernels that widen them in registers, which few rows want, and by the products
// for float weights on integers that were widened when the engine was built, which many rows want.

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "planish/base/parallel.h"
#include "planish/kernels/cpu/weight_only/weight_only.h"
#include "planish/ops/fused_epilogue.h"
#include "planish/ops/weight_only.h"
#include "planish/tactics/cpu/onednn_tactics.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {
namespace {

using kernels::IntegerMatrix;
using kernels::kWeightOnlyPanel;
using kernels::WeightOnlyKernel;
using kernels::WeightOnlyProblem;
using kernels::WeightOnlyShape;

constexpr std::array<std::string_view, 1> kOps{"planish.WeightOnlyMatMul"};

/// The sizes, once types and shapes of all that a kernel reads and writes by them fit, whatever an engine file says.
Result<WeightOnlyMatrix> matrix_of(const NodeView& view) {
  const auto typed = [&view](size_t i) {
    return view.has_input(i) ? TypedShape{view.inputs[i].dtype, view.inputs[i].shape} : TypedShape{};
  };
  const WeightOnlyMatrix w =
      PLANISH_TRY(weight_only_matrix(*view.node, typed(kWeightOnlyB), typed(kWeightOnlyScale), typed(kWeightOnlyZero)));
  PLANISH_TRY(check_weight_only_rows(*view.node, typed(kWeightOnlyA), w));
  Shape y = view.inputs[kWeightOnlyA].shape;
  y.back() = w.n;
  if (view.outputs.empty() || !view.outputs[0].present() || view.outputs[0].shape != y)
    return Error{.code = Code::shape_mismatch,
                 .node = view.node->name,
                 .what = fmt::format("the output must have shape {}", to_string(y)),
                 .fix = "build the engine again"};
  return w;
}

/// The value of a constant input; nullptr where there is none, or another than the node describes.
const Tensor* value_of(const NodeView& view, size_t i) {
  if (!view.has_input(i) || i >= view.constants.size()) return nullptr;
  const Tensor* value = view.constants[i];
  const bool fits = value != nullptr && value->dtype() == view.inputs[i].dtype &&
                    value->shape() == view.inputs[i].shape && (value->raw() != nullptr || value->size() == 0);
  return fits ? value : nullptr;
}

Error no_value(const NodeView& view) {
  return Error{.code = Code::corrupt,
               .node = view.node->name,
               .what = "constant weights have no value, or one of another type or size",
               .fix = "build the engine again"};
}

/// Constants in the graph's form must be there: the scales and zero points of B, and B where `with_b` is set.
Status require_weights(const NodeView& view, bool with_b) {
  if (with_b && value_of(view, kWeightOnlyB) == nullptr) return no_value(view);
  if (value_of(view, kWeightOnlyScale) == nullptr) return no_value(view);
  if (view.has_input(kWeightOnlyZero) && value_of(view, kWeightOnlyZero) == nullptr) return no_value(view);
  return {};
}

/// Constants that no tactic here packs are read as they are: they must be there when a kernel is made.
Status require_plain_constants(const NodeView& view) {
  for (const size_t i : {kWeightOnlyA, kWeightOnlyBias, kWeightOnlyResidual})
    if (view.has_input(i) && view.is_constant(i) && value_of(view, i) == nullptr) return no_value(view);
  return {};
}

bool is_signed(DType type) { return type == DType::i4 || type == DType::i8; }

Error unknown_format(const NodeView& view) {
  return Error{.code = Code::corrupt,
               .node = view.node->name,
               .what = "packed weights have an unknown format or size",
               .fix = "build the engine again"};
}

// ---- Integers in memory -------------------------------------------------------------------------------------------

constexpr std::string_view kWeightsFormat = "words:16";
constexpr std::string_view kParametersFormat = "panels:16";

/// Zero points are stored unless all are known to be the middle: a constant zero point is, an absent one of unsigned
/// integers is 0.
WeightOnlyShape shape_of(const NodeView& view, const WeightOnlyMatrix& w) {
  const DType type = view.inputs[kWeightOnlyB].dtype;
  return {.k = w.k,
          .n = w.n,
          .block = w.block,
          .bits = dtype_bits(type),
          .zeros = view.has_input(kWeightOnlyZero) || !is_signed(type)};
}

WhyNot supports(const NodeView& view, const Target&) {
  const auto w = matrix_of(view);
  if (!w.ok()) return w.error().what;
  if (const DType a = view.inputs[kWeightOnlyA].dtype; a != DType::f32)
    return fmt::format("computes in f32, got {}", dtype_name(a));
  for (const size_t i : {kWeightOnlyB, kWeightOnlyScale, kWeightOnlyZero})
    if (view.has_input(i) && !view.is_constant(i)) return "needs constant weights";
  const TensorDesc& y = view.outputs[0];
  if (y.dtype != DType::f32) return fmt::format("writes f32, not {}", dtype_name(y.dtype));
  if (y.size() == 0) return "the tensor is empty";
  if (dtype_bits(view.inputs[kWeightOnlyB].dtype) == 4 && w->block % 8 != 0 && w->block < w->k)
    return fmt::format("needs blocks of a multiple of 8 rows, got {}", w->block);
  for (size_t i = 0; i < view.inputs.size(); ++i)
    if (view.has_input(i) && view.inputs[i].layout != Layout::row_major) return "takes row-major tensors only";
  if (y.layout != Layout::row_major) return "writes row-major tensors only";
  if (view.has_input(kWeightOnlyBias)) {
    const TensorDesc& bias = view.inputs[kWeightOnlyBias];
    if (bias.dtype != DType::f32 || bias.size() != w->n || bias.shape.empty() || bias.shape.back() != w->n)
      return "needs one bias per column, in f32";
  }
  if (view.has_input(kWeightOnlyResidual) && view.inputs[kWeightOnlyResidual] != y)
    return "needs a residual in the output's shape, type and layout";
  const auto fused = read_epilogue(*view.node);
  if (!fused.ok()) return fused.error().what;
  if (fused->activation != nullptr &&
      !kernels::find_pointwise_op(fused->activation->op, fused->params.approximate_tanh))
    return fmt::format("has no activation {}", fused->activation->op);
  return std::nullopt;
}

/// [blocks, N] as [panels][blocks][16]; columns that do not exist hold zeros.
template <typename T, typename Value>
Tensor parameters(DType type, const WeightOnlyShape& s, Value value) {
  Tensor out(type, {s.panels(), s.blocks(), kWeightOnlyPanel});
  auto* to = out.data<T>();
  for (int64_t panel = 0; panel < s.panels(); ++panel)
    for (int64_t b = 0; b < s.blocks(); ++b)
      for (int64_t i = 0; i < kWeightOnlyPanel; ++i, ++to) {
        const int64_t j = panel * kWeightOnlyPanel + i;
        *to = j < s.n ? value(b * s.n + j) : T{};
      }
  return out;
}

/// Zero points as distances from the lowest integer.
Tensor packed_zeros(const NodeView& view, const WeightOnlyShape& s) {
  const DType type = view.inputs[kWeightOnlyB].dtype;
  const double lowest = is_signed(type) ? -static_cast<double>(int64_t{1} << (s.bits - 1)) : 0.0;
  const Tensor* zero = view.has_input(kWeightOnlyZero) ? view.constants[kWeightOnlyZero] : nullptr;
  return parameters<uint8_t>(
      DType::u8, s, [&](int64_t i) { return static_cast<uint8_t>((zero == nullptr ? 0.0 : zero->at(i)) - lowest); });
}

IntegerMatrix source_of(const NodeView& view, const WeightOnlyMatrix& w, const Tensor* b) {
  return {b == nullptr ? nullptr : static_cast<const uint8_t*>(b->raw()), is_signed(view.inputs[kWeightOnlyB].dtype),
          w.k_stride, w.n_stride};
}

Result<std::vector<PackedConstant>> pack(const NodeView& view, const Target&) {
  const WeightOnlyMatrix w = PLANISH_TRY(matrix_of(view));
  PLANISH_TRY(require_weights(view, true));
  const WeightOnlyShape s = shape_of(view, w);
  Tensor weights(DType::u8, {s.panels() * s.panel_bytes()});
  kernels::pack_weight_only(s, source_of(view, w, view.constants[kWeightOnlyB]), weights.data<uint8_t>());
  const Tensor& scale = *view.constants[kWeightOnlyScale];
  const auto format = std::string(kParametersFormat);
  std::vector<PackedConstant> packed;
  packed.push_back({static_cast<int32_t>(kWeightOnlyB), std::string(kWeightsFormat), std::move(weights)});
  packed.push_back({static_cast<int32_t>(kWeightOnlyScale), format,
                    parameters<float>(DType::f32, s, [&](int64_t i) { return scale.data<float>()[i]; })});
  if (view.has_input(kWeightOnlyZero))
    packed.push_back({static_cast<int32_t>(kWeightOnlyZero), format, packed_zeros(view, s)});
  return packed;
}

Result<Tensor> unpack_parameters(const NodeView& view, const WeightOnlyShape& s, const PackedConstant& packed) {
  const auto input = static_cast<size_t>(packed.input);
  const bool is_scale = input == kWeightOnlyScale;
  const int64_t count = s.panels() * s.blocks() * kWeightOnlyPanel;
  if (packed.format != kParametersFormat || (!is_scale && input != kWeightOnlyZero) || !view.has_input(input) ||
      packed.data.bytes() != static_cast<size_t>(count) * (is_scale ? sizeof(float) : 1))
    return unknown_format(view);
  const TensorDesc& desc = view.inputs[input];
  const double lowest = is_signed(desc.dtype) ? -static_cast<double>(int64_t{1} << (s.bits - 1)) : 0.0;
  Tensor out(desc.dtype, desc.shape);
  for (int64_t b = 0; b < s.blocks(); ++b)
    for (int64_t j = 0; j < s.n; ++j) {
      const int64_t at = (j / kWeightOnlyPanel * s.blocks() + b) * kWeightOnlyPanel + j % kWeightOnlyPanel;
      if (is_scale)
        out.data<float>()[b * s.n + j] = packed.data.data<float>()[at];
      else
        out.set(b * s.n + j, static_cast<double>(packed.data.data<uint8_t>()[at]) + lowest);
    }
  return out;
}

Result<Tensor> unpack(const NodeView& view, const PackedConstant& packed) {
  const WeightOnlyMatrix w = PLANISH_TRY(matrix_of(view));
  const WeightOnlyShape s = shape_of(view, w);
  if (packed.data.raw() == nullptr) return no_value(view);
  if (packed.input != static_cast<int32_t>(kWeightOnlyB)) return unpack_parameters(view, s, packed);
  if (packed.format != kWeightsFormat || packed.data.bytes() != static_cast<size_t>(s.panels() * s.panel_bytes()))
    return unknown_format(view);
  Tensor out(view.inputs[kWeightOnlyB].dtype, view.inputs[kWeightOnlyB].shape);
  kernels::unpack_weight_only(s, packed.data.data<uint8_t>(), source_of(view, w, nullptr),
                              static_cast<uint8_t*>(out.raw()));
  return out;
}

class WeightOnlyRunner final : public Kernel {
 public:
  WeightOnlyRunner(const NodeView& view, const WeightOnlyShape& shape, const FusedEpilogue& fused, int threads)
      : kernel_(kernels::best_weight_only_kernel()), threads_(threads) {
    const int64_t rows = view.outputs[0].size() / shape.n;
    p_ = {.m = rows, .shape = shape, .a_row = shape.k, .c_row = shape.n, .epilogue = {}};
    has_bias_ = view.has_input(kWeightOnlyBias);
    has_residual_ = view.has_input(kWeightOnlyResidual);
    p_.epilogue.residual_last = fused.residual_last;
    if (shape.zeros && !view.has_input(kWeightOnlyZero)) own_zeros_ = packed_zeros(view, shape);
    if (fused.activation == nullptr) return;
    p_.epilogue.activate = kernels::best_pointwise_kernel().fn;
    p_.epilogue.op = *kernels::find_pointwise_op(fused.activation->op, fused.params.approximate_tanh);
    p_.epilogue.alpha = static_cast<float>(fused.params.alpha);
    p_.epilogue.beta = static_cast<float>(fused.params.beta);
  }

  [[nodiscard]] size_t workspace_bytes() const override {
    return static_cast<size_t>(p_.m * kernels::weight_only_row_floats(p_.shape)) * sizeof(float);
  }
  [[nodiscard]] std::string detail() const override { return std::string(kernel_.name); }

  Status run(const Bindings& b) override {
    WeightOnlyProblem p = p_;
    p.a = host_ptr<const float>(b.inputs[kWeightOnlyA]);
    p.weights = host_ptr<const uint8_t>(b.inputs[kWeightOnlyB]);
    p.scales = host_ptr<const float>(b.inputs[kWeightOnlyScale]);
    if (p.shape.zeros)
      p.zeros = own_zeros_.defined() ? own_zeros_.data<uint8_t>() : host_ptr<const uint8_t>(b.inputs[kWeightOnlyZero]);
    p.c = host_ptr<float>(b.outputs[0]);
    if (has_bias_) p.epilogue.bias = host_ptr<const float>(b.inputs[kWeightOnlyBias]);
    if (has_residual_) p.epilogue.residual = host_ptr<const float>(b.inputs[kWeightOnlyResidual]);
    auto* rows = host_ptr<float>(b.workspace);
    p.rows = rows;
    constexpr int64_t kRowsPerThread = 8;  // less is not worth waking anybody for
    parallel_for(p.m, kRowsPerThread,
                 [&](int64_t begin, int64_t end) { kernels::weight_only_rows(p, begin, end, rows); });
    const int64_t group = kernel_.panels;
    const int64_t groups = (p.shape.panels() + group - 1) / group;
    const int64_t tasks = std::min<int64_t>(threads_, groups);
    parallel_for(tasks, 1, [&](int64_t begin, int64_t end) {
      kernel_.run(p, groups * begin / tasks * group, std::min(groups * end / tasks * group, p.shape.panels()));
    });
    return {};
  }

 private:
  const WeightOnlyKernel& kernel_;
  int threads_;
  Tensor own_zeros_;
  WeightOnlyProblem p_;
  bool has_bias_ = false;
  bool has_residual_ = false;
};

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant> packed,
                                        const Target& target) {
  const WeightOnlyMatrix w = PLANISH_TRY(matrix_of(view));
  PLANISH_TRY(require_plain_constants(view));
  const WeightOnlyShape s = shape_of(view, w);
  const auto has = [&](size_t input, std::string_view format, int64_t bytes) {
    const auto it = std::ranges::find(packed, static_cast<int32_t>(input), &PackedConstant::input);
    return it != packed.end() && it->format == format && it->data.bytes() == static_cast<size_t>(bytes) &&
           it->data.raw() != nullptr;
  };
  // All are found below: were there more, the kernel would read one of an input that was not looked at.
  if (packed.size() != (view.has_input(kWeightOnlyZero) ? 3 : 2)) return unknown_format(view);
  const int64_t count = s.panels() * s.blocks() * kWeightOnlyPanel;
  if (!has(kWeightOnlyB, kWeightsFormat, s.panels() * s.panel_bytes()) ||
      !has(kWeightOnlyScale, kParametersFormat, count * static_cast<int64_t>(sizeof(float))) ||
      (view.has_input(kWeightOnlyZero) && !has(kWeightOnlyZero, kParametersFormat, count)))
    return unknown_format(view);
  const FusedEpilogue fused = PLANISH_TRY(read_epilogue(*view.node));
  return std::unique_ptr<Kernel>(new WeightOnlyRunner(view, s, fused, target.threads));
}

// ---- Widened at build time ----------------------------------------------------------------------------------------

constexpr std::string_view kWidened = "widened:";

/// The node as a product with float weights, which `product` keeps. B's value is there where `weights` is given.
NodeView float_view(const NodeView& view, Node& product, const Tensor* weights) {
  product = widened_node(*view.node);
  NodeView out = view;
  out.node = &product;
  const size_t inputs = product.inputs.size();
  out.inputs.resize(inputs);
  out.constants.resize(inputs);
  out.constant_inputs.resize(inputs);
  out.inputs[kWeightOnlyB].dtype = view.inputs[kWeightOnlyA].dtype;
  out.constants[kWeightOnlyB] = weights;
  return out;
}

bool is_widened(const PackedConstant& packed) {
  return packed.input == static_cast<int32_t>(kWeightOnlyB) && packed.format.starts_with(kWidened);
}

/// The type and number of elements that `desc` describes; weights that were stored in 16 bits have lost their shape.
bool holds(const Tensor& tensor, const TensorDesc& desc) {
  return tensor.dtype() == desc.dtype && tensor.size() == desc.size() && tensor.raw() != nullptr;
}

/// A kernel and the node that it was prepared for.
class WidenedRunner final : public Kernel {
 public:
  WidenedRunner(std::unique_ptr<Node> node, std::unique_ptr<Kernel> kernel)
      : node_(std::move(node)), kernel_(std::move(kernel)) {}
  [[nodiscard]] size_t workspace_bytes() const override { return kernel_->workspace_bytes(); }
  [[nodiscard]] std::string detail() const override { return kernel_->detail(); }
  Status run(const Bindings& b) override { return kernel_->run(b); }

 private:
  std::unique_ptr<Node> node_;
  std::unique_ptr<Kernel> kernel_;
};

/// A tactic for planish.FusedMatMul on widened integers.
template <const Tactic& kProduct>
struct Widened {
  static WhyNot supports(const NodeView& view, const Target& target) {
    if (const auto w = matrix_of(view); !w.ok()) return w.error().what;
    for (const size_t i : {kWeightOnlyB, kWeightOnlyScale, kWeightOnlyZero})
      if (view.has_input(i) && !view.is_constant(i)) return "needs constant weights";
    Node product;
    return kProduct.supports(float_view(view, product, nullptr), target);
  }

  static const Tensor* zero_of(const NodeView& view) {
    return view.has_input(kWeightOnlyZero) ? view.constants[kWeightOnlyZero] : nullptr;
  }

  static Result<std::vector<PackedConstant>> pack(const NodeView& view, const Target& target) {
    const WeightOnlyMatrix w = PLANISH_TRY(matrix_of(view));
    PLANISH_TRY(require_weights(view, true));
    Node product;
    const Tensor weights =
        widened_weights(w, *view.constants[kWeightOnlyB], *view.constants[kWeightOnlyScale], zero_of(view))
            .cast(view.inputs[kWeightOnlyA].dtype);
    std::vector<PackedConstant> packed = PLANISH_TRY(kProduct.pack(float_view(view, product, &weights), target));
    if (packed.empty()) packed.push_back({static_cast<int32_t>(kWeightOnlyB), "", weights});
    for (PackedConstant& p : packed) p.format.insert(0, kWidened);
    return packed;
  }

  static Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant> packed,
                                                 const Target& target) {
    if (const auto w = matrix_of(view); !w.ok()) return w.error();
    PLANISH_TRY(require_plain_constants(view));
    if (packed.size() != 1 || !is_widened(packed[0])) return unknown_format(view);
    auto product = std::make_unique<Node>();
    const NodeView plain = float_view(view, *product, nullptr);
    std::vector<PackedConstant> inner{packed[0]};
    inner[0].format.erase(0, kWidened.size());
    if (inner[0].format.empty()) {
      if (!holds(inner[0].data, plain.inputs[kWeightOnlyB])) return unknown_format(view);
      inner.clear();
    }
    std::unique_ptr<Kernel> kernel = PLANISH_TRY(kProduct.prepare(plain, inner, target));
    return std::unique_ptr<Kernel>(new WidenedRunner(std::move(product), std::move(kernel)));
  }

  static Result<Tensor> unpack(const NodeView& view, const PackedConstant& packed) {
    const WeightOnlyMatrix w = PLANISH_TRY(matrix_of(view));
    if (!is_widened(packed)) return unknown_format(view);
    if (packed.data.raw() == nullptr) return no_value(view);
    PLANISH_TRY(require_weights(view, false));
    Node product;
    const NodeView plain = float_view(view, product, nullptr);
    PackedConstant inner = packed;
    inner.format.erase(0, kWidened.size());
    const bool as_it_is = inner.format.empty();
    if (!as_it_is && kProduct.unpack == nullptr) return unknown_format(view);
    const Tensor widened = as_it_is ? inner.data : PLANISH_TRY(kProduct.unpack(plain, inner));
    const TensorDesc& b = view.inputs[kWeightOnlyB];
    if (!holds(widened, plain.inputs[kWeightOnlyB])) return unknown_format(view);
    return narrowed_weights(w, widened.cast(DType::f32).reshaped(b.shape), b.dtype, *view.constants[kWeightOnlyScale],
                            zero_of(view));
  }

  static constexpr Tactic tactic(std::string_view id) {
    return {.id = id, .ops = kOps, .supports = supports, .pack = pack, .prepare = prepare, .unpack = unpack};
  }
};

}  // namespace

constinit const Tactic kCpuWeightOnly{.id = "cpu.weight_only",
                                      .ops = kOps,
                                      .supports = supports,
                                      .pack = pack,
                                      .prepare = prepare,
                                      .unpack = unpack,
                                      .packs = Tactic::kSeveral};
constinit const Tactic kCpuWidenedOneDnn = Widened<kOneDnnMatMul>::tactic("cpu.widened.onednn");
constinit const Tactic kCpuWidenedGemm = Widened<kCpuGemm>::tactic("cpu.widened.gemm");
constinit const Tactic kCpuWidenedStrassen = Widened<kCpuStrassen>::tactic("cpu.widened.strassen");

}  // namespace planish
