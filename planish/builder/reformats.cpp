#include "planish/builder/reformats.h"

#include <fmt/format.h>

#include <map>
#include <tuple>

namespace planish {
namespace {

class ReformatInserter {
 public:
  ReformatInserter(const Graph& graph, const std::vector<std::optional<NodeView>>& views, std::vector<Choice> choices,
                   bool outputs_as_made)
      : source_(graph),
        uses_(graph),
        views_(views),
        choices_(std::move(choices)),
        outputs_as_made_(outputs_as_made),
        out_(graph) {
    out_.nodes.clear();
  }

  Graph run(std::vector<Choice>& choices) {
    for (size_t n = 0; n < source_.nodes.size(); ++n) add(n);
    choices = std::move(out_choices_);
    return std::move(out_);
  }

 private:
  void add(size_t n) {
    const Choice& choice = choices_[n];
    Node node = source_.nodes[n];
    std::vector<std::pair<ValueId, ValueId>> to_output;  // (as produced, as the network returns it)
    if (!views_[n]) {
      for (ValueId& v : node.inputs) {
        const auto it = as_produced_.find(v);
        const bool asked_so = v != kNoValue && source_.value(v).layout != Layout::row_major;
        if (it == as_produced_.end() && !asked_so) continue;
        const DType type = it != as_produced_.end() ? it->second.original : source_.value(v).dtype;
        v = in_form(v, type, Layout::row_major, type);
      }
    } else {
      const NodeView& view = *views_[n];
      if (choice.types != TypePair{})
        with_types(view, choice.types, node, [](const Tensor& constant, DType) { return &constant; });
      for (size_t i = 0; i < node.inputs.size(); ++i) {
        ValueId& v = node.inputs[i];
        if (v == kNoValue || !view.has_input(i)) continue;
        const DType type = input_type(view, i, choice.types);
        if (source_.value(v).is_constant())
          v = constant_in(v, type, view.inputs[i].dtype);
        else
          v = in_form(v, view.inputs[i].dtype, has_layout_choice(view.inputs[i]) ? choice.in : Layout::row_major, type);
      }
      for (size_t o = 0; o < node.outputs.size(); ++o) {
        ValueId& v = node.outputs[o];
        if (v == kNoValue || !view.outputs[o].present()) continue;
        const Layout layout = has_layout_choice(view.outputs[o]) ? choice.out : Layout::row_major;
        const DType type = output_type(view, o, choice.types);
        out_.value(v).dtype = view.outputs[o].dtype;
        const bool is_output = uses_.is_output[static_cast<size_t>(v)] && !outputs_as_made_;
        // Rows, but for a network output that is asked for in another layout.
        const Layout asked = source_.value(v).layout;
        if (layout == asked && type == view.outputs[o].dtype) continue;
        const ValueId named = v;
        if (is_output) {
          v = copy_value(v, layout, type, view.outputs[o].dtype);
          to_output.emplace_back(v, named);
        } else {
          out_.value(v).layout = layout;
          out_.value(v).dtype = type;
        }
        made_[{named, layout, type}] = v;
        as_produced_[named] = {v, layout, type, view.outputs[o].dtype};
      }
    }
    out_.nodes.push_back(std::move(node));
    out_choices_.push_back(choice);
    for (const auto& [from, to] : to_output) add_reformat(from, to);
  }

  ValueId constant_in(ValueId v, DType type, DType original) {
    if (type == original) return v;
    if (const auto it = made_.find({v, Layout::row_major, type}); it != made_.end()) return it->second;
    Value copy = source_.value(v);
    copy.name = out_.unique_name(fmt::format("{}@{}", copy.name, dtype_name(type)));
    copy.dtype = type;
    copy.constant = source_.value(v).constant->cast(type);
    return made_[{v, Layout::row_major, type}] = out_.add_value(std::move(copy));
  }

  ValueId copy_value(ValueId v, Layout layout, DType type, DType original) {
    Value copy = source_.value(v);
    const std::string form = type == original ? std::string(layout_name(layout))
                                              : fmt::format("{}.{}", layout_name(layout), dtype_name(type));
    copy.name = out_.unique_name(fmt::format("{}@{}", copy.name, form));
    copy.layout = layout;
    copy.dtype = type;
    copy.constant.reset();
    return out_.add_value(std::move(copy));
  }

  void add_reformat(ValueId from, ValueId to) {
    const Value& a = out_.value(from);
    const Value& b = out_.value(to);
    std::string change = fmt::format("{} to {}", layout_name(a.layout), layout_name(b.layout));
    Node node{.op = "Reformat",
              .domain = "planish",
              .name = {},
              .inputs = {from},
              .outputs = {to},
              .attrs = {},
              .origins = {}};
    if (a.dtype != b.dtype) {
      node.attrs["y_type"] = std::string(dtype_name(b.dtype));
      const std::string types = fmt::format("{} to {}", dtype_name(a.dtype), dtype_name(b.dtype));
      change = a.layout == b.layout ? types : fmt::format("{}, {}", change, types);
    }
    node.name = fmt::format("Reformatting CopyNode for {} ({})", b.name, change);
    Choice choice;
    choice.in = a.layout;
    choice.out = b.layout;
    out_.nodes.push_back(std::move(node));
    out_choices_.push_back(choice);
  }

  /// `original` is the value's type in the source graph.
  ValueId in_form(ValueId v, DType original, Layout layout, DType type) {
    if (const auto it = made_.find({v, layout, type}); it != made_.end()) return it->second;
    const auto it = as_produced_.find(v);
    const Produced available =
        it != as_produced_.end() ? it->second : Produced{v, source_.value(v).layout, original, original};
    if (available.layout == layout && available.type == type) return available.value;
    const ValueId made = copy_value(v, layout, type, original);
    out_.value(available.value).dtype = available.type;
    add_reformat(available.value, made);
    return made_[{v, layout, type}] = made;
  }

  struct Produced {
    ValueId value = kNoValue;
    Layout layout = Layout::row_major;
    DType type = DType::f32;
    DType original = DType::f32;
  };

  const Graph& source_;
  Uses uses_;
  const std::vector<std::optional<NodeView>>& views_;
  std::vector<Choice> choices_;
  bool outputs_as_made_;
  Graph out_;
  std::vector<Choice> out_choices_;
  std::map<std::tuple<ValueId, Layout, DType>, ValueId> made_;
  std::map<ValueId, Produced> as_produced_;  ///< the form that the producer wrote
};

}  // namespace

Graph insert_reformats(const Graph& graph, const std::vector<std::optional<NodeView>>& views,
                       std::vector<Choice>& choices, bool outputs_as_made) {
  return ReformatInserter(graph, views, choices, outputs_as_made).run(choices);
}

}  // namespace planish
