#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "planish/base/status.h"
#include "planish/ir/tensor.h"

namespace planish {

/// One dimension as the file has it: a size, a symbolic name, or neither (-1 and "").
struct OnnxDim {
  int64_t size = -1;
  std::string name;
  bool operator==(const OnnxDim&) const = default;
};

/// Name and type of a tensor as the file declares them.
struct OnnxTensorInfo {
  std::string name;
  std::string dtype;                         ///< numpy spelling; "" when not declared; "sequence" and the like
  std::optional<std::vector<OnnxDim>> dims;  ///< nullopt: the rank is not declared
};

struct OnnxInitialiser {
  OnnxTensorInfo info;
  bool external = false;
  std::function<Result<Tensor>()> values;  ///< reads the elements; works as long as the summary or a copy lives
};

struct OnnxGraphSummary;

/// A plain attribute's value; monostate for tensors, graphs and what has none.
using OnnxAttributeValue = std::variant<std::monostate, int64_t, float, std::string, std::vector<int64_t>,
                                        std::vector<float>, std::vector<std::string>>;

struct OnnxAttribute {
  std::string name;
  std::string text;  ///< the value in Python's notation: [1, 1], 0.5, 'NOTSET'; tensors: their type and shape
  std::vector<OnnxGraphSummary> graphs;    ///< for attributes that hold graphs
  std::function<Result<Tensor>()> tensor;  ///< empty unless the attribute is a tensor
  OnnxAttributeValue value;
};

struct OnnxNodeSummary {
  std::string name;  ///< "" when the file gives none
  std::string op;
  std::string domain;
  std::vector<std::string> inputs;  ///< "" for an absent one
  std::vector<std::string> outputs;
  std::vector<OnnxAttribute> attributes;
};

struct OnnxGraphSummary {
  std::string name;
  std::string doc;
  std::vector<OnnxTensorInfo> inputs;  ///< initialisers that are also inputs are left out
  std::vector<OnnxTensorInfo> outputs;
  std::vector<OnnxInitialiser> initialisers;
  std::vector<OnnxNodeSummary> nodes;
  std::map<std::string, OnnxTensorInfo> tensors;  ///< everything the file declares a type for, by name
};

/// What an ONNX file says, nothing adapted or inferred (`polygraphy inspect model`).
struct OnnxSummary {
  int64_t ir_version = 0;
  std::map<std::string, int64_t> opset_imports;  ///< by domain; the default domain is ""
  std::string producer_name;
  std::string producer_version;
  std::string doc;
  std::map<std::string, std::string> metadata;
  OnnxGraphSummary graph;
  std::vector<std::string> functions;  ///< "domain.name" of model-local functions
};

/// Errors: those of the file (not_found, io, corrupt). Weights are not read before they are asked for.
Result<OnnxSummary> summarise_onnx(const std::filesystem::path& file);

}  // namespace planish
