// Transposed convolution (with bias and activation) by oneDNN, in any of its layouts.

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "planish/base/parallel.h"
#include "planish/kernels/cpu/pointwise/pointwise.h"
#include "planish/ops/conv_geometry.h"
#include "planish/ops/fused_epilogue.h"
#include "planish/tactics/cpu/onednn_internal.h"
#include "planish/tactics/cpu/onednn_tactics.h"

namespace planish {
namespace {

using namespace onednn;
using Md = dnnl::memory::desc;
using Pd = dnnl::deconvolution_forward::primitive_desc;

enum Input : size_t { kX, kW, kB, kR };

/// Weights as oneDNN sees them, [G,K/G,C/G,R,S] or [K,C,R,S], and where ONNX has them: [C,K/G,R,S].
Md plain_weights(const NodeView& view) {
  const Shape& w = view.inputs[kW].shape;
  const int64_t groups = view.node->attr_int("group", 1);
  const int64_t c = w[0] / groups;
  const int64_t k = w[1];
  int64_t taps = 1;
  for (size_t a = 2; a < w.size(); ++a) taps *= w[a];
  dnnl::memory::dims dims{k, c};
  dnnl::memory::dims strides{taps, k * taps};
  if (groups != 1) {
    dims.insert(dims.begin(), groups);
    strides.insert(strides.begin(), c * k * taps);
  }
  for (size_t a = 2; a < w.size(); ++a) {
    taps /= w[a];
    dims.push_back(w[a]);
    strides.push_back(taps);
  }
  return {dims, *data_type(view.inputs[kW].dtype), strides};
}

Md any_weights(const NodeView& view) {
  const Md plain = plain_weights(view);
  return {plain.get_dims(), plain.get_data_type(), dnnl::memory::format_tag::any};
}

/// oneDNN's own deconvolution has post-operations in the registers. Where it computes the gradient of a convolution
/// instead, they are a scalar loop, and the activation is better a pass of ours.
bool has_fast_post_ops(const Pd& pd) { return std::string(pd.impl_info_str()).starts_with("brg"); }

Result<Pd> describe_deconv(const NodeView& view, bool with_activation) {
  const Node& node = *view.node;
  const ConvShape conv = PLANISH_TRY(resolve_conv_transpose(node, view.inputs[kX].shape, view.inputs[kW].shape));
  const WindowGeometry& g = conv.window;
  dnnl::memory::dims dilations;
  dnnl::memory::dims pads_end;
  for (size_t a = 0; a < g.axes(); ++a) {
    dilations.push_back(g.dilations[a] - 1);
    // Output padding is padding at the end that is not cut off.
    pads_end.push_back(g.strides[a] * (g.out[a] - 1) + g.extent(a) - g.in[a] - g.pads_begin[a]);
  }
  dnnl::primitive_attr attr = user_scratchpad();
  dnnl::post_ops post;
  if (with_activation) append_activation(post, node);
  attr.set_post_ops(post);
  const Md bias = view.has_input(kB) ? describe(view.inputs[kB]) : Md();
  return Pd(engine(), dnnl::prop_kind::forward_inference, dnnl::algorithm::deconvolution_direct,
            describe_image(view.inputs[kX]), any_weights(view), bias, describe_image(view.outputs[0]),
            to_dims(g.strides), dilations, to_dims(g.pads_begin), pads_end, attr);
}

/// The primitive, and whether it applies the activation itself.
struct Described {
  Pd pd;
  bool activates = false;
};

Result<Described> describe(const NodeView& view) {
  if (view.node->attr_string("activation", "").empty())
    return Described{PLANISH_TRY(describe_deconv(view, false)), true};
  if (!activation_refusal(*view.node)) {
    Pd fused = PLANISH_TRY(describe_deconv(view, true));
    if (has_fast_post_ops(fused)) return Described{std::move(fused), true};
  }
  return Described{PLANISH_TRY(describe_deconv(view, false)), false};
}

/// The activation as a pass over the output.
struct Activation {
  kernels::PointwiseOp op = kernels::PointwiseOp::identity;
  float alpha = 0;
  float beta = 0;
  int64_t floats = 0;
};

Result<Activation> activation_of(const NodeView& view) {
  const auto refuse = [&view](std::string what) {
    return Error{.code = Code::unsupported, .node = view.node->name, .what = std::move(what)};
  };
  const FusedEpilogue fused = PLANISH_TRY(read_epilogue(*view.node));
  const TensorDesc& y = view.outputs[0];
  if (y.dtype != DType::f32) return refuse("applies activations to f32 only");
  const auto op = kernels::find_pointwise_op(fused.activation->op, fused.params.approximate_tanh);
  if (!op) return refuse(fmt::format("has no activation {}", fused.activation->op));
  if (y.shape[1] % layout_block(y.layout) != 0 && fused.activation->scalar(0.0, fused.params) != 0.0)
    return refuse("the padding of the last block would not stay zero");
  return Activation{*op, static_cast<float>(fused.params.alpha), static_cast<float>(fused.params.beta),
                    static_cast<int64_t>(y.bytes() / sizeof(float))};
}

class DeconvKernel final : public Kernel {
 public:
  DeconvKernel(std::unique_ptr<PrimitiveKernel> primitive, Activation activation)
      : primitive_(std::move(primitive)), activation_(activation) {}

