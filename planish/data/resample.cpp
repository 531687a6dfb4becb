#include "planish/data/resample.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "planish/data/image_codecs.h"

namespace planish {
namespace {

/// Fixed point of the antialiased filter: 32 bits less 8 for the sample and 2 for the sign and overshoot.
constexpr int kFilterBits = 22;
/// Fixed point of the plain filter, and the shifts of its vertical pass.
constexpr int kLinearBits = 11;
constexpr int kLinearOne = 1 << kLinearBits;

/// Weights of one output coordinate: input samples [first, first + count), weights at `offset`.
struct Window {
  int64_t first, count, offset;
};

struct FilterTable {
  std::vector<Window> windows;
  std::vector<int32_t> weights;
};

/// A triangle of half width max(1, in/out) round each output sample's centre, normalised, then rounded to kFilterBits.
/// The order of the floating-point operations decides the last bit, so it is fixed here.
FilterTable triangle_filter(int64_t in, int64_t out) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double support = std::max(scale, 1.0);
  const double inverse = 1.0 / support;
  FilterTable table;
  std::vector<double> weights;
  for (int64_t i = 0; i < out; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(0, static_cast<int64_t>(centre - support + 0.5));
    const int64_t last = std::min<int64_t>(in, static_cast<int64_t>(centre + support + 0.5));
    weights.clear();
    double sum = 0;
    for (int64_t x = 0; x < last - first; ++x) {
      const double distance = std::abs((static_cast<double>(x + first) - centre + 0.5) * inverse);
      weights.push_back(distance < 1.0 ? 1.0 - distance : 0.0);
      sum += weights.back();
    }
    const double normalise = sum != 0.0 ? 1.0 / sum : 1.0;
    table.windows.push_back({first, last - first, static_cast<int64_t>(table.weights.size())});
    for (const double w : weights)
      table.weights.push_back(static_cast<int32_t>(0.5 + w * normalise * static_cast<double>(1 << kFilterBits)));
  }
  return table;
}

uint8_t round_filter_sum(int64_t sum) { return static_cast<uint8_t>(std::clamp<int64_t>(sum >> kFilterBits, 0, 255)); }

Image filter_rows(const Image& in, int64_t width) {
  const FilterTable table = triangle_filter(in.width, width);
  const int64_t channels = in.channels;
  Image out = Image::filled(width, in.height, 0, channels);
  for (int64_t y = 0; y < in.height; ++y) {
    const uint8_t* src = in.row(y);
    uint8_t* dst = out.row(y);
    for (int64_t x = 0; x < width; ++x) {
      const Window& window = table.windows[static_cast<size_t>(x)];
      const int32_t* weights = table.weights.data() + window.offset;
      for (int64_t c = 0; c < channels; ++c) {
        const uint8_t* samples = src + window.first * channels + c;
        int64_t sum = int64_t{1} << (kFilterBits - 1);
        for (int64_t k = 0; k < window.count; ++k) sum += int64_t{weights[k]} * samples[k * channels];
        dst[x * channels + c] = round_filter_sum(sum);
      }
    }
  }
  return out;
}

Image filter_columns(const Image& in, int64_t height) {
  const FilterTable table = triangle_filter(in.height, height);
  Image out = Image::filled(in.width, height, 0, in.channels);
  const int64_t row_bytes = in.width * in.channels;
  std::vector<int64_t> sums(static_cast<size_t>(row_bytes));
  for (int64_t y = 0; y < height; ++y) {
    const Window& window = table.windows[static_cast<size_t>(y)];
    std::fill(sums.begin(), sums.end(), int64_t{1} << (kFilterBits - 1));
    for (int64_t k = 0; k < window.count; ++k) {
      const uint8_t* src = in.row(window.first + k);
      const int64_t weight = table.weights[static_cast<size_t>(window.offset + k)];
      for (int64_t i = 0; i < row_bytes; ++i) sums[static_cast<size_t>(i)] += weight * src[i];
    }
    uint8_t* dst = out.row(y);
    for (int64_t i = 0; i < row_bytes; ++i) dst[i] = round_filter_sum(sums[static_cast<size_t>(i)]);
  }
  return out;
}

/// Left neighbour and the weights of both neighbours of each output coordinate.
struct Neighbours {
  std::vector<int64_t> first, second;
  std::vector<int32_t> w0, w1;
};

Neighbours linear_neighbours(int64_t in, int64_t out) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  Neighbours n;
  for (int64_t i = 0; i < out; ++i) {
    auto fraction = static_cast<float>((static_cast<double>(i) + 0.5) * scale - 0.5);
    auto left = static_cast<int64_t>(std::floor(fraction));
    fraction -= static_cast<float>(left);
    if (left < 0 || left >= in - 1) {
      left = left < 0 ? 0 : in - 1;
      fraction = 0;
    }
    n.first.push_back(left);
    n.second.push_back(std::min(left + 1, in - 1));
    n.w0.push_back(static_cast<int32_t>(std::lrint((1.0F - fraction) * kLinearOne)));
    n.w1.push_back(static_cast<int32_t>(std::lrint(fraction * kLinearOne)));
  }
  return n;
}

