#include "planish/tools/tensor_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "planish/base/output_path.h"
#include "planish/tools/console.h"
#include "planish/tools/measurement.h"
#include "planish/tools/picture_input.h"
#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

namespace fs = std::filesystem;

Error input_error(std::string name, std::string file, std::string what, std::string fix) {
  return Error{.code = Code::invalid_argument,
               .tensor = std::move(name),
               .file = std::move(file),
               .what = std::move(what),
               .fix = std::move(fix)};
}

std::string lower_extension(const std::string& path) {
  std::string extension = fs::path(path).extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension;
}

/// "name=file" unless the whole text is a file.
std::pair<std::string, std::string> split_spec(const std::string& spec) {
  const size_t equals = spec.find('=');
  std::error_code error;
  if (equals == std::string::npos || fs::exists(spec, error)) return {"", spec};
  return {spec.substr(0, equals), spec.substr(equals + 1)};
}

/// All of an archive, or with a name the member that is meant.
Status add_members(const std::string& name, const std::string& path, NamedTensors members, NamedTensors& arrays) {
  if (name.empty()) {
    for (auto& member : members) arrays.push_back(std::move(member));
    return {};
  }
  for (auto& [member, tensor] : members)
    if (member == name || members.size() == 1) {
      arrays.emplace_back(name, std::move(tensor));
      return {};
    }
  std::vector<std::string> names;
  for (const auto& [member, tensor] : members) names.push_back(member);
  return input_error(name, path, "there is no member of that name",
                     fmt::format("it holds {}; give {} without a name to use all", fmt::join(names, ", "), path));
}

Status read_spec(const std::string& spec, GivenInputs& given) {
  const auto [name, path] = split_spec(spec);
  const std::string extension = lower_extension(path);
  if (extension == ".npy") {
    given.arrays.emplace_back(name, PLANISH_TRY(read_npy(path)));
    return {};
  }
  if (extension == ".npz") return add_members(name, path, PLANISH_TRY(read_npz(path)), given.arrays);
  if (extension == ".json") {
    auto iterations = PLANISH_TRY(read_polygraphy_inputs(path));
    if (iterations.empty()) return input_error(name, path, "it holds no inputs", "save at least one iteration");
    return add_members(name, path, std::move(iterations.front()), given.arrays);
  }
  if (has_image_extension(path)) {
    given.pictures.emplace_back(name, path);
    return {};
  }
  return input_error(name, path, fmt::format("files of type '{}' cannot be read as input", extension),
                     "give .npy, .npz, .json (polygraphy inputs) or a picture (JPEG, PNG, BMP, WebP)");
}

Error unknown_input(const api::Engine& engine, const std::string& name) {
  std::vector<std::string> names;
  for (const api::TensorInfo& info : engine.inputs()) names.push_back(info.name);
  const std::string near = nearest_word(name, names);
  return input_error(name, "--input", "the network has no input of that name",
                     near.empty() ? fmt::format("its inputs are {}", fmt::join(names, ", "))
                                  : fmt::format("did you mean '{}'?", near));
}

/// Position of the input called `name`; "" means the only one.
Result<size_t> find_input(const api::Engine& engine, const std::string& name) {
  if (name.empty() && engine.inputs().size() == 1) return size_t{0};
  if (name.empty())
    return input_error("", "--input", fmt::format("the network has {} inputs", engine.inputs().size()),
                       "say which one is meant: --input=NAME=FILE");
  for (size_t i = 0; i < engine.inputs().size(); ++i)
    if (engine.inputs()[i].name == name) return i;
  return unknown_input(engine, name);
}

/// The array in the input's type; a missing leading batch axis of 1 is added.
Result<Tensor> fitted(const api::TensorInfo& info, Tensor tensor) {
  const bool to_float = dtype_is_float(info.dtype);
  const bool from_float = dtype_is_float(tensor.dtype());
  if (tensor.dtype() != info.dtype && from_float && !to_float)
    return input_error(
        info.name, "",
        fmt::format("the array is {}, the input {}", dtype_numpy_name(tensor.dtype()), dtype_numpy_name(info.dtype)),
        "save it in the input's type");
  if (tensor.rank() + 1 == static_cast<int64_t>(info.dims.size()) && (info.dims[0] < 0 || info.dims[0] == 1)) {
    Shape shape = tensor.shape();
    shape.insert(shape.begin(), 1);
    tensor = tensor.reshaped(shape);
  }
  if (tensor.rank() != static_cast<int64_t>(info.dims.size()))
    return Error{
        .code = Code::shape_mismatch,
        .tensor = info.name,
        .what = fmt::format("the array has shape {}, the input {}", tuple_text(tensor.shape()), tuple_text(info.dims)),
        .fix = "save it with the input's number of dimensions"};
  return tensor.dtype() == info.dtype ? tensor : tensor.cast(info.dtype);
}

