#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "planish/base/status.h"
#include "planish/tools/trtexec/log.h"
#include "planish/tools/trtexec/session.h"

namespace planish::tools {

/// A tensor's description and its values in host memory; `dims` holds no unknown dimension.
struct HostTensor {
  TensorRecord record;
  bool is_input = false;
  std::vector<std::byte> data;
  [[nodiscard]] int64_t count() const;
};

/// Values joined by `separator`: whole numbers in full, floating point in its shortest form that reads back the same.
std::string values_text(const HostTensor& tensor, std::string_view separator, bool for_json);

/// The --dumpOutput section.
void report_outputs(Log& log, std::span<const HostTensor> tensors);

/// JSON array for --exportOutput: name, dimensions as text, values (null for NaN and infinities, which JSON lacks).
std::string outputs_json(std::span<const HostTensor> tensors);

/// `<safe name>.<input|output>.<d0.d1...>.<type>.raw`.
std::string raw_file_name(const HostTensor& tensor);

/// Writes every tensor to its raw file in the current directory.
Status write_raw_files(Log& log, std::span<const HostTensor> tensors);

/// "fp32", "fp16", "int64", ... as trtexec's flags spell types.
std::string flag_type(DType dtype);

}  // namespace planish::tools
