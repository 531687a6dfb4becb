#include "planish/data/image.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>

#include "planish/base/atomic_file.h"
#include "planish/data/image_codecs.h"

namespace planish {
namespace {

constexpr uint64_t kMaxImageFileBytes = uint64_t{1} << 30;

bool starts_with(std::span<const uint8_t> bytes, std::string_view magic, size_t offset = 0) {
  return bytes.size() >= offset + magic.size() && std::memcmp(bytes.data() + offset, magic.data(), magic.size()) == 0;
}

Result<Image> decode_by_format(ImageFormat format, std::span<const uint8_t> bytes) {
  constexpr auto fix = "convert it to JPEG, PNG, WebP, BMP or PPM";
  switch (format) {
    case ImageFormat::jpeg: return decode_jpeg(bytes);
    case ImageFormat::png: return decode_png(bytes);
    case ImageFormat::webp: return decode_webp(bytes);
    case ImageFormat::bmp: return decode_bmp(bytes);
    case ImageFormat::pnm: return decode_pnm(bytes);
    case ImageFormat::other:
      return Error{.code = Code::unsupported, .what = "GIF, TIFF and AVIF pictures cannot be decoded", .fix = fix};
    case ImageFormat::unknown: break;
  }
  if (bytes.empty())
    return Error{
        .code = Code::corrupt, .what = "the file is empty", .fix = "replace the file or remove it from the data set"};
  return Error{
      .code = Code::unsupported, .what = "the first bytes are not those of a known picture format", .fix = fix};
}

}  // namespace

Image Image::filled(int64_t width, int64_t height, uint8_t value, int64_t channels) {
  return {width, height, channels, std::vector<uint8_t>(static_cast<size_t>(width * height * channels), value)};
}

ImageFormat sniff_image_format(std::span<const uint8_t> bytes) {
  using namespace std::string_view_literals;
  if (starts_with(bytes, "\xFF\xD8\xFF"sv)) return ImageFormat::jpeg;
  if (starts_with(bytes, "\x89PNG\r\n\x1A\n"sv)) return ImageFormat::png;
  if (starts_with(bytes, "RIFF"sv) && starts_with(bytes, "WEBP"sv, 8)) return ImageFormat::webp;
  if (starts_with(bytes, "BM"sv) && bytes.size() >= 26) return ImageFormat::bmp;
  if (bytes.size() > 3 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '6' && std::isspace(bytes[2]) != 0)
    return ImageFormat::pnm;
  for (const auto magic : {"GIF8"sv, "II*\0"sv, "MM\0*"sv})
    if (starts_with(bytes, magic)) return ImageFormat::other;
  if (starts_with(bytes, "ftypavif"sv, 4)) return ImageFormat::other;
  return ImageFormat::unknown;
}

bool has_image_extension(std::string_view path) {
  const size_t dot = path.rfind('.');
  if (dot == std::string_view::npos) return false;
  std::string extension(path.substr(dot));
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  constexpr std::array<std::string_view, 8> known{".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".pnm"};
  return std::find(known.begin(), known.end(), extension) != known.end();
}

Status check_image_size(int64_t width, int64_t height) {
  if (width <= 0 || height <= 0) return corrupt_image(fmt::format("the size is {}x{} pixels", width, height));
  if (width > kMaxImagePixels / height)
    return Error{
        .code = Code::unsupported,
        .what = fmt::format("the picture has {}x{} pixels; the limit is {} in all", width, height, kMaxImagePixels),
        .fix = "scale the picture down"};
  return ok_status();
}

Error corrupt_image(std::string what) {
  return Error{.code = Code::corrupt,
               .what = "the picture is damaged: " + std::move(what),
               .fix = "replace the file or remove it from the data set"};
}

Result<Image> decode_image(std::span<const uint8_t> bytes, const std::string& name) {
  auto image = decode_by_format(sniff_image_format(bytes), bytes);
  if (image.ok()) return image;
  Error error = std::move(image).take_error();
  error.file = name;
  return error;
}

Result<Image> load_image(const std::string& path) {
  const auto bytes = PLANISH_TRY(read_file_bytes(path, kMaxImageFileBytes));
  return decode_image(bytes, path);
}

Status save_png(const std::string& path, const Image& image) {
  const auto bytes = PLANISH_TRY(encode_png(image));
  return write_file_atomically(path, bytes);
}

}  // namespace planish
