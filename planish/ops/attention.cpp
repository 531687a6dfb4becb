// Attention: scaled dot products of queries and keys, softmax, weighted sum of values; with grouped heads, masks,
// causal and sliding windows, caches. https://onnx.ai/onnx/operators/onnx__Attention.html
//
// Names: B batch, S query length, T key length with the past, D head size, E head size of values.

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "planish/ops/broadcast.h"
#include "planish/ops/checks.h"
#include "planish/ops/float_view.h"
#include "planish/ops/gemm.h"
#include "planish/ops/infer_graph.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

enum Input : size_t { kQ, kK, kV, kMask, kPastKey, kPastValue, kValidKeys };

struct AttentionShape {
  bool packed = false;  ///< 3-D inputs [B, S, heads * D]
  int64_t batch = 0;
  int64_t q_heads = 0;
  int64_t kv_heads = 0;
  int64_t queries = 0;
  int64_t past = 0;
  int64_t keys = 0;  ///< with the past
  int64_t head = 0;
  int64_t v_head = 0;

  [[nodiscard]] Shape y() const {
    return packed ? Shape{batch, queries, dim_mul(q_heads, v_head)} : Shape{batch, q_heads, queries, v_head};
  }
};

bool same_or_unknown(int64_t a, int64_t b) { return a < 0 || b < 0 || a == b; }

/// `past_key` and `past_value` are nullptr when there is no past.
template <typename Context>
Result<AttentionShape> resolve(const Context& ctx, const Shape& q, const Shape& k, const Shape& v,
                               const Shape* past_key, const Shape* past_value) {
  if (q.size() != k.size() || q.size() != v.size() || (q.size() != 3 && q.size() != 4))
    return ctx.error("Q, K and V have shapes " + to_string(q) + ", " + to_string(k) + " and " + to_string(v) +
                     "; all must have rank 3 or all rank 4");
  AttentionShape s{.packed = q.size() == 3, .batch = q[0]};
  if (s.packed) {
    s.q_heads = ctx.node().attr_int("q_num_heads", 0);
    s.kv_heads = ctx.node().attr_int("kv_num_heads", 0);
    if (s.q_heads < 1 || s.kv_heads < 1) return ctx.error("3-D inputs need q_num_heads and kv_num_heads");
    const auto per_head = [](int64_t hidden, int64_t heads) { return hidden < 0 ? hidden : hidden / heads; };
    if ((q[2] > 0 && q[2] % s.q_heads != 0) || (k[2] > 0 && k[2] % s.kv_heads != 0) ||
        (v[2] > 0 && v[2] % s.kv_heads != 0))
      return ctx.error("the hidden sizes do not divide into the heads");
    s.queries = q[1];
    s.keys = k[1];
    s.head = per_head(q[2], s.q_heads);
    s.v_head = per_head(v[2], s.kv_heads);
    if (!same_or_unknown(s.head, per_head(k[2], s.kv_heads)) || !same_or_unknown(k[1], v[1]))
      return ctx.error("Q, K and V do not fit together: " + to_string(q) + ", " + to_string(k) + ", " + to_string(v));
  } else {
    s.q_heads = q[1];
    s.kv_heads = k[1];
    s.queries = q[2];
    s.keys = k[2];
    s.head = q[3];
    s.v_head = v[3];
    if (!same_or_unknown(q[3], k[3]) || !same_or_unknown(k[1], v[1]) || !same_or_unknown(k[2], v[2]))
      return ctx.error("Q, K and V do not fit together: " + to_string(q) + ", " + to_string(k) + ", " + to_string(v));
  }
  if (!same_or_unknown(q[0], k[0]) || !same_or_unknown(q[0], v[0])) return ctx.error("the batch sizes differ");
  if (s.q_heads >= 0 && s.kv_heads >= 0 && (s.kv_heads == 0 ? s.q_heads != 0 : s.q_heads % s.kv_heads != 0))
    return ctx.error(std::to_string(s.q_heads) + " query heads cannot share " + std::to_string(s.kv_heads) +
                     " key heads evenly");
  if ((past_key == nullptr) != (past_value == nullptr)) return ctx.error("past_key and past_value must come together");
  if (past_key != nullptr) {
    const Shape expected_key{s.batch, s.kv_heads, kUnknownDim, s.head};
    const Shape expected_value{s.batch, s.kv_heads, past_key->size() == 4 ? (*past_key)[2] : 0, s.v_head};
    if (!std::ranges::equal(*past_key, expected_key, same_or_unknown) ||
        !std::ranges::equal(*past_value, expected_value, same_or_unknown))
      return ctx.error("the past has shapes " + to_string(*past_key) + " and " + to_string(*past_value));
    s.past = (*past_key)[2];
    s.keys = dim_add(s.keys, s.past);
  }
  return s;
}

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  const Shape* past_key = ctx.has(kPastKey) ? &ctx.shape(kPastKey) : nullptr;
  const Shape* past_value = ctx.has(kPastValue) ? &ctx.shape(kPastValue) : nullptr;
  const AttentionShape s = PLANISH_TRY(resolve(ctx, ctx.shape(kQ), ctx.shape(kK), ctx.shape(kV), past_key, past_value));
  ctx.set(0, ctx.dtype(kQ), s.y());
  ctx.set(1, ctx.dtype(kK), Shape{s.batch, s.kv_heads, s.keys, s.head});
  ctx.set(2, ctx.dtype(kV), Shape{s.batch, s.kv_heads, s.keys, s.v_head});
  ctx.set(3, ctx.dtype(kQ), Shape{s.batch, s.q_heads, s.queries, s.keys});
  return {};
}

