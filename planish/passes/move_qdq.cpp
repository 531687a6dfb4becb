// Operators that only move or choose elements run on bytes: a DequantizeLinear in front of one sinks below it, a
// QuantizeLinear behind one rises above it. A quantiser behind a Concat becomes one at each of its inputs, so that
// producers write their part directly. Q(DQ(x)) with equal parameters is x.
//
// Exact, because quantisation works element by element and keeps the order of elements. Only quantisations with one
// scale for the whole tensor move, and DequantizeLinear of constants with one scale per channel through a Transpose.

#include <algorithm>

#include "planish/passes/pass.h"
#include "planish/passes/quantization.h"

namespace planish {
namespace {

/// How many inputs of a moving operator hold elements.
size_t data_inputs(const Node& node) { return node.is("Concat") ? node.inputs.size() : 1; }

/// What a Pad of real zeros fills quantised tensors with.
void set_padding(Edit& edit, Node& pad, const TensorQuantization& q) {
  if (!pad.is("Pad") || pad.attr_string("mode", "constant") != "constant") return;
  Tensor zero(q.type, {});
  zero.set(0, static_cast<double>(q.zero));
  pad.inputs.resize(std::max<size_t>(pad.inputs.size(), 3), kNoValue);
  pad.inputs[2] = edit.new_constant(edit.value(pad.out(0)).name + "/zero", std::move(zero));
}

std::optional<Shape> shape_of(const Edit& edit, ValueId v) {
  const Shape* shape = edit.shape(v);
  return shape != nullptr ? std::optional(*shape) : std::nullopt;
}

/// The quantisation that all data inputs of node `n` are dequantised from.
std::optional<TensorQuantization> common_source(const Edit& edit, const Node& node) {
  std::optional<TensorQuantization> common;
  for (size_t i = 0; i < data_inputs(node); ++i) {
    const auto q = dequantize_node(edit, edit.producer(node.in(i)));
    if (!q || (common && *common != *q)) return std::nullopt;
    common = q;
  }
  return common;
}

/// M(DQ(q)) -> DQ(M(q)).
bool sink_dequantize(Edit& edit, int32_t n) {
  const Node node = edit.node(n);
  if (!moves_elements(edit, node)) return false;
  const auto q = common_source(edit, node);
  if (!q) return false;
  Node moved = node;
  Node behind = edit.node(edit.producer(node.in(0)));  // lends its name and origins to what stands behind
  for (size_t i = 0; i < data_inputs(node); ++i) {
    moved.inputs[i] = edit.node(edit.producer(node.in(i))).in(0);
    if (i != 0) add_origins(behind, edit.node(edit.producer(node.in(i))));
  }
  const Node named = behind;
  const Node source = edit.node(edit.producer(node.in(0)));
  set_padding(edit, moved, *q);
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    if (node.outputs[i] == kNoValue) continue;
    moved.outputs[i] =
        edit.new_value(edit.value(node.outputs[i]).name + "/bytes", q->type, shape_of(edit, node.outputs[i]));
  }
  edit.replace(n, moved);
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    if (node.outputs[i] == kNoValue) continue;
    Node dequantize = source;
    dequantize.name = named.name;
    dequantize.origins = named.origins;
    dequantize.inputs[0] = moved.outputs[i];
    dequantize.outputs = {node.outputs[i]};
    edit.insert(n, std::move(dequantize));
  }
  for (size_t i = 0; i < data_inputs(node); ++i) edit.remove_if_unused(edit.producer(node.in(i)));
  return true;
}

/// Transpose(DQ(constant, scales along an axis)) -> DQ(Transpose(constant)) along the axis where it went.
bool sink_through_transpose(Edit& edit, int32_t n) {
  const Node transpose = edit.node(n);
  const int32_t source = edit.producer(transpose.in(0));
  if (!transpose.is("Transpose") || source < 0 || !edit.node(source).is("DequantizeLinear")) return false;
  const Node dequantize = edit.node(source);
  const Tensor* scale = edit.constant(dequantize.in(1));
  if (edit.constant(dequantize.in(0)) == nullptr || scale == nullptr || dequantize.attr_int("block_size", 0) != 0 ||
      scale->rank() > 1)
    return false;
  const int64_t rank = edit.rank(dequantize.in(0));
  std::vector<int64_t> perm = transpose.attr_ints("perm");
  if (perm.empty())
    for (int64_t d = rank; d-- > 0;) perm.push_back(d);
  const int64_t axis = dequantize.attr_int("axis", 1);
  const auto at = std::ranges::find(perm, axis < 0 ? axis + rank : axis);
  if (at == perm.end() && scale->size() != 1) return false;
  Node moved = transpose;
  moved.inputs[0] = dequantize.in(0);
  moved.outputs = {edit.new_value(edit.value(transpose.out(0)).name + "/bytes", edit.dtype(dequantize.in(0)),
                                  shape_of(edit, transpose.out(0)))};
  Node behind = dequantize;
  behind.inputs[0] = moved.outputs[0];
  behind.outputs = transpose.outputs;
  if (at != perm.end()) behind.attrs["axis"] = static_cast<int64_t>(at - perm.begin());
  edit.insert(n, std::move(moved));
  edit.replace(n, std::move(behind));
  edit.remove_if_unused(source);
  return true;
}

