// The two spellings of GELU as products x * (1 + ...) * 0.5, whatever the order of the factors:
//   erf:  x/2 * (1 + erf(x / sqrt(2)))
//   tanh: x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))
// Source: Hendrycks, Gimpel, "Gaussian Error Linear Units" (2016), section 2.

#include <numbers>

#include "planish/passes/match.h"
#include "planish/passes/pass.h"

namespace planish {
namespace {

constexpr double kTanhScale = 0.7978845608028654;  // sqrt(2 / pi)
constexpr double kCubic = 0.044715;

void add_makers(const Edit& edit, std::vector<int32_t>& nodes, std::initializer_list<ValueId> values) {
  for (const ValueId v : values) nodes.push_back(edit.producer(v));
}

/// `v` is erf(x / sqrt(2)).
bool is_erf_term(const Edit& edit, ValueId v, ValueId x, std::vector<int32_t>& nodes) {
  const Node* erf = edit.made_by(v, "Erf");
  if (erf == nullptr) return false;
  const auto div = with_scalar(edit, erf->in(0), "Div");
  const auto mul = with_scalar(edit, erf->in(0), "Mul");
  const bool scaled = (div && div->x == x && is_near(div->scalar, std::numbers::sqrt2)) ||
                      (mul && mul->x == x && is_near(mul->scalar, 1 / std::numbers::sqrt2));
  if (!scaled) return false;
  add_makers(edit, nodes, {erf->in(0), v});
  return true;
}

/// `v` is scale * x^power; the nodes it consists of are appended.
bool is_power_of(const Edit& edit, ValueId v, ValueId x, int power, double scale, std::vector<int32_t>& nodes) {
  const int32_t maker = edit.producer(v);
  if (maker < 0) return false;
  double factor = 1;
  std::vector<ValueId> factors{v};
  if (const auto product = product_of(edit, maker)) {
    factor = product->scalar;
    factors = product->factors;
    nodes.insert(nodes.end(), product->nodes.begin(), product->nodes.end());
  }
  int total = 0;
  for (const ValueId f : factors) {
    if (f == x) {
      ++total;
      continue;
    }
    const int32_t inner = edit.producer(f);
    if (inner < 0) return false;
    nodes.push_back(inner);
    const Node& node = edit.node(inner);
    if (node.is("Pow") && node.in(0) == x && scalar_of(edit, node.in(1)))
      total += static_cast<int>(*scalar_of(edit, node.in(1)));
    else if (squared(edit, f) == x)
      total += 2;
    else
      return false;
  }
  return total == power && is_near(factor, scale);
}

/// `v` is tanh(sqrt(2/pi) * (x + 0.044715 x^3)), or with x taken out of the bracket.
bool is_tanh_term(const Edit& edit, ValueId v, ValueId x, std::vector<int32_t>& nodes) {
  const Node* tanh = edit.made_by(v, "Tanh");
  const int32_t scaling = tanh != nullptr ? edit.producer(tanh->in(0)) : -1;
  const auto product = scaling >= 0 ? product_of(edit, scaling) : std::nullopt;
  if (!product || !is_near(product->scalar, kTanhScale)) return false;
  add_makers(edit, nodes, {v});
  nodes.insert(nodes.end(), product->nodes.begin(), product->nodes.end());
  const bool outside = product->factors.size() == 2;
  if (product->factors.empty() || product->factors.size() > 2) return false;
  if (outside && product->factors[0] != x && product->factors[1] != x) return false;
  const ValueId sum = outside && product->factors[0] == x ? product->factors[1] : product->factors[0];
  const Node* add = edit.made_by(sum, "Add");
  if (add == nullptr) return false;
  add_makers(edit, nodes, {sum});
  for (size_t i = 0; i < 2; ++i) {
    std::vector<int32_t> power;
    const bool first = outside ? is_scalar(edit, add->in(i), 1) : add->in(i) == x;
    if (!first || !is_power_of(edit, add->in(1 - i), x, outside ? 2 : 3, kCubic, power)) continue;
    nodes.insert(nodes.end(), power.begin(), power.end());
    return true;
  }
  return false;
}

/// A GELU with `root` as its last node.
struct Spelling {
  ValueId x = kNoValue;
  bool erf = true;
  std::vector<int32_t> nodes;
};
std::optional<Spelling> spelling_at(const Edit& edit, int32_t root) {
  const auto product = product_of(edit, root);
  if (!product || product->factors.size() != 2 || !is_near(product->scalar, 0.5)) return std::nullopt;
  for (size_t i = 0; i < 2; ++i) {
    Spelling s{.x = product->factors[i], .nodes = product->nodes};
    const auto one_plus = with_scalar(edit, product->factors[1 - i], "Add");
    if (!one_plus || !is_near(one_plus->scalar, 1)) continue;
    add_makers(edit, s.nodes, {product->factors[1 - i]});
    const size_t common = s.nodes.size();
    s.erf = is_erf_term(edit, one_plus->x, s.x, s.nodes);
    if (s.erf) return s;
    s.nodes.resize(common);
    if (is_tanh_term(edit, one_plus->x, s.x, s.nodes)) return s;
  }
  return std::nullopt;
}

void fuse(Edit& edit, int32_t n) {
  auto gelu = spelling_at(edit, n);
  if (!gelu) return;
  Node whole = fused_node("Gelu", "", parts(edit, std::move(gelu->nodes)));
  whole.inputs = {gelu->x};
  whole.attrs["approximate"] = std::string(gelu->erf ? "none" : "tanh");
  edit.replace_pattern(n, std::move(whole));
}

}  // namespace

bool is_spelt_out_gelu(const Edit& edit, int32_t n) { return spelling_at(edit, n).has_value(); }

Result<Graph> fuse_gelu(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  for (int32_t n = 0; n < edit.size(); ++n)
    if (edit.alive(n)) fuse(edit, n);
  return std::move(edit).finish();
}

}  // namespace planish