/// [batch, heads, past + length, size] out of the past and the new keys or values, which may be packed.
template <typename T>
void gather_cache(const T* past, int64_t past_length, const T* x, bool packed, std::array<int64_t, 4> dims, T* y) {
  const auto [batch, heads, length, size] = dims;
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t h = 0; h < heads; ++h) {
      if (past_length > 0) {
        std::copy_n(past + (b * heads + h) * past_length * size, past_length * size, y);
        y += past_length * size;
      }
      for (int64_t s = 0; s < length; ++s, y += size)
        std::copy_n(x + (packed ? (b * length + s) * heads + h : (b * heads + h) * length + s) * size, size, y);
    }
}

/// Which keys a query may see, and the bias its scores get.
template <typename T>
class Mask {
 public:
  static constexpr T kHidden = -std::numeric_limits<T>::infinity();

  /// Reads attn_mask, is_causal, the window sizes and nonpad_kv_seqlen.
  static Result<Mask> create(const RefContext& ctx, const AttentionShape& s) {
    Mask m(s);
    m.causal_ = ctx.node().attr_int("is_causal", 0) != 0;
    m.left_ = ctx.node().attr_int("left_window_size", -1);
    m.right_ = ctx.node().attr_int("right_window_size", -1);
    m.offsets_.assign(static_cast<size_t>(s.batch), s.past);
    m.valid_.assign(static_cast<size_t>(s.batch), s.keys);
    if (ctx.has(kValidKeys)) {
      if (ctx.in(kValidKeys).size() != s.batch) return ctx.error("nonpad_kv_seqlen must have one element per batch");
      m.valid_ = ctx.in(kValidKeys).to_i64();
      if (!ctx.has(kPastKey))
        for (size_t b = 0; b < m.valid_.size(); ++b) m.offsets_[b] = m.valid_[b] - s.queries;
    }
    if (!ctx.has(kMask)) return m;
    const Tensor& mask = ctx.in(kMask);
    m.width_ = mask.rank() == 0 ? 0 : std::min(mask.dim(-1), s.keys);
    // Keys beyond a short mask are hidden, so that only the leading dimensions broadcast.
    const Shape full{s.batch, s.q_heads, s.queries, mask.rank() == 0 ? 1 : mask.dim(-1)};
    if (mask.rank() == 0 || mask.dim(-1) > s.keys || broadcast_shapes(mask.shape(), full) != full)
      return ctx.error("attn_mask of shape " + to_string(mask.shape()) + " does not broadcast to " +
                       to_string(Shape{s.batch, s.q_heads, s.queries, s.keys}));
    m.bias_.resize(static_cast<size_t>(element_count(full)));
    BroadcastReader(mask, full).read(element_count(full), m.bias_.data());
    if (mask.dtype() == DType::boolean)
      for (T& v : m.bias_) v = v != 0 ? T{} : kHidden;
    m.masked_ = true;
    return m;
  }

