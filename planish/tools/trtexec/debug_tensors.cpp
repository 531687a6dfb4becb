#include "planish/tools/trtexec/debug_tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "planish/api/data.h"
#include "planish/base/atomic_file.h"
#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

std::string_view raw_bytes(const HostTensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size()};
}

Status write_npy_file(const std::string& path, const HostTensor& tensor) {
  return write_npy(path,
                   Tensor::borrow(tensor.record.dtype, tensor.record.dims, const_cast<std::byte*>(tensor.data.data())));
}

std::string summary_text(const HostTensor& tensor) {
  double low = 0;
  double high = 0;
  double sum = 0;
  const int64_t count = tensor.count();
  int64_t odd = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double v = load_element(tensor.record.dtype, tensor.data.data(), i);
    if (!std::isfinite(v)) {
      ++odd;
      continue;
    }
    low = i == odd ? v : std::min(low, v);
    high = i == odd ? v : std::max(high, v);
    sum += v;
  }
  const auto finite = static_cast<double>(std::max<int64_t>(count - odd, 1));
  return fmt::format("Debug tensor {}: {} {}, min = {}, max = {}, mean = {}, {} not finite", tensor.record.name,
                     flag_type(tensor.record.dtype), dims_text(tensor.record.dims), number_text(low), number_text(high),
                     number_text(sum / finite), odd);
}

/// The tensor's name with everything replaced that could leave the folder.
std::string file_stem(const HostTensor& tensor) {
  const std::string name = raw_file_name(tensor);
  return name.substr(0, name.rfind(".raw"));
}

Status save_in_format(const HostTensor& tensor, const std::string& format, Log& log) {
  if (format == "summary") {
    log.info(summary_text(tensor));
    return {};
  }
  const std::string path = file_stem(tensor) + (format == "numpy" ? ".npy" : format == "string" ? ".txt" : ".raw");
  if (format == "numpy")
    PLANISH_TRY(write_npy_file(path, tensor));
  else if (format == "string")
    PLANISH_TRY(write_file_atomically(path, values_text(tensor, " ", false) + "\n"));
  else
    PLANISH_TRY(write_file_atomically(path, raw_bytes(tensor)));
  log.info(fmt::format("Debug tensor {} written to {}", tensor.record.name, path));
  return {};
}

}  // namespace

Status save_debug_tensors(std::span<const HostTensor> tensors, const InferenceOptions& options, Log& log) {
  for (const auto& [name, path] : options.debug_tensor_files) {
    const auto it =
        std::ranges::find_if(tensors, [&wanted = name](const HostTensor& t) { return t.record.name == wanted; });
    if (it == tensors.end()) {
      Error error;
      error.code = Code::not_found;
      error.tensor = name;
      error.file = "--saveDebugTensors";
      error.what = "was not marked when the engine was built";
      error.fix = fmt::format("build with --markDebug={}", name);
      return error;
    }
    if (path.ends_with(".npy"))
      PLANISH_TRY(write_npy_file(path, *it));
    else
      PLANISH_TRY(write_file_atomically(path, raw_bytes(*it)));
    log.info(fmt::format("Debug tensor {} written to {}", name, path));
  }
  for (const HostTensor& tensor : tensors)
    for (const std::string& format : options.all_debug_tensor_formats) PLANISH_TRY(save_in_format(tensor, format, log));
  if (!options.all_debug_tensor_formats.empty() && tensors.empty())
    log.warn(
        "--saveAllDebugTensors: no tensor was marked; build with --markDebug or --markUnfusedTensorsAsDebugTensors");
  return {};
}

}  // namespace planish::tools
