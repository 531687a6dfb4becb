#include "planish/passes/quantization.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "planish/ops/quantization.h"
#include "planish/passes/match.h"

namespace planish {
namespace {

bool is_byte(DType t) { return t == DType::i8 || t == DType::u8; }

/// Scale and zero point of a node whose quantised side has `type`.
std::optional<TensorQuantization> parameters(const Edit& edit, const Node& node, DType type) {
  const Tensor* scale = edit.constant(node.in(1));
  if (!is_byte(type) || scale == nullptr || scale->dtype() != DType::f32 || scale->size() != 1) return std::nullopt;
  if (node.attr_int("block_size", 0) != 0) return std::nullopt;
  TensorQuantization q{.scale = static_cast<float>(scale->at(0)), .zero = 0, .type = type};
  if (node.in(2) != kNoValue) {
    const Tensor* zero = edit.constant(node.in(2));
    if (zero == nullptr || zero->size() != 1) return std::nullopt;
    q.zero = zero->int_at(0);
  }
  if (!(q.scale > 0) || !std::isfinite(q.scale)) return std::nullopt;
  return q;
}

ValueId insert_parameters(Edit& edit, int32_t anchor, std::string_view op, const Node& named, ValueId v,
                          const TensorQuantization& q, DType result) {
  const std::string stem(edit.graph().name_of(v));
  Tensor zero(q.type, {});
  zero.set(0, static_cast<double>(q.zero));
  Node node;
  node.op = op;
  node.name = named.name;
  node.origins = named.origins;
  node.inputs = {v, edit.new_constant(stem + "/scale", Tensor::scalar_f32(q.scale)),
                 edit.new_constant(stem + "/zero", std::move(zero))};
  const Shape* shape = edit.shape(v);
  const ValueId out =
      edit.new_value(stem + "/" + node.op, result, shape != nullptr ? std::optional(*shape) : std::nullopt);
  node.outputs = {out};
  edit.insert(anchor, std::move(node));
  return out;
}

/// One parameter per index of `axis` as [n], a single one as [1]; nullopt for other shapes.
std::optional<Tensor> along_axis(const Tensor& t, const Node& node, const Shape& x, int64_t axis) {
  if (t.size() == 1) return t.reshaped({1});
  const auto rank = static_cast<int64_t>(x.size());
  const int64_t own = node.attr_int("axis", 1);
  if (t.rank() != 1 || (own < 0 ? own + rank : own) != axis || t.dim(0) != x[static_cast<size_t>(axis)])
    return std::nullopt;
  return t;
}

/// Row-major stride of `axis`.
int64_t inner_size(const Shape& x, int64_t axis) {
  int64_t inner = 1;
  for (size_t d = static_cast<size_t>(axis) + 1; d < x.size(); ++d) inner *= x[d];
  return std::max<int64_t>(inner, 1);
}

/// q - zero as i8, and what is missing where that saturates.
struct Centred {
  Tensor values;
  Tensor rest;
};

Centred centred(const Tensor& q, const Tensor* zero, int64_t inner) {
  if (q.dtype() == DType::i8) {
    bool plain = true;
    for (int64_t i = 0; zero != nullptr && i < zero->size(); ++i) plain = plain && zero->int_at(i) == 0;
    if (plain) return {q, {}};
  }
  Tensor values(DType::i8, q.shape());
  Tensor rest;
  for (int64_t i = 0, n = q.size(); i < n; ++i) {
    const int64_t z = zero == nullptr ? 0 : zero->int_at(zero->size() == 1 ? 0 : i / inner % zero->size());
    const int64_t v = q.int_at(i) - z;
    const int64_t held = std::clamp<int64_t>(v, -128, 127);
    values.data<int8_t>()[i] = static_cast<int8_t>(held);
    if (held == v) continue;
    if (!rest.defined()) {
      rest = Tensor(DType::i16, q.shape());
      std::memset(rest.raw(), 0, rest.bytes());
    }
    rest.data<int16_t>()[i] = static_cast<int16_t>(v - held);
  }
  return {std::move(values), std::move(rest)};
}

bool zero_constant_or_absent(const Edit& edit, ValueId v) {
  return v == kNoValue || scalar_of(edit, v) == std::optional(0.0);
}

bool is_any(const Node& node, std::initializer_list<std::string_view> ops) {
  return node.domain.empty() && std::ranges::find(ops, node.op) != ops.end();
}

/// Smallest value of a function of one variable, a little less than exact to leave room for rounding; nullopt: none is
/// known. `low` is a clip's.
std::optional<double> smallest_of(std::string_view function, std::optional<double> low) {
  struct Known {
    std::string_view op;
    double smallest;
  };
  constexpr std::array kKnown{Known{"Relu", 0},
                              Known{"Sigmoid", 0},
                              Known{"HardSigmoid", 0},
                              Known{"Softmax", 0},
                              Known{"Softplus", 0},
                              Known{"Abs", 0},
                              Known{"Exp", 0},
                              Known{"Sqrt", 0},
                              Known{"Swish", -0.2786},
                              Known{"Gelu", -0.1702},
                              Known{"HardSwish", -0.3752},
                              Known{"Mish", -0.3091}};
  if (function == "Clip") return low;
  const auto it = std::ranges::find(kKnown, function, &Known::op);
  return it == kKnown.end() ? std::nullopt : std::optional(it->smallest);
}

/// The bound of what `q` makes of values from `low` on; it has a bound of its own.
double bound_behind(const TensorQuantization& q, std::optional<double> low) {
  const double own = (integer_range(q.type).low - static_cast<double>(q.zero)) * static_cast<double>(q.scale);
  if (!low) return own;
  return std::max(own, std::nearbyint(*low / static_cast<double>(q.scale)) * static_cast<double>(q.scale));
}

/// Deeper chains are not worth the search.
constexpr int kMaxDepth = 8;

std::optional<double> lower_bound(const Edit& edit, ValueId v, int depth);

/// Of a layer with its activation, residual and quantiser in it.
std::optional<double> bound_of_fused(const Edit& edit, const Node& node, int depth) {
  std::optional<double> clip;
  if (node.has_attr("act_alpha")) clip = static_cast<double>(node.attr_float("act_alpha", 0));
  const std::string act = node.attr_string("activation", "");
  if (act == "Swish" && clip.value_or(1) != 1) return std::nullopt;
  std::optional<double> low = smallest_of(act, clip);
  const ValueId residual = node.in(node.op.starts_with("Fused") ? 3 : 4);
  if (node.attr_int("residual_last", 0) != 0 && residual != kNoValue) {
    const auto added = lower_bound(edit, residual, depth - 1);
    low = low && added ? std::optional(*low + *added) : std::nullopt;
  }
  const auto type = dtype_from_name(node.attr_string("y_type", "f32"));
  if (!low || !type || (type != DType::i8 && type != DType::u8)) return low;
  return bound_behind({.scale = node.attr_float("y_scale", 1), .zero = node.attr_int("y_zero", 0), .type = *type}, low);
}

std::optional<double> lower_bound(const Edit& edit, ValueId v, int depth) {
  const int32_t n = edit.producer(v);
  if (n < 0 || depth == 0) return std::nullopt;
  const Node& node = edit.node(n);
  const auto input = [&](ValueId in) { return lower_bound(edit, in, depth - 1); };
  if (node.domain == "planish" && node.has_attr("activation")) return bound_of_fused(edit, node, depth);
  auto q = quantize_node(edit, n);
  if (!q) q = dequantize_node(edit, n);
  if (q) return bound_behind(*q, input(node.in(0)));
  if (is_any(node, {"QuantizeLinear", "DequantizeLinear"})) {
    const auto low = input(node.in(0));  // scales that are not known: rounding keeps the sign
    return low && *low >= 0 ? std::optional(0.0) : std::nullopt;
  }
  if (is_any(node, {"AveragePool", "GlobalAveragePool", "GlobalMaxPool"})) {
    const auto low = input(node.in(0));
    return low ? std::optional(std::min(*low, 0.0)) : low;
  }
  if (is_any(node, {"Add", "Mul", "Concat"})) {
    std::optional<double> all;
    for (const ValueId i : node.inputs) {
      const auto low = input(i);
      if (!low || (node.op == "Mul" && *low < 0)) return std::nullopt;
      all = !all ? *low : node.op == "Add" ? *all + *low : std::min(*all, *low);
    }
    return all;
  }
  if (moves_elements(edit, node)) return input(node.in(0));
  if (!node.domain.empty() || (node.op == "Swish" && node.attr_float("alpha", 1) != 1)) return std::nullopt;
  return smallest_of(node.op, node.op == "Clip" ? scalar_of(edit, node.in(1)) : std::nullopt);
}

}  // namespace

std::optional<TensorQuantization> quantize_node(const Edit& edit, int32_t n) {
  if (n < 0 || !edit.alive(n) || !edit.node(n).is("QuantizeLinear")) return std::nullopt;
  const Node& node = edit.node(n);
  const int64_t precision = node.attr_int("precision", 0);
  if (precision != 0 && precision != static_cast<int64_t>(DType::f32)) return std::nullopt;
  if (edit.dtype(node.in(0)) != DType::f32) return std::nullopt;
  DType type = DType::u8;
  if (const int64_t named = node.attr_int("output_dtype", 0); named != 0) type = static_cast<DType>(named);
  if (node.in(2) != kNoValue) type = edit.dtype(node.in(2));
  return parameters(edit, node, type);
}

std::optional<TensorQuantization> dequantize_node(const Edit& edit, int32_t n) {
  if (n < 0 || !edit.alive(n) || !edit.node(n).is("DequantizeLinear")) return std::nullopt;
  const Node& node = edit.node(n);
  const int64_t type = node.attr_int("output_dtype", 0);
  if (type != 0 && type != static_cast<int64_t>(DType::f32)) return std::nullopt;
  return parameters(edit, node, edit.dtype(node.in(0)));
}

ValueId insert_quantize(Edit& edit, int32_t anchor, const Node& named, ValueId v, const TensorQuantization& q) {
  return insert_parameters(edit, anchor, "QuantizeLinear", named, v, q, q.type);
}

ValueId insert_dequantize(Edit& edit, int32_t anchor, const Node& named, ValueId v, const TensorQuantization& q) {
  return insert_parameters(edit, anchor, "DequantizeLinear", named, v, q, DType::f32);
}

std::optional<QuantizedWeights> quantized_weights(const Edit& edit, ValueId v, int64_t axis) {
  const int32_t n = edit.producer(v);
  if (n < 0 || !edit.node(n).is("DequantizeLinear")) return std::nullopt;
  const Node& node = edit.node(n);
  const Tensor* q = edit.constant(node.in(0));
  const Tensor* scale = edit.constant(node.in(1));
  const Tensor* zero = edit.constant(node.in(2));
  if (q == nullptr || scale == nullptr || (zero == nullptr && node.in(2) != kNoValue)) return std::nullopt;
  if (!dtype_is_integer(q->dtype()) || dtype_bits(q->dtype()) > 8 || scale->dtype() != DType::f32) return std::nullopt;
  if (axis < 0 || axis >= q->rank() || node.attr_int("block_size", 0) != 0) return std::nullopt;
  QuantizedWeights w{.node = n, .values = {}, .rest = {}, .scale = {}};
  auto s = along_axis(*scale, node, q->shape(), axis);
  if (!s) return std::nullopt;
  for (const float value : s->span<float>())
    if (!(value > 0) || !std::isfinite(value)) return std::nullopt;
  if (zero != nullptr && !along_axis(*zero, node, q->shape(), axis)) return std::nullopt;
  Centred parts = centred(*q, zero, inner_size(q->shape(), axis));
  w.values = std::move(parts.values);
  w.rest = std::move(parts.rest);
  w.scale = std::move(*s);
  return w;
}

bool moves_elements(const Edit& edit, const Node& node) {
  if (is_any(node, {"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "Expand",
                    "Tile", "DepthToSpace", "SpaceToDepth", "Concat", "Identity"}))
    return true;
  if (node.is("MaxPool")) return node.out(1) == kNoValue && node.in(1) == kNoValue;
  if (node.is("Resize"))
    return node.attr_string("mode", "nearest") == "nearest" &&
           node.attr_string("coordinate_transformation_mode", "half_pixel") != "tf_crop_and_resize";
  if (!node.is("Pad")) return false;
  return node.attr_string("mode", "constant") != "constant" || zero_constant_or_absent(edit, node.in(2));
}

std::optional<double> lower_bound(const Edit& edit, ValueId v) { return lower_bound(edit, v, kMaxDepth); }

}  // namespace planish
