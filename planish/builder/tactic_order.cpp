#include "planish/builder/tactic_order.h"

#include <fmt/format.h>

#include <algorithm>

namespace planish {
namespace {

/// Nodes seen before a tactic may be left out; what the cache remembers counts as so many.
constexpr int kFewNodes = 2;

/// Sizes that differ by less than four times are alike.
int64_t size_class(int64_t n) {
  int64_t c = 0;
  for (; n > 1; n /= 4) ++c;
  return c;
}

/// What similar nodes have in common, in these layouts.
std::string kind_of(const NodeView& view) {
  const Node& node = *view.node;
  std::string kind = op_key(node);
  for (const TensorDesc& d : view.inputs) kind += fmt::format(",{}{}", dtype_name(d.dtype), layout_name(d.layout));
  for (const TensorDesc& d : view.outputs) kind += fmt::format(">{}{}", dtype_name(d.dtype), layout_name(d.layout));
  if (node.op.ends_with("Conv") && view.inputs.size() > 1) {
    const Shape& w = view.inputs[1].shape;
    const int64_t groups = node.attr_int("group", 1);
    kind += groups == 1 ? "|dense" : w.size() > 1 && w[1] == 1 ? "|depthwise" : "|grouped";
    for (size_t i = 2; i < w.size(); ++i) kind += fmt::format("x{}", w[i]);
    for (const int64_t s : node.attr_ints("strides")) kind += fmt::format("/{}", s);
  }
  // Which algorithm wins depends on how much there is to do with each weight, too.
  if (!view.outputs.empty()) kind += fmt::format("|{}", size_class(view.outputs[0].size()));
  return kind;
}

}  // namespace

TacticOrder::Seen& TacticOrder::seen(const NodeView& view, const Tactic& tactic) {
  const std::string key = fmt::format("ratio|{}@{}|{}", tactic.id, tactic.version, kind_of(view));
  const auto [it, is_new] = seen_.try_emplace(key);
  if (!is_new) return it->second;
  if (const auto known = timer_.recall(key)) it->second = {*known, kFewNodes, false};
  return it->second;
}

double TacticOrder::ratio(const NodeView& view, const Tactic& tactic) {
  const Seen& s = seen(view, tactic);
  return s.nodes == 0 ? 1.0 : s.least;
}

bool TacticOrder::is_hopeless(const NodeView& view, const Tactic& tactic, double best_ms, double to_beat_ms) {
  constexpr double kMargin = 1.5;  // nodes of one kind differ
  const Seen& s = seen(view, tactic);
  return s.nodes >= kFewNodes && s.least * best_ms > kMargin * to_beat_ms;
}

void TacticOrder::learn(const NodeView& view, const Tactic& tactic, double ms, double best_ms) {
  if (!(best_ms > 0)) return;
  Seen& s = seen(view, tactic);
  ++s.nodes;
  s.fresh = s.fresh || ms / best_ms < s.least;
  s.least = std::min(s.least, ms / best_ms);
}

void TacticOrder::save() {
  for (auto& [key, s] : seen_)
    if (s.fresh && s.nodes >= kFewNodes) timer_.remember(key, s.least);
}

}  // namespace planish
