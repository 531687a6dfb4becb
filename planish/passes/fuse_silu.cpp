// x * Sigmoid(a x) -> Swish(x), a = 1 being SiLU; x * Tanh(Softplus(x)) -> Mish(x).

#include "planish/passes/match.h"
#include "planish/passes/pass.h"

namespace planish {
namespace {

struct Gate {
  ValueId x = kNoValue;
  double alpha = 1;
  std::vector<int32_t> nodes;
};

/// Takes `v` for Sigmoid(alpha * x).
std::optional<Gate> sigmoid_gate(const Edit& edit, ValueId v, ValueId x) {
  const Node* sigmoid = edit.made_by(v, "Sigmoid");
  if (sigmoid == nullptr) return std::nullopt;
  if (sigmoid->in(0) == x) return Gate{x, 1, {edit.producer(v)}};
  const auto scaled = with_scalar(edit, sigmoid->in(0), "Mul");
  if (!scaled || scaled->x != x) return std::nullopt;
  return Gate{x, scaled->scalar, {edit.producer(sigmoid->in(0)), edit.producer(v)}};
}

std::optional<Gate> mish_gate(const Edit& edit, ValueId v, ValueId x) {
  const Node* tanh = edit.made_by(v, "Tanh");
  const Node* softplus = tanh != nullptr ? edit.made_by(tanh->in(0), "Softplus") : nullptr;
  if (softplus == nullptr || softplus->in(0) != x) return std::nullopt;
  return Gate{x, 1, {edit.producer(tanh->in(0)), edit.producer(v)}};
}

bool fuse(Edit& edit, int32_t n) {
  const Node& mul = edit.node(n);
  if (!mul.is("Mul") || mul.inputs.size() != 2) return false;
  for (size_t i = 0; i < 2; ++i) {
    const auto swish = sigmoid_gate(edit, mul.in(1 - i), mul.in(i));
    const auto gate = swish ? swish : mish_gate(edit, mul.in(1 - i), mul.in(i));
    if (!gate) continue;
    std::vector<int32_t> nodes = gate->nodes;
    nodes.push_back(n);
    Node whole = fused_node(swish ? "Swish" : "Mish", "", parts(edit, nodes));
    whole.inputs = {gate->x};
    if (swish) whole.attrs["alpha"] = static_cast<float>(gate->alpha);
    edit.replace_pattern(n, std::move(whole));
    return true;
  }
  return false;
}

}  // namespace

Result<Graph> fuse_silu(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  for (int32_t n = 0; n < edit.size(); ++n)
    if (edit.alive(n)) fuse(edit, n);
  return std::move(edit).finish();
}

}  // namespace planish
