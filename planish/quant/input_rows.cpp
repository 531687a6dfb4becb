#include "planish/quant/input_rows.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "planish/base/finite.h"
#include "planish/quant/steps.h"

namespace planish {
namespace {

/// How far the first window moves from one image to the next: far, and prime.
constexpr int64_t kStartStep = 7919;

/// What a tensor holds, as values.
struct Floats {
  const float* data;
  [[nodiscard]] float at(int64_t i) const { return data[i]; }
  void copy(int64_t from, int64_t count, float* out) const { std::copy_n(data + from, count, out); }
};

struct Bytes {
  Bytes(const uint8_t* bytes, const TensorQuantization& q) : data(bytes) {
    const Steps steps(q);
    // Signed bytes begin in the middle of the steps.
    const auto first = static_cast<uint8_t>(q.type == DType::u8 ? 0 : 128);
    for (size_t b = 0; b < value.size(); ++b) value[b] = steps.value(static_cast<uint8_t>(b ^ first));
  }
  [[nodiscard]] float at(int64_t i) const { return value[data[i]]; }
  void copy(int64_t from, int64_t count, float* out) const {
    for (int64_t i = 0; i < count; ++i) out[i] = at(from + i);
  }

  const uint8_t* data;
  std::array<float, 256> value{};
};

}  // namespace

bool InputRows::possible(const Graph& graph, const QuantisedProduct& product, int64_t max_k) {
  const Node& node = graph.nodes[static_cast<size_t>(product.node)];
  const Tensor& w = *graph.constant_of(product.weights);
  const int64_t outputs = std::max<int64_t>(w.shape()[static_cast<size_t>(product.channel_axis)], 1);
  if (node.op == "Conv" && (w.rank() != 4 || node.attr_string("auto_pad", "NOTSET") != "NOTSET")) return false;
  return w.size() / outputs <= max_k;
}

InputRows::InputRows(const Graph& graph, const QuantisedProduct& product)
    : weights_(graph.constant_of(product.weights)->shape()) {
  const Node& node = graph.nodes[static_cast<size_t>(product.node)];
  is_conv_ = node.op == "Conv";
  k_ = element_count(weights_) / weights_[static_cast<size_t>(product.channel_axis)];
  if (!is_conv_) return;
  groups_ = node.attr_int("group", 1);
  pads_ = node.attr_ints("pads", {0, 0, 0, 0});
  strides_ = node.attr_ints("strides", {1, 1});
  dilations_ = node.attr_ints("dilations", {1, 1});
}

void InputRows::append(int64_t count, FunctionRef<void(int64_t, float*)> fill, FunctionRef<int64_t(int64_t)> sample) {
  const auto row = static_cast<size_t>(groups_ * k_);
  const size_t before = values_.size();
  values_.resize(before + static_cast<size_t>(count) * row);
  std::vector<uint8_t> finite(static_cast<size_t>(count));
  parallel_for(count, 8, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      float* const values = values_.data() + before + i * row;
      fill(static_cast<int64_t>(i), values);
      finite[i] = all_finite({values, row}) ? 1 : 0;
    }
  });
  size_t kept = 0;
  for (size_t i = 0; i < finite.size(); ++i) {
    if (finite[i] == 0) continue;
    if (kept < i) std::copy_n(values_.data() + before + i * row, row, values_.data() + before + kept * row);
    ++kept;
    samples_.push_back(sample(static_cast<int64_t>(i)));
  }
  values_.resize(before + kept * row);
}

void InputRows::append(const InputRows& other, int64_t first, int64_t last) {
  const int64_t row = groups_ * k_;
  values_.insert(values_.end(), other.values_.begin() + first * row, other.values_.begin() + last * row);
  samples_.insert(samples_.end(), other.samples_.begin() + first, other.samples_.begin() + last);
}

