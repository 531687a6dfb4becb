#include <png.h>

#include <csetjmp>
#include <cstring>
#include <vector>

#include "planish/data/image_codecs.h"

namespace planish {
namespace {

struct PngState {
  std::jmp_buf jump;
  char message[128];
  const uint8_t* data;
  size_t size;
  size_t position;
};

[[noreturn]] void on_error(png_structp png, png_const_charp message) {
  auto* state = static_cast<PngState*>(png_get_error_ptr(png));
  std::strncpy(state->message, message, sizeof state->message - 1);
  std::longjmp(state->jump, 1);
}

void on_warning(png_structp, png_const_charp) {}

void read_bytes(png_structp png, png_bytep out, size_t count) {
  auto* state = static_cast<PngState*>(png_get_io_ptr(png));
  if (count > state->size - state->position) png_error(png, "the file ends early");
  std::memcpy(out, state->data + state->position, count);
  state->position += count;
}

void append_bytes(png_structp png, png_bytep data, size_t count) {
  auto* out = static_cast<std::vector<uint8_t>*>(png_get_io_ptr(png));
  out->insert(out->end(), data, data + count);
}

void flush_nothing(png_structp) {}

bool read_header(png_structp png, png_infop info, PngState& state) {
  if (setjmp(state.jump) != 0) return false;
  png_set_read_fn(png, &state, read_bytes);
  png_read_info(png, info);
  return true;
}

/// Everything to 8-bit RGB: 16-bit samples keep their upper byte, alpha is cut off, never blended.
bool read_pixels(png_structp png, png_infop info, PngState& state, png_bytepp rows, size_t row_bytes) {
  if (setjmp(state.jump) != 0) return false;
  png_set_strip_16(png);
  png_set_palette_to_rgb(png);
  if ((png_get_color_type(png, info) & PNG_COLOR_MASK_COLOR) == 0) {
    png_set_expand_gray_1_2_4_to_8(png);
    png_set_gray_to_rgb(png);
  }
  png_set_strip_alpha(png);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
  if (png_get_rowbytes(png, info) != row_bytes) png_error(png, "unexpected row size");
  png_read_image(png, rows);
  return true;
}

Result<Image> decode_with(png_structp png, png_infop info, PngState& state) {
  if (!read_header(png, info, state)) return corrupt_image(state.message);
  const int64_t width = png_get_image_width(png, info), height = png_get_image_height(png, info);
  PLANISH_TRY(check_image_size(width, height));
  Image image = Image::filled(width, height, 0);
  std::vector<png_bytep> rows(static_cast<size_t>(height));
  for (int64_t y = 0; y < height; ++y) rows[static_cast<size_t>(y)] = image.row(y);
  if (!read_pixels(png, info, state, rows.data(), static_cast<size_t>(width) * 3)) return corrupt_image(state.message);
  return image;
}

bool write_pixels(png_structp png, png_infop info, PngState& state, const Image& image, std::vector<uint8_t>* out) {
  if (setjmp(state.jump) != 0) return false;
  png_set_write_fn(png, out, append_bytes, flush_nothing);
  png_set_IHDR(png, info, static_cast<png_uint_32>(image.width), static_cast<png_uint_32>(image.height), 8,
               image.channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  for (int64_t y = 0; y < image.height; ++y) png_write_row(png, image.row(y));
  png_write_end(png, info);
  return true;
}

Error no_memory() {
  return Error{.code = Code::out_of_memory, .what = "libpng could not start", .fix = "free some memory"};
}

}  // namespace

Result<Image> decode_png(std::span<const uint8_t> bytes) {
  PngState state{};
  state.data = bytes.data();
  state.size = bytes.size();
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &state, on_error, on_warning);
  png_infop info = png != nullptr ? png_create_info_struct(png) : nullptr;
  auto image = info != nullptr ? decode_with(png, info, state) : Result<Image>(no_memory());
  if (png != nullptr) png_destroy_read_struct(&png, &info, nullptr);
  return image;
}

Result<std::vector<uint8_t>> encode_png(const Image& image) {
  if ((image.channels != 1 && image.channels != 3) ||
      image.pixels.size() != static_cast<size_t>(image.width * image.height * image.channels))
    return Error{.code = Code::invalid_argument,
                 .what = "a PNG needs 1 or 3 channels and as many bytes as the size says",
                 .fix = "convert the picture to RGB"};
  PLANISH_TRY(check_image_size(image.width, image.height));
  PngState state{};
  std::vector<uint8_t> out;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &state, on_error, on_warning);
  png_infop info = png != nullptr ? png_create_info_struct(png) : nullptr;
  const bool good = info != nullptr && write_pixels(png, info, state, image, &out);
  if (png != nullptr) png_destroy_write_struct(&png, &info);
  if (!good) return info == nullptr ? no_memory() : corrupt_image(state.message);
  return out;
}

}  // namespace planish
