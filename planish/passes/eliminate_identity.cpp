// Removes nodes that hand their input through: Identity, Dropout in inference, Cast to the same type, Transpose
// without effect, Reshape, Squeeze, Unsqueeze, Flatten, Expand, Slice, Pad and Tile that change nothing, Concat, Sum,
// Max, Min and Mean of one tensor, Split into one, and arithmetic with the neutral element.

#include <algorithm>
#include <array>
#include <numeric>

#include "planish/passes/match.h"
#include "planish/passes/pass.h"
#include "planish/passes/symbolic_shapes.h"

namespace planish {
namespace {

class Identities {
 public:
  Identities(const Edit& edit, const SymbolicShapes& shapes) : edit_(edit), shapes_(shapes) {}

  [[nodiscard]] bool is_identity(const Node& node) const {
    if (!node.domain.empty() || node.in(0) == kNoValue || node.out(0) == kNoValue) return false;
    if (node.op == "Identity") return true;
    if (node.op == "Dropout") return is_inference_dropout(node);
    if (node.op == "Cast") return edit_.dtype(node.in(0)) == static_cast<DType>(node.attr_int("to", 0));
    if (node.op == "Transpose") return is_identity_permutation(node);
    if (is_any(node, {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Expand", "Tile"})) return keeps_shape(node);
    if (node.op == "Slice")
      return keeps_shape(node) && all_elements(
                                      node.in(4), [](int64_t s) { return s > 0; }, true);
    if (node.op == "Pad")
      return all_elements(
          node.in(1), [](int64_t p) { return p == 0; }, false);
    if (is_any(node, {"Concat", "Sum", "Max", "Min", "Mean"})) return node.inputs.size() == 1;
    if (node.op == "Split") return node.outputs.size() == 1;
    return is_neutral(node);
  }

 private:
  static bool is_any(const Node& node, std::initializer_list<std::string_view> ops) {
    return std::ranges::find(ops, node.op) != ops.end();
  }

  [[nodiscard]] bool keeps_shape(const Node& node) const { return shapes_.same_shape(node.in(0), node.out(0)); }

  template <typename F>
  bool all_elements(ValueId v, F&& accept, bool when_absent) const {
    if (v == kNoValue) return when_absent;
    const Tensor* t = edit_.constant(v);
    return t != nullptr && std::ranges::all_of(t->to_i64(), accept);
  }

  [[nodiscard]] bool is_inference_dropout(const Node& node) const {
    const bool mask_read = node.out(1) != kNoValue && !edit_.is_unused(node.out(1));
    return !mask_read && all_elements(
                             node.in(2), [](int64_t training) { return training == 0; }, true);
  }

  [[nodiscard]] bool is_identity_permutation(const Node& node) const {
    const auto perm = node.attr_ints("perm");
    if (perm.empty()) return edit_.rank(node.in(0)) == 1 || edit_.rank(node.in(0)) == 0;
    std::vector<int64_t> identity(perm.size());
    std::iota(identity.begin(), identity.end(), 0);
    return perm == identity;
  }

  /// x + 0, x - 0, x * 1, x / 1, x ^ 1 with a scalar that does not broadcast x up.
  [[nodiscard]] bool is_neutral(const Node& node) const {
    static constexpr std::array<std::pair<std::string_view, double>, 5> kNeutral{
        {{"Add", 0}, {"Sub", 0}, {"Mul", 1}, {"Div", 1}, {"Pow", 1}}};
    for (const auto& [op, neutral] : kNeutral) {
      if (node.op != op || node.inputs.size() != 2) continue;
      const auto c = scalar_of(edit_, node.in(1));
      return c && *c == neutral && edit_.rank(node.in(0)) >= edit_.constant(node.in(1))->rank();
    }
    return false;
  }

  const Edit& edit_;
  const SymbolicShapes& shapes_;
};

}  // namespace

Result<Graph> eliminate_identity(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  const SymbolicShapes shapes(graph);
  const Identities identities(edit, shapes);
  for (int32_t n = 0; n < edit.size(); ++n) {
    const Node& node = edit.node(n);
    if (identities.is_identity(node) && edit.forward(node.out(0), node.in(0))) edit.remove(n);
  }
  return std::move(edit).finish();
}

}  // namespace planish
