// Scaled dot product attention (ONNX Attention without cache) by our own blocked kernel. Operands in 16-bit types are
// widened into the workspace: the arithmetic is f32.

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

enum Input : size_t { kQ, kK, kV, kMask };

struct Shapes {
  bool packed = false;  ///< [B, S, heads * D] instead of [B, heads, S, D]
  int64_t batch = 0;
  int64_t q_heads = 0;
  int64_t kv_heads = 0;
  int64_t sq = 0;
  int64_t sk = 0;
  int64_t d = 0;
  int64_t dv = 0;
};

Shapes shapes_of(const NodeView& view) {
  const Shape& q = view.inputs[kQ].shape;
  const Shape& k = view.inputs[kK].shape;
  const Shape& v = view.inputs[kV].shape;
  Shapes s{.packed = q.size() == 3, .batch = q[0]};
  if (s.packed) {
    s.q_heads = std::max<int64_t>(view.node->attr_int("q_num_heads", 1), 1);
    s.kv_heads = std::max<int64_t>(view.node->attr_int("kv_num_heads", 1), 1);
    s.sq = q[1];
    s.sk = k[1];
    s.d = q[2] / s.q_heads;
    s.dv = v[2] / s.kv_heads;
  } else {
    s.q_heads = q[1];
    s.kv_heads = k[1];
    s.sq = q[2];
    s.sk = k[2];
    s.d = q[3];
    s.dv = v[3];
  }
  return s;
}

/// Element strides of the mask over batch, head, query and key, 0 where it broadcasts.
std::optional<std::array<int64_t, 4>> mask_strides(const NodeView& view, const Shapes& s) {
  const Shape& m = view.inputs[kMask].shape;
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
    if (view.has_input(kMask)) {
      mask_ = *mask_strides(view, s);
      mask_elements_ = view.inputs[kMask].size();
      bool_mask_ = view.inputs[kMask].dtype == DType::boolean;
    }
    panel_ = kernel_.packed_keys_size(s.sk, s.d);
    for (size_t i = 0; i < 3; ++i) {
      if (view.inputs[i].dtype == DType::f32) continue;
      read_[i] = kernels::tile_reader(view.inputs[i].dtype);
      elements_[i] = view.inputs[i].size();
    }
    if (view.outputs[0].dtype == DType::f32) return;
    write_ = kernels::tile_writer(view.outputs[0].dtype);
    out_elements_ = view.outputs[0].size();
  }

  [[nodiscard]] size_t workspace_bytes() const override {
    const int64_t mask = bool_mask_ ? (mask_elements_ + 15) / 16 * 16 : 0;
    int64_t wide = padded(out_elements_);
    for (const int64_t n : elements_) wide += padded(n);
    return static_cast<size_t>(wide + mask + s_.batch * s_.kv_heads * panel_) * sizeof(float);
  }
  [[nodiscard]] std::string detail() const override { return std::string(kernel_.name); }

  Status run(const Bindings& b) override {
    auto* workspace = host_ptr<float>(b.workspace);
    const Operands operands = widen(b, workspace);
    const float* mask = nullptr;
    if (bool_mask_) {
      const auto* visible = host_ptr<const uint8_t>(b.inputs[kMask]);
      for (int64_t i = 0; i < mask_elements_; ++i)
        workspace[i] = visible[i] != 0 ? 0.0F : -std::numeric_limits<float>::infinity();
      mask = workspace;
      workspace += (mask_elements_ + 15) / 16 * 16;
    } else if (mask_elements_ != 0) {
      mask = host_ptr<const float>(b.inputs[kMask]);
    }
    const float* k = operands.k;
    parallel_for(s_.batch * s_.kv_heads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        kernel_.pack_keys(s_.sk, s_.d, k + start(i / s_.kv_heads, i % s_.kv_heads, s_.kv_heads, s_.sk, s_.d),
                          row(s_.kv_heads, s_.d), workspace + i * panel_);
    });
    // Threads share out blocks of rows, which balances them even when there is a single head.
    const int64_t rows = kernel_.block_rows;
    const int64_t blocks = (s_.sq + rows - 1) / rows;
    parallel_for(s_.batch * s_.q_heads * blocks, 1, [&](int64_t begin, int64_t end) {
      thread_local std::vector<float> scratch;
      const auto need = static_cast<size_t>(kernel_.scratch_size(s_.sk));
      if (scratch.size() < need) scratch.resize(need);
      for (int64_t i = begin; i < end;) {
        const int64_t first = i % blocks;
        const int64_t count = std::min(blocks - first, end - i);
        const kernels::AttentionHead head = head_of(operands, i / blocks, mask, workspace);
        kernel_.run(head, first * rows, std::min((first + count) * rows, s_.sq), scratch.data());
        i += count;
      }
    });
    if (write_ != nullptr)
      convert(out_elements_, [&](int64_t begin, int64_t n) {
        write_(n, operands.out + begin, host_ptr<uint16_t>(b.outputs[0]) + begin);
      });
    return {};
  }

 private:
  struct Operands {
    const float* q = nullptr;
    const float* k = nullptr;
    const float* v = nullptr;
    float* out = nullptr;
  };

  static int64_t padded(int64_t n) { return (n + 15) / 16 * 16; }

  template <typename F>
  static void convert(int64_t count, F&& part) {
    constexpr int64_t kElementsPerThread = 16384;
    parallel_for(count, kElementsPerThread, [&](int64_t begin, int64_t end) { part(begin, end - begin); });
  }

  /// The operands in f32; `workspace` moves behind what was widened.
  Operands widen(const Bindings& b, float*& workspace) const {
    std::array<const float*, 3> wide{};
    for (size_t i = 0; i < 3; ++i) {
      wide[i] = host_ptr<const float>(b.inputs[i]);
      if (read_[i] == nullptr) continue;
      const auto* from = host_ptr<const uint16_t>(b.inputs[i]);
      convert(elements_[i], [&](int64_t begin, int64_t n) { read_[i](n, from + begin, workspace + begin); });
      wide[i] = workspace;
      workspace += padded(elements_[i]);
    }
    Operands out{wide[kQ], wide[kK], wide[kV], host_ptr<float>(b.outputs[0])};
    if (write_ == nullptr) return out;
    out.out = workspace;
    workspace += padded(out_elements_);
    return out;
  }

  [[nodiscard]] int64_t start(int64_t batch, int64_t head, int64_t heads, int64_t length, int64_t size) const {
    return s_.packed ? (batch * length * heads + head) * size : (batch * heads + head) * length * size;
  }
  [[nodiscard]] int64_t row(int64_t heads, int64_t size) const { return s_.packed ? heads * size : size; }

  kernels::AttentionHead head_of(const Operands& o, int64_t index, const float* mask, const float* packed) const {
    const int64_t batch = index / s_.q_heads;
    const int64_t head = index % s_.q_heads;
    const int64_t kv = head / (s_.q_heads / s_.kv_heads);
    kernels::AttentionHead h{.sq = s_.sq, .sk = s_.sk, .d = s_.d, .dv = s_.dv};
    h.q = o.q + start(batch, head, s_.q_heads, s_.sq, s_.d);
    h.q_row = row(s_.q_heads, s_.d);
    h.v = o.v + start(batch, kv, s_.kv_heads, s_.sk, s_.dv);
    h.v_row = row(s_.kv_heads, s_.dv);
    h.packed_k = packed + (batch * s_.kv_heads + kv) * panel_;
    if (mask != nullptr) {
      h.mask = mask + batch * mask_[0] + head * mask_[1];
      h.mask_row = mask_[2];
      h.mask_col = mask_[3];
    }
    h.causal = causal_;
    h.scale = scale_;
    h.out = o.out + start(batch, head, s_.q_heads, s_.sq, s_.dv);
    h.out_row = row(s_.q_heads, s_.dv);
    return h;
  }

  const kernels::AttentionKernel& kernel_ = kernels::best_attention_kernel();
  Shapes s_;
  float scale_ = 1;
  bool causal_ = false;
  bool bool_mask_ = false;
  std::array<int64_t, 4> mask_{};
  int64_t mask_elements_ = 0;
  int64_t panel_ = 0;
  std::array<kernels::ReadTile, 3> read_{};  ///< nullptr: f32 already
  std::array<int64_t, 3> elements_{};        ///< to widen
  kernels::WriteTile write_ = nullptr;
  int64_t out_elements_ = 0;
};

