#include <webp/decode.h>

#include "planish/data/image_codecs.h"

namespace planish {

Result<Image> decode_webp(std::span<const uint8_t> bytes) {
  WebPBitstreamFeatures features{};
  if (WebPGetFeatures(bytes.data(), bytes.size(), &features) != VP8_STATUS_OK)
    return corrupt_image("the WebP header cannot be read");
  if (features.has_animation != 0)
    return Error{.code = Code::unsupported, .what = "an animated WebP has no single picture", .fix = "save one frame"};
  PLANISH_TRY(check_image_size(features.width, features.height));
  Image image = Image::filled(features.width, features.height, 0);
  if (WebPDecodeRGBInto(bytes.data(), bytes.size(), image.pixels.data(), image.pixels.size(),
                        static_cast<int>(image.width * 3)) == nullptr)
    return corrupt_image("the WebP data is truncated or malformed");
  return image;
}

}  // namespace planish
