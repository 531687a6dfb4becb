#pragma once

#include <string>
#include <vector>

#include "planish/api/engine.h"
#include "planish/api/model_summary.h"
#include "planish/base/status.h"

namespace planish::tools {

/// What `polygraphy inspect model --show` adds to inputs, outputs and counts.
struct Shown {
  bool layers = false;
  bool attributes = false;  ///< has an effect with layers only
  bool weights = false;
};

/// How a node table names things.
enum class ModelStyle {
  onnx,    ///< Graph Input(s), Initializer(s), Node(s)
  network  ///< Network Input(s), Layer(s): a model read for a build (--convert-to trt)
};

/// The text below "==== ONNX Model ====" as polygraphy 0.53 prints it. Errors: weights that cannot be read.
Result<std::string> onnx_model_text(const OnnxSummary& model, const Shown& shown, ModelStyle style);

/// The text below "==== TensorRT Engine ====". Errors: an engine that cannot be prepared.
Result<std::string> engine_text(const api::Engine& engine, const Shown& shown);

/// Puts 4 blanks per level before every line, empty ones too; a final line break is dropped.
std::string indented(const std::string& text, int levels = 1);

/// Name and "[dtype=..., shape=...]" of a tensor for a list; the metadata may be empty.
struct TensorLine {
  std::string name;
  std::string metadata;
};
/// "{a [..],\n b [..]}"
std::string tensor_set(const std::vector<TensorLine>& tensors);

/// "Node 0    | conv0 [Op: Conv]" with its inputs and outputs, ending in a line break.
std::string node_text(const std::string& prefix, size_t index, const std::string& name, const std::string& op,
                      const std::vector<TensorLine>& inputs, const std::vector<TensorLine>& outputs);

}  // namespace planish::tools
