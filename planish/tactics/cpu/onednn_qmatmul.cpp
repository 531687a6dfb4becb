// Quantised matrix multiplication (also of two activations, in batches) by oneDNN, where it multiplies bytes exactly.

#include <algorithm>
#include <array>
#include <numeric>

#include <fmt/format.h>

#include "planish/tactics/cpu/onednn_quantized_internal.h"
#include "planish/tactics/cpu/onednn_tactics.h"

namespace planish {
namespace {

using namespace onednn;
using Md = dnnl::memory::desc;
using Dims = dnnl::memory::dims;
using Type = dnnl::memory::data_type;

/// The multiplication as oneDNN is given it: [batch..., M, K] x [batch..., K, N], or [M, K] x [K, N] with the batch
/// among the rows where one matrix of weights serves all of it.
struct Problem {
  Dims a;
  Dims b;
  Dims c;
  Dims a_strides;
  Dims b_strides;
  bool flat = false;
};

int64_t product(Dims::const_iterator first, Dims::const_iterator last) {
  return std::accumulate(first, last, int64_t{1}, std::multiplies<>());
}

void swap_last(Dims& d) { std::swap(d[d.size() - 1], d[d.size() - 2]); }

Problem problem_of(const NodeView& view) {
  const bool trans_a = view.node->attr_int("trans_a", 0) != 0;
  const bool trans_b = view.node->attr_int("trans_b", 0) != 0;
  Problem p;
  p.a = to_dims(view.inputs[kQuantX].shape);
  p.b = to_dims(view.inputs[kQuantW].shape);
  p.flat = p.b.size() == 2 && p.a.size() > 2 && !trans_a;
  if (p.flat) p.a = {product(p.a.begin(), p.a.end() - 1), p.a.back()};
  const size_t rank = std::max(p.a.size(), p.b.size());
  p.a.insert(p.a.begin(), rank - p.a.size(), 1);
  p.b.insert(p.b.begin(), rank - p.b.size(), 1);
  p.a_strides = row_major_strides(p.a);
  p.b_strides = row_major_strides(p.b);
  for (auto* d : {&p.a, &p.a_strides})
    if (trans_a) swap_last(*d);
  for (auto* d : {&p.b, &p.b_strides})
    if (trans_b) swap_last(*d);
  p.c.resize(rank);
  for (size_t i = 0; i + 2 < rank; ++i) p.c[i] = std::max(p.a[i], p.b[i]);
  p.c[rank - 2] = p.a[rank - 2];
  p.c[rank - 1] = p.b[rank - 1];
  return p;
}

/// A bias or residual with the rank of the product; nullopt when its shape does not broadcast that way.
std::optional<Md> operand(const TensorDesc& d, const Problem& p) {
  Dims dims = to_dims(d.shape);
  if (p.flat && d.rank() >= 2) dims = {product(dims.begin(), dims.end() - 1), dims.back()};
  if (dims.size() > p.c.size()) return std::nullopt;
  dims.insert(dims.begin(), p.c.size() - dims.size(), 1);
  for (size_t i = 0; i < dims.size(); ++i)
    if (dims[i] != 1 && dims[i] != p.c[i]) return std::nullopt;
  return Md(dims, *data_type(d.dtype), Dims(row_major_strides(dims)));
}

struct Described {
  Problem problem;
  QuantizedAttrs attrs;
  QuantizedPrimitive primitive;
  dnnl::matmul::primitive_desc pd;
};

Result<Described> describe_matmul(const NodeView& view, const std::optional<Md>& weights) {
  Described d;
  d.problem = problem_of(view);
  d.attrs = PLANISH_TRY(read_quantized_attrs(*view.node));
  std::optional<Md> bias;
  std::optional<Md> residual;
  const auto take = [&](size_t input, std::optional<Md>& md) -> Status {
    if (!view.has_input(input)) return {};
    md = operand(view.inputs[input], d.problem);
    if (!md)
      return Error{.code = Code::unsupported,
                   .node = view.node->name,
                   .what = fmt::format("{} does not broadcast to the product", to_string(view.inputs[input].shape))};
    return {};
  };
  PLANISH_TRY(take(kQuantBias, bias));
  PLANISH_TRY(take(kQuantResidual, residual));
  const Md a(d.problem.a, first_operand_type(view, d.attrs), d.problem.a_strides);
  const Md b = weights ? *weights : Md(d.problem.b, Type::s8, d.problem.b_strides);
  const Md c(d.problem.c, *data_type(view.outputs[0].dtype), Dims(row_major_strides(d.problem.c)));
  const int columns = 1 << (d.problem.c.size() - 1);
  d.primitive = quantized_primitive(view, d.attrs, columns, bias, residual);
  d.pd = dnnl::matmul::primitive_desc(engine(), a, b, c, d.primitive.attr);
  return d;
}

std::optional<Md> requested_weights(const NodeView& view) {
  if (!view.is_constant(kQuantW)) return std::nullopt;
  return Md(problem_of(view).b, Type::s8, dnnl::memory::format_tag::any);
}

WhyNot supports(const NodeView& view, const Target&) {
  if (WhyNot why = quantized_product_refusal(view)) return why;
  if (view.inputs[kQuantX].rank() < 2 || view.inputs[kQuantW].rank() < 2) return "needs matrices";
  for (const TensorDesc& d : view.inputs)
    if (d.present() && d.layout != Layout::row_major) return "takes row-major tensors only";
  if (view.outputs[0].layout != Layout::row_major) return "writes row-major tensors only";
  auto d = guarded(view, [&] { return describe_matmul(view, requested_weights(view)); });
  if (!d.ok()) return d.error().what;
  if (is_reference_impl(d->pd.impl_info_str())) return "oneDNN has only its reference here";
  return std::nullopt;
}

Result<std::vector<PackedConstant>> pack(const NodeView& view, const Target&) {
  return guarded(view, [&]() -> Result<std::vector<PackedConstant>> {
    const auto any = requested_weights(view);
    if (!any) return std::vector<PackedConstant>{};
    const Described d = PLANISH_TRY(describe_matmul(view, any));
    const std::string format = format_name(d.pd.weights_desc());
    if (format.empty()) return std::vector<PackedConstant>{};
    const Md plain(d.problem.b, Type::s8, d.problem.b_strides);
    return std::vector<PackedConstant>{
        {static_cast<int32_t>(kQuantW), format, reorder(*view.constants[kQuantW], plain, d.pd.weights_desc())}};
  });
}

Result<Md> stored_weights(const NodeView& view, const Problem& p, const PackedConstant& packed) {
  const auto md = format_desc(packed.format, p.b, Type::s8);
  if (md && md->get_size() <= packed.data.bytes()) return *md;
  return Error{
      .code = Code::unsupported, .node = view.node->name, .what = "packed weights have a format of another version"};
}

Result<Tensor> unpack(const NodeView& view, const PackedConstant& packed) {
  return guarded(view, [&]() -> Result<Tensor> {
    const Problem p = problem_of(view);
    const Md from = PLANISH_TRY(stored_weights(view, p, packed));
    const Tensor bytes = reorder(packed.data, from, Md(p.b, Type::s8, p.b_strides));
    return Tensor::share(DType::i8, view.inputs[kQuantW].shape, std::make_shared<Tensor>(bytes), bytes.raw());
  });
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant> packed, const Target&) {
  return guarded(view, [&]() -> Result<std::unique_ptr<Kernel>> {
    const Described d = PLANISH_TRY(describe_matmul(view, requested_weights(view)));
    Md stored(d.problem.b, Type::s8, d.problem.b_strides);
    if (!packed.empty()) stored = PLANISH_TRY(stored_weights(view, d.problem, packed[0]));
    const bool as_stored = d.pd.weights_desc() == stored;
    std::vector<PrimitiveKernel::Arg> args{{DNNL_ARG_SRC, d.pd.src_desc(), false, kQuantX},
                                           {DNNL_ARG_DST, d.pd.dst_desc(), true, 0}};
    if (as_stored) args.push_back({DNNL_ARG_WEIGHTS, stored, false, kQuantW});
    for (const auto& [post_op, input] :
         {std::pair{d.primitive.bias_post_op, kQuantBias}, std::pair{d.primitive.residual_post_op, kQuantResidual}})
      if (post_op >= 0)
        args.push_back({DNNL_ARG_ATTR_MULTIPLE_POST_OP(post_op) | DNNL_ARG_SRC_1,
                        *operand(view.inputs[input], d.problem), false, input});
    auto kernel =
        std::make_unique<PrimitiveKernel>(dnnl::matmul(d.pd), d.pd.scratchpad_desc(), args, d.pd.impl_info_str());
    own_quantization(*kernel, view, d.attrs);
    if (!as_stored) PLANISH_TRY(own_weights(*kernel, view, packed, kQuantW, stored, d.pd.weights_desc()));
    return std::unique_ptr<Kernel>(std::move(kernel));
  });
}

constexpr std::array<std::string_view, 1> kOps{"planish.QuantizedMatMul"};

}  // namespace

constinit const Tactic kOneDnnQuantizedMatMul{
    .id = "cpu.onednn.qmatmul", .ops = kOps, .supports = supports, .pack = pack, .prepare = prepare, .unpack = unpack};

}  // namespace planish
