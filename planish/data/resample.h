#pragma once

#include <cstdint>

#include "planish/base/status.h"
#include "planish/data/image.h"

namespace planish {

/// How pixels between the samples are found.
enum class Filter {
  /// Triangle filter whose support grows with the reduction. Bit for bit Pillow 13's Image.resize(..., BILINEAR), which
  /// torchvision uses on pictures (older versions of Pillow differ by 1 where they order the two passes otherwise).
  bilinear_antialias,
  /// Two by two neighbours whatever the reduction, 11-bit weights: OpenCV's cv2.resize(..., INTER_LINEAR), which
  /// YOLO's letterbox uses. An exact halving averages 2x2 pixels, as OpenCV does.
  bilinear,
};

/// Scales `image` to width x height pixels (both positive). Errors: invalid_argument, unsupported (too large).
Result<Image> resize_image(const Image& image, int64_t width, int64_t height, Filter filter);

/// The rectangle [left, left + width) x [top, top + height); what lies outside the picture has the value `fill`.
/// So it crops and pads. Errors: invalid_argument, unsupported (too large).
Result<Image> crop_image(const Image& image, int64_t left, int64_t top, int64_t width, int64_t height, uint8_t fill);

}  // namespace planish
