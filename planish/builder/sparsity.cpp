#include "planish/builder/sparsity.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace planish {
namespace {

/// Weights of a product as [outer][reduction][inner]: fours run along the middle index.
struct WeightView {
  ValueId value = kNoValue;
  int64_t outer = 1;
  int64_t reduction = 0;
  int64_t inner = 1;
};

WeightView weights_of(const Graph& graph, const Node& node) {
  const bool conv = node.is("Conv");
  if (!conv && !node.is("Gemm") && !node.is("MatMul")) return {};
  const Tensor* w = graph.constant_of(node.in(1));
  if (w == nullptr || !dtype_is_float(w->dtype()) || w->raw() == nullptr) return {};
  const Shape& shape = w->shape();
  if (shape.size() < 2 || (!conv && shape.size() != 2)) return {};
  const bool second = conv || node.attr_int("transB", 0) != 0;
  const size_t axis = second ? 1 : 0;
  if (shape[axis] == 0 || shape[axis] % 4 != 0) return {};
  WeightView view{.value = node.in(1), .reduction = shape[axis]};
  for (size_t d = 0; d < shape.size(); ++d)
    if (d != axis) (d < axis ? view.outer : view.inner) *= shape[d];
  return view;
}

/// Calls `four` with the element indices of every four weights until it returns false; returns what it returned last.
template <typename F>
bool for_fours(const WeightView& view, F four) {
  for (int64_t o = 0; o < view.outer; ++o)
    for (int64_t k = 0; k < view.reduction; k += 4)
      for (int64_t i = 0; i < view.inner; ++i) {
        std::array<int64_t, 4> at{};
        for (int64_t j = 0; j < 4; ++j) at[static_cast<size_t>(j)] = (o * view.reduction + k + j) * view.inner + i;
        if (!four(at)) return false;
      }
  return true;
}

bool is_sparse(const Tensor& w, const WeightView& view) {
  return for_fours(view, [&](const std::array<int64_t, 4>& at) {
    return std::ranges::count_if(at, [&w](int64_t i) { return w.at(i) != 0; }) <= 2;
  });
}

Tensor pruned(const Tensor& w, const WeightView& view) {
  Tensor out = w.clone();
  for_fours(view, [&](std::array<int64_t, 4> at) {
    std::ranges::sort(at, [&w](int64_t a, int64_t b) { return std::abs(w.at(a)) < std::abs(w.at(b)); });
    for (size_t j = 0; j < 2; ++j) store_element(out.dtype(), out.raw(), at[j], 0);
    return true;
  });
  return out;
}

}  // namespace

SparsityCount count_two_of_four(const Graph& graph) {
  SparsityCount count;
  for (const Node& node : graph.nodes) {
    const WeightView view = weights_of(graph, node);
    if (view.value == kNoValue) continue;
    ++count.eligible;
    if (is_sparse(*graph.constant_of(view.value), view)) ++count.sparse;
  }
  return count;
}

SparsityCount prune_to_two_of_four(Graph& graph) {
  SparsityCount count;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const WeightView view = weights_of(graph, graph.nodes[n]);
    if (view.value == kNoValue) continue;
    Tensor weights = pruned(*graph.constant_of(view.value), view);
    // A weight that several products share keeps its own value for the others.
    const std::string name = graph.unique_name(graph.value(view.value).name + "_2of4");
    const ValueId replaced = graph.add_constant(name, std::move(weights));
    graph.nodes[n].inputs[1] = replaced;
    ++count.eligible;
    ++count.sparse;
  }
  return count;
}

}  // namespace planish
