// Merges nodes that compute the same thing from the same inputs, and constants with equal content.

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "planish/ops/op.h"
#include "planish/passes/edit.h"
#include "planish/passes/pass.h"

namespace planish {
namespace {

/// Comparing larger constants with each other costs more than it is likely to save.
constexpr size_t kMaxComparedBytes = size_t{64} << 20;

bool equal_attr(const Attr& a, const Attr& b) {
  if (a.index() != b.index()) return false;
  return std::visit(
      [&b](const auto& x) {
        using T = std::decay_t<decltype(x)>;
        const T& y = *std::get_if<T>(&b);
        if constexpr (std::is_same_v<T, Tensor>)
          return bitwise_equal(x, y);
        else
          return x == y;
      },
      a);
}

bool equal_attrs(const Node& a, const Node& b) {
  if (a.attrs.size() != b.attrs.size()) return false;
  for (auto i = a.attrs.begin(), j = b.attrs.begin(); i != a.attrs.end(); ++i, ++j)
    if (i->first != j->first || !equal_attr(i->second, j->second)) return false;
  return true;
}

bool may_merge(const Node& node) {
  const OpDecl* op = find_op(node.domain, node.op);
  return op != nullptr && (op->traits & kTraitRandom) == 0;
}

std::string key_of(const Node& node) {
  std::string key = fmt::format("{}.{}/{}", node.domain, node.op, node.outputs.size());
  for (const ValueId v : node.inputs) key += fmt::format(",{}", v);
  return key;
}

std::string key_of(const Tensor& t) {
  // A sample of the bytes keeps the buckets small; bitwise_equal decides.
  std::string key = std::string(dtype_name(t.dtype())) + to_string(t.shape()) + "/";
  const size_t step = std::max<size_t>(1, t.bytes() / 64);
  for (size_t i = 0; i < t.bytes(); i += step) key += static_cast<const char*>(t.raw())[i];
  return key;
}

void merge_constants(Edit& edit) {
  std::unordered_map<std::string, std::vector<ValueId>> buckets;
  const auto count = static_cast<ValueId>(edit.graph().values.size());
  for (ValueId v = 0; v < count; ++v) {
    const Tensor* t = edit.constant(v);
    if (t == nullptr || t->dtype() == DType::string || t->bytes() > kMaxComparedBytes || edit.is_output(v)) continue;
    auto& bucket = buckets[key_of(*t)];
    bool merged = false;
    for (const ValueId other : bucket) {
      if (!bitwise_equal(*t, *edit.constant(other))) continue;
      merged = edit.forward(v, other);
      break;
    }
    if (!merged) bucket.push_back(v);
  }
}

bool forward_outputs(Edit& edit, const Node& from, const Node& to) {
  for (size_t i = 0; i < from.outputs.size(); ++i) {
    if ((from.outputs[i] == kNoValue) != (to.outputs[i] == kNoValue)) return false;
    // Both names must survive when both are graph outputs.
    if (from.outputs[i] != kNoValue && edit.is_output(from.outputs[i]) && edit.is_output(to.outputs[i])) return false;
  }
  for (size_t i = 0; i < from.outputs.size(); ++i)
    if (from.outputs[i] != kNoValue && !edit.forward(from.outputs[i], to.outputs[i])) return false;
  return true;
}

}  // namespace

Result<Graph> common_subexpressions(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  merge_constants(edit);
  std::unordered_map<std::string, std::vector<int32_t>> buckets;
  for (int32_t n = 0; n < edit.size(); ++n) {
    if (!may_merge(edit.node(n))) continue;
    auto& bucket = buckets[key_of(edit.node(n))];
    bool merged = false;
    for (const int32_t other : bucket) {
      if (!equal_attrs(edit.node(n), edit.node(other)) || !forward_outputs(edit, edit.node(n), edit.node(other)))
        continue;
      add_origins(edit.mutable_node(other), edit.node(n));
      edit.remove(n);
      merged = true;
      break;
    }
    if (!merged) bucket.push_back(n);
  }
  return std::move(edit).finish();
}

}  // namespace planish
