#include "planish/tools/trtexec/output_report.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "planish/base/atomic_file.h"
#include "planish/tools/trtexec/json_text.h"
#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

std::string value_text(const HostTensor& tensor, int64_t index, bool for_json) {
  const DType dtype = tensor.record.dtype;
  if (dtype == DType::i64 || dtype == DType::u64) {
    int64_t bits = 0;  // a double would lose digits above 2^53
    std::memcpy(&bits, tensor.data.data() + index * 8, sizeof bits);
    return dtype == DType::i64 ? fmt::format("{}", bits) : fmt::format("{}", static_cast<uint64_t>(bits));
  }
  const double value = load_element(dtype, tensor.data.data(), index);
  if (!std::isfinite(value)) return for_json ? "null" : fmt::format("{}", value);
  if (!dtype_is_float(dtype)) return fmt::format("{}", static_cast<int64_t>(value));
  return dtype == DType::f64 ? fmt::format("{}", value) : fmt::format("{}", static_cast<float>(value));
}

}  // namespace

int64_t HostTensor::count() const {
  int64_t product = 1;
  for (int64_t dim : record.dims) product *= dim;
  return product;
}

std::string flag_type(DType dtype) {
  switch (dtype) {
    case DType::f32: return "fp32";
    case DType::f16: return "fp16";
    case DType::f64: return "fp64";
    case DType::bf16: return "bf16";
    default: return std::string(dtype_numpy_name(dtype));
  }
}

std::string values_text(const HostTensor& tensor, std::string_view separator, bool for_json) {
  std::string text;
  const int64_t count = tensor.count();
  for (int64_t i = 0; i < count; ++i) {
    if (i != 0) text += separator;
    text += value_text(tensor, i, for_json);
  }
  return text;
}

void report_outputs(Log& log, std::span<const HostTensor> tensors) {
  log.info("Output Tensors:");
  for (const HostTensor& tensor : tensors) {
    if (tensor.is_input) continue;
    log.info(fmt::format("{}: ({})", tensor.record.name, dims_text(tensor.record.dims)));
    log.info(values_text(tensor, " ", false));
  }
}

std::string outputs_json(std::span<const HostTensor> tensors) {
  std::vector<std::string> objects;
  for (const HostTensor& tensor : tensors) {
    if (tensor.is_input) continue;
    objects.push_back(fmt::format("{{\"name\": {}, \"dimensions\": \"{}\", \"values\": [{}]}}",
                                  json_string(tensor.record.name), fmt::join(tensor.record.dims, "x"),
                                  values_text(tensor, ", ", true)));
  }
  return json_array_of_lines(objects);
}

std::string raw_file_name(const HostTensor& tensor) {
  std::string name = tensor.record.name;
  for (char& c : name) {
    const bool safe = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      (c != 0 && std::strchr("._-,", c) != nullptr);
    if (!safe) c = '_';
  }
  // A name such as ".." must not leave the folder; the suffix below already makes it an ordinary file name.
  return fmt::format("{}.{}.{}.{}.raw", name, tensor.is_input ? "input" : "output", fmt::join(tensor.record.dims, "."),
                     flag_type(tensor.record.dtype));
}

Status write_raw_files(Log& log, std::span<const HostTensor> tensors) {
  for (const HostTensor& tensor : tensors) {
    const std::string path = raw_file_name(tensor);
    PLANISH_TRY(write_file_atomically(
        path, std::string_view(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size())));
    log.info(fmt::format("Wrote {} ({} bytes)", path, tensor.data.size()));
  }
  return {};
}

}  // namespace planish::tools
