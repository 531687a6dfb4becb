#pragma once

#include "planish/base/status.h"
#include "planish/tools/trtexec/inference.h"
#include "planish/tools/trtexec/options.h"

namespace planish::tools {

/// Loss between two tensors of one shape and type. l0: share of elements with |a - b| > atol + rtol * |b|; l1: mean
/// absolute error; l2: mean squared error; lInf: largest absolute error; cos: 1 - cosine similarity. NaN anywhere
/// except in both at the same place gives infinity (l0: counts as outside).
double accuracy_loss(const HostTensor& actual, const HostTensor& reference, const AccuracyOptions& options);

/// Runs every reference pair and compares its outputs; prints one line per output. Error when a loss is above the
/// threshold.
Status check_accuracy(Inference& inference, const AccuracyOptions& options, Log& log);

}  // namespace planish::tools