  [[nodiscard]] T bias(int64_t b, int64_t head, int64_t query, int64_t key) const {
    const int64_t position = query + offsets_[static_cast<size_t>(b)];
    if ((causal_ && key > position) || (left_ >= 0 && key < position - left_) ||
        (right_ >= 0 && key > position + right_) || key >= valid_[static_cast<size_t>(b)])
      return kHidden;
    if (!masked_) return T{};
    if (key >= width_) return kHidden;
    return bias_[static_cast<size_t>(((b * shape_.q_heads + head) * shape_.queries + query) * width_ + key)];
  }

 private:
  explicit Mask(const AttentionShape& s) : shape_(s) {}
  AttentionShape shape_;
  bool causal_ = false;
  bool masked_ = false;
  int64_t left_ = -1;
  int64_t right_ = -1;
  int64_t width_ = 0;
  std::vector<int64_t> offsets_;  // keys before the first query, per batch
  std::vector<int64_t> valid_;    // keys that are no padding, per batch
  std::vector<T> bias_;           // [batch, q_heads, queries, width]
};

/// Softmax of one row in place; a row without any visible key becomes zero.
template <typename T>
void softmax_row(T* row, int64_t n, bool all_hidden) {
  if (all_hidden || n == 0) {
    std::fill_n(row, n, T{});
    return;
  }
  const T top = *std::max_element(row, row + n);
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    row[i] = std::exp(row[i] - top);
    sum += static_cast<double>(row[i]);
  }
  for (int64_t i = 0; i < n; ++i) row[i] = static_cast<T>(static_cast<double>(row[i]) / sum);
}

struct ScoreOptions {
  double scale = 1;
  double softcap = 0;
  int64_t mode = 0;  ///< qk_matmul_output_mode
};

/// Turns raw products of one head [S,T] into probabilities; `debug` (or nullptr) gets the stage that `mode` names.
template <typename T>
void scores_to_weights(const AttentionShape& s, const Mask<T>& mask, const ScoreOptions& options, int64_t b,
                       int64_t head, T* scores, T* debug) {
  const auto record = [&](int64_t mode) {
    if (debug != nullptr && options.mode == mode) std::copy_n(scores, s.queries * s.keys, debug);
  };
  for (int64_t i = 0; i < s.queries * s.keys; ++i) scores[i] *= static_cast<T>(options.scale);
  record(0);
  if (options.softcap > 0)
    for (int64_t i = 0; i < s.queries * s.keys; ++i)
      scores[i] = static_cast<T>(options.softcap * std::tanh(static_cast<double>(scores[i]) / options.softcap));
  record(1);
  std::vector<bool> all_hidden(static_cast<size_t>(s.queries), true);
  for (int64_t i = 0; i < s.queries; ++i)
    for (int64_t j = 0; j < s.keys; ++j) {
      const T bias = mask.bias(b, head, i, j);
      scores[i * s.keys + j] += bias;
      if (bias != Mask<T>::kHidden) all_hidden[static_cast<size_t>(i)] = false;
    }
  record(2);
  for (int64_t i = 0; i < s.queries; ++i) softmax_row(scores + i * s.keys, s.keys, all_hidden[static_cast<size_t>(i)]);
  record(3);
}

