#include "planish/tactics/cpu/float_conv.h"

#include <fmt/format.h>

#include <algorithm>

#include "planish/ops/conv_geometry.h"
#include "planish/ops/fused_epilogue.h"

namespace planish {

WhyNot float_conv_refusal(const NodeView& view, int64_t width) {
  const TensorDesc& x = view.inputs[kConvX];
  const TensorDesc& y = view.outputs[0];
  for (const TensorDesc& d : {x, view.inputs[kConvW], y})
    if (d.dtype != DType::f32) return fmt::format("computes in f32, got {}", dtype_name(d.dtype));
  if (x.rank() != 4) return fmt::format("needs 2 spatial dimensions, got rank {}", x.rank());
  if (!view.is_constant(kConvW)) return "needs constant weights";
  if (x.size() == 0 || y.size() == 0) return "the tensor is empty";
  const auto conv = resolve_conv(*view.node, x.shape, view.inputs[kConvW].shape);
  if (!conv.ok()) return conv.error().what;
  if (view.has_input(kConvB) && view.inputs[kConvB].dtype != DType::f32) return "needs a bias of f32";
  if (view.has_input(kConvB) && view.inputs[kConvB].size() != conv->k) return "needs one bias per filter";
  if (view.has_input(kConvR) && view.inputs[kConvR] != y) return "needs a residual in the output's shape and layout";
  for (const TensorDesc* d : {&x, &y})
    if (layout_block(d->layout) > 1 && layout_block(d->layout) != width)
      return fmt::format("needs blocks of {} channels", width);
  const auto fused = read_epilogue(*view.node);
  if (!fused.ok()) return fused.error().what;
  const UnaryFunction* act = fused->activation;
  if (act == nullptr) return std::nullopt;
  if (!kernels::find_pointwise_op(act->op, fused->params.approximate_tanh))
    return fmt::format("has no activation {}", act->op);
  if (stored_channels(y) != y.shape[1] && act->scalar(0.0, fused->params) != 0.0)
    return "the padding of the last block would not stay zero";
  return std::nullopt;
}

Result<RowActivation> row_activation(const NodeView& view) {
  const FusedEpilogue fused = PLANISH_TRY(read_epilogue(*view.node));
  if (fused.activation == nullptr) return RowActivation{};
  const auto op = kernels::find_pointwise_op(fused.activation->op, fused.params.approximate_tanh);
  if (!op)
    return Error{.code = Code::unsupported, .node = view.node->name, .what = "the activation has no vector form"};
  return RowActivation{kernels::best_pointwise_kernel().fn, *op, static_cast<float>(fused.params.alpha),
                       static_cast<float>(fused.params.beta)};
}

Result<kernels::FloatEpilogue> float_epilogue(const NodeView& view) {
  kernels::FloatEpilogue e;
  e.residual_last = PLANISH_TRY(read_epilogue(*view.node)).residual_last;
  const RowActivation a = PLANISH_TRY(row_activation(view));
  if (a.present()) set_activation(e, a.op, a.alpha, a.beta);
  return e;
}

int64_t stored_channels(const TensorDesc& d) {
  const int64_t block = layout_block(d.layout);
  return (d.shape[1] + block - 1) / block * block;
}

PaddedBias::PaddedBias(const NodeView& view) : filters_(view.outputs[0].shape[1]) {
  const int64_t stored = stored_channels(view.outputs[0]);
  if (view.has_input(kConvB) && stored != filters_) padded_.resize(static_cast<size_t>(stored), 0.0F);
}

const float* PaddedBias::bind(const float* bias) {
  if (padded_.empty()) return bias;
  std::copy_n(bias, filters_, padded_.data());
  return padded_.data();
}

}  // namespace planish
