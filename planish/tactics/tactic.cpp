#include "planish/tactics/tactic.h"

#include <fmt/format.h>

#include <algorithm>

#include "planish/ops/op.h"

namespace planish {
namespace {

void append_attr(std::string& out, const Attr& attr) {
  std::visit(
      [&out](const auto& v) {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, int64_t> || std::is_same_v<T, float> || std::is_same_v<T, std::string>) {
          out += fmt::format("{}", v);
        } else if constexpr (std::is_same_v<T, Tensor>) {
          out += fmt::format("{}{}", dtype_name(v.dtype()), to_string(v.shape()));
        } else if constexpr (std::is_same_v<T, std::shared_ptr<const Graph>>) {
          out += fmt::format("graph:{}:{}", v->name, v->nodes.size());
        } else {
          for (const auto& e : v) out += fmt::format("{},", e);
        }
      },
      attr);
}

void append_desc(std::string& out, const TensorDesc& d) {
  if (!d.present()) {
    out += "_;";
    return;
  }
  out += fmt::format("{}{}@{};", dtype_name(d.dtype), to_string(d.shape), layout_name(d.layout));
}

}  // namespace

const Tactic* TacticTable::find(std::string_view id) const {
  const auto it = std::ranges::find_if(tactics, [id](const Tactic* t) { return t->id == id; });
  return it == tactics.end() ? nullptr : *it;
}

std::string op_key(const Node& node) { return node.domain.empty() ? node.op : node.domain + "." + node.op; }

bool tactic_takes(const Tactic& tactic, const Node& node) {
  if (tactic.ops.empty()) return true;
  const std::string key = op_key(node);
  return std::ranges::find(tactic.ops, key) != tactic.ops.end();
}

bool overwritable(const Tactic& tactic, const NodeView& view) {
  if (tactic.overwrites == Tactic::kNone) return false;
  const auto i = static_cast<size_t>(tactic.overwrites);
  if (!view.has_input(i) || view.is_constant(i) || view.outputs.size() != 1) return false;
  if (i < view.constants.size() && view.constants[i] != nullptr) return false;  // shape arithmetic knows it
  const TensorDesc& x = view.inputs[i];
  const TensorDesc& y = view.outputs[0];
  return x.shape == y.shape && x.layout == y.layout && x.bytes() == y.bytes();
}

std::vector<const Tactic*> supporting_tactics(const TacticTable& table, const NodeView& view, const Target& target,
                                              std::vector<Refusal>* refusals) {
  std::vector<const Tactic*> out;
  for (const Tactic* tactic : table.tactics) {
    if (!tactic_takes(*tactic, *view.node)) continue;
    WhyNot why = tactic->supports(view, target);
    if (!why)
      out.push_back(tactic);
    else if (refusals != nullptr)
      refusals->push_back({std::string(tactic->id), std::move(*why)});
  }
  return out;
}

Error no_tactic_error(const NodeView& view, std::span<const Refusal> refusals) {
  std::string what = fmt::format("no tactic can execute {}", op_key(*view.node));
  for (const TensorDesc& d : view.inputs) {
    what += &d == view.inputs.data() ? " on " : ", ";
    what += d.present() ? fmt::format("{}{}", dtype_name(d.dtype), to_string(d.shape)) : std::string("nothing");
  }
  std::vector<std::string> lines;  // one for all the layouts in which a tactic gave the same reason
  for (const Refusal& r : refusals) {
    std::string line = fmt::format("\n  {}: {}", r.tactic, r.reason);
    if (std::ranges::find(lines, line) == lines.end()) lines.push_back(std::move(line));
  }
  for (const std::string& line : lines) what += line;
  return Error{.code = Code::unsupported,
               .node = view.node->name,
               .what = std::move(what),
               .fix = "change the node as one of the reasons says, or report the operator"};
}

Result<Tensor> unpack_constant(const TacticTable& table, const NodeView& view, const PackedConstant& packed) {
  const auto input = static_cast<size_t>(packed.input);
  if (packed.input < 0 || input >= view.inputs.size())
    return Error{.code = Code::corrupt,
                 .node = view.node->name,
                 .what = "a packed weight belongs to no input",
                 .fix = "build the engine again"};
  const TensorDesc& wanted = view.inputs[input];
  const auto fits = [&wanted](const Tensor& t) { return t.dtype() == wanted.dtype && t.shape() == wanted.shape; };
  if (packed.format.empty()) {
    if (fits(packed.data)) return packed.data;
    return Error{.code = Code::corrupt,
                 .node = view.node->name,
                 .what = fmt::format("a stored weight is {}{}, the layer takes {}{}", dtype_name(packed.data.dtype()),
                                     to_string(packed.data.shape()), dtype_name(wanted.dtype), to_string(wanted.shape)),
                 .fix = "build the engine again"};
  }
  for (const Tactic* tactic : table.tactics) {
    if (tactic->unpack == nullptr || !tactic_takes(*tactic, *view.node)) continue;
    if (auto plain = tactic->unpack(view, packed); plain.ok() && fits(*plain)) return plain;
  }
  return Error{.code = Code::unsupported,
               .node = view.node->name,
               .what = fmt::format("weights are packed as '{}', which nothing here can read", packed.format),
               .fix = "build the engine again from the ONNX model on this machine"};
}

namespace {

/// Elementwise work on whole tensors of one shape and layout costs the same in every layout. Timing it once keeps noise
/// from choosing another layout, and with it reformats, for nothing.
bool layout_is_immaterial(const NodeView& view) {
  const OpDecl* op = find_op(view.node->domain, view.node->op);
  if (op == nullptr || (op->traits & kTraitPointwise) == 0 || view.outputs.size() != 1) return false;
  const TensorDesc& y = view.outputs[0];
  const int64_t block = layout_block(y.layout);
  if (block > 1 && (y.rank() < 2 || y.shape[1] % block != 0)) return false;
  return std::ranges::all_of(view.inputs, [&y](const TensorDesc& x) {
    return !x.present() || x.size() == 1 || (x.shape == y.shape && x.layout == y.layout);
  });
}

}  // namespace

std::string work_key(const NodeView& original) {
  NodeView view = original;
  if (layout_is_immaterial(view)) {
    for (TensorDesc& d : view.inputs) d.layout = Layout::row_major;
    view.outputs[0].layout = Layout::row_major;
  }
  std::string out = op_key(*view.node) + "{";
  for (const auto& [key, attr] : view.node->attrs) {
    out += key + "=";
    append_attr(out, attr);
    out += ";";
  }
  out += "}(";
  for (size_t i = 0; i < view.inputs.size(); ++i) {
    if (view.is_constant(i)) out += "const ";
    append_desc(out, view.inputs[i]);
  }
  out += ")->(";
  for (const TensorDesc& d : view.outputs) append_desc(out, d);
  return out + ")";
}

}  // namespace planish
