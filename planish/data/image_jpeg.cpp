#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <vector>

#include <jpeglib.h>

#include <jerror.h>

#include "planish/data/image_codecs.h"

namespace planish {
namespace {

/// Progressive files may repeat tiny scans for ever; real encoders write about ten.
constexpr int kMaxScans = 500;

struct ErrorState {
  jpeg_error_mgr base;  // first, so that libjpeg's pointer is also ours
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void on_error(j_common_ptr info) {
  auto* state = reinterpret_cast<ErrorState*>(info->err);
  info->err->format_message(info, state->message);
  std::longjmp(state->jump, 1);
}

// libjpeg fills what a truncated file lacks with grey and only warns; a silently grey picture would spoil an accuracy.
void on_message(j_common_ptr info, int level) {
  if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) on_error(info);
}

void on_progress(j_common_ptr info) {
  auto* decompressor = reinterpret_cast<j_decompress_ptr>(info);
  if (decompressor->input_scan_number <= kMaxScans) return;
  auto* state = reinterpret_cast<ErrorState*>(info->err);
  std::snprintf(state->message, sizeof state->message, "more than %d progressive scans", kMaxScans);
  std::longjmp(state->jump, 1);
}

/// Plain data that the setjmp functions work on: nothing here has a destructor that a longjmp could skip.
struct Decoder {
  jpeg_decompress_struct info;
  ErrorState error;
  jpeg_progress_mgr progress;
};

bool read_header(Decoder& d, std::span<const uint8_t> bytes) {
  if (setjmp(d.error.jump) != 0) return false;
  jpeg_create_decompress(&d.info);
  d.info.progress = &d.progress;
  jpeg_mem_src(&d.info, bytes.data(), bytes.size());
  jpeg_read_header(&d.info, TRUE);
  switch (d.info.num_components) {
    case 1: d.info.out_color_space = JCS_GRAYSCALE; break;
    case 4: d.info.out_color_space = JCS_CMYK; break;
    default: d.info.out_color_space = JCS_RGB; break;
  }
  d.info.dct_method = JDCT_ISLOW;
  d.info.do_fancy_upsampling = TRUE;
  return true;
}

bool read_pixels(Decoder& d, uint8_t* out, size_t row_stride_bytes) {
  if (setjmp(d.error.jump) != 0) return false;
  jpeg_start_decompress(&d.info);
  while (d.info.output_scanline < d.info.output_height) {
    JSAMPROW row = out + d.info.output_scanline * row_stride_bytes;
    jpeg_read_scanlines(&d.info, &row, 1);
  }
  return true;
}

uint8_t scale_255(int a, int b) {
  const int t = a * b + 128;
  return static_cast<uint8_t>(((t >> 8) + t) >> 8);  // round(a * b / 255) without a division
}

/// Adobe's files store inverted CMYK, so a component of 255 means "no ink": R = K - (255 - C) * K / 255.
void cmyk_to_rgb(const uint8_t* cmyk, uint8_t* rgb) {
  const int k = cmyk[3];
  for (int c = 0; c < 3; ++c) rgb[c] = static_cast<uint8_t>(k - scale_255(255 - cmyk[c], k));
}

void to_rgb(const std::vector<uint8_t>& raw, int components, Image& image) {
  const size_t count = image.pixels.size() / 3;
  uint8_t* out = image.pixels.data();
  for (size_t i = 0; i < count; ++i) {
    if (components == 1)
      std::memset(out + 3 * i, raw[i], 3);
    else
      cmyk_to_rgb(raw.data() + 4 * i, out + 3 * i);
  }
}

Result<Image> decode_with(Decoder& d, std::span<const uint8_t> bytes) {
  if (!read_header(d, bytes)) return corrupt_image(d.error.message);
  PLANISH_TRY(check_image_size(d.info.image_width, d.info.image_height));
  const int components = d.info.num_components;
  if (components == 2)
    return Error{.code = Code::unsupported, .what = "JPEG with two components", .fix = "convert it to RGB"};
  Image image = Image::filled(d.info.image_width, d.info.image_height, 0);
  const auto width = static_cast<size_t>(image.width);
  if (components == 3) {
    if (!read_pixels(d, image.pixels.data(), width * 3)) return corrupt_image(d.error.message);
    return image;
  }
  const size_t row_stride_bytes = width * static_cast<size_t>(components);
  std::vector<uint8_t> raw(row_stride_bytes * static_cast<size_t>(image.height));
  if (!read_pixels(d, raw.data(), row_stride_bytes)) return corrupt_image(d.error.message);
  to_rgb(raw, components, image);
  return image;
}

}  // namespace

Result<Image> decode_jpeg(std::span<const uint8_t> bytes) {
  Decoder d{};
  d.info.err = jpeg_std_error(&d.error.base);
  d.error.base.error_exit = on_error;
  d.error.base.emit_message = on_message;
  d.progress.progress_monitor = on_progress;
  auto image = decode_with(d, bytes);
  jpeg_destroy_decompress(&d.info);
  return image;
}

}  // namespace planish