template <typename T>
Status attend(RefContext& ctx, const AttentionShape& s, const ScoreOptions& options, std::span<Tensor* const> out) {
  const Mask<T> mask = PLANISH_TRY(Mask<T>::create(ctx, s));
  const FloatInput<T> q(ctx.in(kQ));
  std::vector<T> keys(static_cast<size_t>(s.batch * s.kv_heads * s.keys * s.head));
  std::vector<T> values(static_cast<size_t>(s.batch * s.kv_heads * s.keys * s.v_head));
  const auto gather = [&](size_t input, size_t past_input, int64_t size, std::vector<T>& to) {
    const FloatInput<T> x(ctx.in(input));
    const FloatInput<T> past = ctx.has(past_input) ? FloatInput<T>(ctx.in(past_input)) : FloatInput<T>();
    gather_cache(past.data(), s.past, x.data(), s.packed, {s.batch, s.kv_heads, s.keys - s.past, size}, to.data());
  };
  gather(kK, kPastKey, s.head, keys);
  gather(kV, kPastValue, s.v_head, values);
  const std::vector<T>* present[] = {&keys, &values};
  for (size_t i = 0; i < 2; ++i) {
    if (out[i + 1] == nullptr) continue;
    FloatOutput<T> to(*out[i + 1]);
    std::ranges::copy(*present[i], to.data());
    to.finish();
  }
  std::vector<T> debug(out[3] != nullptr ? static_cast<size_t>(out[3]->size()) : 0);
  std::vector<T> scores(static_cast<size_t>(s.queries * s.keys));
  FloatOutput<T> y(*out[0]);
  std::fill_n(y.data(), out[0]->size(), T{});
  for (int64_t b = 0; b < s.batch; ++b)
    for (int64_t h = 0; h < s.q_heads; ++h) {
      const int64_t kv = b * s.kv_heads + h / (s.q_heads / s.kv_heads);
      const int64_t q_row = s.packed ? s.q_heads * s.head : s.head;
      const int64_t y_row = s.packed ? s.q_heads * s.v_head : s.v_head;
      const int64_t q_first = s.packed ? b * s.queries * s.q_heads + h : (b * s.q_heads + h) * s.queries;
      std::ranges::fill(scores, T{});
      gemm<T>(s.queries, s.keys, s.head, {q.data() + q_first * s.head, q_row, 1},
              {keys.data() + kv * s.keys * s.head, 1, s.head}, scores.data(), s.keys);
      T* stage = debug.empty() ? nullptr : debug.data() + (b * s.q_heads + h) * s.queries * s.keys;
      scores_to_weights(s, mask, options, b, h, scores.data(), stage);
      gemm<T>(s.queries, s.v_head, s.keys, {scores.data(), s.keys, 1},
              {values.data() + kv * s.keys * s.v_head, s.v_head, 1}, y.data() + q_first * s.v_head, y_row);
    }
  y.finish();
  if (out[3] != nullptr) {
    FloatOutput<T> to(*out[3]);
    std::ranges::copy(debug, to.data());
    to.finish();
  }
  return {};
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  PLANISH_TRY(require_real(ctx));
  const Shape* past_key = ctx.has(kPastKey) ? &ctx.in(kPastKey).shape() : nullptr;
  const Shape* past_value = ctx.has(kPastValue) ? &ctx.in(kPastValue).shape() : nullptr;
  const AttentionShape s =
      PLANISH_TRY(resolve(ctx, ctx.in(kQ).shape(), ctx.in(kK).shape(), ctx.in(kV).shape(), past_key, past_value));
  const DType type = ctx.in(kQ).dtype();
  std::array<Tensor*, 4> out{};
  out[0] = PLANISH_TRY(ctx.output(0, type, s.y()));
  if (ctx.wants(1)) out[1] = PLANISH_TRY(ctx.output(1, ctx.in(kK).dtype(), {s.batch, s.kv_heads, s.keys, s.head}));
  if (ctx.wants(2)) out[2] = PLANISH_TRY(ctx.output(2, ctx.in(kV).dtype(), {s.batch, s.kv_heads, s.keys, s.v_head}));
  if (ctx.wants(3)) out[3] = PLANISH_TRY(ctx.output(3, type, {s.batch, s.q_heads, s.queries, s.keys}));
  ScoreOptions options{.softcap = static_cast<double>(ctx.node().attr_float("softcap", 0)),
                       .mode = ctx.node().attr_int("qk_matmul_output_mode", 0)};
  options.scale = ctx.node().has_attr("scale") ? static_cast<double>(ctx.node().attr_float("scale", 1))
                                               : 1.0 / std::sqrt(static_cast<double>(std::max<int64_t>(s.head, 1)));
  return in_float_arithmetic(type, [&](auto zero) { return attend<decltype(zero)>(ctx, s, options, out); });
}

constexpr std::array kOps{
    OpDecl{.name = "Attention", .since = 23, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> attention_ops() { return kOps; }

}  // namespace planish
