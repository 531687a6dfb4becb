#include "planish/tools/picture_input.h"

#include <fmt/format.h>

#include "planish/tools/console.h"

namespace planish::tools {
namespace {

Error no_picture(const api::Engine& engine, std::string what) {
  std::string inputs;
  for (const api::TensorInfo& t : engine.inputs())
    inputs +=
        fmt::format("{}{} {} {}", inputs.empty() ? "" : ", ", t.name, dtype_numpy_name(t.dtype), tuple_text(t.dims));
  return Error{.code = Code::shape_mismatch,
               .what = fmt::format("{}; its inputs are {}", what, inputs.empty() ? "none" : inputs),
               .fix = "use planish run for networks that do not take pictures"};
}

const api::ShapeRange* range_of(const api::Engine& engine, const std::string& name) {
  if (engine.profiles().empty()) return nullptr;
  const auto it = engine.profiles()[0].find(name);
  return it == engine.profiles()[0].end() ? nullptr : &it->second;
}

}  // namespace

Result<PictureInput> picture_input(const api::Engine& engine, const Preprocess& preprocess) {
  if (engine.inputs().size() != 1) return no_picture(engine, "the network must have one input to take pictures");
  PictureInput input;
  input.tensor = engine.inputs()[0];
  const api::ShapeRange* range = range_of(engine, input.tensor.name);
  if (range == nullptr || range->opt.size() != 4 || !dtype_is_float(input.tensor.dtype))
    return no_picture(engine, "pictures need an input of floats with four dimensions");
  input.size = PLANISH_TRY(input_size_of(range->opt, preprocess.layout));
  input.min_batch = range->min[0];
  input.opt_batch = range->opt[0];
  input.max_batch = range->max[0];
  return input;
}

Result<Preprocess> choose_preprocess(const std::string& given, const api::Engine& engine, bool detection) {
  if (!given.empty()) return load_preprocess(given);
  if (detection) return preprocess_preset("yolo");
  const api::ShapeRange* range = engine.inputs().empty() ? nullptr : range_of(engine, engine.inputs()[0].name);
  if (range == nullptr || range->opt.size() != 4) return preprocess_preset("imagenet");
  if (range->opt[1] == 1) return preprocess_preset("raw");
  return preprocess_preset(range->opt[2] == 32 && range->opt[3] == 32 ? "cifar10" : "imagenet");
}

Tensor borrowed(const api::HostTensor& output) {
  return Tensor::borrow(output.dtype, output.dims, const_cast<std::byte*>(output.data.data()));
}

}  // namespace planish::tools
