// Folds per-channel affine maps y = a[c] * x + b[c] into the weights of a neighbouring Conv, ConvTranspose, Gemm or
// MatMul: BatchNormalization, and Mul, Div, Add, Sub with a constant that varies along channels only.
//
// Behind the layer it is always exact: a * (W x + B) + b = (a W) x + (a B + b). In front of it the scale is exact too
// (padding is zero before and after), the shift only where nothing is padded. A MatMul has no bias, so only scales
// fold into it. Of quantised weights (behind a DequantizeLinear) the scales per output channel take the factor.

#include <algorithm>
#include <cmath>
#include <functional>

#include "planish/passes/match.h"
#include "planish/passes/pass.h"
#include "planish/passes/quantization.h"

namespace planish {
namespace {

/// y = scale[c] * x + shift[c]; vectors of one element stand for all channels.
struct Affine {
  ValueId x = kNoValue;
  std::vector<double> scale{1};
  std::vector<double> shift{0};

  [[nodiscard]] double a(int64_t c) const { return scale[scale.size() == 1 ? 0 : static_cast<size_t>(c)]; }
  [[nodiscard]] double b(int64_t c) const { return shift[shift.size() == 1 ? 0 : static_cast<size_t>(c)]; }
  [[nodiscard]] bool has_shift() const {
    return std::ranges::any_of(shift, [](double s) { return s != 0; });
  }
  [[nodiscard]] bool fits(int64_t channels) const {
    const auto n = static_cast<size_t>(channels);
    return (scale.size() == 1 || scale.size() == n) && (shift.size() == 1 || shift.size() == n);
  }
};

/// The elements of a constant that varies along `axis` of a tensor of rank `rank` at most.
std::optional<std::vector<double>> per_channel(const Tensor* t, int64_t rank, int64_t axis) {
  if (t == nullptr || !dtype_is_float(t->dtype()) || t->rank() > rank || t->size() == 0) return std::nullopt;
  const int64_t own_axis = t->rank() - (rank - axis);
  for (int64_t d = 0; d < t->rank(); ++d)
    if (d != own_axis && t->dim(d) != 1) return std::nullopt;
  std::vector<double> values(static_cast<size_t>(t->size()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = t->at(static_cast<int64_t>(i));
  return values;
}

std::optional<Affine> batch_norm(const Edit& edit, const Node& node) {
  if (node.attr_int("training_mode", 0) != 0 ||
      std::ranges::count_if(node.outputs, [](ValueId v) { return v != kNoValue; }) != 1)
    return std::nullopt;
  const auto gamma = per_channel(edit.constant(node.in(1)), 1, 0);
  const auto beta = per_channel(edit.constant(node.in(2)), 1, 0);
  const auto mean = per_channel(edit.constant(node.in(3)), 1, 0);
  const auto variance = per_channel(edit.constant(node.in(4)), 1, 0);
  if (!gamma || !beta || !mean || !variance) return std::nullopt;
  const size_t n = gamma->size();
  if (beta->size() != n || mean->size() != n || variance->size() != n) return std::nullopt;
  const double epsilon = node.attr_float("epsilon", 1e-5F);
  Affine f{.x = node.in(0), .scale = std::vector<double>(n), .shift = std::vector<double>(n)};
  for (size_t c = 0; c < n; ++c) {
    f.scale[c] = (*gamma)[c] / std::sqrt((*variance)[c] + epsilon);
    f.shift[c] = (*beta)[c] - (*mean)[c] * f.scale[c];
  }
  const auto finite = [](double v) { return std::isfinite(v); };
  if (!std::ranges::all_of(f.scale, finite) || !std::ranges::all_of(f.shift, finite)) return std::nullopt;
  return f;
}

/// The node as an affine map of a tensor of rank `rank` along its dimension `axis`.
std::optional<Affine> affine_of(const Edit& edit, const Node& node, int64_t rank, int64_t axis) {
  if (node.is("BatchNormalization")) return axis == 1 ? batch_norm(edit, node) : std::nullopt;
  const bool mul = node.is("Mul");
  const bool div = node.is("Div");
  const bool add = node.is("Add");
  const bool sub = node.is("Sub");
  if ((!mul && !div && !add && !sub) || node.inputs.size() != 2) return std::nullopt;
  const bool constant_first = edit.constant(node.in(0)) != nullptr;
  if (constant_first && div) return std::nullopt;
  const auto values = per_channel(edit.constant(node.in(constant_first ? 0 : 1)), rank, axis);
  if (!values) return std::nullopt;
  Affine f;
  f.x = node.in(constant_first ? 1 : 0);
  if (mul || div) {
    f.scale = *values;
    if (div) std::ranges::transform(f.scale, f.scale.begin(), [](double v) { return 1 / v; });
    if (!std::ranges::all_of(f.scale, [](double v) { return std::isfinite(v); })) return std::nullopt;
  } else {
    f.shift = *values;
    if (sub && constant_first) f.scale = {-1};
    if (sub && !constant_first) std::ranges::transform(f.shift, f.shift.begin(), std::negate<>());
  }
  return f;
}

/// A node that multiplies its input by constant weights.
struct Linear {
  const Tensor* weight = nullptr;
  std::optional<QuantizedWeights> quantized;  ///< then `weight` is nullptr
  int64_t in_channels = 0;
  int64_t out_channels = 0;
  int64_t group = 1;
  int64_t rank = 0;         ///< of input and output
  int64_t axis = 0;         ///< of the channels in input and output
  bool has_bias = false;    ///< it can take one
  bool transposed = false;  ///< weights are [out, in]: the others are [in, out]
  bool padded = false;

  /// Input and output channel of weight element `i`.
  [[nodiscard]] std::pair<int64_t, int64_t> channels_of(int64_t i) const {
    const Shape& s = weight->shape();
    int64_t inner = 1;
    for (size_t d = 2; d < s.size(); ++d) inner *= s[d];
    const int64_t second = i / inner % s[1];
    const int64_t first = i / inner / s[1];
    const int64_t per_group = s[0] / group;
    const int64_t g = first / per_group;
    // The first dimension runs over all groups, the second within one.
    return transposed ? std::pair{g * s[1] + second, first} : std::pair{first, g * s[1] + second};
  }
};

std::optional<Linear> linear_of(const Edit& edit, const Node& node) {
  Linear l;
  const bool conv = node.is("Conv");
  const bool deconv = node.is("ConvTranspose");
  const bool gemm = node.is("Gemm");
  if (!conv && !deconv && !gemm && !node.is("MatMul")) return std::nullopt;
  l.weight = edit.constant(node.in(1));
  const Tensor* w = l.weight;
  if (w == nullptr && !deconv) {
    l.quantized = quantized_weights(edit, node.in(1), conv || node.attr_int("transB", 0) != 0 ? 0 : 1);
    if (l.quantized && l.quantized->rest.defined()) l.quantized.reset();
    if (l.quantized) w = &l.quantized->values;
  }
  if (w == nullptr || (!l.quantized && !dtype_is_float(w->dtype())) || w->size() == 0) return std::nullopt;
  const int64_t rank = w->rank();
  if (rank < 2 || (!conv && !deconv && rank != 2)) return std::nullopt;
  l.group = conv || deconv ? node.attr_int("group", 1) : 1;
  l.transposed = conv || (gemm && node.attr_int("transB", 0) != 0);
  if (l.group < 1 || w->dim(0) % l.group != 0) return std::nullopt;
  l.out_channels = l.transposed ? w->dim(0) : w->dim(1) * l.group;
  l.in_channels = l.transposed ? w->dim(1) * l.group : w->dim(0);
  l.has_bias = !node.is("MatMul");
  if (conv || deconv) {
    l.rank = rank;
    l.axis = 1;
    const auto pads = node.attr_ints("pads");
    const std::string auto_pad = node.attr_string("auto_pad", "NOTSET");
    l.padded = deconv || (auto_pad != "NOTSET" && auto_pad != "VALID") ||
               std::ranges::any_of(pads, [](int64_t p) { return p != 0; });
  } else {
    l.rank = gemm ? 2 : edit.rank(node.in(0));
    l.axis = l.rank - 1;
    if (l.rank < 2 || node.attr_int("transA", 0) != 0) return std::nullopt;
  }
  if (node.in(2) != kNoValue) {
    const auto bias = per_channel(edit.constant(node.in(2)), gemm ? 2 : 1, gemm ? 1 : 0);
    if (!bias || (bias->size() != 1 && static_cast<int64_t>(bias->size()) != l.out_channels)) return std::nullopt;
  }
  return l;
}

/// The bias per output channel, its factor (Gemm's beta) applied.
std::vector<double> bias_of(const Edit& edit, const Node& node, const Linear& l) {
  std::vector<double> bias(static_cast<size_t>(l.out_channels), 0);
  const Tensor* t = edit.constant(node.in(2));
  if (t == nullptr) return bias;
  const double beta = node.is("Gemm") ? node.attr_float("beta", 1) : 1;
  for (int64_t k = 0; k < l.out_channels; ++k) bias[static_cast<size_t>(k)] = beta * t->at(t->size() == 1 ? 0 : k);
  return bias;
}

void set_bias(Edit& edit, Node& node, const Linear& l, DType dtype, const std::vector<double>& bias,
              const std::string& stem) {
  Tensor b(dtype, {l.out_channels});
  for (int64_t k = 0; k < l.out_channels; ++k) b.set(k, bias[static_cast<size_t>(k)]);
  node.inputs.resize(3, kNoValue);
  node.inputs[2] = edit.new_constant(stem + ".bias", std::move(b));
  if (node.is("Gemm")) node.attrs["beta"] = 1.0F;
}

void set_weights(Edit& edit, Node& node, const Linear& l, Tensor weight, const std::vector<double>& bias,
                 bool needs_bias) {
  const DType dtype = l.weight->dtype();
  const std::string stem(edit.graph().name_of(node.in(1)));
  node.inputs[1] = edit.new_constant(stem, std::move(weight));
  if (needs_bias) set_bias(edit, node, l, dtype, bias, stem);
}

/// Quantised weights times a factor per output channel: scales stay positive, so signs go into the integers. False
/// where that does not fit.
bool scale_quantized(Edit& edit, int32_t anchor, Node& node, const Linear& l, const Affine& f) {
  Tensor values = l.quantized->values.clone();
  Tensor scale(DType::f32, {l.out_channels});
  for (int64_t k = 0; k < l.out_channels; ++k) {
    const double s = l.quantized->scale.at(l.quantized->scale.size() == 1 ? 0 : k);
    const auto product = static_cast<float>(s * (f.a(k) == 0 ? 1 : std::fabs(f.a(k))));
    if (!(product > 0) || !std::isfinite(product)) return false;
    scale.data<float>()[k] = product;
  }
  const int64_t inner = l.transposed ? std::max<int64_t>(1, values.size() / l.out_channels) : 1;
  for (int64_t i = 0; i < values.size(); ++i) {
    const double factor = f.a(i / inner % l.out_channels);
    int8_t& v = values.data<int8_t>()[i];
    if (factor < 0 && v == -128) return false;
    v = static_cast<int8_t>(factor < 0 ? -v : factor == 0 ? 0 : v);
  }
  Node dequantize = edit.node(l.quantized->node);
  const std::string stem(edit.graph().name_of(dequantize.in(0)));
  dequantize.inputs = {edit.new_constant(stem, std::move(values)),
                       edit.new_constant(stem + ".scale", std::move(scale))};
  dequantize.attrs = {{"axis", int64_t{l.transposed ? 0 : 1}}};
  dequantize.outputs = {edit.new_value(edit.value(node.in(1)).name, DType::f32, l.quantized->values.shape())};
  node.inputs[1] = dequantize.outputs[0];
  edit.insert(anchor, std::move(dequantize));
  return true;
}

/// Folds the only reader of node `n`'s output into it. Returns the index of the fused node, -1 when nothing folds.
int32_t fold_behind(Edit& edit, int32_t n) {
  const auto l = linear_of(edit, edit.node(n));
  if (!l) return -1;
  const ValueId y = edit.node(n).out(0);
  const int32_t reader = edit.single_consumer(y);
  if (reader < 0) return -1;
  const auto f = affine_of(edit, edit.node(reader), l->rank, l->axis);
  if (!f || f->x != y || !f->fits(l->out_channels) || (f->has_shift() && !l->has_bias)) return -1;

  std::vector<double> bias = bias_of(edit, edit.node(n), *l);
  for (int64_t k = 0; k < l->out_channels; ++k) {
    double& b = bias[static_cast<size_t>(k)];
    b = b * f->a(k) + f->b(k);
  }
  Node fused = edit.node(n);
  fused.name = joined_name(fused.name, edit.node(reader).name);
  add_origins(fused, edit.node(reader));
  fused.outputs = {edit.node(reader).out(0)};
  const bool needs_bias = f->has_shift() || fused.in(2) != kNoValue;
  if (l->quantized) {
    const std::string stem(edit.graph().name_of(fused.in(1)));
    if (!scale_quantized(edit, n, fused, *l, *f)) return -1;
    if (needs_bias) set_bias(edit, fused, *l, DType::f32, bias, stem);
  } else {
    Tensor weight(l->weight->dtype(), l->weight->shape());
    for (int64_t i = 0; i < weight.size(); ++i) weight.set(i, l->weight->at(i) * f->a(l->channels_of(i).second));
    set_weights(edit, fused, *l, std::move(weight), bias, needs_bias);
  }
  edit.remove(n);
  edit.replace(reader, std::move(fused));
  if (l->quantized) edit.remove_if_unused(l->quantized->node);
  return reader;
}

/// Folds the node that makes the input of node `n` into it, if nobody else reads that.
bool fold_in_front(Edit& edit, int32_t n) {
  const auto l = linear_of(edit, edit.node(n));
  if (!l || l->quantized) return false;
  const ValueId x = edit.node(n).in(0);
  const int32_t maker = edit.producer(x);
  if (maker < 0 || edit.single_consumer(x) != n) return false;
  // Without its factor the function in front would no longer be recognised, and be computed step by step.
  if (is_spelt_out_gelu(edit, maker) || is_spelt_out_hardswish(edit, maker)) return false;
  const auto f = affine_of(edit, edit.node(maker), l->rank, l->axis);
  if (!f || !f->fits(l->in_channels) || (f->has_shift() && (l->padded || !l->has_bias))) return false;
  // A constant with more channels than the tensor broadcasts the tensor, which a weight cannot do.
  const Shape* shape = edit.shape(f->x);
  if (shape == nullptr || static_cast<int64_t>(shape->size()) != l->rank ||
      (*shape)[static_cast<size_t>(l->axis)] != l->in_channels)
    return false;

  const double alpha = edit.node(n).is("Gemm") ? edit.node(n).attr_float("alpha", 1) : 1;
  Tensor weight(l->weight->dtype(), l->weight->shape());
  std::vector<double> bias = bias_of(edit, edit.node(n), *l);
  for (int64_t i = 0; i < weight.size(); ++i) {
    const auto [c, k] = l->channels_of(i);
    weight.set(i, l->weight->at(i) * f->a(c));
    bias[static_cast<size_t>(k)] += alpha * l->weight->at(i) * f->b(c);
  }
  Node fused = edit.node(n);
  fused.name = joined_name(edit.node(maker).name, fused.name);
  add_origins(fused, edit.node(maker), true);
  fused.inputs[0] = f->x;
  set_weights(edit, fused, *l, std::move(weight), bias, f->has_shift() || fused.in(2) != kNoValue);
  edit.replace(n, std::move(fused));
  edit.remove(maker);
  return true;
}

}  // namespace

Result<Graph> fold_batch_norm(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  for (int32_t n = 0; n < edit.size(); ++n) {
    if (!edit.alive(n)) continue;
    int32_t at = n;
    for (int32_t next = fold_behind(edit, at); next >= 0; next = fold_behind(edit, at)) at = next;
    while (fold_in_front(edit, at)) {
    }
  }
  return std::move(edit).finish();
}

}  // namespace planish