Image halve(const Image& in) {
  Image out = Image::filled(in.width / 2, in.height / 2, 0, in.channels);
  for (int64_t y = 0; y < out.height; ++y) {
    const uint8_t *r0 = in.row(2 * y), *r1 = in.row(2 * y + 1);
    for (int64_t i = 0; i < out.width * in.channels; ++i) {
      const int64_t a = i / in.channels * 2 * in.channels + i % in.channels, b = a + in.channels;
      out.row(y)[i] = static_cast<uint8_t>((r0[a] + r0[b] + r1[a] + r1[b] + 2) >> 2);
    }
  }
  return out;
}

Image resize_linear(const Image& in, int64_t width, int64_t height) {
  if (in.width == 2 * width && in.height == 2 * height) return halve(in);
  const Neighbours xs = linear_neighbours(in.width, width), ys = linear_neighbours(in.height, height);
  const int64_t channels = in.channels;
  Image out = Image::filled(width, height, 0, channels);
  const auto widen_row = [&](int64_t y, std::vector<int32_t>& row) {
    const uint8_t* src = in.row(y);
    for (int64_t x = 0; x < width; ++x) {
      const auto i = static_cast<size_t>(x);
      const uint8_t *a = src + xs.first[i] * channels, *b = src + xs.second[i] * channels;
      for (int64_t c = 0; c < channels; ++c)
        row[static_cast<size_t>(x * channels + c)] = a[c] * xs.w0[i] + b[c] * xs.w1[i];
    }
  };
  std::vector<int32_t> upper(static_cast<size_t>(width * channels)), lower(upper.size());
  for (int64_t y = 0; y < height; ++y) {
    const auto j = static_cast<size_t>(y);
    widen_row(ys.first[j], upper);
    widen_row(ys.second[j], lower);
    uint8_t* dst = out.row(y);
    // The products are cut to 16 bits one by one, as a vector multiply-high does; the sum then has 2 bits to round.
    for (size_t i = 0; i < upper.size(); ++i)
      dst[i] =
          static_cast<uint8_t>(((((upper[i] >> 4) * ys.w0[j]) >> 16) + (((lower[i] >> 4) * ys.w1[j]) >> 16) + 2) >> 2);
  }
  return out;
}

Status check_request(const Image& image, int64_t width, int64_t height) {
  if (width <= 0 || height <= 0 || image.width <= 0 || image.height <= 0)
    return Error{.code = Code::invalid_argument,
                 .what = fmt::format("cannot make {}x{} pixels from {}x{}", width, height, image.width, image.height),
                 .fix = "use positive sizes"};
  return check_image_size(width, height);
}

}  // namespace

Result<Image> resize_image(const Image& image, int64_t width, int64_t height, Filter filter) {
  PLANISH_TRY(check_request(image, width, height));
  if (width == image.width && height == image.height) return image;
  if (filter == Filter::bilinear) return resize_linear(image, width, height);
  if (width == image.width) return filter_columns(image, height);
  if (height == image.height) return filter_rows(image, width);
  // Each pass rounds to bytes, so their order shows in the last bit: Pillow 13 begins with the columns when that
  // removes more than twice as many rows as the other pass removes columns. (Before, it always began with the rows.)
  if (height < image.height && image.height - height > 2 * (image.width - width))
    return filter_rows(filter_columns(image, height), width);
  PLANISH_TRY(check_image_size(width, image.height));
  return filter_columns(filter_rows(image, width), height);
}

Result<Image> crop_image(const Image& image, int64_t left, int64_t top, int64_t width, int64_t height, uint8_t fill) {
  PLANISH_TRY(check_request(image, width, height));
  Image out = Image::filled(width, height, fill, image.channels);
  const int64_t x0 = std::max<int64_t>(left, 0), x1 = std::min(left + width, image.width);
  const int64_t y0 = std::max<int64_t>(top, 0), y1 = std::min(top + height, image.height);
  for (int64_t y = y0; y < y1 && x0 < x1; ++y)
    std::memcpy(out.row(y - top) + (x0 - left) * image.channels, image.row(y) + x0 * image.channels,
                static_cast<size_t>((x1 - x0) * image.channels));
  return out;
}

}  // namespace planish
