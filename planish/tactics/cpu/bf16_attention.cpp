// Scaled dot product attention (ONNX Attention without cache) whose two products take bfloat16 by the kernels of
// matrix products, where the processor multiplies it. Keys and values are packed as these kernels want weights; blocks
// of query rows then make their scores in f32, the softmax writes weights in bfloat16, and these meet the values.

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "planish/base/parallel.h"
#include "planish/kernels/cpu/bf16_gemm/bf16_gemm.h"
#include "planish/tactics/cpu/attention_shapes.h"
#include "planish/tactics/cpu/own_tactics.h"
#include "planish/tactics/cpu/packed_product.h"

namespace planish {
namespace {

using kernels::Bf16GemmKernel;
using kernels::Bf16Part;
using kernels::Bf16Problem;
using kernels::kBf16Panel;

constexpr int64_t kBlock = 32;         ///< query rows whose scores stay in the second-level cache
constexpr int64_t kKeyStep = 32;       ///< keys are padded to whole steps of the second product
constexpr int64_t kFloatsOfLine = 16;  ///< in a cache line

int64_t up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

class Bf16AttentionRunner final : public Kernel {
 public:
  explicit Bf16AttentionRunner(const NodeView& view)
      : s_(attention_shapes(view)),
        mask_(view, s_),
        scale_(attention_scale(*view.node, s_.d)),
        causal_(view.node->attr_int("is_causal", 0) != 0),
        writes_f32_(view.outputs[0].dtype == DType::f32),
        keys_(up(s_.sk, kKeyStep)),
        score_kernel_(kernels::best_bf16_gemm_kernel(s_.d)),
        value_kernel_(kernels::best_bf16_gemm_kernel(keys_)),
        packed_keys_(kernels::bf16_weights_size(s_.d, s_.sk)),
        packed_(up(packed_keys_ + kernels::bf16_weights_size(keys_, s_.dv), 2 * kFloatsOfLine)) {}

  [[nodiscard]] size_t workspace_bytes() const override {
    const auto packed = static_cast<size_t>(s_.batch * s_.kv_heads * packed_) * sizeof(uint16_t);
    return packed + static_cast<size_t>(mask_.workspace() + kFloatsOfLine) * sizeof(float);
  }
  [[nodiscard]] std::string detail() const override { return fmt::format("attention_{}", score_kernel_.name); }

