// A BatchNormalization with constant statistics that no layer could take in -> Mul and Add per channel, which join
// other elementwise operators: y = scale (x - mean) / sqrt(var + eps) + b.

#include <cmath>

#include "planish/passes/edit.h"
#include "planish/passes/pass.h"

namespace planish {
namespace {

bool lower_one(Edit& edit, int32_t n) {
  const Node node = edit.node(n);
  if (!node.is("BatchNormalization") || node.attr_int("training_mode", 0) != 0) return false;
  const int64_t rank = edit.rank(node.in(0));
  const DType dtype = edit.dtype(node.in(0));
  for (size_t i = 1; i < node.outputs.size(); ++i)
    if (node.outputs[i] != kNoValue) return false;
  if (rank < 2 || !dtype_is_float(dtype)) return false;
  const Tensor* t[4] = {};
  for (size_t i = 0; i < 4; ++i) {
    t[i] = edit.constant(node.in(i + 1));
    if (t[i] == nullptr || t[i]->rank() != 1 || t[i]->size() != edit.constant(node.in(1))->size()) return false;
  }
  const auto& [gamma, beta, mean, variance] = t;
  Shape shape(static_cast<size_t>(rank) - 1, 1);
  shape[0] = gamma->size();
  Tensor scale(dtype, shape);
  Tensor shift(dtype, shape);
  const double epsilon = node.attr_float("epsilon", 1e-5F);
  for (int64_t c = 0; c < gamma->size(); ++c) {
    const double a = gamma->at(c) / std::sqrt(variance->at(c) + epsilon);
    const double b = beta->at(c) - mean->at(c) * a;
    if (!std::isfinite(a) || !std::isfinite(b)) return false;
    scale.set(c, a);
    shift.set(c, b);
  }
  const std::string stem = edit.value(node.out(0)).name;
  const ValueId a = edit.new_constant(stem + ".scale", std::move(scale));
  const ValueId b = edit.new_constant(stem + ".shift", std::move(shift));
  Node add = node;
  add.op = "Add";
  add.attrs.clear();
  add.inputs = {edit.insert_op(n, "Mul", node, {node.in(0), a}), b};
  add.outputs.resize(1);
  edit.replace(n, std::move(add));
  return true;
}

}  // namespace

Result<Graph> lower_batch_norm(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  const int32_t count = edit.size();
  for (int32_t n = 0; n < count; ++n)
    if (edit.alive(n)) lower_one(edit, n);
  return std::move(edit).finish();
}

}  // namespace planish