  [[nodiscard]] size_t workspace_bytes() const override { return primitive_->workspace_bytes(); }
  [[nodiscard]] std::string detail() const override { return primitive_->detail(); }

  Status run(const Bindings& b) override {
    PLANISH_TRY(primitive_->run(b));
    auto* y = host_ptr<float>(b.outputs[0]);
    constexpr int64_t kElementsPerThread = 8192;
    parallel_for(activation_.floats, kElementsPerThread, [&](int64_t begin, int64_t end) {
      kernels::best_pointwise_kernel().fn(activation_.op, end - begin, y + begin, y + begin, y + begin,
                                          activation_.alpha, activation_.beta);
    });
    return {};
  }

 private:
  std::unique_ptr<PrimitiveKernel> primitive_;
  Activation activation_;
};

WhyNot supports(const NodeView& view, const Target&) {
  const TensorDesc& x = view.inputs[kX];
  const TensorDesc& y = view.outputs[0];
  if (x.rank() < 3 || x.rank() > 5) return fmt::format("needs 1 to 3 spatial dimensions, got rank {}", x.rank());
  if (!view.is_constant(kW)) return "needs constant weights";
  if (WhyNot why = float_refusal(x.dtype)) return why;
  if (view.inputs[kW].dtype != x.dtype) return "needs weights of the input's type";
  if (y.size() == 0 || x.size() == 0) return "the tensor is empty";
  if (view.has_input(kR)) return "takes no residual";
  auto described = guarded(view, [&] { return describe(view); });
  if (!described.ok()) return described.error().what;
  if (is_reference_impl(described->pd.impl_info_str())) return "oneDNN has only its reference here";
  if (described->activates) return std::nullopt;
  const auto activation = activation_of(view);
  if (!activation.ok()) return activation.error().what;
  return std::nullopt;
}

Result<std::vector<PackedConstant>> pack(const NodeView& view, const Target&) {
  return guarded(view, [&]() -> Result<std::vector<PackedConstant>> {
    const Described d = PLANISH_TRY(describe(view));
    const std::string format = format_name(d.pd.weights_desc());
    if (format.empty()) return std::vector<PackedConstant>{};
    Tensor data = reorder(*view.constants[kW], plain_weights(view), d.pd.weights_desc());
    return std::vector<PackedConstant>{{static_cast<int32_t>(kW), format, std::move(data)}};
  });
}

/// The weights' description as they were stored.
Result<Md> stored_weights(const NodeView& view, const PackedConstant& p) {
  const Md plain = plain_weights(view);
  const auto md = format_desc(p.format, plain.get_dims(), plain.get_data_type());
  if (!md || md->get_size() > p.data.bytes())
    return Error{.code = Code::unsupported,
                 .node = view.node->name,
                 .what = "packed weights have a format of another oneDNN version"};
  return *md;
}

Result<Tensor> unpack(const NodeView& view, const PackedConstant& p) {
  return guarded(view, [&]() -> Result<Tensor> {
    const Md from = PLANISH_TRY(stored_weights(view, p));
    const Tensor bytes = reorder(p.data, from, plain_weights(view));
    return Tensor::share(view.inputs[kW].dtype, view.inputs[kW].shape, std::make_shared<Tensor>(bytes), bytes.raw());
  });
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant> packed, const Target&) {
  return guarded(view, [&]() -> Result<std::unique_ptr<Kernel>> {
    const Md stored = packed.empty() ? plain_weights(view) : PLANISH_TRY(stored_weights(view, packed[0]));
    const Described d = PLANISH_TRY(describe(view));
    // Other shapes than the tuned ones can prefer another weight format; then the kernel keeps a copy of its own.
    const bool as_stored = d.pd.weights_desc() == stored;
    std::vector<PrimitiveKernel::Arg> args{{DNNL_ARG_SRC, d.pd.src_desc(), false, kX},
                                           {DNNL_ARG_DST, d.pd.dst_desc(), true, 0}};
    if (as_stored) args.push_back({DNNL_ARG_WEIGHTS, stored, false, kW});
    if (view.has_input(kB)) args.push_back({DNNL_ARG_BIAS, d.pd.bias_desc(), false, kB});
    auto primitive = std::make_unique<PrimitiveKernel>(dnnl::deconvolution_forward(d.pd), d.pd.scratchpad_desc(), args,
                                                       d.pd.impl_info_str());
    if (!as_stored) PLANISH_TRY(own_weights(*primitive, view, packed, kW, stored, d.pd.weights_desc()));
    if (d.activates) return std::unique_ptr<Kernel>(std::move(primitive));
    const Activation activation = PLANISH_TRY(activation_of(view));
    return std::unique_ptr<Kernel>(new DeconvKernel(std::move(primitive), activation));
  });
}

constexpr std::array<std::string_view, 1> kOps{"planish.FusedConvTranspose"};

}  // namespace

constinit const Tactic kOneDnnDeconv{
    .id = "cpu.onednn.deconv", .ops = kOps, .supports = supports, .pack = pack, .prepare = prepare, .unpack = unpack};

}  // namespace planish
