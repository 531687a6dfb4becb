// Attention and embeddings of ONNX Runtime's domain, float and quantised, as ONNX's Attention, Gather and
// LayerNormalization. Caches of earlier steps (past, present) are not supported.
// https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md

#include <fmt/format.h>

#include <array>
#include <string>
#include <utility>

#include "planish/onnx/quantised_forms.h"

namespace planish {
namespace {

constexpr int64_t kAll = 1000;  // any opset

ValueId axes(AdaptContext& ctx, std::vector<int64_t> values) { return ctx.constant("axes", Tensor::from_i64(values)); }

ValueId cast(AdaptContext& ctx, ValueId v, DType to) {
  return ctx.emit("Cast", {v}, {{"to", static_cast<int64_t>(to)}});
}

/// Size of dimension `axis` as a scalar.
ValueId dim_of(AdaptContext& ctx, ValueId v, int64_t axis) {
  const ValueId dim = ctx.emit("Shape", {v}, {{"start", axis}, {"end", axis + 1}});
  return ctx.emit("Squeeze", {dim, axes(ctx, {0})});
}

ValueId count_up(AdaptContext& ctx, ValueId limit) {
  return ctx.emit("Range",
                  {ctx.constant("first", Tensor::scalar_i64(0)), limit, ctx.constant("step", Tensor::scalar_i64(1))});
}

/// A mask as a sum for the scores, [B or 1, 1, S or 1, T]: 0 where a key counts and mask_filter_value where not.
/// `mask` is [B,T] or [B,S,T] with 1 for keys that count, or [B] with the number of such keys.
Result<ValueId> additive_mask(AdaptContext& ctx, ValueId mask, ValueId keys, int64_t keys_axis) {
  const int64_t rank = ctx.declared_rank(mask);
  ValueId counts = mask;
  if (rank == 1) {
    const auto& length = ctx.graph.value(mask).shape->front();
    const auto& key_shape = ctx.graph.value(keys).shape;
    if (length > 1 && key_shape && !key_shape->empty() && key_shape->front() >= 0 && key_shape->front() != length)
      return ctx.error("a mask that holds starts or packed lengths is not supported",
                       "use a mask of 0 and 1 per token");
    const ValueId end = ctx.emit("Unsqueeze", {cast(ctx, mask, DType::i64), axes(ctx, {1})});
    counts = ctx.emit("Less", {count_up(ctx, dim_of(ctx, keys, keys_axis)), end});
  } else if (rank != 2 && rank != 3) {
    return ctx.error(fmt::format("a mask of rank {} is not supported", rank), "use a mask of shape [batch, keys]");
  }
  const ValueId expanded = ctx.emit("Unsqueeze", {counts, rank == 3 ? axes(ctx, {1}) : axes(ctx, {1, 2})});
  const ValueId off = ctx.emit("Sub", {ctx.constant("one", Tensor::scalar_f32(1.0F)), cast(ctx, expanded, DType::f32)});
  const float filter = ctx.node.attr_float("mask_filter_value", -10000.0F);
  return ctx.emit("Mul", {off, ctx.constant("filter", Tensor::scalar_f32(filter))});
}

struct AttentionParts {
  ValueId query = kNoValue;  // [B,S,heads * size]
  ValueId key = kNoValue;
  ValueId value = kNoValue;
  ValueId mask = kNoValue;
  ValueId bias = kNoValue;  // added to the scores
};

/// The node becomes Attention-23 on tensors of rank 3.
Status become_attention(AdaptContext& ctx, const AttentionParts& parts) {
  const Node n = ctx.node;
  const int64_t heads = n.attr_int("num_heads", 0);
  if (heads < 1) return ctx.error("num_heads is missing");
  ValueId bias = parts.bias;
  if (parts.mask != kNoValue) {
    const ValueId mask = PLANISH_TRY(additive_mask(ctx, parts.mask, parts.key, 1));
    bias = bias == kNoValue ? mask : ctx.emit("Add", {mask, bias});
  }
  std::vector<ValueId> inputs{parts.query, parts.key, parts.value};
  if (bias != kNoValue) inputs.push_back(bias);
  std::map<std::string, Attr> attrs{
      {"q_num_heads", heads}, {"kv_num_heads", heads}, {"is_causal", n.attr_int("unidirectional", 0)}};
  if (const float scale = n.attr_float("scale", 0.0F); scale != 0.0F) attrs["scale"] = scale;
  become(ctx.node, "Attention", std::move(inputs), std::move(attrs));
  ctx.node.outputs.resize(1);
  return {};
}

Status refuse_caches(const AdaptContext& ctx, std::initializer_list<size_t> cache_inputs) {
  bool cached = ctx.node.attr_int("do_rotary", 0) != 0;
  for (const size_t i : cache_inputs) cached |= ctx.has_input(i);
  for (size_t i = 1; i < ctx.node.outputs.size(); ++i) cached |= ctx.has_output(i);
  if (!cached) return {};
  return ctx.error("past and present keys and values, and rotary embeddings inside attention, are not supported",
                   "export the model without a cache, and without ONNX Runtime's transformer optimiser");
}

/// Splits [B,S,q+k+v] into its three parts.
AttentionParts split_projection(AdaptContext& ctx, ValueId projected) {
  AttentionParts p{ctx.value("query"), ctx.value("key"), ctx.value("value")};
  const auto sizes = ctx.node.attr_ints("qkv_hidden_sizes");
  std::vector<ValueId> inputs{projected};
  std::map<std::string, Attr> attrs{{"axis", int64_t{2}}};
  if (sizes.size() == 3)
    inputs.push_back(ctx.constant("sizes", Tensor::from_i64(sizes)));
  else
    attrs["num_outputs"] = int64_t{3};
  ctx.emit_into("Split", std::move(inputs), {p.query, p.key, p.value}, std::move(attrs));
  return p;
}

/// Inputs input, weights, bias?, mask_index?, past?, attention_bias?, past_sequence_length?.
Status attention(AdaptContext& ctx) {
  PLANISH_TRY(refuse_caches(ctx, {4, 6}));
  const Node n = ctx.node;
  const ValueId product = ctx.emit("MatMul", {n.in(0), n.in(1)});
  AttentionParts p = split_projection(ctx, ctx.has_input(2) ? ctx.emit("Add", {product, n.in(2)}) : product);
  p.mask = n.in(3);
  p.bias = n.in(5);
  return become_attention(ctx, p);
}

/// Inputs input, weight, bias, input_scale, weight_scale, mask_index?, input_zero?, weight_zero?, past?.
Status q_attention(AdaptContext& ctx) {
  PLANISH_TRY(refuse_caches(ctx, {8}));
  const Node n = ctx.node;
  const QuantParams input{n.in(3), n.in(6)};
  const QuantParams weight{n.in(4), n.in(7)};
  ValueId product = kNoValue;
  if (ctx.graph.constant_of(n.in(3)) == nullptr) {
    product = scaled_integer_product(ctx, n.in(0), input, n.in(1), weight);
  } else {
    const ValueId x = dequantize(ctx, n.in(0), input);
    product = ctx.emit("MatMul", {x, PLANISH_TRY(dequantize_columns(ctx, n.in(1), weight))});
  }
  AttentionParts p = split_projection(ctx, ctx.emit("Add", {product, n.in(2)}));
  p.mask = n.in(5);
  return become_attention(ctx, p);
}

/// Inputs query, key, value, bias?, key_padding_mask?, attention_bias?, caches.
Status multi_head_attention(AdaptContext& ctx) {
  PLANISH_TRY(refuse_caches(ctx, {6, 7, 8, 9}));
  const Node n = ctx.node;
  AttentionParts p{n.in(0), n.in(1), n.in(2), n.in(4), n.in(5)};
  if (!ctx.has_input(1) || !ctx.has_input(2) || ctx.declared_rank(n.in(0)) > 3 || ctx.declared_rank(n.in(1)) > 3)
    return ctx.error("packed or separated heads are not supported", "pass query, key and value of rank 3");
  if (ctx.has_input(3)) {
    // The three biases in one vector.
    ctx.node.attrs.erase("qkv_hidden_sizes");
    const ValueId size = ctx.emit("Shape", {p.query}, {{"start", int64_t{2}}});
    const ValueId value_size = ctx.emit("Shape", {p.value}, {{"start", int64_t{2}}});
    const std::array parts{ctx.value("query_bias"), ctx.value("key_bias"), ctx.value("value_bias")};
    ctx.emit_into("Split", {n.in(3), ctx.emit("Concat", {size, size, value_size}, {{"axis", int64_t{0}}})},
                  {parts[0], parts[1], parts[2]}, {{"axis", int64_t{0}}});
    p.query = ctx.emit("Add", {p.query, parts[0]});
    p.key = ctx.emit("Add", {p.key, parts[1]});
    p.value = ctx.emit("Add", {p.value, parts[2]});
  }
  return become_attention(ctx, p);
}

struct EmbeddingParts {
  ValueId ids = kNoValue;       // [B,S]
  ValueId segments = kNoValue;  // [B,S]
  ValueId words = kNoValue;     // [vocabulary, hidden]
  ValueId positions = kNoValue;
  ValueId segment_table = kNoValue;
  ValueId gamma = kNoValue;
  ValueId beta = kNoValue;
  ValueId mask = kNoValue;
  ValueId position_ids = kNoValue;
};

/// Sum of the embeddings (output 2), normalised; output 1 counts the ones of the mask per row.
Status become_embedding(AdaptContext& ctx, const EmbeddingParts& p) {
  const Node n = ctx.node;
  const ValueId position_ids = p.position_ids != kNoValue
                                   ? p.position_ids
                                   : ctx.emit("Unsqueeze", {count_up(ctx, dim_of(ctx, p.ids, 1)), axes(ctx, {0})});
  const ValueId words = ctx.emit("Gather", {p.words, p.ids});
  const ValueId positions = ctx.emit("Gather", {p.positions, position_ids});
  const bool segmented = p.segments != kNoValue && p.segment_table != kNoValue;
  const ValueId sum = n.out(2) != kNoValue ? n.out(2) : ctx.value("embedding_sum");
  if (segmented) {
    const ValueId both = ctx.emit("Add", {words, positions});
    ctx.emit_into("Add", {both, ctx.emit("Gather", {p.segment_table, p.segments})}, {sum});
  } else {
    ctx.emit_into("Add", {words, positions}, {sum});
  }
  if (n.out(1) != kNoValue) {
    const ValueId given = p.mask == kNoValue ? ctx.emit("Sub", {p.ids, p.ids}) : p.mask;
    const ValueId count =
        ctx.emit("ReduceSum", {cast(ctx, given, DType::i32), axes(ctx, {1})}, {{"keepdims", int64_t{0}}});
    ctx.emit_into("Identity", {count}, {n.out(1)});
  }
  become(ctx.node, "LayerNormalization", {sum, p.gamma, p.beta},
         {{"axis", int64_t{-1}}, {"epsilon", n.attr_float("epsilon", 1e-12F)}});
  ctx.node.outputs.resize(1);
  return {};
}

Status embed_layer_norm(AdaptContext& ctx) {
  const Node n = ctx.node;
  return become_embedding(ctx, {n.in(0), n.in(1), n.in(2), n.in(3), n.in(4), n.in(5), n.in(6), n.in(7), n.in(8)});
}

/// Inputs 0 to 7 as without Q, then five scales and five zero points of inputs 2 to 6.
Status q_embed_layer_norm(AdaptContext& ctx) {
  const Node n = ctx.node;
  const auto table = [&](size_t i) {
    if (!ctx.has_input(i) || !ctx.has_input(i + 6)) return kNoValue;
    return dequantize(ctx, n.in(i), {n.in(i + 6), n.in(i + 11)});
  };
  return become_embedding(ctx, {n.in(0), n.in(1), table(2), table(3), table(4), table(5), table(6), n.in(7)});
}

constexpr std::array kRows{
    Adapter{"Attention", 0, kAll, attention, kMicrosoftDomain, 0x3, true},
    Adapter{"EmbedLayerNormalization", 0, kAll, embed_layer_norm, kMicrosoftDomain, 0x6d},
    Adapter{"MultiHeadAttention", 0, kAll, multi_head_attention, kMicrosoftDomain, 0x1, true},
    Adapter{"QAttention", 0, kAll, q_attention, kMicrosoftDomain, 0x1f, true},
    Adapter{"QEmbedLayerNormalization", 0, kAll, q_embed_layer_norm, kMicrosoftDomain, 0x1b6d},
};

}  // namespace

std::span<const Adapter> transformer_adapters() { return kRows; }

}  // namespace planish
