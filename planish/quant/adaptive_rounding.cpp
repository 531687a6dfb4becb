#include "planish/quant/adaptive_rounding.h"

#include <algorithm>
#include <cmath>

#include "planish/base/parallel.h"

namespace planish {
namespace {

/// Part of the mean diagonal that is added to H, so that inputs that never vary do not blow up the factors.
constexpr double kDamping = 0.01;

/// H = U D U^T with U upper triangular and unit diagonal; U replaces the upper triangle of `h` ([K,K], lower triangle
/// given). Left undone from a pivot on that is not positive.
void factorise(std::vector<double>& h, int64_t k) {
  const auto at = [&](int64_t i, int64_t j) -> double& { return h[static_cast<size_t>(i * k + j)]; };
  std::vector<double> u(static_cast<size_t>(k));
  for (int64_t c = k - 1; c > 0; --c) {
    const double pivot = at(c, c);
    const bool usable = pivot > 0;
    for (int64_t i = 0; i < c; ++i) u[static_cast<size_t>(i)] = usable ? at(c, i) / pivot : 0;
    if (usable)
      parallel_for(c, 64, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
          const double scaled = u[static_cast<size_t>(i)] * pivot;
          if (scaled == 0) continue;
          double* row = &at(i, 0);
          for (int64_t j = 0; j <= i; ++j) row[j] -= scaled * u[static_cast<size_t>(j)];
        }
      });
    for (int64_t i = 0; i < c; ++i) at(i, c) = u[static_cast<size_t>(i)];
  }
}

}  // namespace

bool InputMoments::possible(const Graph& graph, const QuantisedProduct& product, int64_t max_k) {
  const Node& node = graph.nodes[static_cast<size_t>(product.node)];
  const Tensor& w = *graph.constant_of(product.weights);
  const int64_t outputs = std::max<int64_t>(w.shape()[static_cast<size_t>(product.channel_axis)], 1);
  if (node.op == "Conv" && (node.attr_int("group", 1) != 1 || w.rank() != 4)) return false;
  if (node.op == "Conv" && node.attr_string("auto_pad", "NOTSET") != "NOTSET") return false;
  return w.size() / outputs <= max_k;
}

InputMoments::InputMoments(const Graph& graph, const QuantisedProduct& product)
    : node_(graph.nodes[static_cast<size_t>(product.node)]),
      weights_(graph.constant_of(product.weights)->shape()),
      is_conv_(node_.op == "Conv") {
  k_ = element_count(weights_) / weights_[static_cast<size_t>(product.channel_axis)];
  h_.resize(static_cast<size_t>(k_ * k_));
}

void InputMoments::window(const float* data, std::span<const int64_t> dims, Layout layout, int64_t image,
                          int64_t position, float* row) const {
  const int64_t channels = dims[1];
  const int64_t height = dims[2];
  const int64_t width = dims[3];
  const int64_t block = layout == Layout::channels_last ? channels : layout_block(layout);
  const int64_t blocks = (channels + block - 1) / block;
  const auto pads = node_.attr_ints("pads", {0, 0, 0, 0});
  const auto strides = node_.attr_ints("strides", {1, 1});
  const auto dilations = node_.attr_ints("dilations", {1, 1});
  const int64_t out_w = (width + pads[1] + pads[3] - dilations[1] * (weights_[3] - 1) - 1) / strides[1] + 1;
  const int64_t top = position / out_w * strides[0] - pads[0];
  const int64_t left = position % out_w * strides[1] - pads[1];
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t r = 0; r < weights_[2]; ++r)
      for (int64_t s = 0; s < weights_[3]; ++s, ++row) {
        const int64_t y = top + r * dilations[0];
        const int64_t x = left + s * dilations[1];
        const bool inside = y >= 0 && y < height && x >= 0 && x < width;
        const int64_t at = (((image * blocks + c / block) * height + y) * width + x) * block + c % block;
        *row = inside ? data[at] : 0.0F;
      }
}

