#include "planish/tools/calibration/calibration_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <thread>

#include "planish/tools/calibration/batch_source.h"
#include "planish/tools/calibration/folder.h"
#include "planish/tools/calibration/preset_choice.h"
#include "planish/tools/console.h"
#include "planish/tools/script_loader.h"

namespace planish::tools {
namespace {

namespace fs = std::filesystem;
using Inputs = std::vector<api::TensorInfo>;
using ReaderResult = Result<std::unique_ptr<CalibrationReader>>;

constexpr int64_t kRandomSamples = 8;
constexpr std::string_view kRandom = "random";

std::string lower_extension(const std::string& path) {
  std::string extension = fs::path(path).extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension;
}

Error bad_place(const std::string& path, Code code, std::string what, std::string fix) {
  return Error{.code = code, .file = path, .what = std::move(what), .fix = std::move(fix)};
}

/// Free dimensions replaced by the given shapes'.
Inputs with_shapes(Inputs inputs, const api::ProfileRanges& shapes) {
  for (api::TensorInfo& input : inputs) {
    const auto it = shapes.find(input.name);
    if (it == shapes.end() || it->second.opt.size() != input.dims.size()) continue;
    for (size_t d = 0; d < input.dims.size(); ++d)
      if (input.dims[d] < 0) input.dims[d] = it->second.opt[d];
  }
  return inputs;
}

Result<int64_t> random_count(const CalibrationPlace& place) {
  if (place.path == kRandom) return place.max_samples > 0 ? place.max_samples : kRandomSamples;
  const std::string_view digits = std::string_view(place.path).substr(kRandom.size() + 1);
  int64_t count = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
  if (error != std::errc() || end != digits.data() + digits.size() || count < 1)
    return bad_place(place.path, Code::invalid_argument, fmt::format("'{}' is no number of samples", digits),
                     "write random:64");
  return count;
}

ReaderResult open_random(const CalibrationPlace& place, const Inputs& inputs) {
  const int64_t count = PLANISH_TRY(random_count(place));
  Inputs concrete = with_shapes(inputs, place.shapes);
  for (api::TensorInfo& input : concrete)
    for (int64_t& d : input.dims)
      if (d < 0) d = 1;
  if (place.warn)
    place.warn(
        fmt::format("calibrating on {} samples of RANDOM values, as asked: fit for timing, not for accuracy", count));
  return random_reader(std::move(concrete), count, place.seed);
}

/// Input of a network that takes pictures.
Result<InputSize> picture_size(const Inputs& inputs, const CalibrationPlace& place, PixelLayout layout) {
  const Inputs sized = with_shapes(inputs, place.shapes);
  if (sized.size() != 1 || sized[0].dims.size() != 4 || !dtype_is_float(sized[0].dtype)) {
    std::string list;
    for (const api::TensorInfo& t : sized)
      list +=
          fmt::format("{}{} {} {}", list.empty() ? "" : ", ", t.name, dtype_numpy_name(t.dtype), tuple_text(t.dims));
    return bad_place(place.path, Code::shape_mismatch,
                     fmt::format("pictures need a network with one input of floats [N,C,H,W]; this one has {}", list),
                     "give .npy or .npz arrays, or a data-loader script");
  }
  auto size = input_size_of(sized[0].dims, layout);
  if (size.ok()) return size;
  Error error = std::move(size).take_error();
  error.tensor = sized[0].name;
  if (std::count(sized[0].dims.begin() + 1, sized[0].dims.end(), -1) > 0)
    error.fix =
        fmt::format("say how large pictures shall be: --optShapesCalib={}:1x3x640x640 or --shapes=", sized[0].name);
  return error;
}

/// What to say of a preset that nobody named.
std::string words_for(const PresetChoice& choice, const std::string& guess) {
  if (choice.preset != guess)
    return fmt::format(
        "no preprocessing was named for the calibration pictures: '{}' is taken, because {}, the guess "
        "from the network's input; ranges are only right when it is what the network was trained with",
        choice.preset, choice.evidence);
  return fmt::format(
      "no preprocessing was named for the calibration pictures: '{}' is a guess from the network's "
      "input; ranges are only right when it is what the network was trained with{}{}",
      guess, choice.evidence.empty() ? "" : "; ", choice.evidence);
}

ReaderResult open_pictures(const CalibrationPlace& place, const Inputs& inputs,
                           const std::vector<api::TensorInfo>& outputs, PictureList pictures) {
  const bool guessed = place.preprocess.empty();
  const int threads = place.threads > 0 ? place.threads : std::max(1, api::cpu_device().cores);
  const std::string guess =
      guessed && !inputs.empty() ? guess_preset(with_shapes(inputs, place.shapes)[0], outputs) : place.preprocess;
  const PresetChoice choice = guessed && place.model != nullptr
                                  ? choose_preset(*place.model, pictures, guess, place.shapes, threads)
                                  : PresetChoice{.preset = guess};
  const std::string& preset = choice.preset;
  Preprocess preprocess = PLANISH_TRY(load_preprocess(preset));
  const InputSize size = PLANISH_TRY(picture_size(inputs, place, preprocess.layout));
  if (place.note)
    place.note(fmt::format("{}: {} pictures, preprocessing '{}'", pictures.place, pictures.names.size(), preset));
  if (guessed && place.warn) place.warn(words_for(choice, guess));
  return picture_reader(std::move(pictures), std::move(preprocess), size, place.max_samples, threads);
}

PictureList listed(const std::string& path, std::shared_ptr<const Dataset> data) {
  PictureList pictures;
  for (const Sample& sample : data->samples()) pictures.names.push_back(sample.file);
  pictures.load = [data](int64_t i) { return data->load(i); };
  pictures.place = path;
  pictures.identity = file_identity(path);
  return pictures;
}

PictureList in_folder(const std::string& folder, std::vector<std::string> files) {
  PictureList pictures;
  for (const std::string& file : files) pictures.identity += file_identity(file) + '\n';
  pictures.names = files;
  pictures.load = [files = std::move(files)](int64_t i) { return load_image(files[static_cast<size_t>(i)]); };
  pictures.place = fmt::format("folder {}", folder);
  return pictures;
}

ReaderResult open_folder(const CalibrationPlace& place, const Inputs& inputs,
                         const std::vector<api::TensorInfo>& outputs) {
  FolderContent content = PLANISH_TRY(list_calibration_folder(place.path));
  if (!content.other.empty() && place.note && !(content.pictures.empty() && content.arrays.empty()))
    place.note(fmt::format("{}: {} other files are left out, such as {}", place.path, content.others,
                           fs::path(content.other).filename().string()));
  if (!content.pictures.empty()) {
    if (!content.arrays.empty() && place.warn)
      place.warn(fmt::format("{}: {} pictures are used, {} array files beside them are not", place.path,
                             content.pictures.size(), content.arrays.size()));
    return open_pictures(place, inputs, outputs, in_folder(place.path, std::move(content.pictures)));
  }
  if (content.arrays.empty())
    return bad_place(place.path, Code::not_found,
                     content.others == 0
                         ? std::string("the folder is empty")
                         : fmt::format("none of the {} files in it is a picture or an array", content.others),
                     "fill it with pictures (JPEG, PNG, WebP, BMP, PPM) or with .npy, .npz, .bin or .raw files");
  if (place.note) place.note(fmt::format("folder {}: {} array files", place.path, content.arrays.size()));
  return file_reader(std::move(content.arrays), with_shapes(inputs, place.shapes), place.path, place.max_samples);
}

/// Pictures as planish eval takes them: bytes, channels last.
bool holds_pictures(const NpzFile& file) {
  if (!file.contains("images")) return false;
  const auto images = file.load("images");
  return images.ok() && images->dtype() == DType::u8 &&
         (images->rank() == 3 || (images->rank() == 4 && (images->dim(3) == 3 || images->dim(3) == 1)));
}

ReaderResult open_npz(const CalibrationPlace& place, const Inputs& inputs,
                      const std::vector<api::TensorInfo>& outputs) {
  const NpzFile file = PLANISH_TRY(NpzFile::open(place.path));
  const auto names = file.names();
  if (names.empty()) return bad_place(place.path, Code::not_found, "it holds no arrays", "save one per input");
  if (holds_pictures(file)) {
    auto data = std::make_shared<Dataset>(PLANISH_TRY(Dataset::open(place.path)));
    return open_pictures(place, inputs, outputs, listed(place.path, std::move(data)));
  }
  CalibrationItem item{{}, place.path};
  for (const std::string& name : names) {
    const bool wanted = inputs.size() == 1 && names.size() == 1;
    const bool known = std::any_of(inputs.begin(), inputs.end(), [&](const auto& i) { return i.name == name; });
    if (!wanted && !known && place.warn) place.warn(fmt::format("{}: member '{}' is no input", place.path, name));
    if (wanted || known) item.arrays.emplace_back(known ? name : "", PLANISH_TRY(file.load(name)));
  }
  if (item.arrays.empty())
    return bad_place(place.path, Code::not_found,
                     fmt::format("none of its members ({}) is called like an input of the network ({})",
                                 fmt::join(names, ", "), fmt::join(input_names(inputs), ", ")),
                     "name the arrays like the inputs: numpy.savez(file, INPUT=array)");
  return memory_reader({std::move(item)}, place.path);
}

ReaderResult open_npy(const CalibrationPlace& place, const Inputs& inputs) {
  NpyFile file = PLANISH_TRY(NpyFile::open(place.path));
  if (place.note)
    place.note(fmt::format("{}: {} {}", place.path, dtype_numpy_name(file.dtype()), tuple_text(file.shape())));
  if (place.warn && inputs.size() == 1 && dtype_is_float(inputs[0].dtype) && dtype_is_integer(file.dtype()))
    place.warn(fmt::format(
        "{}: the {} values are taken as they are, 255 as 255.0: save what the network was trained with if that scales "
        "or normalises them",
        place.path, dtype_numpy_name(file.dtype())));
  std::vector<std::pair<std::string, NpyFile>> arrays;
  arrays.emplace_back("", std::move(file));
  return array_reader(std::move(arrays), inputs, place.path, place.max_samples);
}

ReaderResult open_json(const CalibrationPlace& place) {
  std::vector<CalibrationItem> items;
  auto iterations = PLANISH_TRY(read_polygraphy_inputs(place.path));
  for (size_t i = 0; i < iterations.size(); ++i)
    items.push_back({std::move(iterations[i]), fmt::format("{}[{}]", place.path, i)});
  return memory_reader(std::move(items), place.path);
}

ReaderResult open_file(const CalibrationPlace& place, const Inputs& inputs,
                       const std::vector<api::TensorInfo>& outputs) {
  const std::string extension = lower_extension(place.path);
  if (extension == ".npy") return open_npy(place, inputs);
  if (extension == ".npz") return open_npz(place, inputs, outputs);
  if (extension == ".json") return open_json(place);
  if (extension == ".bin" || extension == ".raw")
    return file_reader({place.path}, with_shapes(inputs, place.shapes), place.path, -1);
  if (extension == ".csv" || has_image_extension(place.path)) {
    auto data = std::make_shared<Dataset>(PLANISH_TRY(Dataset::open(place.path)));
    return open_pictures(place, inputs, outputs, listed(place.path, std::move(data)));
  }
  return bad_place(place.path, Code::unsupported, "this is neither calibration data nor a calibration cache",
                   "give a folder of pictures or arrays, .npy, .npz, a .py data loader, or a cache (its first line "
                   "starts with TRT-)");
}

ReaderResult open_reader(const CalibrationPlace& place, const Inputs& inputs,
                         const std::vector<api::TensorInfo>& outputs) {
  if (is_random_calibration(place.path)) return open_random(place, inputs);
  if (is_script(place.path))
    return script_reader(place.path, inputs, place.max_samples, place.script_timeout_s, place.warn);
  std::error_code error;
  if (!fs::exists(place.path, error))
    return bad_place(place.path, Code::not_found, "there is no such file or folder",
                     "give a folder of pictures or arrays, .npy, .npz, a .py data loader, or a calibration cache");
  if (fs::is_directory(place.path, error)) return open_folder(place, inputs, outputs);
  return open_file(place, inputs, outputs);
}

/// Rows together: the given number, that of the given shapes, else by size.
int64_t chosen_batch(const CalibrationPlace& place, const Inputs& inputs) {
  if (place.batch > 0) return place.batch;
  const auto it = inputs.empty() ? place.shapes.end() : place.shapes.find(inputs[0].name);
  if (it != place.shapes.end() && !it->second.opt.empty() && it->second.opt[0] > 1) return it->second.opt[0];
  return usual_calibration_batch(inputs);
}

}  // namespace

bool is_random_calibration(const std::string& path) { return path == kRandom || path.rfind("random:", 0) == 0; }

bool is_script(const std::string& path) { return lower_extension(split_script(path, "").first) == ".py"; }

bool is_calibration_cache(const std::string& path) {
  constexpr std::string_view kStart = "TRT-";
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return false;
  std::ifstream file(path, std::ios::binary);
  std::string start(kStart.size(), '\0');
  file.read(start.data(), static_cast<std::streamsize>(start.size()));
  return file.gcount() == static_cast<std::streamsize>(start.size()) && start == kStart;
}

std::string guess_preset(const api::TensorInfo& input, const std::vector<api::TensorInfo>& outputs) {
  const bool boxes = std::any_of(outputs.begin(), outputs.end(), [](const api::TensorInfo& output) {
    return output.dims.size() == 3 && (output.dims[1] < 0 || output.dims[1] >= 5) &&
           (output.dims[2] < 0 || output.dims[2] >= 5);
  });
  if (input.dims.size() != 4) return "imagenet";
  if (input.dims[1] == 1) return "raw";
  if (boxes) return "yolo";
  return input.dims[2] == 32 && input.dims[3] == 32 ? "cifar10" : "imagenet";
}

Result<std::unique_ptr<api::CalibrationSource>> open_calibration_source(const CalibrationPlace& place,
                                                                        const std::vector<api::TensorInfo>& inputs,
                                                                        const std::vector<api::TensorInfo>& outputs) {
  auto reader = PLANISH_TRY(open_reader(place, inputs, outputs));
  auto source =
      std::make_unique<BatchSource>(std::move(reader), inputs, chosen_batch(place, inputs), place.max_samples);
  // Rows of one array all have one shape: a wrong one is told now, not once per row.
  if (lower_extension(place.path) == ".npy") PLANISH_TRY(source->check_first());
  return std::unique_ptr<api::CalibrationSource>(std::move(source));
}

}  // namespace planish::tools