/// The nodes that read the outputs of a moving node, when each is a QuantizeLinear of the same parameters and reads
/// alone; empty otherwise.
std::vector<int32_t> quantizers_of(const Edit& edit, const Node& node) {
  std::vector<int32_t> readers;
  std::optional<TensorQuantization> common;
  for (const ValueId v : node.outputs) {
    if (v == kNoValue) continue;
    const int32_t reader = edit.single_consumer(v);
    const auto q = quantize_node(edit, reader);
    if (!q || (common && *common != *q)) return {};
    common = q;
    readers.push_back(reader);
  }
  return readers;
}

/// Whether all readers of `x` but node `n` want it quantised by `q`, perhaps behind a movement.
bool others_want(const Edit& edit, ValueId x, int32_t n, const TensorQuantization& q) {
  const auto quantises = [&](int32_t reader) { return quantize_node(edit, reader) == q; };
  if (edit.is_output(x)) return false;
  return std::ranges::all_of(edit.consumers(x), [&](int32_t reader) {
    if (reader == n || quantises(reader)) return true;
    const Node& node = edit.node(reader);
    if (!moves_elements(edit, node) || node.is("Concat")) return false;
    return std::ranges::all_of(node.outputs, [&](ValueId v) {
      return v == kNoValue ||
             (!edit.is_output(v) && !edit.consumers(v).empty() && std::ranges::all_of(edit.consumers(v), quantises));
    });
  });
}

/// Q(M(x)) -> M(Q(x)), where M is a Concat or nobody reads x who wants anything but the same bytes.
bool raise_quantize(Edit& edit, int32_t n) {
  const Node node = edit.node(n);
  if (!moves_elements(edit, node)) return false;
  const std::vector<int32_t> readers = quantizers_of(edit, node);
  if (readers.empty()) return false;
  const Node quantizer = edit.node(readers[0]);
  const TensorQuantization q = *quantize_node(edit, readers[0]);
  const bool agreed = dequantize_node(edit, edit.producer(node.in(0))) || others_want(edit, node.in(0), n, q);
  const bool constant = edit.constant(node.in(0)) != nullptr;
  if (!node.is("Concat") && (!agreed || constant)) return false;
  Node moved = node;
  for (size_t i = 0; i < data_inputs(node); ++i) {
    const auto twin = std::find(node.inputs.begin(), node.inputs.begin() + static_cast<std::ptrdiff_t>(i), node.in(i));
    const auto at = static_cast<size_t>(twin - node.inputs.begin());
    moved.inputs[i] = at < i ? moved.inputs[at] : insert_quantize(edit, n, quantizer, node.in(i), q);
  }
  set_padding(edit, moved, q);
  size_t next = 0;
  for (ValueId& v : moved.outputs) {
    if (v == kNoValue) continue;
    v = edit.node(readers[next]).out(0);
    add_origins(moved, edit.node(readers[next]));
    edit.remove(readers[next++]);
  }
  edit.replace(n, std::move(moved));
  return true;
}

/// Q(DQ(q)) with equal parameters -> q.
bool cancel(Edit& edit, int32_t n) {
  const auto q = quantize_node(edit, n);
  if (!q) return false;
  const int32_t source = edit.producer(edit.node(n).in(0));
  if (dequantize_node(edit, source) != q) return false;
  if (!edit.forward(edit.node(n).out(0), edit.node(source).in(0))) return false;
  edit.remove(n);
  edit.remove_if_unused(source);
  return true;
}

/// Two quantisers of one value with equal parameters are one.
bool merge_twins(Edit& edit, int32_t n) {
  const auto q = quantize_node(edit, n);
  if (!q) return false;
  const ValueId x = edit.node(n).in(0);
  for (const int32_t twin : edit.consumers(x)) {
    if (twin >= n || quantize_node(edit, twin) != q) continue;
    if (!edit.forward(edit.node(n).out(0), edit.node(twin).out(0))) return false;
    edit.remove(n);
    return true;
  }
  return false;
}

}  // namespace

Result<Graph> move_qdq(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  for (bool changed = true; changed;) {
    changed = false;
    for (int32_t n = 0; n < edit.size(); ++n) {
      while (edit.alive(n) && (sink_dequantize(edit, n) || sink_through_transpose(edit, n))) changed = true;
      if (edit.alive(n) && (cancel(edit, n) || merge_twins(edit, n))) changed = true;
    }
    for (int32_t n = edit.size() - 1; n >= 0; --n)
      if (edit.alive(n) && raise_quantize(edit, n)) changed = true;
  }
  return std::move(edit).finish();
}

}  // namespace planish
