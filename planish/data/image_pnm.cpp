#include <cctype>
#include <cmath>
#include <cstring>
#include <optional>

#include "planish/data/image_codecs.h"

namespace planish {
namespace {

/// Next decimal number of the header, skipping white space and '#' comments.
std::optional<int64_t> next_number(std::span<const uint8_t> bytes, size_t& position) {
  while (position < bytes.size() && (std::isspace(bytes[position]) != 0 || bytes[position] == '#')) {
    if (bytes[position] == '#')
      while (position < bytes.size() && bytes[position] != '\n') ++position;
    else
      ++position;
  }
  int64_t value = 0;
  const size_t start = position;
  while (position < bytes.size() && std::isdigit(bytes[position]) != 0) {
    value = value * 10 + (bytes[position++] - '0');
    if (value > (int64_t{1} << 32)) return std::nullopt;
  }
  if (position == start) return std::nullopt;
  return value;
}

}  // namespace

Result<Image> decode_pnm(std::span<const uint8_t> bytes) {
  const char kind = static_cast<char>(bytes[1]);
  if (kind != '5' && kind != '6')
    return Error{.code = Code::unsupported,
                 .what = "only the binary kinds P5 and P6 of PGM and PPM can be read",
                 .fix = "save it as binary PPM or as PNG"};
  size_t position = 2;
  const auto width = next_number(bytes, position);
  const auto height = next_number(bytes, position);
  const auto max_value = next_number(bytes, position);
  if (!width || !height || !max_value || *max_value < 1 || *max_value > 65535)
    return corrupt_image("the PPM header is malformed");
  PLANISH_TRY(check_image_size(*width, *height));
  ++position;  // exactly one white space separates the header from the samples

  Image image = Image::filled(*width, *height, 0);
  const size_t samples_per_pixel = kind == '6' ? 3 : 1, bytes_per_sample = *max_value > 255 ? 2 : 1;
  const size_t samples = static_cast<size_t>(*width * *height) * samples_per_pixel;
  if (position > bytes.size() || bytes.size() - position < samples * bytes_per_sample)
    return corrupt_image("the PPM file ends early");
  const uint8_t* in = bytes.data() + position;
  for (size_t i = 0; i < samples; ++i) {
    const int raw = bytes_per_sample == 1 ? in[i] : in[2 * i] << 8 | in[2 * i + 1];
    const double scaled = std::nearbyint(static_cast<double>(raw) * 255.0 / static_cast<double>(*max_value));
    const auto value = static_cast<uint8_t>(scaled > 255 ? 255 : scaled);
    if (samples_per_pixel == 3)
      image.pixels[i] = value;
    else
      std::memset(image.pixels.data() + 3 * i, value, 3);
  }
  return image;
}

}  // namespace planish
