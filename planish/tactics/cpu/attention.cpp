// Scaled dot product attention (ONNX Attention without cache) by our own blocked kernel. The arithmetic is f32:
// operands in 16-bit types are widened where they are used, keys while they are packed, values into the workspace,
// queries and results block by block.

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "planish/base/parallel.h"
#include "planish/kernels/cpu/attention/attention.h"
#include "planish/kernels/cpu/convert/tile.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {
namespace {

enum Input : size_t { kQ, kK, kV };
constexpr size_t kParts = 3;

/// Where the rows of an operand lie, in elements.
struct Rows {
  int64_t first = 0;  ///< of batch 0 and head 0
  int64_t batch = 0;  ///< between batches
  int64_t head = 0;   ///< between heads
  int64_t row = 0;    ///< between rows

  [[nodiscard]] int64_t at(int64_t b, int64_t h) const { return first + b * batch + h * head; }
};

/// [B, heads, S, D]
Rows apart(int64_t heads, int64_t length, int64_t size) {
  return {.batch = heads * length * size, .head = length * size, .row = size};
}
/// [B, S, width], the heads side by side from column `first` on.
Rows side_by_side(int64_t width, int64_t length, int64_t size, int64_t first = 0) {
  return {.first = first, .batch = length * width, .head = size, .row = width};
}

struct Shapes {
  size_t operands = kParts;  ///< tensors that hold queries, keys and values: three, or a merged one
  Rows q, k, v, out;
  int64_t batch = 0;
  int64_t q_heads = 0;
  int64_t kv_heads = 0;
  int64_t sq = 0;
  int64_t sk = 0;
  int64_t d = 0;
  int64_t dv = 0;
};

Shapes merged_shapes(const NodeView& view) {
  const Shape& x = view.inputs[0].shape;
  Shapes s{.operands = 1, .batch = x[0]};
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

Shapes shapes_of(const NodeView& view) {
  if (view.node->op == "MergedAttention") return merged_shapes(view);
  const Shape& q = view.inputs[kQ].shape;
  const Shape& k = view.inputs[kK].shape;
  const Shape& v = view.inputs[kV].shape;
  Shapes s{.batch = q[0]};
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

/// Element strides of the mask over batch, head, query and key, 0 where it broadcasts.
std::optional<std::array<int64_t, 4>> mask_strides(const NodeView& view, const Shapes& s) {
  const Shape& m = view.inputs[s.operands].shape;
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

class AttentionRunner final : public Kernel {
 public:
  AttentionRunner(const NodeView& view, const Shapes& s) : s_(s) {
    const Node& node = *view.node;
    scale_ = node.has_attr("scale") ? node.attr_float("scale", 1.0F)
                                    : 1.0F / std::sqrt(static_cast<float>(std::max<int64_t>(s.d, 1)));
    causal_ = node.attr_int("is_causal", 0) != 0;
    if (view.has_input(s.operands)) {
      mask_ = *mask_strides(view, s);
      mask_elements_ = view.inputs[s.operands].size();
      bool_mask_ = view.inputs[s.operands].dtype == DType::boolean;
    }
    panel_ = kernel_.packed_keys_size(s.sk, s.d);
    for (size_t i = 0; i < kParts; ++i) {
      const DType dtype = view.inputs[s.operands == 1 ? 0 : i].dtype;
      if (dtype != DType::f32) read_[i] = kernels::tile_reader(dtype);
    }
    if (view.outputs[0].dtype != DType::f32) write_ = kernels::tile_writer(view.outputs[0].dtype);
    values_ = read_[kV] == nullptr ? 0 : padded(s.sk * s.dv);
    scratch_ = padded(kernel_.scratch_size(s.sk));
    const int64_t rows = std::min(s.sq, kWidenedBlocks * kernel_.block_rows);
    queries_ = read_[kQ] == nullptr ? 0 : padded(rows * s.d);
    own_ = std::max(scratch_ + queries_ + (write_ == nullptr ? 0 : rows * s.dv),
                    read_[kK] == nullptr ? 0 : kWidenedKeys * s.d);
  }

  [[nodiscard]] size_t workspace_bytes() const override {
    const int64_t mask = bool_mask_ ? padded(mask_elements_) : 0;
    return static_cast<size_t>(mask + s_.batch * s_.kv_heads * (panel_ + values_)) * sizeof(float);
  }
  [[nodiscard]] std::string detail() const override { return std::string(kernel_.name); }

  Status run(const Bindings& b) override {
    auto* workspace = host_ptr<float>(b.workspace);
    const float* mask = nullptr;
    if (bool_mask_) {
      const auto* visible = host_ptr<const uint8_t>(b.inputs[s_.operands]);
      for (int64_t i = 0; i < mask_elements_; ++i)
        workspace[i] = visible[i] != 0 ? 0.0F : -std::numeric_limits<float>::infinity();
      mask = workspace;
      workspace += padded(mask_elements_);
    } else if (mask_elements_ != 0) {
      mask = host_ptr<const float>(b.inputs[s_.operands]);
    }
    parallel_for(s_.batch * s_.kv_heads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) prepare_keys_and_values(b, i, workspace + i * (panel_ + values_));
    });
    // Threads share out blocks of rows, which balances them even when there is a single head.
    const int64_t rows = kernel_.block_rows;
    const int64_t blocks = (s_.sq + rows - 1) / rows;
    parallel_for(s_.batch * s_.q_heads * blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end;) {
        const int64_t first = i % blocks;
        const int64_t most = read_[kQ] == nullptr && write_ == nullptr ? blocks : kWidenedBlocks;
        const int64_t count = std::min({blocks - first, end - i, most});
        attend(b, i / blocks, first * rows, std::min((first + count) * rows, s_.sq), mask, workspace);
        i += count;
      }
    });
    return {};
  }

