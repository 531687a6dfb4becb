#include "planish/tools/polygraphy/runner.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "planish/api/model_summary.h"
#include "planish/tools/polygraphy/numpy_text.h"
#include "planish/tools/polygraphy/tool.h"
#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

std::vector<std::string> names_of(const NamedTensors& tensors) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  return names;
}

/// Integers into wider integers, and floats into floats, keep what they mean.
bool converts(DType from, DType to) {
  if (from == to) return true;
  if (dtype_is_float(from)) return dtype_is_float(to);
  return !dtype_is_float(to) && from != DType::boolean && to != DType::boolean;
}

Status check_shape(const RunnerInput& input, const Tensor& tensor) {
  const auto& dims = input.info.dims;
  bool fits = static_cast<size_t>(tensor.rank()) == dims.size();
  for (size_t i = 0; fits && i < dims.size(); ++i) {
    const int64_t d = tensor.shape()[i];
    fits = dims[i] < 0 || dims[i] == d;
    if (fits && input.range && i < input.range->min.size() && i < input.range->max.size())
      fits = input.range->min[i] <= d && d <= input.range->max[i];
  }
  if (fits) return {};
  const std::string wanted =
      input.range && dims.size() == input.range->min.size()
          ? fmt::format("{} to {}", python_tuple(input.range->min), python_tuple(input.range->max))
          : python_tuple(dims);
  return Error{.code = Code::shape_mismatch,
               .tensor = input.info.name,
               .what = fmt::format("the data has shape {}, the input takes {}", python_tuple(tensor.shape()), wanted),
               .fix =
                   "give data of that shape, or build for others with --trt-min-shapes, --trt-opt-shapes and "
                   "--trt-max-shapes"};
}

std::vector<std::string> output_patterns(const std::vector<std::string>& values) {
  // "mark all" was the spelling before wildcards.
  for (size_t i = 0; i + 1 < values.size(); ++i)
    if (values[i] == "mark" && values[i + 1] == "all") return {"*"};
  return values;
}

bool matches_any(const std::vector<std::string>& patterns, const std::string& name) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& p) { return fnmatches(p, name); });
}

bool same_type(std::string_view wanted, std::string_view op) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  // TensorRT's CONVOLUTION is ONNX's Conv: one begins like the other.
  const size_t common = std::min(wanted.size(), op.size());
  if (common < 3) return false;
  for (size_t i = 0; i < common; ++i)
    if (lower(wanted[i]) != lower(op[i])) return false;
  return true;
}

}  // namespace

std::string runner_name(const std::string& kind, int number) {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  return fmt::format("{}-runner-N{}-{:%m/%d/%y-%H:%M:%S}", kind, number, local);
}

Result<NamedTensors> feed_for(const Runner& runner, const NamedTensors& inputs) {
  NamedTensors feed;
  for (const RunnerInput& input : runner.inputs()) {
    const std::string& name = input.info.name;
    const auto it = std::find_if(inputs.begin(), inputs.end(), [&](const auto& t) { return t.first == name; });
    if (it == inputs.end()) {
      std::vector<std::string> wanted;
      for (const RunnerInput& other : runner.inputs()) wanted.push_back(other.info.name);
      return Error{
          .code = Code::not_found,
          .tensor = name,
          .what = fmt::format("the data holds no array for this input; it holds {}", python_list(names_of(inputs))),
          .fix = fmt::format("name the arrays like the model's inputs: {}", python_list(wanted))};
    }
    PLANISH_TRY(check_shape(input, it->second));
    if (!converts(it->second.dtype(), input.info.dtype))
      return Error{.code = Code::invalid_argument,
                   .tensor = name,
                   .what = fmt::format("the data is {}, the input {}", dtype_numpy_name(it->second.dtype()),
                                       dtype_numpy_name(input.info.dtype)),
                   .fix = fmt::format("give it as {}", dtype_numpy_name(input.info.dtype))};
    feed.emplace_back(name, it->second.dtype() == input.info.dtype ? it->second : it->second.cast(input.info.dtype));
  }
  return feed;
}

Result<std::optional<std::vector<std::string>>> selected_outputs(const std::string& model, const ParsedOptions& options,
                                                                 const std::string& prefix, PolygraphyLog& log) {
  using Names = std::optional<std::vector<std::string>>;
  const auto wanted = output_patterns(options.values(prefix + "-outputs"));
  const auto unwanted = output_patterns(options.values(prefix + "-exclude-outputs"));
  const auto types = options.values(prefix + "-outputs-by-type");
  if (wanted.empty() && unwanted.empty() && types.empty()) return Names();
  const OnnxSummary summary = PLANISH_TRY(summarise_onnx(model));
  std::vector<std::string> own;
  for (const OnnxTensorInfo& output : summary.graph.outputs) own.push_back(output.name);
  std::vector<std::string> all, chosen;
  for (const OnnxNodeSummary& node : summary.graph.nodes) {
    const bool of_type = std::any_of(types.begin(), types.end(), [&](const auto& t) { return same_type(t, node.op); });
    for (const std::string& name : node.outputs) {
      if (name.empty() || node.op == "Constant") continue;
      all.push_back(name);
      const bool is_own = std::find(own.begin(), own.end(), name) != own.end();
      const bool by_default = wanted.empty() && types.empty() && is_own;
      if ((by_default || of_type || matches_any(wanted, name)) && !matches_any(unwanted, name)) chosen.push_back(name);
    }
  }
  for (const std::string& pattern : wanted)
    if (std::none_of(all.begin(), all.end(), [&](const std::string& name) { return fnmatches(pattern, name); })) {
      if (pattern.find_first_of("*?[") == std::string::npos) {
        const std::string near = nearest_word(pattern, all);
        return Error{.code = Code::not_found,
                     .tensor = pattern,
                     .file = prefix + "-outputs",
                     .what = "the model computes no tensor of that name",
                     .fix = near.empty() ? "polygraphy inspect model --show layers lists them"
                                         : fmt::format("did you mean '{}'?", near)};
      }
      log.print(PolygraphyLog::warning, fmt::format("No tensors matched wildcard pattern: '{}'", pattern));
    }
  if (chosen.empty()) return plain_error("No outputs were selected. Please check your wildcard patterns.");
  return Names(std::move(chosen));
}

}  // namespace planish::tools
