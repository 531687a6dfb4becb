#include "planish/quant/input_rows.h"

#include <algorithm>
#include <cmath>

namespace planish {

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

float* InputRows::next_row() {
  values_.resize(values_.size() + static_cast<size_t>(groups_ * k_));
  return values_.data() + values_.size() - groups_ * k_;
}

void InputRows::keep(int64_t sample) {
  const auto row = static_cast<ptrdiff_t>(groups_ * k_);
  if (std::all_of(values_.end() - row, values_.end(), [](float v) { return std::isfinite(v); }))
    samples_.push_back(sample);
  else
    values_.resize(values_.size() - static_cast<size_t>(row));
}

void InputRows::window(const float* data, std::span<const int64_t> dims, Layout layout, int64_t image, int64_t position,
                       float* row) const {
  const int64_t channels = dims[1];
  const int64_t height = dims[2];
  const int64_t width = dims[3];
  const int64_t block = layout == Layout::channels_last ? channels : layout_block(layout);
  const int64_t blocks = (channels + block - 1) / block;
  const int64_t out_w = (width + pads_[1] + pads_[3] - dilations_[1] * (weights_[3] - 1) - 1) / strides_[1] + 1;
  const int64_t top = position / out_w * strides_[0] - pads_[0];
  const int64_t left = position % out_w * strides_[1] - pads_[1];
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t r = 0; r < weights_[2]; ++r)
      for (int64_t s = 0; s < weights_[3]; ++s, ++row) {
        const int64_t y = top + r * dilations_[0];
        const int64_t x = left + s * dilations_[1];
        const bool inside = y >= 0 && y < height && x >= 0 && x < width;
        const int64_t at = (((image * blocks + c / block) * height + y) * width + x) * block + c % block;
        *row = inside ? data[at] : 0.0F;
      }
}

void InputRows::add_matrix(const float* data, std::span<const int64_t> dims, int64_t positions) {
  const int64_t all = element_count(dims) / k_;
  const int64_t images = dims.size() > 2 ? dims[0] : 1;
  const int64_t each = all / std::max<int64_t>(images, 1);
  const int64_t step = dims.size() > 2 ? std::max<int64_t>(1, each / std::max<int64_t>(positions, 1)) | 1 : 1;
  for (int64_t n = 0; n < images; ++n)
    for (int64_t i = (images_ + n) * 7 % step; i < each; i += step) {
      std::copy_n(data + (n * each + i) * k_, k_, next_row());
      keep(images_ + (dims.size() > 2 ? n : i));
    }
}

void InputRows::add_image(const float* data, std::span<const int64_t> dims, Layout layout, int64_t image,
                          int64_t positions) {
  const int64_t out_h = (dims[2] + pads_[0] + pads_[2] - dilations_[0] * (weights_[2] - 1) - 1) / strides_[0] + 1;
  const int64_t out_w = (dims[3] + pads_[1] + pads_[3] - dilations_[1] * (weights_[3] - 1) - 1) / strides_[1] + 1;
  if (out_h < 1 || out_w < 1) return;
  // An odd step and a moving start, so that all columns of the image are visited.
  const int64_t step = std::max<int64_t>(1, out_h * out_w / std::max<int64_t>(positions, 1)) | 1;
  for (int64_t p = (images_ + image) * 7 % step; p < out_h * out_w; p += step) {
    window(data, dims, layout, image, p, next_row());
    keep(images_ + image);
  }
}

void InputRows::add(const float* data, std::span<const int64_t> dims, Layout layout, int64_t positions) {
  if (is_conv_) {
    if (dims.size() != 4 || dims[1] != weights_[1] * groups_) return;
    for (int64_t n = 0; n < dims[0]; ++n) add_image(data, dims, layout, n, positions);
  } else {
    if (dims.empty() || dims.back() != k_ || layout != Layout::row_major) return;
    add_matrix(data, dims, positions);
  }
  images_ += dims[0];
}

}  // namespace planish