  Status run(const Bindings& b) override {
    auto* workspace = host_ptr<float>(b.workspace);
    const float* mask = mask_.values(b, workspace);
    const auto address = reinterpret_cast<uintptr_t>(workspace);
    constexpr uintptr_t kLine = kFloatsOfLine * sizeof(float);
    auto* packed = reinterpret_cast<uint16_t*>((address + kLine - 1) / kLine * kLine);
    // Keys and values apart, so that threads have as much to do as each other with an odd number of heads.
    parallel_for(s_.batch * s_.kv_heads * 2, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        i % 2 == 0 ? pack_keys(b, i / 2, packed + i / 2 * packed_)
                   : pack_values(b, i / 2, packed + i / 2 * packed_ + packed_keys_);
    });
    const int64_t blocks = parts(s_.sq, kBlock);
    const int64_t rows = parts(s_.sq, blocks);
    parallel_for(s_.batch * s_.q_heads * blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = i % blocks * rows;
        if (row < s_.sq) attend(b, i / blocks, row, std::min(rows, s_.sq - row), mask, packed);
      }
    });
    return {};
  }

 private:
  /// Memory of a thread for one block: scores, the sums of a panel, and weights.
  struct Memory {
    float* scores;
    float* sums;
    uint16_t* weights;
  };
  [[nodiscard]] Memory memory() const {
    thread_local std::vector<float> own;
    const auto needed = static_cast<size_t>(kBlock * (keys_ + kBf16Panel) + kBlock * keys_ / 2 + kFloatsOfLine);
    if (own.size() < needed) own.resize(needed);
    const auto address = reinterpret_cast<uintptr_t>(own.data());
    constexpr uintptr_t kLine = kFloatsOfLine * sizeof(float);
    auto* scores = reinterpret_cast<float*>((address + kLine - 1) / kLine * kLine);
    float* sums = scores + kBlock * keys_;
    return {scores, sums, reinterpret_cast<uint16_t*>(sums + kBlock * kBf16Panel)};
  }

  [[nodiscard]] const uint16_t* operand(const Bindings& b, size_t part) const {
    return host_ptr<const uint16_t>(b.inputs[s_.operands == 1 ? 0 : part]);
  }

  /// Keys of a head as columns of a product's second operand.
  void pack_keys(const Bindings& b, int64_t index, uint16_t* to) const {
    const uint16_t* k = operand(b, kK) + s_.k.at(index / s_.kv_heads, index % s_.kv_heads);
    for (int64_t column = 0; column < s_.sk; column += kBf16Panel, to += s_.d * kBf16Panel)
      kernels::pack_bf16_columns(s_.d, std::min(kBf16Panel, s_.sk - column), k + column * s_.k.row, s_.k.row, to);
  }

  /// Values of a head as its rows.
  void pack_values(const Bindings& b, int64_t index, uint16_t* to) const {
    const uint16_t* v = operand(b, kV) + s_.v.at(index / s_.kv_heads, index % s_.kv_heads);
    for (int64_t column = 0; column < s_.dv; column += kBf16Panel, to += keys_ * kBf16Panel)
      kernels::pack_bf16_rows(s_.sk, keys_, std::min(kBf16Panel, s_.dv - column), v + column, s_.v.row, to);
  }

  static void multiply(const Bf16GemmKernel& kernel, const Bf16Problem& p, float* sums) {
    kernel.run(p, {.row = 0,
                   .rows = p.m,
                   .panel = 0,
                   .panels = parts(p.n, kBf16Panel),
                   .depth = p.k,
                   .chunk = up(p.m, kernel.rows),
                   .sums = sums});
  }

  /// `rows` query rows of one head, from `row` on.
  void attend(const Bindings& b, int64_t index, int64_t row, int64_t rows, const float* mask,
              const uint16_t* packed) const {
    const int64_t batch = index / s_.q_heads;
    const int64_t head = index % s_.q_heads;
    const int64_t kv = batch * s_.kv_heads + head / (s_.q_heads / s_.kv_heads);
    const Memory own = memory();
    Bf16Problem scores{.m = rows, .n = s_.sk, .k = s_.d};
    scores.a = operand(b, kQ) + s_.q.at(batch, head) + row * s_.q.row;
    scores.a_row = s_.q.row;
    scores.weights = packed + kv * packed_;
    scores.c = own.scores;
    scores.c_row = keys_;
    scores.c_wide = true;
    multiply(score_kernel_, scores, own.sums);
    kernels::AttentionHead h{.sq = rows, .sk = s_.sk, .d = s_.d, .dv = s_.dv};
    mask_.set(h, mask, batch, head, row);
    h.causal = causal_;
    h.causal_offset = row;
    h.scale = scale_;
    kernels::best_attention_kernel().weigh(h, 0, rows, own.scores, keys_, own.weights, keys_);
    Bf16Problem values{.m = rows, .n = s_.dv, .k = keys_};
    values.a = own.weights;
    values.a_row = keys_;
    values.weights = packed + kv * packed_ + packed_keys_;
    const int64_t at = s_.out.at(batch, head) + row * s_.out.row;
    values.c =
        writes_f32_ ? static_cast<void*>(host_ptr<float>(b.outputs[0]) + at) : host_ptr<uint16_t>(b.outputs[0]) + at;
    values.c_row = s_.out.row;
    values.c_wide = writes_f32_;
    multiply(value_kernel_, values, own.sums);
  }

  AttentionShapes s_;
  AttentionMask mask_;
  float scale_;
  bool causal_;
  bool writes_f32_;
  int64_t keys_;  ///< with padding
  const Bf16GemmKernel& score_kernel_;
  const Bf16GemmKernel& value_kernel_;
  int64_t packed_keys_;
  int64_t packed_;  ///< numbers of a head
};

WhyNot supports(const NodeView& view, const Target&) {
  const size_t operands = view.node->op == "MergedAttention" ? 1 : kAttentionParts;
  for (size_t i = 0; i < operands; ++i)
    if (view.inputs[i].dtype != DType::bf16)
      return fmt::format("multiplies bf16, got {}", dtype_name(view.inputs[i].dtype));
  const DType y = view.outputs[0].dtype;
  if (y != DType::bf16 && y != DType::f32) return fmt::format("writes bf16 and f32, asked for {}", dtype_name(y));
  if (WhyNot why = attention_refusal(view)) return why;
  const AttentionShapes s = attention_shapes(view);
  if (s.d % 2 != 0) return fmt::format("needs heads of an even size, got {}", s.d);
  if (kernels::best_bf16_gemm_kernel(s.d).isa == Isa::baseline) return "needs a processor that multiplies bfloat16";
  return std::nullopt;
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant>, const Target&) {
  return std::unique_ptr<Kernel>(new Bf16AttentionRunner(view));
}

constexpr std::array<std::string_view, 2> kOps{"Attention", "planish.MergedAttention"};

}  // namespace

constinit const Tactic kCpuBf16Attention{.id = "cpu.bf16_attention",
                                         .ops = kOps,
                                         .supports = supports,
                                         .pack = nullptr,
                                         .prepare = prepare,
                                         .unpack = nullptr};

}  // namespace planish