void InputMoments::add(const float* data, std::span<const int64_t> dims, Layout layout, int64_t positions) {
  std::vector<float> rows;
  if (!is_conv_) {
    if (dims.empty() || dims.back() != k_ || layout != Layout::row_major) return;
    const int64_t all = element_count(dims) / k_;
    const int64_t step = std::max<int64_t>(1, all / std::max<int64_t>(positions, 1));
    for (int64_t i = rows_ % step; i < all; i += step) rows.insert(rows.end(), data + i * k_, data + (i + 1) * k_);
  } else {
    if (dims.size() != 4 || dims[1] != weights_[1]) return;
    const auto pads = node_.attr_ints("pads", {0, 0, 0, 0});
    const auto strides = node_.attr_ints("strides", {1, 1});
    const auto dilations = node_.attr_ints("dilations", {1, 1});
    const int64_t out_h = (dims[2] + pads[0] + pads[2] - dilations[0] * (weights_[2] - 1) - 1) / strides[0] + 1;
    const int64_t out_w = (dims[3] + pads[1] + pads[3] - dilations[1] * (weights_[3] - 1) - 1) / strides[1] + 1;
    const int64_t all = out_h * out_w;
    if (out_h < 1 || out_w < 1) return;
    // An odd step and a moving start, so that all columns of the image are visited.
    const int64_t step = std::max<int64_t>(1, all / std::max<int64_t>(positions, 1)) | 1;
    for (int64_t n = 0; n < dims[0]; ++n)
      for (int64_t p = (rows_ + n * 7) % step; p < all; p += step) {
        rows.resize(rows.size() + static_cast<size_t>(k_));
        window(data, dims, layout, n, p, rows.data() + rows.size() - k_);
      }
  }
  add_rows(rows);
}

void InputMoments::add_rows(std::span<const float> x) {
  const int64_t rows = static_cast<int64_t>(x.size()) / k_;
  for (const float v : x)
    if (!std::isfinite(v)) return;
  parallel_for(k_, 16, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      float* h = h_.data() + i * k_;
      for (int64_t r = 0; r < rows; ++r) {
        const float* row = x.data() + r * k_;
        const float a = row[i];
        if (a == 0) continue;
        for (int64_t j = 0; j <= i; ++j) h[j] += a * row[j];
      }
    }
  });
  rows_ += rows;
}

void round_adaptively(const Graph& graph, const QuantisedProduct& product, const InputMoments& moments,
                      QuantisedWeights& weights) {
  const int64_t k = moments.k();
  if (moments.rows() == 0 || k < 2) return;
  std::vector<double> h(moments.moments().begin(), moments.moments().end());
  double diagonal = 0;
  for (int64_t i = 0; i < k; ++i) diagonal += h[static_cast<size_t>(i * k + i)];
  if (diagonal <= 0) return;
  for (int64_t i = 0; i < k; ++i) h[static_cast<size_t>(i * k + i)] += kDamping * diagonal / static_cast<double>(k);
  factorise(h, k);

  const Tensor& w = *graph.constant_of(product.weights);
  const int64_t outputs = w.shape()[static_cast<size_t>(product.channel_axis)];
  const bool rows_first = product.channel_axis == 0;
  const bool per_channel = weights.scale.rank() == 1;
  Tensor rounded = weights.q.clone();
  int8_t* const q_data = rounded.data<int8_t>();
  parallel_for(outputs, 1, [&](int64_t first, int64_t last) {
    std::vector<double> carried(static_cast<size_t>(k));
    for (int64_t m = first; m < last; ++m) {
      std::ranges::fill(carried, 0.0);
      const double scale = weights.scale.data<float>()[per_channel ? m : 0];
      for (int64_t c = 0; c < k; ++c) {
        const int64_t i = rows_first ? m * k + c : c * outputs + m;
        const double value = w.data<float>()[i];
        const double q = std::clamp(std::nearbyint((value - carried[static_cast<size_t>(c)]) / scale), -127.0, 127.0);
        q_data[i] = static_cast<int8_t>(q);
        const double error = q * scale - value;
        const double* u = h.data() + c * k;
        for (int64_t j = c + 1; j < k; ++j) carried[static_cast<size_t>(j)] += error * u[j];
      }
    }
  });
  weights.q = std::move(rounded);
}

}  // namespace planish
