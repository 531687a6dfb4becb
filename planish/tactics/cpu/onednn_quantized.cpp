#include "planish/tactics/cpu/onednn_quantized_internal.h"

#include <fmt/format.h>

namespace planish::onednn {
namespace {

bool is_byte(DType t) { return t == DType::i8 || t == DType::u8; }

bool multiplies_bytes_exactly() {
  const auto isa = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  for (const auto needed : {dnnl::cpu_isa::avx512_core_vnni, dnnl::cpu_isa::avx2_vnni})
    if ((isa & static_cast<unsigned>(needed)) == static_cast<unsigned>(needed)) return true;
  return false;
}

Tensor one_f32(float v) { return Tensor::scalar_f32(v).reshaped({1}); }

Tensor one_i32(int64_t v) {
  Tensor t(DType::i32, {1});
  t.data<int32_t>()[0] = static_cast<int32_t>(v);
  return t;
}

dnnl::memory::desc vector_of(int64_t n, dnnl::memory::data_type type) {
  return {{n}, type, dnnl::memory::format_tag::a};
}

}  // namespace

WhyNot quantized_product_refusal(const NodeView& view) {
  if (!multiplies_bytes_exactly()) return "oneDNN's sums of bytes are exact with VNNI only";
  const TensorDesc& x = view.inputs[kQuantX];
  const TensorDesc& y = view.outputs[0];
  if (!is_byte(x.dtype)) return fmt::format("takes i8 and u8, got {}", dtype_name(x.dtype));
  if (view.inputs[kQuantW].dtype != DType::i8) return "needs a second operand in i8";
  if (x.size() == 0 || y.size() == 0) return "the tensor is empty";
  if (view.constants[kQuantScale] == nullptr) return "needs constant scales";
  if (auto attrs = read_quantized_attrs(*view.node); !attrs.ok()) return attrs.error().what;
  return activation_refusal(*view.node);
}

dnnl::memory::data_type first_operand_type(const NodeView& view, const QuantizedAttrs& attrs) {
  if (is_seven_bit(view, attrs)) return dnnl::memory::data_type::u8;
  return *data_type(view.inputs[kQuantX].dtype);
}

QuantizedPrimitive quantized_primitive(const NodeView& view, const QuantizedAttrs& attrs, int weight_mask,
                                       const std::optional<dnnl::memory::desc>& bias,
                                       const std::optional<dnnl::memory::desc>& residual, bool in_place) {
  QuantizedPrimitive p;
  p.attr = user_scratchpad();
  p.attr.set_scales_mask(DNNL_ARG_SRC, 0);
  p.attr.set_scales_mask(DNNL_ARG_WEIGHTS, view.constants[kQuantScale]->size() == 1 ? 0 : weight_mask);
  if (attrs.x.zero != 0) p.attr.set_zero_points_mask(DNNL_ARG_SRC, 0);
  if (attrs.w_zero != 0) p.attr.set_zero_points_mask(DNNL_ARG_WEIGHTS, 0);
  if (attrs.y_type != DType::f32) {
    p.attr.set_scales_mask(DNNL_ARG_DST, 0);
    if (attrs.y.zero != 0) p.attr.set_zero_points_mask(DNNL_ARG_DST, 0);
  }
  dnnl::post_ops post;
  if (bias) {
    p.bias_post_op = post.len();
    post.append_binary(dnnl::algorithm::binary_add, *bias);
  }
  const auto add_residual = [&] {
    if (!residual) return;
    const bool bytes = is_byte(view.inputs[kQuantResidual].dtype);
    if (in_place) {
      post.append_sum(bytes ? attrs.r.scale : 1.0F, bytes ? static_cast<int32_t>(attrs.r.zero) : 0,
                      residual->get_data_type());
      return;
    }
    // Bytes join in their own steps: (v / r_scale - r_zero + R) * r_scale.
    if (bytes)
      post.append_eltwise(dnnl::algorithm::eltwise_linear, 1.0F / attrs.r.scale, static_cast<float>(-attrs.r.zero));
    p.residual_post_op = post.len();
    post.append_binary(dnnl::algorithm::binary_add, *residual);
    if (bytes) post.append_eltwise(dnnl::algorithm::eltwise_linear, attrs.r.scale, 0.0F);
  };
  if (!attrs.epilogue.residual_last) add_residual();
  append_activation(post, *view.node);
  if (attrs.epilogue.residual_last) add_residual();
  p.attr.set_post_ops(post);
  return p;
}

void own_quantization(PrimitiveKernel& kernel, const NodeView& view, const QuantizedAttrs& attrs) {
  using Type = dnnl::memory::data_type;
  const auto scale = [&](int arg, Tensor t) {
    const auto desc = vector_of(t.size(), Type::f32);
    kernel.own(DNNL_ARG_ATTR_SCALES | arg, desc, std::move(t));
  };
  const auto zero = [&](int arg, int64_t v) {
    if (v != 0) kernel.own(DNNL_ARG_ATTR_ZERO_POINTS | arg, vector_of(1, Type::s32), one_i32(v));
  };
  scale(DNNL_ARG_SRC, one_f32(attrs.x.scale * view.node->attr_float("alpha", 1)));
  scale(DNNL_ARG_WEIGHTS, view.constants[kQuantScale]->clone());
  zero(DNNL_ARG_SRC, attrs.x.zero);
  zero(DNNL_ARG_WEIGHTS, attrs.w_zero);
  if (attrs.y_type == DType::f32) return;
  scale(DNNL_ARG_DST, one_f32(attrs.y.scale));
  zero(DNNL_ARG_DST, attrs.y.zero);
}

}  // namespace planish::onednn
