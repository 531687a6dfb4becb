#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "planish/kernels/cpu/attention/attention.h"
#include "planish/tactics/tactic.h"

namespace planish {

// What the tactics for Attention and planish.MergedAttention share.

enum AttentionInput : size_t { kQ, kK, kV };
inline constexpr size_t kAttentionParts = 3;

/// Where the rows of an operand lie, in elements.
struct AttentionRows {
  int64_t first = 0;  ///< of batch 0 and head 0
  int64_t batch = 0;  ///< between batches
  int64_t head = 0;   ///< between heads
  int64_t row = 0;    ///< between rows

  [[nodiscard]] int64_t at(int64_t b, int64_t h) const { return first + b * batch + h * head; }
};

struct AttentionShapes {
  size_t operands = kAttentionParts;  ///< tensors that hold queries, keys and values: three, or a merged one
  AttentionRows q, k, v, out;
  int64_t batch = 0;
  int64_t q_heads = 0;
  int64_t kv_heads = 0;
  int64_t sq = 0;
  int64_t sk = 0;
  int64_t d = 0;
  int64_t dv = 0;
};

AttentionShapes attention_shapes(const NodeView& view);

/// The mask of a node, if it has one, as our kernels read it.
class AttentionMask {
 public:
  AttentionMask() = default;
  AttentionMask(const NodeView& view, const AttentionShapes& s);
  /// Floats of workspace for a mask of booleans.
  [[nodiscard]] int64_t workspace() const;
  /// The mask's numbers, null where there is none. A mask of booleans is written to `workspace`, which then points
  /// behind it.
  const float* values(const Bindings& b, float*& workspace) const;
  /// Query rows of one head from `row` on see the keys that `values` let them see.
  void set(kernels::AttentionHead& head, const float* values, int64_t batch, int64_t index, int64_t row) const;

 private:
  size_t input_ = 0;
  int64_t elements_ = 0;  ///< 0: no mask
  bool is_bool_ = false;
  std::array<int64_t, 4> strides_{};  ///< over batch, head, query and key, 0 where it broadcasts
};

/// The node's scale: by default 1 / sqrt(d).
float attention_scale(const Node& node, int64_t d);

/// Why our kernels cannot compute the node, whatever its types; nullopt: they can.
WhyNot attention_refusal(const NodeView& view);

}  // namespace planish