template <typename Source>
void InputRows::window(const Source& data, std::span<const int64_t> dims, Layout layout, int64_t image,
                       int64_t position, float* row) const {
  const int64_t channels = dims[1];
  const int64_t height = dims[2];
  const int64_t width = dims[3];
  const int64_t block = layout == Layout::channels_last ? channels : layout_block(layout);
  const int64_t blocks = (channels + block - 1) / block;
  const int64_t out_w = (width + pads_[1] + pads_[3] - dilations_[1] * (weights_[3] - 1) - 1) / strides_[1] + 1;
  const int64_t top = position / out_w * strides_[0] - pads_[0];
  const int64_t left = position % out_w * strides_[1] - pads_[1];
  const int64_t taps = weights_[2] * weights_[3];
  const int64_t of_group = weights_[1];
  const bool depthwise = of_group == 1;
  for (int64_t t = 0; t < taps; ++t) {
    const int64_t y = top + t / weights_[3] * dilations_[0];
    const int64_t x = left + t % weights_[3] * dilations_[1];
    const bool outside = y < 0 || y >= height || x < 0 || x >= width;
    if (depthwise) {  // channels lie side by side in the row, too
      float* out = row + t * channels;
      if (outside) std::fill_n(out, channels, 0.0F);
      for (int64_t b = 0; b < blocks && !outside; ++b)
        data.copy((((image * blocks + b) * height + y) * width + x) * block, std::min(block, channels - b * block),
                  out + b * block);
      continue;
    }
    for (int64_t c = 0, g = 0; c < channels; ++g)
      for (float* out = row + t * groups_ + g; c < (g + 1) * of_group;) {
        // A group's channels, as far as they share a block of the layout.
        const int64_t b = c / block;
        const int64_t last = std::min((b + 1) * block, (g + 1) * of_group);
        const int64_t pixel = (((image * blocks + b) * height + y) * width + x) * block;
        for (; c < last; ++c, out += taps * groups_) *out = outside ? 0.0F : data.at(pixel + c - b * block);
      }
  }
}

template <typename Source>
void InputRows::add_matrix(const Source& data, std::span<const int64_t> dims, int64_t positions) {
  const int64_t all = element_count(dims) / k_;
  const bool sequences = dims.size() > 2;
  const int64_t images = sequences ? dims[0] : 1;
  const int64_t each = all / std::max<int64_t>(images, 1);
  const int64_t step = sequences ? std::max<int64_t>(1, each / std::max<int64_t>(positions, 1)) | 1 : 1;
  for (int64_t n = 0; n < images; ++n) {
    const int64_t start = (images_ + n) * 7 % step;
    append(
        std::max<int64_t>(0, (each - start + step - 1) / step),
        [&](int64_t i, float* row) { data.copy((n * each + start + i * step) * k_, k_, row); },
        [&](int64_t i) { return images_ + (sequences ? n : start + i * step); });
  }
}

template <typename Source>
void InputRows::add_image(const Source& data, std::span<const int64_t> dims, Layout layout, int64_t image,
                          int64_t positions) {
  const int64_t out_h = (dims[2] + pads_[0] + pads_[2] - dilations_[0] * (weights_[2] - 1) - 1) / strides_[0] + 1;
  const int64_t out_w = (dims[3] + pads_[1] + pads_[3] - dilations_[1] * (weights_[3] - 1) - 1) / strides_[1] + 1;
  if (out_h < 1 || out_w < 1) return;
  // An odd step and a start that moves far, so that all columns and lines of the image are visited.
  const int64_t all = out_h * out_w;
  const int64_t count = std::clamp<int64_t>(positions, 1, all);
  const int64_t step = (all / count - 1) | 1;
  const int64_t start = (images_ + image) * kStartStep % all;
  append(
      count, [&](int64_t i, float* row) { window(data, dims, layout, image, (start + i * step) % all, row); },
      [&](int64_t) { return images_ + image; });
}

template <typename Source>
void InputRows::add_from(const Source& data, std::span<const int64_t> dims, Layout layout, int64_t positions) {
  if (is_conv_) {
    if (dims.size() != 4 || dims[1] != weights_[1] * groups_) return;
    for (int64_t n = 0; n < dims[0]; ++n) add_image(data, dims, layout, n, positions);
  } else {
    if (dims.empty() || dims.back() != k_ || layout != Layout::row_major) return;
    add_matrix(data, dims, positions);
  }
  images_ += dims[0];
}

void InputRows::add(const float* data, std::span<const int64_t> dims, Layout layout, int64_t positions,
                    std::optional<int64_t> first_image) {
  images_ = first_image.value_or(images_);
  add_from(Floats{data}, dims, layout, positions);
}

void InputRows::add(const uint8_t* data, const TensorQuantization& quantiser, std::span<const int64_t> dims,
                    Layout layout, int64_t positions, std::optional<int64_t> first_image) {
  images_ = first_image.value_or(images_);
  add_from(Bytes(data, quantiser), dims, layout, positions);
}

}  // namespace planish
