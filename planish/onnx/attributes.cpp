#include "planish/onnx/attributes.h"

#include <fmt/format.h>

#include "onnx.pb.h"

namespace planish {
namespace {

using Proto = onnx::AttributeProto;

/// Old files leave `type` out; then the one field that is set decides.
Proto::AttributeType kind_of(const Proto& p) {
  if (p.type() != Proto::UNDEFINED) return p.type();
  if (p.has_f()) return Proto::FLOAT;
  if (p.has_i()) return Proto::INT;
  if (p.has_s()) return Proto::STRING;
  if (p.has_t()) return Proto::TENSOR;
  if (p.has_g()) return Proto::GRAPH;
  if (p.has_sparse_tensor()) return Proto::SPARSE_TENSOR;
  if (p.floats_size() > 0) return Proto::FLOATS;
  if (p.ints_size() > 0) return Proto::INTS;
  if (p.strings_size() > 0) return Proto::STRINGS;
  return Proto::UNDEFINED;
}

Error attribute_error(const Proto& p, Code code, std::string what) {
  return Error{.code = code, .what = fmt::format("attribute '{}' {}", p.name(), what)};
}

}  // namespace

const Proto* resolve_attribute(const Proto& proto, const AttrBindings* bindings) {
  if (proto.ref_attr_name().empty()) return &proto;
  if (bindings == nullptr) return nullptr;
  const auto it = bindings->find(proto.ref_attr_name());
  return it == bindings->end() ? nullptr : it->second;
}

bool is_graph_attribute(const Proto& proto) { return kind_of(proto) == Proto::GRAPH; }

Result<Attr> read_attribute(const Proto& p, TensorReader& reader) {
  switch (kind_of(p)) {
    case Proto::FLOAT: return Attr(p.f());
    case Proto::INT: return Attr(static_cast<int64_t>(p.i()));
    case Proto::STRING: return Attr(p.s());
    case Proto::FLOATS: return Attr(std::vector<float>(p.floats().begin(), p.floats().end()));
    case Proto::INTS: return Attr(std::vector<int64_t>(p.ints().begin(), p.ints().end()));
    case Proto::STRINGS: return Attr(std::vector<std::string>(p.strings().begin(), p.strings().end()));
    case Proto::TENSOR: return Attr(PLANISH_TRY(reader.read(p.t())));
    case Proto::SPARSE_TENSOR: return Attr(PLANISH_TRY(reader.read_sparse(p.sparse_tensor())));
    case Proto::UNDEFINED: return attribute_error(p, Code::invalid_model, "has no value");
    default: return attribute_error(p, Code::unsupported, "is a list of tensors or graphs, or a type");
  }
}

Result<Tensor> read_constant_node(const onnx::NodeProto& proto, const AttrBindings* bindings, TensorReader& reader) {
  for (const Proto& formal : proto.attribute()) {
    const Proto* p = resolve_attribute(formal, bindings);
    if (p == nullptr) continue;
    const std::string& key = formal.name();
    if (key == "value_string" || key == "value_strings")
      return Error{.code = Code::unsupported,
                   .what = "string tensors are not supported",
                   .fix = "move string processing out of the model"};
    if (!key.starts_with("value") && key != "sparse_value") continue;
    const Attr attr = PLANISH_TRY(read_attribute(*p, reader));
    if (const auto* t = std::get_if<Tensor>(&attr)) return *t;
    if (const auto* i = std::get_if<int64_t>(&attr)) return Tensor::scalar_i64(*i);
    if (const auto* f = std::get_if<float>(&attr)) return Tensor::scalar_f32(*f);
    if (const auto* is = std::get_if<std::vector<int64_t>>(&attr)) return Tensor::from_i64(*is);
    if (const auto* fs = std::get_if<std::vector<float>>(&attr)) return Tensor::from_f32(*fs);
    return attribute_error(formal, Code::invalid_model, "cannot be the value of a Constant");
  }
  return Error{.code = Code::invalid_model, .what = "Constant has no value"};
}

}  // namespace planish
