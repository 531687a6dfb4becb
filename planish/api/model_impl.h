#pragma once

// What a Model holds; for the files of api/ alone.

#include "planish/api/engine.h"
#include "planish/onnx/import.h"

namespace planish::api {

struct Model::Impl {
  ImportedModel model;
  std::string file_name;
  uint64_t source_hash = 0;
  std::vector<TensorInfo> inputs;
  std::vector<TensorInfo> outputs;
};

/// The way into a Model for the functions of api/ that are no members of it.
struct ModelAccess {
  static const Model::Impl& impl(const Model& model) { return *model.impl_; }
  static Model::Impl& impl(Model& model) { return *model.impl_; }
  /// A model like `model` with another graph.
  static Model with_graph(const Model& model, Graph graph);
};

}  // namespace planish::api
