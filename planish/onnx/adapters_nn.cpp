// Normalisation, activation, transforms and quantisation operators whose form or meaning changed.

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <limits>

#include "planish/onnx/adapter.h"

namespace planish {
namespace {

/// A scalar constant with the type of `like`.
ValueId scalar_like(AdaptContext& ctx, std::string_view stem, float value, ValueId like) {
  const ValueId v = ctx.constant(stem, Tensor::scalar_f32(value));
  if (ctx.graph.value(like).dtype == DType::f32) return v;
  return ctx.emit("CastLike", {v, like});
}

Status clip_bounds_to_inputs(AdaptContext& ctx) {
  // The defaults were the largest finite floats; leaving the input out means no bound, infinity included.
  constexpr float kMax = std::numeric_limits<float>::max();
  const float low = ctx.node.attr_float("min", -kMax);
  const float high = ctx.node.attr_float("max", kMax);
  if (low > -kMax) ctx.set_input(1, scalar_like(ctx, "min", low, ctx.node.in(0)));
  if (high < kMax) ctx.set_input(2, scalar_like(ctx, "max", high, ctx.node.in(0)));
  ctx.node.attrs.erase("min");
  ctx.node.attrs.erase("max");
  return {};
}

/// The ratio matters in training only, and before opset 12 these operators did not train.
Status dropout_inference(AdaptContext& ctx) {
  ctx.node.attrs.erase("ratio");
  ctx.node.attrs.erase("is_test");
  // Up to opset 9 the mask had the data's type.
  if (ctx.opset >= 10 || !ctx.has_output(1)) return {};
  const ValueId mask = ctx.value("mask");
  ctx.emit_into("CastLike", {mask, ctx.node.in(0)}, {ctx.node.outputs[1]});
  ctx.node.outputs[1] = mask;
  return {};
}

/// Statistics for every element instead of every channel: plain arithmetic.
Status batch_norm_per_element(AdaptContext& ctx) {
  const Node& n = ctx.node;
  const ValueId eps = scalar_like(ctx, "epsilon", n.attr_float("epsilon", 1e-5F), n.in(4));
  const ValueId deviation = ctx.emit("Sqrt", {ctx.emit("Add", {n.in(4), eps})});
  const ValueId centred = ctx.emit("Sub", {n.in(0), n.in(3)});
  const ValueId scaled = ctx.emit("Mul", {ctx.emit("Div", {centred, deviation}), n.in(1)});
  const ValueId bias = n.in(2);
  ctx.node.op = "Add";
  ctx.node.inputs = {scaled, bias};
  ctx.node.attrs.clear();
  return {};
}

Status batch_norm_old(AdaptContext& ctx) {
  Node& n = ctx.node;
  for (size_t i = 1; i < n.outputs.size(); ++i)
    if (n.outputs[i] != kNoValue)
      return ctx.error(fmt::format("output {} exists in training only", i),
                       "export the model in inference mode (model.eval())");
  n.outputs.resize(std::min<size_t>(n.outputs.size(), 1));
  const bool per_element = n.attr_int("spatial", 1) == 0;
  for (const char* key : {"spatial", "is_test", "consumed_inputs", "momentum"}) n.attrs.erase(key);
  if (per_element) return batch_norm_per_element(ctx);
  return {};
}

/// Scale and bias per group became scale and bias per channel: each is repeated for the channels of its group.
Status group_norm_per_channel(AdaptContext& ctx) {
  const int64_t groups = ctx.node.attr_int("num_groups", 0);
  if (groups <= 0) return ctx.error("num_groups is missing");
  // [G] -> [G,1] -> [G,C/G] -> [C]
  const ValueId channels = ctx.emit("Shape", {ctx.node.in(0)}, {{"start", int64_t{1}}, {"end", int64_t{2}}});
  const std::array count{groups};
  const std::array column{groups, int64_t{1}};
  const std::array flat{int64_t{-1}};
  const ValueId g = ctx.constant("groups", Tensor::from_i64(count));
  const ValueId per_group = ctx.emit("Div", {channels, g});
  const ValueId target = ctx.emit("Concat", {g, per_group}, {{"axis", int64_t{0}}});
  const ValueId column_shape = ctx.constant("column", Tensor::from_i64(column));
  const ValueId flat_shape = ctx.constant("flat", Tensor::from_i64(flat));
  for (const size_t i : {size_t{1}, size_t{2}}) {
    const ValueId as_column = ctx.emit("Reshape", {ctx.node.in(i), column_shape});
    const ValueId repeated = ctx.emit("Expand", {as_column, target});
    ctx.set_input(i, ctx.emit("Reshape", {repeated, flat_shape}));
  }
  return {};
}

Status dft_axis_to_input(AdaptContext& ctx) {
  ctx.set_input(2, ctx.constant("axis", Tensor::scalar_i64(ctx.node.attr_int("axis", 1))));
  ctx.node.attrs.erase("axis");
  return {};
}

Status grid_sample_mode_names(AdaptContext& ctx) {
  const std::string mode = ctx.node.attr_string("mode", "bilinear");
  if (mode == "bilinear") ctx.node.attrs["mode"] = std::string("linear");
  if (mode == "bicubic") ctx.node.attrs["mode"] = std::string("cubic");
  return {};
}

/// Opset 16 introduced the mode, with another default than what was meant before.
Status roi_align_old_corners(AdaptContext& ctx) {
  ctx.node.attrs["coordinate_transformation_mode"] = std::string("output_half_pixel");
  return {};
}

Status cast_string_attribute(AdaptContext& ctx) {
  const auto it = ctx.node.attrs.find("to");
  const auto* text = it == ctx.node.attrs.end() ? nullptr : std::get_if<std::string>(&it->second);
  if (text == nullptr) return {};
  constexpr std::array kNames{
      std::pair{"FLOAT", DType::f32},  std::pair{"UINT8", DType::u8},     std::pair{"INT8", DType::i8},
      std::pair{"UINT16", DType::u16}, std::pair{"INT16", DType::i16},    std::pair{"INT32", DType::i32},
      std::pair{"INT64", DType::i64},  std::pair{"BOOL", DType::boolean}, std::pair{"FLOAT16", DType::f16},
      std::pair{"DOUBLE", DType::f64}, std::pair{"UINT32", DType::u32},   std::pair{"UINT64", DType::u64}};
  for (const auto& [name, dtype] : kNames) {
    if (*text != name) continue;
    it->second = static_cast<int64_t>(dtype);
    return {};
  }
  return ctx.error(fmt::format("cannot cast to '{}'", *text));
}

/// Only the last step was returned, in the same place, when `output_sequence` was 0: the attribute only saved memory.
Status drop_output_sequence(AdaptContext& ctx) {
  ctx.node.attrs.erase("output_sequence");
  return {};
}

/// Per-tensor only; an axis was not there to be misread.
Status gemm_drop_broadcast(AdaptContext& ctx) {
  ctx.node.attrs.erase("broadcast");
  return {};
}

constexpr std::array kRows{
    Adapter{"BatchNormalization", 1, 13, batch_norm_old},
    Adapter{"Cast", 1, 5, cast_string_attribute},
    Adapter{"Clip", 1, 10, clip_bounds_to_inputs},
    Adapter{"DFT", 17, 19, dft_axis_to_input},
    Adapter{"Dropout", 1, 11, dropout_inference},
    Adapter{"GRU", 1, 6, drop_output_sequence},
    Adapter{"Gemm", 1, 6, gemm_drop_broadcast},
    Adapter{"GridSample", 16, 19, grid_sample_mode_names},
    Adapter{"GroupNormalization", 18, 20, group_norm_per_channel},
    Adapter{"LSTM", 1, 6, drop_output_sequence},
    Adapter{"RNN", 1, 6, drop_output_sequence},
    Adapter{"RoiAlign", 10, 15, roi_align_old_corners},
};

}  // namespace

std::span<const Adapter> nn_adapters() { return kRows; }

}  // namespace planish
