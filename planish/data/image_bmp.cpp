#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>

#include "planish/data/image_codecs.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_ASSERT(x) ((void)0)
#include <stb_image.h>
#pragma GCC diagnostic pop

namespace planish {
namespace {

struct StbDeleter {
  void operator()(stbi_uc* p) const noexcept { stbi_image_free(p); }
};

}  // namespace

Result<Image> decode_bmp(std::span<const uint8_t> bytes) {
  if (bytes.size() > static_cast<size_t>(std::numeric_limits<int>::max())) return corrupt_image("more than 2 GiB");
  const int size = static_cast<int>(bytes.size());
  int width = 0, height = 0, components = 0;
  if (stbi_info_from_memory(bytes.data(), size, &width, &height, &components) == 0)
    return corrupt_image(std::string("BMP header: ") + stbi_failure_reason());
  PLANISH_TRY(check_image_size(width, height));
  const std::unique_ptr<stbi_uc, StbDeleter> decoded(
      stbi_load_from_memory(bytes.data(), size, &width, &height, &components, 3));
  if (!decoded) {
    const std::string reason = stbi_failure_reason();
    if (reason.find("RLE") != std::string::npos)
      return Error{.code = Code::unsupported, .what = "run-length coded BMP", .fix = "save it without compression"};
    return corrupt_image("BMP: " + reason);
  }
  PLANISH_TRY(check_image_size(width, height));
  Image image = Image::filled(width, height, 0);
  std::memcpy(image.pixels.data(), decoded.get(), image.pixels.size());
  return image;
}

}  // namespace planish
