#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "planish/base/status.h"

namespace planish {

/// Decoded picture: rows top to bottom, pixels left to right, `channels` interleaved bytes per pixel in RGB order.
/// Every decoder here yields channels = 3.
struct Image {
  int64_t width = 0;
  int64_t height = 0;
  int64_t channels = 3;
  std::vector<uint8_t> pixels;  // [height, width, channels]

  /// A picture filled with one value.
  static Image filled(int64_t width, int64_t height, uint8_t value, int64_t channels = 3);
  [[nodiscard]] const uint8_t* row(int64_t y) const { return pixels.data() + y * width * channels; }
  [[nodiscard]] uint8_t* row(int64_t y) { return pixels.data() + y * width * channels; }
  bool operator==(const Image&) const = default;
};

/// Larger pictures are refused before memory is taken for them (about 400 MB as RGB).
inline constexpr int64_t kMaxImagePixels = int64_t{1} << 27;

enum class ImageFormat { unknown, jpeg, png, webp, bmp, pnm, other };

/// Format by the first bytes, never by the file's name; `other` is a known format that planish cannot decode.
ImageFormat sniff_image_format(std::span<const uint8_t> bytes);
/// True for .jpg .jpeg .png .webp .bmp .ppm .pgm .pnm in any case.
bool has_image_extension(std::string_view path);

/// Decodes JPEG, PNG, WebP (first and only frame), BMP and binary PPM/PGM to RGB. The pixels are those of Pillow's
/// `Image.open(f).convert("RGB")`: alpha is dropped, grey is replicated, palettes are looked up, CMYK is converted
/// without a colour profile, EXIF orientation and gamma are ignored. One difference: 16-bit grey keeps its upper byte
/// where Pillow clips at 255. `name` is used in errors.
/// Errors: corrupt (truncated or malformed), unsupported (format, or more than kMaxImagePixels pixels).
Result<Image> decode_image(std::span<const uint8_t> bytes, const std::string& name);
/// Reads and decodes a file.
Result<Image> load_image(const std::string& path);

/// Writes an 8-bit PNG; channels must be 1 (grey) or 3 (RGB).
Result<std::vector<uint8_t>> encode_png(const Image& image);
/// Encodes as PNG and writes the file.
Status save_png(const std::string& path, const Image& image);

}  // namespace planish
