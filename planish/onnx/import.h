#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "planish/base/status.h"
#include "planish/ir/graph.h"

namespace planish {

/// Newest opset of the default domain, and newest IR version, whose meaning the importer knows (onnx 1.23).
inline constexpr int64_t kNewestOpset = 28;
inline constexpr int64_t kNewestIrVersion = 14;

/// An ONNX model as planish works with it, and what its file says about itself.
struct ImportedModel {
  Graph graph;
  int64_t ir_version = 0;
  std::map<std::string, int64_t> opset_imports;  ///< by domain; the default domain is ""
  std::string producer_name;
  std::string producer_version;
  std::string domain;
  int64_t model_version = 0;
  std::string doc;
  std::map<std::string, std::string> metadata;
  std::vector<std::filesystem::path> external_files;  ///< the other files that hold its tensors, in order of name
  std::vector<std::string> warnings;                  ///< one sentence each: accepted, but worth telling the user
};

/// Reads an ONNX file. Every operator is adapted to its newest version, model-local functions are inlined, and the
/// bodies of If, Loop and Scan become closed graphs (see Graph::captures; such a node's `own_inputs` attribute counts
/// the inputs that ONNX gives it). External data is mapped, not read; it must lie in the model's folder.
///
/// Errors: not_found/io (the file), corrupt (no ONNX model, truncated, data that does not fit its dimensions),
/// invalid_model (names that do not resolve, cycles), version (opset too old), unsupported (one error that lists
/// every node whose operator planish does not have).
Result<ImportedModel> import_onnx(const std::filesystem::path& file);

/// The same from memory. `folder` is where external data may lie; empty: external data is refused.
Result<ImportedModel> import_onnx(std::span<const std::byte> bytes, const std::filesystem::path& folder = {});

}  // namespace planish
