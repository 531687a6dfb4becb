#include "planish/tactics/cpu/attention_shapes.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include <fmt/format.h>

namespace planish {
namespace {

/// [B, heads, S, D]
AttentionRows apart(int64_t heads, int64_t length, int64_t size) {
  return {.batch = heads * length * size, .head = length * size, .row = size};
}
/// [B, S, width], the heads side by side from column `first` on.
AttentionRows side_by_side(int64_t width, int64_t length, int64_t size, int64_t first = 0) {
  return {.first = first, .batch = length * width, .head = size, .row = width};
}

AttentionShapes merged_shapes(const NodeView& view) {
  const Shape& x = view.inputs[0].shape;
  AttentionShapes s{.operands = 1, .batch = x[0]};
  s.q_heads = std::max<int64_t>(view.node->attr_int("q_num_heads", 1), 1);
  s.kv_heads = std::max<int64_t>(view.node->attr_int("kv_num_heads", 1), 1);
  s.sq = s.sk = x[1];
  s.d = s.dv = x[2] / (s.q_heads + 2 * s.kv_heads);
  s.q = side_by_side(x[2], s.sq, s.d);
  s.k = side_by_side(x[2], s.sk, s.d, s.q_heads * s.d);
  s.v = side_by_side(x[2], s.sk, s.d, (s.q_heads + s.kv_heads) * s.d);
  s.out = side_by_side(s.q_heads * s.d, s.sq, s.d);
  return s;
}

std::optional<std::array<int64_t, 4>> mask_strides(const Shape& m, const AttentionShapes& s) {
  if (m.empty() || m.size() > 4) return std::nullopt;
  const std::array<int64_t, 4> full{s.batch, s.q_heads, s.sq, s.sk};
  const auto row_major = row_major_strides(m);
  std::array<int64_t, 4> out{};
  for (size_t i = 0; i < m.size(); ++i) {
    const size_t at = 4 - m.size() + i;
    if (m[i] != 1 && m[i] != full[at]) return std::nullopt;
    out[at] = m[i] == 1 ? 0 : row_major[i];
  }
  return out;
}

int64_t padded(int64_t n) { return (n + 15) / 16 * 16; }

}  // namespace

AttentionShapes attention_shapes(const NodeView& view) {
  if (view.node->op == "MergedAttention") return merged_shapes(view);
  const Shape& q = view.inputs[kQ].shape;
  const Shape& k = view.inputs[kK].shape;
  const Shape& v = view.inputs[kV].shape;
  AttentionShapes s{.batch = q[0]};
  if (q.size() == 3) {
    s.q_heads = std::max<int64_t>(view.node->attr_int("q_num_heads", 1), 1);
    s.kv_heads = std::max<int64_t>(view.node->attr_int("kv_num_heads", 1), 1);
    s.sq = q[1];
    s.sk = k[1];
    s.d = q[2] / s.q_heads;
    s.dv = v[2] / s.kv_heads;
    s.q = side_by_side(q[2], s.sq, s.d);
    s.k = side_by_side(k[2], s.sk, s.d);
    s.v = side_by_side(v[2], s.sk, s.dv);
    s.out = side_by_side(s.q_heads * s.dv, s.sq, s.dv);
  } else {
    s.q_heads = q[1];
    s.kv_heads = k[1];
    s.sq = q[2];
    s.sk = k[2];
    s.d = q[3];
    s.dv = v[3];
    s.q = apart(s.q_heads, s.sq, s.d);
    s.k = apart(s.kv_heads, s.sk, s.d);
    s.v = apart(s.kv_heads, s.sk, s.dv);
    s.out = apart(s.q_heads, s.sq, s.dv);
  }
  return s;
}

AttentionMask::AttentionMask(const NodeView& view, const AttentionShapes& s) : input_(s.operands) {
  if (!view.has_input(input_)) return;
  strides_ = *mask_strides(view.inputs[input_].shape, s);
  elements_ = view.inputs[input_].size();
  is_bool_ = view.inputs[input_].dtype == DType::boolean;
}

int64_t AttentionMask::workspace() const { return is_bool_ ? padded(elements_) : 0; }

const float* AttentionMask::values(const Bindings& b, float*& workspace) const {
  if (elements_ == 0) return nullptr;
  if (!is_bool_) return host_ptr<const float>(b.inputs[input_]);
  const auto* visible = host_ptr<const uint8_t>(b.inputs[input_]);
  float* const mask = workspace;
  for (int64_t i = 0; i < elements_; ++i) mask[i] = visible[i] != 0 ? 0.0F : -std::numeric_limits<float>::infinity();
  workspace += padded(elements_);
  return mask;
}

void AttentionMask::set(kernels::AttentionHead& head, const float* values, int64_t batch, int64_t index,
                        int64_t row) const {
  if (values == nullptr) return;
  head.mask = values + batch * strides_[0] + index * strides_[1] + row * strides_[2];
  head.mask_row = strides_[2];
  head.mask_col = strides_[3];
}

float attention_scale(const Node& node, int64_t d) {
  return node.has_attr("scale") ? node.attr_float("scale", 1.0F)
                                : 1.0F / std::sqrt(static_cast<float>(std::max<int64_t>(d, 1)));
}

WhyNot attention_refusal(const NodeView& view) {
  const Node& node = *view.node;
  const size_t operands = node.op == "MergedAttention" ? 1 : kAttentionParts;
  for (size_t i = 0; i < operands; ++i) {
    if (view.inputs[i].layout != Layout::row_major) return "takes row-major tensors only";
    if (view.inputs[i].size() == 0) return "the tensor is empty";
  }
  if (view.outputs[0].layout != Layout::row_major) return "writes row-major tensors only";
  for (size_t i = operands + 1; i < view.inputs.size(); ++i)
    if (view.has_input(i)) return "has no cache of keys and values";
  for (size_t i = 1; i < view.outputs.size(); ++i)
    if (view.outputs[i].present()) return "returns the result only";
  if (node.attr_float("softcap", 0.0F) != 0.0F) return "has no softcap";
  if (node.attr_int("left_window_size", -1) >= 0 || node.attr_int("right_window_size", -1) >= 0) return "has no window";
  const AttentionShapes s = attention_shapes(view);
  if (s.kv_heads <= 0 || s.q_heads % s.kv_heads != 0) return "needs query heads that are a multiple of the key heads";
  if (view.has_input(operands)) {
    const DType t = view.inputs[operands].dtype;
    if (t != DType::f32 && t != DType::boolean) return fmt::format("takes f32 and bool masks, got {}", dtype_name(t));
    if (view.inputs[operands].layout != Layout::row_major) return "takes row-major masks only";
    if (!mask_strides(view.inputs[operands].shape, s))
      return "needs a mask that broadcasts to batch, heads, queries and keys";
  }
  return std::nullopt;
}

}  // namespace planish
