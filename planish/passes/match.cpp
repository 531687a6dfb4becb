#include "planish/passes/match.h"

#include <algorithm>
#include <cmath>

namespace planish {
namespace {

/// Deeper products are not a pattern anybody writes.
constexpr size_t kMaxProductNodes = 6;

void take_apart(const Edit& edit, int32_t n, Product& product) {
  product.nodes.push_back(n);
  const Node& node = edit.node(n);
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const ValueId v = node.inputs[i];
    if (const auto c = scalar_of(edit, v)) {
      product.scalar = node.is("Div") ? product.scalar / *c : product.scalar * *c;
      continue;
    }
    const int32_t maker = edit.producer(v);
    const bool is_product =
        maker >= 0 && (edit.node(maker).is("Mul") ||
                       (edit.node(maker).is("Div") && scalar_of(edit, edit.node(maker).in(1)).has_value()));
    if (is_product && edit.single_consumer(v) == n && product.nodes.size() < kMaxProductNodes)
      take_apart(edit, maker, product);
    else
      product.factors.push_back(v);
  }
}

}  // namespace

std::optional<double> scalar_of(const Edit& edit, ValueId v) {
  const Tensor* t = edit.constant(v);
  const bool numeric = t != nullptr && (dtype_is_float(t->dtype()) || dtype_is_integer(t->dtype()));
  return numeric && t->size() == 1 ? std::optional(t->at(0)) : std::nullopt;
}

bool is_near(double value, double expected) { return std::fabs(value - expected) <= 1e-3 * std::fabs(expected); }

bool is_scalar(const Edit& edit, ValueId v, double expected) {
  const auto c = scalar_of(edit, v);
  return c && is_near(*c, expected);
}

std::optional<WithScalar> with_scalar(const Edit& edit, ValueId v, std::string_view op) {
  const Node* node = edit.made_by(v, op);
  if (node == nullptr || node->inputs.size() != 2) return std::nullopt;
  const bool commutes = op == "Add" || op == "Mul";
  for (size_t i = 0; i < (commutes ? 2U : 1U); ++i) {
    const auto c = scalar_of(edit, node->in(1 - i));
    if (!c) continue;
    const int64_t rank = edit.rank(node->in(i));
    if (edit.constant(node->in(1 - i))->rank() > std::max<int64_t>(rank, 0)) continue;
    return WithScalar{node->in(i), *c};
  }
  return std::nullopt;
}

std::optional<Product> product_of(const Edit& edit, int32_t root) {
  const Node& node = edit.node(root);
  if (!node.is("Mul") && !(node.is("Div") && scalar_of(edit, node.in(1)))) return std::nullopt;
  Product product;
  take_apart(edit, root, product);
  return product;
}

ValueId squared(const Edit& edit, ValueId v) {
  if (const Node* mul = edit.made_by(v, "Mul")) return mul->in(0) == mul->in(1) ? mul->in(0) : kNoValue;
  const Node* pow = edit.made_by(v, "Pow");
  return pow != nullptr && is_scalar(edit, pow->in(1), 2) ? pow->in(0) : kNoValue;
}

std::vector<const Node*> parts(const Edit& edit, std::vector<int32_t> nodes) {
  std::ranges::sort(nodes);
  // Not std::ranges::unique: the subranges of libstdc++ 12 do not compile with clang 14.
  const auto first = std::unique(nodes.begin(), nodes.end());
  const auto last = nodes.end();
  nodes.erase(first, last);
  std::vector<const Node*> out;
  for (const int32_t n : nodes)
    if (n >= 0) out.push_back(&edit.node(n));
  return out;
}

}  // namespace planish
