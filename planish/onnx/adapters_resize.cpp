// Upsample and the versions of Resize.

#include <fmt/format.h>

#include <array>

#include "planish/onnx/adapter.h"

namespace planish {
namespace {

/// Inputs X, roi, scales, sizes; before opset 11 a pixel's place was its index divided by the scale, rounded down.
void set_old_meaning(AdaptContext& ctx, ValueId scales) {
  Node& n = ctx.node;
  n.op = "Resize";
  n.inputs = {n.in(0), kNoValue, scales};
  n.attrs["coordinate_transformation_mode"] = std::string("asymmetric");
  n.attrs["nearest_mode"] = std::string("floor");
  const std::string mode = n.attr_string("mode", "nearest");
  if (mode == "bilinear" || mode == "trilinear") n.attrs["mode"] = std::string("linear");
}

Status upsample_1(AdaptContext& ctx) {
  const std::array scales{1.0F, 1.0F, ctx.node.attr_float("height_scale", 1.0F),
                          ctx.node.attr_float("width_scale", 1.0F)};
  set_old_meaning(ctx, ctx.constant("scales", Tensor::from_f32(scales)));
  ctx.node.attrs.erase("height_scale");
  ctx.node.attrs.erase("width_scale");
  return {};
}

Status upsample_7(AdaptContext& ctx) {
  const ValueId scales = ctx.constant("scales", Tensor::from_f32(ctx.node.attr_floats("scales")));
  ctx.node.attrs.erase("scales");
  set_old_meaning(ctx, scales);
  return {};
}

Status scales_are_input_1(AdaptContext& ctx) {
  set_old_meaning(ctx, ctx.node.in(1));
  return {};
}

/// An empty tensor was how opset 11 left an input out; exporters still write it.
Status drop_empty_inputs(AdaptContext& ctx) {
  for (size_t i = 1; i < ctx.node.inputs.size(); ++i)
    if (const Tensor* t = ctx.graph.constant_of(ctx.node.inputs[i]); t != nullptr && t->size() == 0)
      ctx.node.inputs[i] = kNoValue;
  while (!ctx.node.inputs.empty() && ctx.node.inputs.back() == kNoValue) ctx.node.inputs.pop_back();
  return {};
}

/// (x + 0.5) / scale without half_pixel's "- 0.5". Rounded down, that is half_pixel rounded half up.
Status tf_half_pixel_for_nn(AdaptContext& ctx) {
  if (ctx.node.attr_string("coordinate_transformation_mode", "half_pixel") != "tf_half_pixel_for_nn") return {};
  if (ctx.node.attr_string("nearest_mode", "round_prefer_floor") != "floor" ||
      ctx.node.attr_string("mode", "nearest") != "nearest")
    return ctx.error("tf_half_pixel_for_nn is supported for mode nearest with nearest_mode floor only",
                     "export the model at opset 13 or newer");
  ctx.node.attrs["coordinate_transformation_mode"] = std::string("half_pixel");
  ctx.node.attrs["nearest_mode"] = std::string("round_prefer_ceil");
  return {};
}

constexpr std::array kRows{
    Adapter{"Resize", 10, 10, scales_are_input_1}, Adapter{"Resize", 11, 12, tf_half_pixel_for_nn},
    Adapter{"Resize", 11, 28, drop_empty_inputs},  Adapter{"Upsample", 1, 6, upsample_1},
    Adapter{"Upsample", 7, 8, upsample_7},         Adapter{"Upsample", 9, 28, scales_are_input_1},
};

}  // namespace

std::span<const Adapter> resize_adapters() { return kRows; }

}  // namespace planish
