#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "planish/base/status.h"
#include "planish/ir/graph.h"

namespace planish {

struct ExportOptions {
  int64_t opset = 20;  ///< at least; raised to what the graph's operators need
  std::string producer_name = "planish";
  std::string producer_version;
  /// Initialisers of this many bytes or more go to "<file>.data" when the file would exceed 2 GB; 0: always.
  size_t external_bytes = 1024;
  bool force_external = false;
};

/// Writes `graph` as an ONNX file that import_onnx() and other tools read. Subgraphs get their captured values by
/// name again. The file appears complete or not at all.
/// Errors: unsupported (an operator of domain "planish": fused layers have no ONNX form), io.
Status export_onnx(const Graph& graph, const std::filesystem::path& file, const ExportOptions& options = {});

/// The same into memory, without external data. Error unsupported also when it exceeds 2 GB.
Result<std::string> export_onnx(const Graph& graph, const ExportOptions& options = {});

}  // namespace planish