WhyNot supports(const NodeView& view, const Target&) {
  const Node& node = *view.node;
  for (size_t i = 0; i < 3; ++i) {
    if (kernels::tile_reader(view.inputs[i].dtype) == nullptr)
      return fmt::format("reads f32, f16 and bf16, got {}", dtype_name(view.inputs[i].dtype));
    if (view.inputs[i].layout != Layout::row_major) return "takes row-major tensors only";
    if (view.inputs[i].size() == 0) return "the tensor is empty";
  }
  if (view.outputs[0].layout != Layout::row_major) return "writes row-major tensors only";
  if (kernels::tile_writer(view.outputs[0].dtype) == nullptr) return "writes f32, f16 and bf16 only";
  for (size_t i = kMask + 1; i < view.inputs.size(); ++i)
    if (view.has_input(i)) return "has no cache of keys and values";
  for (size_t i = 1; i < view.outputs.size(); ++i)
    if (view.outputs[i].present()) return "returns the result only";
  if (node.attr_float("softcap", 0.0F) != 0.0F) return "has no softcap";
  if (node.attr_int("left_window_size", -1) >= 0 || node.attr_int("right_window_size", -1) >= 0) return "has no window";
  const Shapes s = shapes_of(view);
  if (s.kv_heads <= 0 || s.q_heads % s.kv_heads != 0) return "needs query heads that are a multiple of the key heads";
  if (view.has_input(kMask)) {
    const DType t = view.inputs[kMask].dtype;
    if (t != DType::f32 && t != DType::boolean) return fmt::format("takes f32 and bool masks, got {}", dtype_name(t));
    if (view.inputs[kMask].layout != Layout::row_major) return "takes row-major masks only";
    if (!mask_strides(view, s)) return "needs a mask that broadcasts to batch, heads, queries and keys";
  }
  return std::nullopt;
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant>, const Target&) {
  return std::unique_ptr<Kernel>(new AttentionRunner(view, shapes_of(view)));
}

constexpr std::array<std::string_view, 1> kOps{"Attention"};

}  // namespace

constinit const Tactic kCpuAttention{.id = "cpu.attention",
                                     .ops = kOps,
                                     .supports = supports,
                                     .pack = nullptr,
                                     .prepare = prepare,
                                     .unpack = nullptr,
                                     .version = 2};

}  // namespace planish
