// FusedConv and FusedMatMul between DequantizeLinear and QuantizeLinear -> QuantizedConv and QuantizedMatMul, which
// read and write bytes. Both operands must be dequantised: the first with one scale, weights with one per output
// channel at most. A dequantised residual joins as bytes, a bias of any kind as f32; without a QuantizeLinear behind,
// or with other readers beside it, the result is f32. Means read bytes, too. Lowering has put activations and
// sums into the product before.
// Unsigned weights around a zero point far from 128 become two signed ones (wide_weights.h). Scales per channel in
// front of a depthwise convolution go into its weights, those behind a convolution into the weights in front.

#include <algorithm>
#include <cmath>

#include "planish/ops/op.h"
#include "planish/ops/quantization.h"
#include "planish/passes/channel_quantization.h"
#include "planish/passes/pass.h"
#include "planish/passes/quantization.h"
#include "planish/passes/wide_weights.h"

namespace planish {
namespace {

constexpr size_t kBias = 2;  // of the float operators; one more in the quantised ones
constexpr size_t kResidual = 3;

/// The products that this pass knows, by the names of their operands' attributes.
struct Product {
  bool conv = false;
  std::string x;  ///< "x" or "a"
};

std::optional<Product> product_of_node(const Node& node) {
  if (node.is("FusedConv", "planish")) return Product{true, "x"};
  if (node.is("FusedMatMul", "planish")) return Product{false, "a"};
  return std::nullopt;
}

/// A node under construction: the nodes that it swallows lend their origins.
struct Fusion {
  int32_t at = -1;  ///< the float product
  Node node;
  std::vector<int32_t> swallowed;
  Tensor rest;  ///< of the weights, see QuantizedWeights
};

/// Weights, or for matrix products also an activation, as second operand.
bool take_second_operand(Edit& edit, const Product& product, const Node& source, Fusion& f) {
  const ValueId v = source.in(1);
  const int64_t rank = edit.rank(v);
  const bool trans_b = source.attr_int("trans_b", 0) != 0;
  const int64_t axis = product.conv ? 0 : trans_b ? rank - 2 : rank - 1;
  const auto w = quantized_weights(edit, v, axis);
  if (w && (product.conv || rank == 2 || w->scale.size() == 1)) {
    const ValueId q = edit.node(w->node).in(0);
    const std::string stem = edit.value(q).name;
    const bool same = bitwise_equal(w->values, *edit.constant(q));
    f.node.inputs[1] = same ? q : edit.new_constant(stem + "/i8", w->values);
    f.node.inputs[2] = edit.new_constant(stem + "/scale", w->scale);
    f.swallowed.push_back(w->node);
    f.rest = w->rest;
    return true;
  }
  const int32_t maker = edit.producer(v);
  const auto q = dequantize_node(edit, maker);
  if (product.conv || !q || edit.constant(edit.node(maker).in(0)) != nullptr) return false;
  f.node.inputs[1] = edit.node(maker).in(0);
  f.node.inputs[2] = edit.new_constant(edit.value(v).name + "/scale", Tensor::scalar_f32(q->scale).reshaped({1}));
  f.node.attrs["b_zero"] = q->zero;
  if (q->type == DType::u8) {
    // Kernels want a signed second operand. The shift is exact, and becomes part of the program in front of it.
    const TensorQuantization from{.scale = 1, .zero = 128, .type = DType::u8};
    const TensorQuantization to{.scale = 1, .zero = 0, .type = DType::i8};
    const Node named = edit.node(maker);
    const ValueId real = insert_dequantize(edit, f.at, named, f.node.inputs[1], from);
    f.node.inputs[1] = insert_quantize(edit, f.at, named, real, to);
    f.node.attrs["b_zero"] = q->zero - 128;
  }
  f.swallowed.push_back(maker);
  return true;
}

/// The bias as an f32 value, dequantised when it is a constant behind a DequantizeLinear. False: it cannot be taken.
bool take_bias(Edit& edit, const Product& product, const Node& source, Fusion& f) {
  const ValueId v = source.in(kBias);
  if (v == kNoValue) return true;
  const int32_t maker = edit.producer(v);
  f.node.inputs[kBias + 1] = v;
  if (maker >= 0 && edit.node(maker).is("DequantizeLinear") && edit.constant(edit.node(maker).in(0)) != nullptr) {
    std::vector<const Tensor*> in;
    for (const ValueId i : edit.node(maker).inputs) in.push_back(edit.constant(i));
    std::vector<Tensor> out(1);
    if (!run_reference(edit.node(maker), in, out).ok() || out[0].dtype() != DType::f32) return false;
    f.node.inputs[kBias + 1] = edit.new_constant(edit.value(v).name, std::move(out[0]));
    f.swallowed.push_back(maker);
    return true;
  }
  const Tensor* constant = edit.constant(v);
  return edit.dtype(v) == DType::f32 && (constant != nullptr || !product.conv);
}

bool take_residual(Edit& edit, const Node& source, Fusion& f) {
  const ValueId v = source.in(kResidual);
  if (v == kNoValue) return true;
  f.node.inputs[kResidual + 1] = v;
  const int32_t maker = edit.producer(v);
  const auto q = dequantize_node(edit, maker);
  if (!q) return edit.dtype(v) == DType::f32;
  f.node.inputs[kResidual + 1] = edit.node(maker).in(0);
  f.node.attrs["r_scale"] = q->scale;
  f.node.attrs["r_zero"] = q->zero;
  f.swallowed.push_back(maker);
  return true;
}

/// True where saturation does what the activation does: everything that it would clamp has the same byte.
bool saturation_clamps(const Node& node, const TensorQuantization& q) {
  const std::string act = node.attr_string("activation", "");
  const bool clip = act == "Clip";
  if ((act != "Relu" && !clip) || node.attr_int("residual_last", 0) != 0) return false;
  const IntegerRange range = integer_range(q.type);
  const auto step = [&q](float real) { return std::nearbyint(real / q.scale) + static_cast<double>(q.zero); };
  const float low = clip ? node.attr_float("act_alpha", -INFINITY) : 0.0F;
  const float high = clip ? node.attr_float("act_beta", INFINITY) : INFINITY;
  return low <= high && step(low) <= range.low && step(high) >= range.high;
}

void drop_activation(Node& node) {
  for (const char* attr : {"activation", "act_alpha", "act_beta"}) node.attrs.erase(attr);
}

/// The same for a quantiser with a scale per channel: afterwards the product makes its steps itself.
std::optional<TensorQuantization> take_channel_scales(Edit& edit, const Product& product, int32_t reader, Node& node) {
  const auto q = quantize_channels_node(edit, reader);
  if (!q || !product.conv) return std::nullopt;
  const std::string act = node.attr_string("activation", "");
  const bool clamps = std::ranges::all_of(q->scale, [&](float scale) {
    return saturation_clamps(node, {.scale = scale, .zero = q->zero, .type = q->type});
  });
  if (!act.empty() && act != "Relu" && !clamps) return std::nullopt;
  if (!fold_output_scales(edit, node, *q)) return std::nullopt;
  if (clamps) drop_activation(node);
  return TensorQuantization{.scale = 1, .zero = q->zero, .type = q->type};
}

/// Takes the QuantizeLinear that alone reads the product, if there is one; returns its node or -1.
int32_t take_quantizer(Edit& edit, const Product& product, const Node& source, Fusion& f) {
  f.node.attrs.erase("y_type");
  const int32_t reader = edit.single_consumer(source.out(0));
  auto q = quantize_node(edit, reader);
  if (!q) q = take_channel_scales(edit, product, reader, f.node);
  if (!q) {
    f.node.attrs["y_type"] = std::string("f32");
    return -1;
  }
  f.node.attrs["y_type"] = std::string(dtype_name(q->type));
  f.node.attrs["y_scale"] = q->scale;
  f.node.attrs["y_zero"] = q->zero;
  if (saturation_clamps(f.node, *q)) drop_activation(f.node);
  f.node.outputs = edit.node(reader).outputs;
  return reader;
}

bool fuse(Edit& edit, int32_t n) {
  const Node source = edit.node(n);
  const auto product = product_of_node(source);
  if (!product || edit.dtype(source.out(0)) != DType::f32) return false;
  const int32_t maker = edit.producer(source.in(0));
  auto x = dequantize_node(edit, maker);
  const auto channels = x ? std::nullopt : dequantize_channels_node(edit, maker);
  if (channels) x = TensorQuantization{.scale = 1, .zero = channels->zero, .type = channels->type};
  if (!x || (channels && !product->conv)) return false;
  Fusion f{.at = n, .node = source, .swallowed = {maker}, .rest = {}};
  f.node.op = product->conv ? "QuantizedConv" : "QuantizedMatMul";
  f.node.inputs.assign(5, kNoValue);
  f.node.inputs[0] = edit.node(maker).in(0);
  f.node.attrs[product->x + "_scale"] = x->scale;
  f.node.attrs[product->x + "_zero"] = x->zero;
  if (!take_second_operand(edit, *product, source, f) || (channels && !fold_input_scales(edit, f.node, *channels)) ||
      !take_bias(edit, *product, source, f) || !take_residual(edit, source, f))
    return false;
  if (f.rest.defined() && !add_rest_of_weights(edit, n, f.node, f.rest)) return false;
  const int32_t quantizer = take_quantizer(edit, *product, source, f);
  while (f.node.inputs.back() == kNoValue) f.node.inputs.pop_back();
  if (const auto low = lower_bound(edit, source.in(0)); low && x->type == DType::i8 && !channels) {
    const auto step = x->zero + static_cast<int64_t>(std::nearbyint(*low / static_cast<double>(x->scale)));
    if (step > -128) f.node.attrs[product->x + "_low"] = std::min<int64_t>(step, 127);
  }
  std::ranges::sort(f.swallowed);
  Node named = fused_node("", "", {});
  for (const int32_t part : f.swallowed) {
    named.name = joined_name(named.name, edit.node(part).name);
    add_origins(named, edit.node(part));
  }
  add_origins(f.node, named, true);
  if (quantizer >= 0) add_origins(f.node, edit.node(quantizer));
  if (quantizer >= 0) {
    edit.remove(n);
    edit.replace(quantizer, std::move(f.node));
  } else {
    edit.replace(n, std::move(f.node));
  }
  for (const int32_t part : f.swallowed) edit.remove_if_unused(part);
  return true;
}

/// GlobalAveragePool(DQ(x)) -> QuantizedGlobalAveragePool(x): the mean of many bytes needs no floats but its own.
void fuse_mean(Edit& edit, int32_t n) {
  const Node pool = edit.node(n);
  if (!pool.is("GlobalAveragePool") || edit.dtype(pool.out(0)) != DType::f32) return;
  const int32_t maker = edit.producer(pool.in(0));
  const auto x = dequantize_node(edit, maker);
  if (!x) return;
  Node mean = pool;
  mean.op = "QuantizedGlobalAveragePool";
  mean.domain = "planish";
  mean.inputs = {edit.node(maker).in(0)};
  mean.attrs["x_scale"] = x->scale;
  mean.attrs["x_zero"] = x->zero;
  edit.replace(n, std::move(mean));
  edit.remove_if_unused(maker);
}

/// Q(AveragePool(DQ(x))) -> QuantizedAveragePool(x), which writes floats where no quantiser alone reads it. Pictures
/// and rows only: nothing adds up volumes of bytes.
void fuse_average(Edit& edit, int32_t n) {
  const Node pool = edit.node(n);
  if (!pool.is("AveragePool") || edit.dtype(pool.out(0)) != DType::f32) return;
  const int32_t maker = edit.producer(pool.in(0));
  const auto x = dequantize_node(edit, maker);
  const int64_t rank = edit.rank(pool.in(0));
  if (!x || (rank != 3 && rank != 4)) return;
  Node mean = pool;
  mean.op = "QuantizedAveragePool";
  mean.domain = "planish";
  mean.inputs = {edit.node(maker).in(0)};
  mean.attrs["x_scale"] = x->scale;
  mean.attrs["x_zero"] = x->zero;
  mean.attrs["y_type"] = std::string("f32");
  const int32_t reader = edit.single_consumer(pool.out(0));
  if (const auto y = quantize_node(edit, reader)) {
    mean.attrs["y_type"] = std::string(dtype_name(y->type));
    mean.attrs["y_scale"] = y->scale;
    mean.attrs["y_zero"] = y->zero;
    mean.outputs = edit.node(reader).outputs;
    add_origins(mean, edit.node(reader));
    edit.remove(n);
    edit.replace(reader, std::move(mean));
  } else {
    edit.replace(n, std::move(mean));
  }
  edit.remove_if_unused(maker);
}

/// Every reader gets a DequantizeLinear of its own, so that each can be fused with it.
void fork(Edit& edit, int32_t n) {
  const Node node = edit.node(n);
  if (!dequantize_node(edit, n) || edit.constant(node.in(0)) != nullptr) return;
  const std::vector<int32_t> readers = edit.consumers(node.out(0));
  for (size_t i = edit.is_output(node.out(0)) ? 0 : 1; i < readers.size(); ++i) {
    if (std::find(readers.begin(), readers.begin() + static_cast<std::ptrdiff_t>(i), readers[i]) !=
        readers.begin() + static_cast<std::ptrdiff_t>(i))
      continue;
    Node copy = node;
    const Shape* shape = edit.shape(node.out(0));
    copy.outputs = {edit.new_value(edit.value(node.out(0)).name, DType::f32,
                                   shape != nullptr ? std::optional(*shape) : std::nullopt)};
    std::vector<ValueId> inputs = edit.node(readers[i]).inputs;
    std::ranges::replace(inputs, node.out(0), copy.outputs[0]);
    edit.insert(readers[i], std::move(copy));
    edit.set_inputs(readers[i], std::move(inputs));
  }
}

}  // namespace

Result<Graph> fuse_quantized(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  const int32_t count = edit.size();
  for (int32_t n = 0; n < count; ++n)
    if (edit.alive(n) && !fuse(edit, n)) {
      fuse_mean(edit, n);
      fuse_average(edit, n);
    }
  for (int32_t n = 0; n < count; ++n)
    if (edit.alive(n)) fork(edit, n);
  return std::move(edit).finish();
}

}  // namespace planish
