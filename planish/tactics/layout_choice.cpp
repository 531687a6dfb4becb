#include "planish/tactics/layout_choice.h"

namespace planish {

bool has_layout_choice(const TensorDesc& d) {
  const bool quantised = d.dtype == DType::i8 || d.dtype == DType::u8 || d.dtype == DType::i32;
  return d.present() && d.rank() >= 3 && d.rank() <= 5 &&
         (quantised || (dtype_is_byte_sized(d.dtype) && dtype_is_float(d.dtype)));
}

NodeView with_layouts(const NodeView& view, Layout in, Layout out) {
  NodeView v = view;
  for (size_t i = 0; i < v.inputs.size(); ++i)
    if (!v.is_constant(i) && has_layout_choice(v.inputs[i])) v.inputs[i].layout = in;
  for (TensorDesc& d : v.outputs)
    if (has_layout_choice(d)) d.layout = out;
  return v;
}

NodeView reformat_view(const TensorDesc& from, Layout to, Node& node, DType type) {
  node = Node{.op = "Reformat",
              .domain = "planish",
              .name = "reformat",
              .inputs = {0},
              .outputs = {1},
              .attrs = {},
              .origins = {}};
  NodeView view;
  view.node = &node;
  view.inputs = {from};
  view.outputs = {from};
  view.outputs[0].layout = to;
  if (type != DType::undefined && type != from.dtype) {
    view.outputs[0].dtype = type;
    node.attrs["y_type"] = std::string(dtype_name(type));
  }
  view.constants = {nullptr};
  view.constant_inputs = {false};
  return view;
}

}  // namespace planish
