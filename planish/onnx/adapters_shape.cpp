// Operators that move or select elements: attributes that became inputs, mostly.

#include <array>

#include "planish/onnx/adapter.h"

namespace planish {
namespace {

Status axes_to_input(AdaptContext& ctx) {
  ctx.ints_attr_to_input("axes", 1);
  return {};
}

Status split_sizes_to_input(AdaptContext& ctx) {
  ctx.ints_attr_to_input("split", 1);
  return {};
}

/// Opset 18 asks for the number of equal parts, which used to follow from the outputs.
Status split_count(AdaptContext& ctx) {
  if (!ctx.has_input(1)) ctx.node.attrs["num_outputs"] = static_cast<int64_t>(ctx.node.outputs.size());
  return {};
}

Status slice_bounds_to_inputs(AdaptContext& ctx) {
  ctx.ints_attr_to_input("starts", 1);
  ctx.ints_attr_to_input("ends", 2);
  ctx.ints_attr_to_input("axes", 3);
  return {};
}

Status reshape_shape_to_input(AdaptContext& ctx) {
  ctx.ints_attr_to_input("shape", 1);
  return {};
}

Status pad_old_name(AdaptContext& ctx) {
  if (auto it = ctx.node.attrs.find("paddings"); it != ctx.node.attrs.end()) {
    ctx.node.attrs["pads"] = it->second;
    ctx.node.attrs.erase("paddings");
  }
  return {};
}

Status pad_to_inputs(AdaptContext& ctx) {
  ctx.ints_attr_to_input("pads", 1);
  const float value = ctx.node.attr_float("value", 0.0F);
  ctx.node.attrs.erase("value");
  // The value must have the data's type, which is not known here unless it is the default one.
  if (value != 0.0F) {
    const ValueId v = ctx.constant("value", Tensor::scalar_f32(value));
    ctx.set_input(2, ctx.emit("CastLike", {v, ctx.node.in(0)}));
  }
  return {};
}

Status topk_count_to_input(AdaptContext& ctx) {
  const std::array k{ctx.node.attr_int("k", 1)};
  ctx.set_input(1, ctx.constant("k", Tensor::from_i64(k)));
  ctx.node.attrs.erase("k");
  return {};
}

Status concat_default_axis(AdaptContext& ctx) {
  if (!ctx.node.has_attr("axis")) ctx.node.attrs["axis"] = int64_t{1};
  return {};
}

/// Scatter was renamed when ScatterND came.
Status scatter_to_scatter_elements(AdaptContext& ctx) {
  ctx.node.op = "ScatterElements";
  return {};
}

/// Tile-1 repeats one axis: inputs tiles and axis are scalars.
Status tile_one_axis(AdaptContext& ctx) {
  return ctx.error("the form of opset 1 is not supported", "convert the model to opset 13 with onnx.version_converter");
}

/// Before opset 11 a negative index meant "no class"; now it counts from the end. `depth` is out of range in both.
Status one_hot_negative_indices(AdaptContext& ctx) {
  const ValueId indices = ctx.node.in(0);
  const ValueId zero = ctx.emit("CastLike", {ctx.constant("zero", Tensor::scalar_i64(0)), indices});
  const ValueId depth_scalar = ctx.emit("Reshape", {ctx.node.in(1), ctx.constant("scalar", Tensor(DType::i64, {0}))});
  const ValueId depth = ctx.emit("CastLike", {depth_scalar, indices});
  const ValueId negative = ctx.emit("Less", {indices, zero});
  ctx.set_input(0, ctx.emit("Where", {negative, depth, indices}));
  return {};
}

constexpr std::array kRows{
    Adapter{"Concat", 1, 3, concat_default_axis},
    Adapter{"OneHot", 9, 10, one_hot_negative_indices},
    Adapter{"Pad", 1, 1, pad_old_name},
    Adapter{"Pad", 1, 10, pad_to_inputs},
    Adapter{"Reshape", 1, 4, reshape_shape_to_input},
    Adapter{"Scatter", 9, 28, scatter_to_scatter_elements},
    Adapter{"Slice", 1, 9, slice_bounds_to_inputs},
    Adapter{"Split", 1, 12, split_sizes_to_input},
    Adapter{"Split", 1, 17, split_count},
    Adapter{"Squeeze", 1, 12, axes_to_input},
    Adapter{"Tile", 1, 5, tile_one_axis},
    Adapter{"TopK", 1, 9, topk_count_to_input},
    Adapter{"Unsqueeze", 1, 12, axes_to_input},
};

}  // namespace

std::span<const Adapter> shape_adapters() { return kRows; }

}  // namespace planish
