// Scaled dot product attention (ONNX Attention without cache) by our own blocked kernel. The arithmetic is f32:
// operands in 16-bit types are widened where they are used, keys while they are packed, values into the workspace,
// queries and results block by block.

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "planish/base/parallel.h"
#include "planish/kernels/cpu/attention/attention.h"
#include "planish/kernels/cpu/convert/tile.h"
#include "planish/tactics/cpu/attention_shapes.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {
namespace {

class AttentionRunner final : public Kernel {
 public:
  AttentionRunner(const NodeView& view, const AttentionShapes& s)
      : s_(s),
        mask_(view, s),
        scale_(attention_scale(*view.node, s.d)),
        causal_(view.node->attr_int("is_causal", 0) != 0) {
    panel_ = kernel_.packed_keys_size(s.sk, s.d);
    for (size_t i = 0; i < kAttentionParts; ++i) {
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
    return static_cast<size_t>(mask_.workspace() + s_.batch * s_.kv_heads * (panel_ + values_)) * sizeof(float);
  }
  [[nodiscard]] std::string detail() const override { return std::string(kernel_.name); }

  Status run(const Bindings& b) override {
    auto* workspace = host_ptr<float>(b.workspace);
    const float* mask = mask_.values(b, workspace);
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
    mask_.set(h, mask, batch, head, begin);
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
  AttentionShapes s_;
  AttentionMask mask_;
  float scale_;
  bool causal_;
  int64_t panel_ = 0;
  int64_t values_ = 0;                                     ///< floats of a head's widened values
  int64_t scratch_ = 0;                                    ///< floats of the kernel's own
  int64_t queries_ = 0;                                    ///< floats of widened queries
  int64_t own_ = 0;                                        ///< floats of a thread's memory
  std::array<kernels::ReadTile, kAttentionParts> read_{};  ///< nullptr: f32 already
  kernels::WriteTile write_ = nullptr;                     ///< nullptr: f32
};

WhyNot supports(const NodeView& view, const Target&) {
  const size_t operands = view.node->op == "MergedAttention" ? 1 : kAttentionParts;
  for (size_t i = 0; i < operands; ++i)
    if (kernels::tile_reader(view.inputs[i].dtype) == nullptr)
      return fmt::format("reads f32, f16 and bf16, got {}", dtype_name(view.inputs[i].dtype));
  if (kernels::tile_writer(view.outputs[0].dtype) == nullptr) return "writes f32, f16 and bf16 only";
  return attention_refusal(view);
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant>, const Target&) {
  return std::unique_ptr<Kernel>(new AttentionRunner(view, attention_shapes(view)));
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
