#pragma once

#include <cstdint>
#include <string>

#include "planish/api/data.h"
#include "planish/api/engine.h"
#include "planish/base/status.h"

namespace planish::tools {

/// The input of an engine that takes pictures, at the shapes that profile 0 is tuned for.
struct PictureInput {
  api::TensorInfo tensor;
  InputSize size;
  int64_t min_batch = 1;
  int64_t opt_batch = 1;
  int64_t max_batch = 1;
};

/// Errors: shape_mismatch, when there is not exactly one input or it is no [N,C,H,W] of floats.
Result<PictureInput> picture_input(const api::Engine& engine, const Preprocess& preprocess);

/// A preset or file as given, else a guess from what the input looks like: "yolo" for detection, "cifar10" for 32 x 32
/// pixels, "imagenet" for other colour pictures, "raw" for grey ones.
Result<Preprocess> choose_preprocess(const std::string& given, const api::Engine& engine, bool detection);

/// A tensor over the output's memory, valid until the next run.
Tensor borrowed(const api::HostTensor& output);

}  // namespace planish::tools
