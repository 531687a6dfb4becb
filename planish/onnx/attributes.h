#pragma once

#include <map>
#include <optional>
#include <string>

#include "planish/base/status.h"
#include "planish/ir/graph.h"
#include "planish/onnx/tensor_proto.h"

namespace onnx {
class AttributeProto;
class NodeProto;
}  // namespace onnx

namespace planish {

/// Attributes that a call gives to a function's formal attributes, by formal name.
using AttrBindings = std::map<std::string, const onnx::AttributeProto*>;

/// Follows ref_attr_name through `bindings`; nullptr when the caller leaves the attribute out.
const onnx::AttributeProto* resolve_attribute(const onnx::AttributeProto& proto, const AttrBindings* bindings);

/// An attribute that is no graph. Errors: unsupported for kinds that no supported operator has.
Result<Attr> read_attribute(const onnx::AttributeProto& proto, TensorReader& reader);
/// True when the attribute holds a graph.
bool is_graph_attribute(const onnx::AttributeProto& proto);

/// Value of a Constant node. Strings: code unsupported.
Result<Tensor> read_constant_node(const onnx::NodeProto& proto, const AttrBindings* bindings, TensorReader& reader);

}  // namespace planish
