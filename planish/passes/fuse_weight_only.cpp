// FusedMatMul of floats with dequantised constant integers of 4 or 8 bits -> planish.WeightOnlyMatMul, which keeps the
// integers: products of few rows wait for the memory, and integers are a quarter or an eighth of it. One scale per
// matrix, per column, or per column and block of rows; others stay, and fold_dequantize makes floats of them.

#include <algorithm>

#include "planish/ops/weight_only.h"
#include "planish/passes/edit.h"
#include "planish/passes/pass.h"

namespace planish {
namespace {

/// Where the parameters of a matrix lie: [blocks, N] from a scalar, [N], [blocks, N] or [N, blocks].
struct ParameterGrid {
  int64_t blocks = 1;
  int64_t n = 0;
  int64_t block_stride = 0;
  int64_t n_stride = 0;

  [[nodiscard]] Tensor gather(const Tensor& t, DType type, double factor) const {
    Tensor out(type, {blocks, n});
    for (int64_t b = 0; b < blocks; ++b)
      for (int64_t j = 0; j < n; ++j) out.set(b * n + j, t.at(b * block_stride + j * n_stride) * factor);
    return out;
  }
};

std::optional<ParameterGrid> parameter_grid(const Node& dq, const Tensor& scale, const Shape& b, bool by_column) {
  const size_t n_axis = by_column ? 0 : 1;
  const size_t k_axis = 1 - n_axis;
  const int64_t block = dq.attr_int("block_size", 0);
  const int64_t given = dq.attr_int("axis", 1);
  const auto axis = static_cast<size_t>(given < 0 ? given + 2 : given);
  if (scale.size() == 1) return ParameterGrid{.n = b[n_axis]};
  if (block <= 1 && scale.rank() == 1 && axis == n_axis && scale.dim(0) == b[n_axis])
    return ParameterGrid{.n = b[n_axis], .n_stride = 1};
  if (block < 1 || scale.rank() != 2 || axis != k_axis) return std::nullopt;
  const int64_t blocks = (b[k_axis] - 1) / block + 1;  // block_size may be any number
  Shape expected = b;
  expected[k_axis] = blocks;
  if (scale.shape() != expected) return std::nullopt;
  return by_column ? ParameterGrid{blocks, b[n_axis], 1, blocks} : ParameterGrid{blocks, b[n_axis], b[n_axis], 1};
}

bool is_small_integer(DType type) {
  return type == DType::i4 || type == DType::u4 || type == DType::i8 || type == DType::u8;
}

void fuse(Edit& edit, int32_t n) {
  constexpr int64_t kLeastWeights = 4096;  // below, nothing is gained
  const Node source = edit.node(n);
  if (!source.is("FusedMatMul", "planish") || source.attr_int("trans_a", 0) != 0 || source.has_attr("y_type")) return;
  if (edit.dtype(source.in(0)) != DType::f32 || edit.rank(source.in(0)) < 2) return;
  const Node* dq = edit.made_by(source.in(1), "DequantizeLinear");
  if (dq == nullptr || edit.dtype(dq->out(0)) != DType::f32) return;
  const Tensor* b = edit.constant(dq->in(0));
  const Tensor* scale = edit.constant(dq->in(1));
  const Tensor* zero = edit.constant(dq->in(2));
  if (b == nullptr || scale == nullptr || (dq->in(2) != kNoValue && zero == nullptr)) return;
  if (!is_small_integer(b->dtype()) || b->rank() != 2 || b->size() < kLeastWeights) return;
  if (zero != nullptr && (zero->dtype() != b->dtype() || zero->shape() != scale->shape())) return;
  const auto grid = parameter_grid(*dq, *scale, b->shape(), source.attr_int("trans_b", 0) != 0);
  if (!grid) return;

  Node fused = fused_node("WeightOnlyMatMul", "planish", {dq, &source});
  fused.attrs = source.attrs;
  fused.attrs.erase("alpha");
  if (grid->blocks > 1) fused.attrs["block_size"] = dq->attr_int("block_size", 0);
  fused.inputs = {source.in(0), dq->in(0), source.in(2), source.in(3)};
  fused.inputs.resize(kWeightOnlyScale, kNoValue);
  const std::string stem = edit.value(dq->in(0)).name;
  const std::optional<Tensor> zeros =
      zero == nullptr ? std::nullopt : std::optional(grid->gather(*zero, b->dtype(), 1));
  Tensor scales = grid->gather(*scale, DType::f32, static_cast<double>(source.attr_float("alpha", 1)));
  fused.inputs.push_back(edit.new_constant(stem + "/scale", std::move(scales)));
  if (zeros) fused.inputs.push_back(edit.new_constant(stem + "/zero", *zeros));
  fused.outputs = source.outputs;
  const int32_t maker = edit.producer(source.in(1));
  edit.replace(n, std::move(fused));
  edit.remove_if_unused(maker);
}

}  // namespace

Result<Graph> fuse_weight_only(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  const int32_t count = edit.size();
  for (int32_t n = 0; n < count; ++n)
    if (edit.alive(n)) fuse(edit, n);
  return std::move(edit).finish();
}

}  // namespace planish
