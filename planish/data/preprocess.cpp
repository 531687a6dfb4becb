#include "planish/data/preprocess.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace planish {
namespace {

/// Half of the pixels that are left over, by the crop's rounding rule.
int64_t half_of(int64_t rest, CropMode mode) {
  if (mode == CropMode::centre_even) return static_cast<int64_t>(std::nearbyint(static_cast<double>(rest) / 2));
  return static_cast<int64_t>(std::floor(static_cast<double>(rest) / 2));
}

/// A picture on its way to the input, with the mapping so far.
struct Placed {
  Image image;
  ImageMapping mapping;
};

Result<Placed> resize_to(const Image& image, int64_t width, int64_t height, Filter filter) {
  Placed placed{PLANISH_TRY(resize_image(image, width, height, filter)), {image.width, image.height}};
  placed.mapping.scale_x = static_cast<double>(width) / static_cast<double>(image.width);
  placed.mapping.scale_y = static_cast<double>(height) / static_cast<double>(image.height);
  return placed;
}

Result<Placed> resize_shorter_side(const Preprocess& p, const Image& image, const InputSize& input) {
  int64_t target = p.resize_size;
  if (target == 0)
    target = static_cast<int64_t>(std::lround(static_cast<double>(std::min(input.width, input.height)) * 256 / 224));
  target = std::max({target, input.width, input.height});
  const int64_t shorter = std::min(image.width, image.height), longer = std::max(image.width, image.height);
  if (shorter <= 0 || longer / shorter > kMaxImagePixels / target)
    return Error{.code = Code::unsupported,
                 .what = fmt::format("a picture of {}x{} pixels is too narrow to resize by its shorter side",
                                     image.width, image.height),
                 .fix = "use \"resize\": \"stretch\" or \"letterbox\""};
  // The longer side is rounded down, as torchvision's Resize does.
  const int64_t other = target * longer / shorter;
  if (image.width <= image.height) return resize_to(image, target, other, p.filter);
  return resize_to(image, other, target, p.filter);
}

/// ultralytics' LetterBox(auto=False, center=True): one ratio for both axes, the odd pixel of padding goes right and
/// below.
Result<Placed> letterbox(const Preprocess& p, const Image& image, const InputSize& input) {
  const auto w = static_cast<double>(image.width), h = static_cast<double>(image.height);
  const double ratio = std::min(static_cast<double>(input.height) / h, static_cast<double>(input.width) / w);
  const auto width = std::max<int64_t>(1, static_cast<int64_t>(std::nearbyint(w * ratio)));
  const auto height = std::max<int64_t>(1, static_cast<int64_t>(std::nearbyint(h * ratio)));
  Placed placed = PLANISH_TRY(resize_to(image, width, height, p.filter));
  const int64_t left = (input.width - width) / 2, top = (input.height - height) / 2;
  placed.image = PLANISH_TRY(crop_image(placed.image, -left, -top, input.width, input.height, p.pad_value));
  placed.mapping.scale_x = placed.mapping.scale_y = ratio;
  placed.mapping.offset_x = static_cast<double>(left);
  placed.mapping.offset_y = static_cast<double>(top);
  return placed;
}

Result<Placed> place(const Preprocess& p, const Image& image, const InputSize& input) {
  Placed placed;
  switch (p.resize) {
    case ResizeMode::none: placed = {image, {image.width, image.height}}; break;
    case ResizeMode::stretch: placed = PLANISH_TRY(resize_to(image, input.width, input.height, p.filter)); break;
    case ResizeMode::shorter_side: placed = PLANISH_TRY(resize_shorter_side(p, image, input)); break;
    case ResizeMode::letterbox: placed = PLANISH_TRY(letterbox(p, image, input)); break;
  }
  if (p.crop != CropMode::none) {
    const int64_t left = half_of(placed.image.width - input.width, p.crop);
    const int64_t top = half_of(placed.image.height - input.height, p.crop);
    placed.image = PLANISH_TRY(crop_image(placed.image, left, top, input.width, input.height, p.pad_value));
    placed.mapping.offset_x -= static_cast<double>(left);
    placed.mapping.offset_y -= static_cast<double>(top);
  }
  if (placed.image.width != input.width || placed.image.height != input.height)
    return Error{.code = Code::shape_mismatch,
                 .what = fmt::format("the picture has {}x{} pixels but the model wants {}x{}", placed.image.width,
                                     placed.image.height, input.width, input.height),
                 .fix = "set \"resize\" or \"crop\" in the preprocessing file"};
  return placed;
}

/// Pillow's conversion to "L": 0.299 R + 0.587 G + 0.114 B in 16-bit fixed point.
uint8_t grey_of(const uint8_t* rgb) {
  return static_cast<uint8_t>((rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16);
}

void normalise(const Preprocess& p, const Image& image, const InputSize& input, std::span<float> out) {
  // 256 possible samples per channel: a table makes the arithmetic (in double) free and exact.
  std::array<std::array<float, 256>, 3> table{};
  for (size_t c = 0; c < 3; ++c)
    for (size_t v = 0; v < 256; ++v)
      table[c][v] = static_cast<float>((static_cast<double>(v) * p.scale - p.mean[c]) / p.std[c]);

  const int64_t plane = input.height * input.width, channels = input.channels;
  const bool planar = p.layout == PixelLayout::nchw;
  for (int64_t i = 0; i < plane; ++i) {
    const uint8_t* rgb = image.pixels.data() + i * 3;
    for (int64_t c = 0; c < channels; ++c) {
      const uint8_t v = channels == 1 ? grey_of(rgb) : rgb[p.order == ChannelOrder::rgb ? c : 2 - c];
      out[static_cast<size_t>(planar ? c * plane + i : i * channels + c)] = table[static_cast<size_t>(c)][v];
    }
  }
}

}  // namespace

Result<InputSize> input_size_of(std::span<const int64_t> shape, PixelLayout layout) {
  const bool planar = layout == PixelLayout::nchw;
  if (shape.size() == 4) {
    const InputSize size{planar ? shape[1] : shape[3], planar ? shape[2] : shape[1], planar ? shape[3] : shape[2]};
    const bool known = size.height > 0 && size.width > 0 && size.height <= kMaxImagePixels / size.width;
    if ((size.channels == 1 || size.channels == 3) && known) return size;
  }
  return Error{.code = Code::shape_mismatch,
               .what = fmt::format("input shape {} is not a picture: {} with C = 1 or 3 and known H and W is needed",
                                   to_string(shape), planar ? "[N,C,H,W]" : "[N,H,W,C]"),
               .fix = "give the input's shape (--shapes), or set \"layout\" to nchw or nhwc in the preprocessing file"};
}

Result<ImageMapping> preprocess_image(const Preprocess& preprocess, const Image& image, const InputSize& input,
                                      std::span<float> out) {
  if (out.size() != static_cast<size_t>(input.element_count()) || image.channels != 3 || image.pixels.empty())
    return Error{.code = Code::invalid_argument,
                 .what = "preprocessing needs an RGB picture and a buffer of the input's size",
                 .fix = "decode the picture to RGB and allocate input.element_count() floats"};
  const Placed placed = PLANISH_TRY(place(preprocess, image, input));
  normalise(preprocess, placed.image, input, out);
  return placed.mapping;
}

}  // namespace planish
