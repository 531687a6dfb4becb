#include "planish/tools/trtexec/accuracy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "planish/tools/trtexec/input_files.h"
#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Sums over all elements that the losses are made of.
struct Sums {
  int64_t outside = 0;
  double absolute = 0;
  double squared = 0;
  double largest = 0;
  double dot = 0;
  double norm_a = 0;
  double norm_b = 0;
};

Sums sum_up(const HostTensor& actual, const HostTensor& reference, const AccuracyOptions& options) {
  Sums sums;
  for (int64_t i = 0; i < actual.count(); ++i) {
    const double a = load_element(actual.record.dtype, actual.data.data(), i);
    const double b = load_element(reference.record.dtype, reference.data.data(), i);
    if (a == b || (std::isnan(a) && std::isnan(b))) {
      if (std::isfinite(a)) {
        sums.dot += a * b;
        sums.norm_a += a * a;
        sums.norm_b += b * b;
      }
      continue;
    }
    const double error = std::isfinite(a) && std::isfinite(b) ? std::abs(a - b) : kInfinity;
    if (!(error <= options.absolute_tolerance + options.relative_tolerance * std::abs(b)) || error == kInfinity)
      ++sums.outside;
    sums.absolute += error;
    sums.squared += error * error;
    sums.largest = std::max(sums.largest, error);
    sums.dot += a * b;
    sums.norm_a += a * a;
    sums.norm_b += b * b;
  }
  return sums;
}

}  // namespace

double accuracy_loss(const HostTensor& actual, const HostTensor& reference, const AccuracyOptions& options) {
  const auto count = static_cast<double>(actual.count());
  if (count == 0) return 0;
  const Sums sums = sum_up(actual, reference, options);
  if (options.algorithm == "l0") return static_cast<double>(sums.outside) / count;
  if (options.algorithm == "l1") return sums.absolute / count;
  if (options.algorithm == "l2") return sums.squared / count;
  if (options.algorithm == "lInf") return sums.largest;
  if (sums.largest == kInfinity) return kInfinity;
  const double norms = std::sqrt(sums.norm_a) * std::sqrt(sums.norm_b);
  if (norms == 0) return sums.norm_a == sums.norm_b ? 0 : 1;
  return std::max(0.0, 1 - sums.dot / norms);
}

Status check_accuracy(Inference& inference, const AccuracyOptions& options, Log& log) {
  if (options.pairs.empty()) return {};
  log.info("=== Accuracy ===");
  int failures = 0;
  for (const ReferencePair& pair : options.pairs) {
    if (!pair.inputs.empty()) PLANISH_TRY(inference.run_with(pair.inputs));
    const std::vector<HostTensor> tensors = PLANISH_TRY(inference.tensors());
    for (const auto& [name, path] : pair.outputs) {
      const auto actual = std::find_if(tensors.begin(), tensors.end(), [&, wanted = name](const HostTensor& t) {
        return !t.is_input && t.record.name == wanted;
      });
      if (actual == tensors.end()) {
        Error error;
        error.code = Code::not_found;
        error.file = "--loadRefOutputs";
        error.tensor = name;
        error.what = "the engine has no output of that name";
        error.fix = "look at the output names with --dumpLayerInfo";
        return error;
      }
      HostTensor reference = *actual;
      reference.data = PLANISH_TRY(read_tensor_file(path, actual->record, actual->record.dims));
      const double loss = accuracy_loss(*actual, reference, options);
      const bool passed = loss <= options.threshold.value_or(0);
      failures += passed ? 0 : 1;
      log.info(fmt::format("Pair {}: output {}: {} loss = {}, threshold = {}: {}", pair.index, name, options.algorithm,
                           number_text(loss), number_text(options.threshold.value_or(0)),
                           passed ? "passed" : "FAILED"));
    }
  }
  if (failures == 0) return {};
  Error error;
  error.code = Code::invalid_argument;
  error.file = "--accuracyThreshold";
  error.what = fmt::format("{} of the compared outputs lie above the threshold", failures);
  error.fix = "compare with an FP32 engine, or raise the threshold";
  return error;
}

}  // namespace planish::tools
