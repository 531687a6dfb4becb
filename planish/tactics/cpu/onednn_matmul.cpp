// Matrix multiplication (batched, with scale, bias, residual and activation) by oneDNN.

#include <algorithm>
#include <array>
#include <numeric>

#include <fmt/format.h>

#include "planish/tactics/cpu/onednn_internal.h"
#include "planish/tactics/cpu/onednn_tactics.h"

namespace planish {
namespace {

using namespace onednn;
using Md = dnnl::memory::desc;
using Dims = dnnl::memory::dims;

constexpr size_t kA = 0;
constexpr size_t kB = 1;
constexpr size_t kBias = 2;
constexpr size_t kR = 3;

/// The multiplication as oneDNN is given it. A weight matrix shared by the whole batch makes one flat product of it,
/// which is faster than a batch of small ones.
struct Problem {
  Dims a;  // [batch..., M, K] or [M, K]
  Dims b;  // [batch..., K, N] or [K, N]
  Dims c;  // [batch..., M, N] or [M, N]
  Dims a_strides;
  Dims b_strides;
  bool flat = false;
};

Dims strides_of(const Dims& stored) { return row_major_strides(stored); }

void swap_last(Dims& d) { std::swap(d[d.size() - 1], d[d.size() - 2]); }

Result<Problem> describe_problem(const NodeView& view) {
  const Node& node = *view.node;
  const bool trans_a = node.attr_int("trans_a", 0) != 0;
  const bool trans_b = node.attr_int("trans_b", 0) != 0;
  Dims a = to_dims(view.inputs[kA].shape);
  Dims b = to_dims(view.inputs[kB].shape);
  const auto too_small = [&view](const TensorDesc& d) {
    return Error{.code = Code::unsupported,
                 .node = view.node->name,
                 .what = fmt::format("needs matrices, got rank {}", d.rank())};
  };
  if (view.inputs[kA].rank() < 2) return too_small(view.inputs[kA]);
  if (view.inputs[kB].rank() < 2) return too_small(view.inputs[kB]);
  Problem p;
  p.flat = b.size() == 2 && a.size() > 2 && !trans_a;
  if (p.flat) {
    const int64_t rows = std::accumulate(a.begin(), a.end() - 1, int64_t{1}, std::multiplies<>());
    a = {rows, a.back()};
  }
  const size_t rank = std::max(a.size(), b.size());
  a.insert(a.begin(), rank - a.size(), 1);
  b.insert(b.begin(), rank - b.size(), 1);
  p.a_strides = strides_of(a);
  p.b_strides = strides_of(b);
  if (trans_a) {
    swap_last(a);
    swap_last(p.a_strides);
  }
  if (trans_b) {
    swap_last(b);
    swap_last(p.b_strides);
  }
  p.a = a;
  p.b = b;
  p.c = Dims(rank);
  for (size_t i = 0; i + 2 < rank; ++i) p.c[i] = std::max(a[i], b[i]);
  p.c[rank - 2] = a[rank - 2];
  p.c[rank - 1] = b[rank - 1];
  return p;
}

/// A bias or residual with the rank of the product, or nullopt when its shape does not broadcast that way.
std::optional<Md> operand(const TensorDesc& d, const Problem& p) {
  Dims dims = to_dims(d.shape);
  if (p.flat && d.rank() >= 2) {
    const int64_t rows = std::accumulate(dims.begin(), dims.end() - 1, int64_t{1}, std::multiplies<>());
    if (rows != p.c[0] && rows != 1) return std::nullopt;
    dims = {rows, dims.back()};
  }
  if (dims.size() > p.c.size()) return std::nullopt;
  dims.insert(dims.begin(), p.c.size() - dims.size(), 1);
  for (size_t i = 0; i < dims.size(); ++i)
    if (dims[i] != 1 && dims[i] != p.c[i]) return std::nullopt;
  return Md(dims, *data_type(d.dtype), strides_of(dims));
}

struct Described {
  Problem problem;
  dnnl::matmul::primitive_desc pd;
  bool bias_as_post_op = false;
  int residual_post_op = -1;
  int bias_post_op = -1;
};

Result<Described> describe_matmul(const NodeView& view, const std::optional<Md>& weights) {
  const Node& node = *view.node;
  Problem p = PLANISH_TRY(describe_problem(view));
  const auto type = *data_type(view.inputs[kA].dtype);
  const Md a(p.a, type, p.a_strides);
  const Md b = weights ? *weights : Md(p.b, *data_type(view.inputs[kB].dtype), p.b_strides);
  const Md c(p.c, *data_type(view.outputs[0].dtype), strides_of(p.c));
  dnnl::primitive_attr attr = user_scratchpad();
  dnnl::post_ops post;
  const auto refuse = [&view](std::string what) {
    return Error{.code = Code::unsupported, .node = view.node->name, .what = std::move(what)};
  };
  Described out{std::move(p), {}, false, -1, -1};
  const float alpha = node.attr_float("alpha", 1.0F);
  if (alpha != 1.0F) post.append_eltwise(dnnl::algorithm::eltwise_linear, alpha, 0.0F);
  Md bias;
  if (view.has_input(kBias)) {
    const auto md = operand(view.inputs[kBias], out.problem);
    if (!md)
      return refuse(fmt::format("bias {} does not broadcast to the product", to_string(view.inputs[kBias].shape)));
    const auto dims = md->get_dims();
    const bool row = std::all_of(dims.begin(), dims.end() - 1, [](int64_t d) { return d == 1; });
    // oneDNN adds its own bias before every post-operation, so behind a scale it has to be one of them.
    if (row && alpha == 1.0F) {
      bias = *md;
    } else {
      out.bias_post_op = post.len();
      post.append_binary(dnnl::algorithm::binary_add, *md);
    }
  }
  const bool last = node.attr_int("residual_last", 0) != 0;
  const auto residual = [&]() -> Status {
    const auto md = operand(view.inputs[kR], out.problem);
    if (!md) return refuse("the residual does not broadcast to the product");
    out.residual_post_op = post.len();
    post.append_binary(dnnl::algorithm::binary_add, *md);
    return {};
  };
  if (view.has_input(kR) && !last) PLANISH_TRY(residual());
  append_activation(post, node);
  if (view.has_input(kR) && last) PLANISH_TRY(residual());
  attr.set_post_ops(post);
  out.pd = bias ? dnnl::matmul::primitive_desc(engine(), a, b, bias, c, attr)
                : dnnl::matmul::primitive_desc(engine(), a, b, c, attr);
  return out;
}

Md any_weights(const Problem& p, DType dtype) { return {p.b, *data_type(dtype), dnnl::memory::format_tag::any}; }

std::optional<Md> requested_weights(const NodeView& view) {
  if (!view.is_constant(kB)) return std::nullopt;
  auto p = describe_problem(view);
  if (!p.ok()) return std::nullopt;
  return any_weights(*p, view.inputs[kB].dtype);
}

WhyNot supports(const NodeView& view, const Target&) {
  if (WhyNot why = float_refusal(view.inputs[kA].dtype)) return why;
  if (view.inputs[kA].dtype != view.inputs[kB].dtype) return "needs both factors in one type";
  if (view.has_input(kBias) && !data_type(view.inputs[kBias].dtype)) return "the bias has a type oneDNN lacks";
  for (const TensorDesc& d : view.inputs)
    if (d.present() && d.layout != Layout::row_major) return "takes row-major tensors only";
  if (view.outputs[0].layout != Layout::row_major) return "writes row-major tensors only";
  if (view.outputs[0].size() == 0 || view.inputs[kA].size() == 0) return "the tensor is empty";
  if (WhyNot why = activation_refusal(*view.node)) return why;
  auto d = guarded(view, [&] { return describe_matmul(view, requested_weights(view)); });
  if (!d.ok()) return d.error().what;
  if (is_reference_impl(d->pd.impl_info_str())) return "oneDNN has only its reference here";
  return std::nullopt;
}

Result<std::vector<PackedConstant>> pack(const NodeView& view, const Target&) {
  return guarded(view, [&]() -> Result<std::vector<PackedConstant>> {
    const auto any = requested_weights(view);
    if (!any) return std::vector<PackedConstant>{};
    const auto d = PLANISH_TRY(describe_matmul(view, any));
    const std::string format = format_name(d.pd.weights_desc());
    if (format.empty()) return std::vector<PackedConstant>{};
    const Md plain(d.problem.b, *data_type(view.inputs[kB].dtype), d.problem.b_strides);
    return std::vector<PackedConstant>{
        {static_cast<int32_t>(kB), format, reorder(*view.constants[kB], plain, d.pd.weights_desc())}};
  });
}

Result<Tensor> unpack(const NodeView& view, const PackedConstant& packed) {
  return guarded(view, [&]() -> Result<Tensor> {
    const Problem p = PLANISH_TRY(describe_problem(view));
    const Md plain(p.b, *data_type(view.inputs[kB].dtype), p.b_strides);
    const auto from = format_desc(packed.format, p.b, plain.get_data_type());
    if (!from || from->get_size() > packed.data.bytes())
      return Error{.code = Code::corrupt, .node = view.node->name, .what = "packed weights have an unknown format"};
    const Tensor bytes = reorder(packed.data, *from, plain);
    return Tensor::share(view.inputs[kB].dtype, view.inputs[kB].shape, std::make_shared<Tensor>(bytes), bytes.raw());
  });
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant> packed, const Target&) {
  return guarded(view, [&]() -> Result<std::unique_ptr<Kernel>> {
    auto d = PLANISH_TRY(describe_matmul(view, requested_weights(view)));
    Md stored(d.problem.b, *data_type(view.inputs[kB].dtype), d.problem.b_strides);
    if (!packed.empty()) {
      const auto md = format_desc(packed[0].format, d.problem.b, stored.get_data_type());
      if (!md || md->get_size() > packed[0].data.bytes())
        return Error{.code = Code::unsupported,
                     .node = view.node->name,
                     .what = "packed weights have a format of another oneDNN version"};
      stored = *md;
    }
    // Another number of rows can prefer another weight format. The stored one is used as long as it is fast.
    bool as_stored = d.pd.weights_desc() == stored;
    if (!as_stored && view.is_constant(kB)) {
      auto with_stored = guarded(view, [&] { return describe_matmul(view, stored); });
      if (with_stored.ok() && !is_reference_impl(with_stored->pd.impl_info_str())) {
        d = std::move(with_stored).value();
        as_stored = true;
      }
    }
    std::vector<PrimitiveKernel::Arg> args{{DNNL_ARG_SRC, d.pd.src_desc(), false, kA},
                                           {DNNL_ARG_DST, d.pd.dst_desc(), true, 0}};
    if (as_stored) args.push_back({DNNL_ARG_WEIGHTS, d.pd.weights_desc(), false, kB});
    if (view.has_input(kBias)) {
      if (d.bias_post_op >= 0)
        args.push_back({DNNL_ARG_ATTR_MULTIPLE_POST_OP(d.bias_post_op) | DNNL_ARG_SRC_1,
                        *operand(view.inputs[kBias], d.problem), false, kBias});
      else
        args.push_back({DNNL_ARG_BIAS, *operand(view.inputs[kBias], d.problem), false, kBias});
    }
    if (d.residual_post_op >= 0)
      args.push_back({DNNL_ARG_ATTR_MULTIPLE_POST_OP(d.residual_post_op) | DNNL_ARG_SRC_1,
                      *operand(view.inputs[kR], d.problem), false, kR});
    auto kernel =
        std::make_unique<PrimitiveKernel>(dnnl::matmul(d.pd), d.pd.scratchpad_desc(), args, d.pd.impl_info_str());
    if (!as_stored) PLANISH_TRY(own_weights(*kernel, view, packed, kB, stored, d.pd.weights_desc()));
    return std::unique_ptr<Kernel>(std::move(kernel));
  });
}

constexpr std::array<std::string_view, 1> kOps{"planish.FusedMatMul"};

}  // namespace

constinit const Tactic kOneDnnMatMul{
    .id = "cpu.onednn.matmul", .ops = kOps, .supports = supports, .pack = pack, .prepare = prepare, .unpack = unpack};

}  // namespace planish
