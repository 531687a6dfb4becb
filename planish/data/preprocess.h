#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "planish/base/status.h"
#include "planish/data/image.h"
#include "planish/data/resample.h"
#include "planish/ir/shape.h"

namespace planish {

enum class ResizeMode {
  none,          ///< keep the picture's size
  shorter_side,  ///< keep the aspect ratio, shorter side = resize_size
  stretch,       ///< exactly the model's input size
  letterbox,     ///< largest size that fits into the input, centred on pad_value
};
enum class CropMode {
  none,        ///< the picture must have the input's size by now
  centre,      ///< offset = floor(rest / 2)
  centre_even  ///< offset = rest / 2 rounded half to even: torchvision's CenterCrop
};
enum class ChannelOrder { rgb, bgr };
enum class PixelLayout { nchw, nhwc };

/// Everything between a decoded picture and a model's input; written to a JSON file, so that what an accuracy was
/// measured with is on record. Per channel c of the model's order: y = (pixel * scale - mean[c]) / std[c].
struct Preprocess {
  std::string name = "custom";
  ResizeMode resize = ResizeMode::none;
  /// Pixels, for shorter_side only; 0 = 256/224 of the input's shorter side. Never less than the input's sides.
  int64_t resize_size = 0;
  Filter filter = Filter::bilinear_antialias;
  CropMode crop = CropMode::none;
  uint8_t pad_value = 114;
  ChannelOrder order = ChannelOrder::rgb;
  double scale = 1.0;
  std::array<double, 3> mean{0, 0, 0};
  std::array<double, 3> std{1, 1, 1};
  PixelLayout layout = PixelLayout::nchw;
  bool operator==(const Preprocess&) const = default;
};

/// Presets: "imagenet" (shorter side 256/224 of the input, centre crop, /255, ImageNet mean and deviation), "yolo"
/// (letterbox on 114, /255), "caffe" (shorter side 256, centre crop, BGR minus 104,117,123), "cifar10" (stretch, /255,
/// CIFAR-10 mean and deviation), "raw" (stretch, values 0 to 255 as they are). Error: invalid_argument listing them.
Result<Preprocess> preprocess_preset(const std::string& name);
std::vector<std::string> preprocess_preset_names();

/// JSON object with one key per field. Missing keys keep the default, or the value of the preset that the key "preset"
/// names; unknown keys and values are errors that name the key and list what is allowed.
std::string preprocess_to_json(const Preprocess& preprocess);
Result<Preprocess> preprocess_from_json(const std::string& text, const std::string& file_name);
/// A preset's name, or the path of a JSON file.
Result<Preprocess> load_preprocess(const std::string& name_or_path);
Status save_preprocess(const std::string& path, const Preprocess& preprocess);

/// Picture size that a model's input wants.
struct InputSize {
  int64_t channels = 3;  ///< 3, or 1: grey by ITU-R 601 (Pillow's "L"), with mean[0] and std[0]
  int64_t height = 0;
  int64_t width = 0;
  [[nodiscard]] int64_t element_count() const { return channels * height * width; }
  bool operator==(const InputSize&) const = default;
};
/// Reads [N,C,H,W] or [N,H,W,C] (by `layout`). Errors: shape_mismatch, when the rank is not 4, C is neither 1 nor 3, or
/// C, H or W is unknown.
Result<InputSize> input_size_of(std::span<const int64_t> shape, PixelLayout layout);

/// Where the picture went: x_input = x_image * scale_x + offset_x, in pixels, and the same for y.
struct ImageMapping {
  int64_t image_width = 0, image_height = 0;
  double scale_x = 1, scale_y = 1, offset_x = 0, offset_y = 0;
};

/// Resizes, crops or pads, and normalises one picture into `out` (input.element_count() floats in the layout of
/// `preprocess`). Errors: shape_mismatch when the picture does not have the input's size and neither resize nor crop
/// would give it.
Result<ImageMapping> preprocess_image(const Preprocess& preprocess, const Image& image, const InputSize& input,
                                      std::span<float> out);

}  // namespace planish
