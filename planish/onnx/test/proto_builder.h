#pragma once
// Shorthands that build ModelProto messages for the tests.

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "onnx.pb.h"
#include "planish/onnx/import.h"
#include "planish/ops/op.h"

namespace planish::testing {

inline void add_value_info(onnx::ValueInfoProto& info, const std::string& name, int32_t type,
                           const std::vector<int64_t>& dims) {
  info.set_name(name);
  auto* tensor = info.mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(type);
  tensor->mutable_shape();
  for (const int64_t d : dims) {
    auto* dim = tensor->mutable_shape()->add_dim();
    if (d >= 0)
      dim->set_dim_value(d);
    else
      dim->set_dim_param("N");
  }
}

inline void fill_floats(onnx::TensorProto& t, const std::string& name, const std::vector<int64_t>& dims,
                        const std::vector<float>& values) {
  t.set_name(name);
  t.set_data_type(onnx::TensorProto::FLOAT);
  for (const int64_t d : dims) t.add_dims(d);
  for (const float v : values) t.add_float_data(v);
}

inline void fill_ints(onnx::TensorProto& t, const std::string& name, const std::vector<int64_t>& values) {
  t.set_name(name);
  t.set_data_type(onnx::TensorProto::INT64);
  t.add_dims(static_cast<int64_t>(values.size()));
  for (const int64_t v : values) t.add_int64_data(v);
}

/// A graph under construction; the functions return the message for further changes.
struct GraphMaker {
  onnx::GraphProto* graph;

  GraphMaker& input(const std::string& name, const std::vector<int64_t>& dims,
                    int32_t type = onnx::TensorProto::FLOAT) {
    add_value_info(*graph->add_input(), name, type, dims);
    return *this;
  }
  GraphMaker& output(const std::string& name, int32_t type = onnx::TensorProto::FLOAT) {
    graph->add_output()->set_name(name);
    graph->mutable_output(graph->output_size() - 1)->mutable_type()->mutable_tensor_type()->set_elem_type(type);
    return *this;
  }
  GraphMaker& floats(const std::string& name, const std::vector<int64_t>& dims, const std::vector<float>& values) {
    fill_floats(*graph->add_initializer(), name, dims, values);
    return *this;
  }
  GraphMaker& ints(const std::string& name, const std::vector<int64_t>& values) {
    fill_ints(*graph->add_initializer(), name, values);
    return *this;
  }
  onnx::NodeProto& node(const std::string& op, const std::vector<std::string>& inputs,
                        const std::vector<std::string>& outputs, const std::string& name = {}) {
    auto* n = graph->add_node();
    n->set_op_type(op);
    if (!name.empty()) n->set_name(name);
    for (const auto& i : inputs) n->add_input(i);
    for (const auto& o : outputs) n->add_output(o);
    return *n;
  }
};

inline onnx::AttributeProto& attr(onnx::NodeProto& node, const std::string& name,
                                  onnx::AttributeProto::AttributeType type) {
  auto* a = node.add_attribute();
  a->set_name(name);
  a->set_type(type);
  return *a;
}
inline void int_attr(onnx::NodeProto& node, const std::string& name, int64_t value) {
  attr(node, name, onnx::AttributeProto::INT).set_i(value);
}
inline void float_attr(onnx::NodeProto& node, const std::string& name, float value) {
  attr(node, name, onnx::AttributeProto::FLOAT).set_f(value);
}
inline void string_attr(onnx::NodeProto& node, const std::string& name, const std::string& value) {
  attr(node, name, onnx::AttributeProto::STRING).set_s(value);
}
inline void ints_attr(onnx::NodeProto& node, const std::string& name, const std::vector<int64_t>& values) {
  auto& a = attr(node, name, onnx::AttributeProto::INTS);
  for (const int64_t v : values) a.add_ints(v);
}
inline void floats_attr(onnx::NodeProto& node, const std::string& name, const std::vector<float>& values) {
  auto& a = attr(node, name, onnx::AttributeProto::FLOATS);
  for (const float v : values) a.add_floats(v);
}
inline GraphMaker graph_attr(onnx::NodeProto& node, const std::string& name) {
  return {attr(node, name, onnx::AttributeProto::GRAPH).mutable_g()};
}

inline onnx::ModelProto model(int64_t opset, int64_t ir_version = 8) {
  onnx::ModelProto m;
  m.set_ir_version(ir_version);
  m.set_producer_name("test");
  m.add_opset_import()->set_version(opset);
  m.mutable_graph()->set_name("g");
  return m;
}
inline GraphMaker main_graph(onnx::ModelProto& m) { return {m.mutable_graph()}; }

inline Result<ImportedModel> import(const onnx::ModelProto& m, const std::filesystem::path& folder = {}) {
  const std::string bytes = m.SerializeAsString();
  return import_onnx(std::as_bytes(std::span(bytes)), folder);
}

inline std::string message_of(const Result<ImportedModel>& r) { return r.ok() ? std::string() : r.error().message(); }

inline Tensor floats(Shape shape, const std::vector<float>& values) {
  Tensor t(DType::f32, std::move(shape));
  std::copy(values.begin(), values.end(), t.data<float>());
  return t;
}

/// Imports, runs with reference operators and returns the first output's elements.
inline std::vector<double> run(const onnx::ModelProto& m, const std::vector<Tensor>& inputs) {
  const auto imported = import(m);
  if (!imported.ok()) throw std::runtime_error(imported.error().message());
  const auto out = interpret(imported->graph, inputs);
  if (!out.ok()) throw std::runtime_error(out.error().message());
  std::vector<double> values;
  for (int64_t i = 0; i < (*out)[0].size(); ++i) values.push_back((*out)[0].at(i));
  return values;
}

}  // namespace planish::testing