 private:
  /// Blocks of query rows, and rows of keys (whole panels of every kernel), that a thread widens at a time, so that
  /// its memory does not grow with the sequence.
  static constexpr int64_t kWidenedBlocks = 4;
  static constexpr int64_t kWidenedKeys = 64;

  static int64_t padded(int64_t n) { return (n + 15) / 16 * 16; }

  /// Memory of this thread, enough for every part of the work, so that only a thread's first part allocates.
  [[nodiscard]] float* own_memory() const {
    thread_local std::vector<float> memory;
    if (memory.size() < static_cast<size_t>(own_)) memory.resize(static_cast<size_t>(own_));
    return memory.data();
  }

  /// The tensor that holds queries, keys or values.
  [[nodiscard]] const void* operand(const Bindings& b, size_t part) const {
    return host_ptr<const void>(b.inputs[s_.operands == 1 ? 0 : part]);
  }

  /// `count` rows of n numbers in f32, `row` apart, to `wide` without gaps.
  static void widen(kernels::ReadTile read, const void* from, int64_t first, int64_t row, int64_t count, int64_t n,
                    float* wide) {
    const auto* at = static_cast<const uint16_t*>(from) + first;
    for (int64_t i = 0; i < count; ++i) read(n, at + i * row, wide + i * n);
  }

  /// What the heads that share head `index` of keys read: keys in the kernel's order, then the values when they have to
  /// be widened.
  void prepare_keys_and_values(const Bindings& b, int64_t index, float* to) const {
    const int64_t first = s_.k.at(index / s_.kv_heads, index % s_.kv_heads);
    if (read_[kK] == nullptr) {
      kernel_.pack_keys(s_.sk, s_.d, static_cast<const float*>(operand(b, kK)) + first, s_.k.row, to);
    } else {
      float* wide = own_memory();
      for (int64_t row = 0; row < s_.sk; row += kWidenedKeys) {
        const int64_t rows = std::min(kWidenedKeys, s_.sk - row);
        widen(read_[kK], operand(b, kK), first + row * s_.k.row, s_.k.row, rows, s_.d, wide);
        kernel_.pack_keys(rows, s_.d, wide, s_.d, to + row * s_.d);
      }
    }
    if (read_[kV] != nullptr)
      widen(read_[kV], operand(b, kV), s_.v.at(index / s_.kv_heads, index % s_.kv_heads), s_.v.row, s_.sk, s_.dv,
            to + panel_);
  }

