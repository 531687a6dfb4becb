#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "planish/base/status.h"
#include "planish/data/image.h"

namespace planish {

/// One decoder per file format; the caller has checked the first bytes. The error's file is filled in by decode_image.
Result<Image> decode_jpeg(std::span<const uint8_t> bytes);
Result<Image> decode_png(std::span<const uint8_t> bytes);
Result<Image> decode_webp(std::span<const uint8_t> bytes);
Result<Image> decode_bmp(std::span<const uint8_t> bytes);
Result<Image> decode_pnm(std::span<const uint8_t> bytes);

/// Refuses empty pictures and those over kMaxImagePixels.
Status check_image_size(int64_t width, int64_t height);
/// Error for malformed content of a picture.
Error corrupt_image(std::string what);

}  // namespace planish