/// Pictures as one batch, filled up to the engine's smallest batch.
Result<Tensor> picture_batch(const api::Engine& engine, const std::vector<std::string>& files,
                             const std::string& preset, std::vector<std::string>& notes) {
  const Preprocess preprocess = PLANISH_TRY(choose_preprocess(preset, engine, false));
  if (preset.empty())
    notes.push_back(fmt::format("no --preset was given: '{}' is a guess from the input's shape", preprocess.name));
  const PictureInput input = PLANISH_TRY(picture_input(engine, preprocess));
  const auto count = static_cast<int64_t>(files.size());
  const int64_t rows = std::max(count, input.min_batch);
  if (rows > count)
    notes.push_back(fmt::format("the engine's smallest batch is {}: {} pictures of zeros follow", rows, rows - count));
  Shape shape{rows, input.size.channels, input.size.height, input.size.width};
  if (preprocess.layout == PixelLayout::nhwc) shape = {rows, input.size.height, input.size.width, input.size.channels};
  Tensor batch(DType::f32, shape);
  const auto elements = static_cast<size_t>(input.size.element_count());
  for (size_t i = 0; i < files.size(); ++i) {
    const Image image = PLANISH_TRY(load_image(files[i]));
    (void)PLANISH_TRY(
        preprocess_image(preprocess, image, input.size, batch.span<float>().subspan(i * elements, elements)));
  }
  return batch;
}

std::string file_name_of(const std::string& output) {
  std::string name = output;
  std::replace(name.begin(), name.end(), '/', '_');
  while (!name.empty() && name.front() == '.') name.front() = '_';
  return name.empty() ? "output" : name;
}

}  // namespace

Result<GivenInputs> read_given_inputs(const std::vector<std::string>& specs) {
  GivenInputs given;
  for (const std::string& spec : specs) PLANISH_TRY(read_spec(spec, given));
  return given;
}

Result<NamedTensors> assign_inputs(const api::Engine& engine, const GivenInputs& given, const std::string& preprocess,
                                   const std::string& shapes, std::vector<std::string>& notes) {
  NamedTensors inputs = PLANISH_TRY(random_inputs(engine, shapes, 1));
  std::vector<bool> assigned(inputs.size(), false);
  for (const auto& [name, tensor] : given.arrays) {
    const size_t i = PLANISH_TRY(find_input(engine, name));
    inputs[i].second = PLANISH_TRY(fitted(engine.inputs()[i], tensor));
    assigned[i] = true;
  }
  if (!given.pictures.empty()) {
    std::vector<std::string> files;
    const size_t i = PLANISH_TRY(find_input(engine, given.pictures[0].first));
    for (const auto& [name, file] : given.pictures) {
      if (PLANISH_TRY(find_input(engine, name)) != i)
        return input_error(name, file, "pictures go to one input only", "save the other input as .npy");
      files.push_back(file);
    }
    const Tensor batch = PLANISH_TRY(picture_batch(engine, files, preprocess, notes));
    inputs[i].second = PLANISH_TRY(fitted(engine.inputs()[i], batch));
    assigned[i] = true;
  }
  for (size_t i = 0; i < inputs.size(); ++i)
    if (!assigned[i])
      notes.push_back(fmt::format("input '{}' gets random values of shape {}", inputs[i].first,
                                  tuple_text(inputs[i].second.shape())));
  return inputs;
}

Status check_outputs_path(const std::string& path) {
  const std::string extension = lower_extension(path);
  if (extension == ".npz" || extension == ".json") return check_output_path(path);
  if (extension.empty() || fs::is_directory(path)) return {};
  return Error{.code = Code::invalid_argument,
               .file = path,
               .what = fmt::format("outputs cannot be written as '{}'", extension),
               .fix = "give a .npz file, a .json file or a folder"};
}

Status write_outputs(const std::string& path, const NamedTensors& outputs, double runtime_s) {
  PLANISH_TRY(check_outputs_path(path));
  const std::string extension = lower_extension(path);
  if (extension == ".npz") return write_npz(path, outputs);
  if (extension == ".json") return write_polygraphy_results(path, {{"planish", {{outputs, runtime_s, "planish"}}}});
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return Error{.code = Code::io, .file = path, .what = error.message(), .fix = "check the path"};
  for (const auto& [name, tensor] : outputs)
    PLANISH_TRY(write_npy((fs::path(path) / (file_name_of(name) + ".npy")).string(), tensor));
  return {};
}

}  // namespace planish::tools
