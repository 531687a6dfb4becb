// Clip(x + 3, 0, 6) / 6 and Clip(x / 6 + 1/2, 0, 1) -> HardSigmoid(x); x * HardSigmoid(x) -> HardSwish(x).

#include "planish/passes/match.h"
#include "planish/passes/pass.h"

namespace planish {
namespace {

/// HardSigmoid's slope and offset as HardSwish has them.
constexpr double kAlpha = 1.0 / 6;
constexpr double kBeta = 0.5;

bool is_clip(const Edit& edit, const Node* node, double low, double high) {
  if (node == nullptr) return false;
  const auto a = scalar_of(edit, node->in(1));
  const auto b = scalar_of(edit, node->in(2));
  return a && b && *a == low && is_near(*b, high);
}

/// x when `v` is Clip(x + 3, 0, 6), else kNoValue.
ValueId relu6_of_x_plus_3(const Edit& edit, ValueId v, std::vector<int32_t>& nodes) {
  const Node* clip = edit.made_by(v, "Clip");
  if (!is_clip(edit, clip, 0, 6)) return kNoValue;
  const auto shifted = with_scalar(edit, clip->in(0), "Add");
  if (!shifted || !is_near(shifted->scalar, 3)) return kNoValue;
  nodes.push_back(edit.producer(clip->in(0)));
  nodes.push_back(edit.producer(v));
  return shifted->x;
}

/// x when `v` is a HardSigmoid of x with HardSwish's parameters, else kNoValue.
ValueId hard_sigmoid_of(const Edit& edit, ValueId v, std::vector<int32_t>& nodes) {
  const Node* h = edit.made_by(v, "HardSigmoid");
  if (h == nullptr || !is_near(h->attr_float("alpha", 0.2F), kAlpha) || !is_near(h->attr_float("beta", 0.5F), kBeta))
    return kNoValue;
  nodes.push_back(edit.producer(v));
  return h->in(0);
}

void replace(Edit& edit, int32_t root, std::string op, ValueId x, std::vector<int32_t> nodes) {
  Node whole = fused_node(std::move(op), "", parts(edit, std::move(nodes)));
  whole.inputs = {x};
  if (whole.op == "HardSigmoid") {
    whole.attrs["alpha"] = static_cast<float>(kAlpha);
    whole.attrs["beta"] = static_cast<float>(kBeta);
  }
  edit.replace_pattern(root, std::move(whole));
}

/// Clip(x / 6 + 1/2, 0, 1).
bool fuse_clip(Edit& edit, int32_t n) {
  if (!edit.node(n).is("Clip") || !is_clip(edit, &edit.node(n), 0, 1)) return false;
  const auto shifted = with_scalar(edit, edit.node(n).in(0), "Add");
  if (!shifted || !is_near(shifted->scalar, kBeta)) return false;
  const auto mul = with_scalar(edit, shifted->x, "Mul");
  const auto div = with_scalar(edit, shifted->x, "Div");
  const bool sixth = (mul && is_near(mul->scalar, kAlpha)) || (div && is_near(div->scalar, 6));
  if (!sixth) return false;
  replace(edit, n, "HardSigmoid", mul ? mul->x : div->x,
          {edit.producer(shifted->x), edit.producer(edit.node(n).in(0)), n});
  return true;
}

/// A HardSwish, or (without `times_x`) a HardSigmoid, with `root`, a product, as its last node.
struct Spelling {
  ValueId x = kNoValue;
  bool times_x = false;
  std::vector<int32_t> nodes;
};
std::optional<Spelling> spelling_at(const Edit& edit, int32_t root) {
  const auto product = product_of(edit, root);
  if (!product || product->factors.empty() || product->factors.size() > 2) return std::nullopt;
  for (size_t i = 0; i < product->factors.size(); ++i) {
    const ValueId other = product->factors.size() == 2 ? product->factors[1 - i] : kNoValue;
    Spelling s{.times_x = other != kNoValue, .nodes = product->nodes};
    const bool sixth = is_near(product->scalar, kAlpha);
    s.x = sixth ? relu6_of_x_plus_3(edit, product->factors[i], s.nodes)
                : hard_sigmoid_of(edit, product->factors[i], s.nodes);
    if (s.x == kNoValue || (s.times_x && other != s.x)) continue;
    if (!s.times_x && !sixth) continue;  // a lone HardSigmoid times a constant
    if (sixth || is_near(product->scalar, 1)) return s;
  }
  return std::nullopt;
}

void fuse_product(Edit& edit, int32_t n) {
  if (auto s = spelling_at(edit, n))
    replace(edit, n, s->times_x ? "HardSwish" : "HardSigmoid", s->x, std::move(s->nodes));
}

}  // namespace

bool is_spelt_out_hardswish(const Edit& edit, int32_t n) { return spelling_at(edit, n).has_value(); }

Result<Graph> fuse_hardswish(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  for (int32_t n = 0; n < edit.size(); ++n)
    if (edit.alive(n) && !fuse_clip(edit, n)) fuse_product(edit, n);
  return std::move(edit).finish();
}

}  // namespace planish