  /// Query rows [begin, end) of one head.
  void attend(const Bindings& b, int64_t index, int64_t begin, int64_t end, const float* mask,
              const float* prepared) const {
    const int64_t batch = index / s_.q_heads;
    const int64_t head = index % s_.q_heads;
    const int64_t kv = head / (s_.q_heads / s_.kv_heads);
    const int64_t rows = end - begin;
    float* own = own_memory();
    float* wide = own + scratch_;
    kernels::AttentionHead h{.sq = rows, .sk = s_.sk, .d = s_.d, .dv = s_.dv};
    const float* keys = prepared + (batch * s_.kv_heads + kv) * (panel_ + values_);
    h.packed_k = keys;
    h.v = read_[kV] != nullptr ? keys + panel_ : static_cast<const float*>(operand(b, kV)) + s_.v.at(batch, kv);
    h.v_row = read_[kV] != nullptr ? s_.dv : s_.v.row;
    const int64_t first = s_.q.at(batch, head) + begin * s_.q.row;
    h.q = static_cast<const float*>(operand(b, kQ)) + first;
    h.q_row = s_.q.row;
    if (read_[kQ] != nullptr) {
      widen(read_[kQ], operand(b, kQ), first, s_.q.row, rows, s_.d, wide);
      h.q = wide;
      h.q_row = s_.d;
    }
    if (mask != nullptr) {
      h.mask = mask + batch * mask_[0] + head * mask_[1] + begin * mask_[2];
      h.mask_row = mask_[2];
      h.mask_col = mask_[3];
    }
    h.causal = causal_;
    h.causal_offset = begin;
    h.scale = scale_;
    const int64_t out = s_.out.at(batch, head) + begin * s_.out.row;
    if (write_ == nullptr) {
      h.out = host_ptr<float>(b.outputs[0]) + out;
      h.out_row = s_.out.row;
      return kernel_.run(h, 0, rows, own);
    }
    h.out = wide + queries_;
    h.out_row = s_.dv;
    kernel_.run(h, 0, rows, own);
    auto* narrow = host_ptr<uint16_t>(b.outputs[0]) + out;
    for (int64_t i = 0; i < rows; ++i) write_(s_.dv, h.out + i * s_.dv, narrow + i * s_.out.row);
  }

  const kernels::AttentionKernel& kernel_ = kernels::best_attention_kernel();
  Shapes s_;
  float scale_ = 1;
  bool causal_ = false;
  bool bool_mask_ = false;
  std::array<int64_t, 4> mask_{};
  int64_t mask_elements_ = 0;
  int64_t panel_ = 0;
  int64_t values_ = 0;                            ///< floats of a head's widened values
  int64_t scratch_ = 0;                           ///< floats of the kernel's own
  int64_t queries_ = 0;                           ///< floats of widened queries
  int64_t own_ = 0;                               ///< floats of a thread's memory
  std::array<kernels::ReadTile, kParts> read_{};  ///< nullptr: f32 already
  kernels::WriteTile write_ = nullptr;            ///< nullptr: f32
};

WhyNot supports(const NodeView& view, const Target&) {
  const Node& node = *view.node;
  const size_t operands = node.op == "MergedAttention" ? 1 : kParts;
  for (size_t i = 0; i < operands; ++i) {
    if (kernels::tile_reader(view.inputs[i].dtype) == nullptr)
      return fmt::format("reads f32, f16 and bf16, got {}", dtype_name(view.inputs[i].dtype));
    if (view.inputs[i].layout != Layout::row_major) return "takes row-major tensors only";
    if (view.inputs[i].size() == 0) return "the tensor is empty";
  }
  if (view.outputs[0].layout != Layout::row_major) return "writes row-major tensors only";
  if (kernels::tile_writer(view.outputs[0].dtype) == nullptr) return "writes f32, f16 and bf16 only";
  for (size_t i = operands + 1; i < view.inputs.size(); ++i)
    if (view.has_input(i)) return "has no cache of keys and values";
  for (size_t i = 1; i < view.outputs.size(); ++i)
    if (view.outputs[i].present()) return "returns the result only";
  if (node.attr_float("softcap", 0.0F) != 0.0F) return "has no softcap";
  if (node.attr_int("left_window_size", -1) >= 0 || node.attr_int("right_window_size", -1) >= 0) return "has no window";
  const Shapes s = shapes_of(view);
  if (s.kv_heads <= 0 || s.q_heads % s.kv_heads != 0) return "needs query heads that are a multiple of the key heads";
  if (view.has_input(operands)) {
    const DType t = view.inputs[operands].dtype;
    if (t != DType::f32 && t != DType::boolean) return fmt::format("takes f32 and bool masks, got {}", dtype_name(t));
    if (view.inputs[operands].layout != Layout::row_major) return "takes row-major masks only";
    if (!mask_strides(view, s)) return "needs a mask that broadcasts to batch, heads, queries and keys";
  }
  return std::nullopt;
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant>, const Target&) {
  return std::unique_ptr<Kernel>(new AttentionRunner(view, shapes_of(view)));
}

constexpr std::array<std::string_view, 2> kOps{"Attention", "planish.MergedAttention"};

}  // namespace

constinit const Tactic kCpuAttention{.id = "cpu.attention",
                                     .ops = kOps,
                                     .supports = supports,
                                     .pack = nullptr,
                                     .prepare = prepare,
                                     .unpack = nullptr,
                                     .version = 5};

}  // namespace planish
