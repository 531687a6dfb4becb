#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "planish/base/parallel.h"
#include "planish/quant/weights.h"

namespace planish {

/// A sample of what the weights of a product multiply: windows of an image or rows of a matrix, one after the other.
/// The positions depend on the number of the sample alone, so that two networks are looked at in the same places.
class InputRows {
 public:
  /// True for products whose rows can be taken: 2-D convolutions with explicit padding, Gemm and MatMul, with at most
  /// `max_k` weights per output channel.
  static bool possible(const Graph& graph, const QuantisedProduct& product, int64_t max_k);
  /// `product` as in possible(); the graph must outlive this.
  InputRows(const Graph& graph, const QuantisedProduct& product);

  /// Adds up to `positions` output positions per image of an input of logical shape `dims` in `layout`. Inputs of
  /// another form than expected, and rows with NaN or infinity, are left out. `first_image` says which sample the
  /// images begin with; by default they go on where the last ones ended.
  void add(const float* data, std::span<const int64_t> dims, Layout layout, int64_t positions,
           std::optional<int64_t> first_image = std::nullopt);
  /// The same for an input that is there as the bytes of `quantiser`, which turn into their values.
  void add(const uint8_t* data, const TensorQuantization& quantiser, std::span<const int64_t> dims, Layout layout,
           int64_t positions, std::optional<int64_t> first_image = std::nullopt);
  /// Takes the rows out.
  [[nodiscard]] InputRows take_rows() {
    std::vector<float> values = std::exchange(values_, {});
    std::vector<int64_t> samples = std::exchange(samples_, {});
    InputRows taken = *this;
    taken.values_ = std::move(values);
    taken.samples_ = std::move(samples);
    return taken;
  }
  /// Adds rows [first, last) of rows of the same product.
  void append(const InputRows& other, int64_t first, int64_t last);

  /// Makes room for about `rows` rows.
  void reserve(int64_t rows) { values_.reserve(static_cast<size_t>(rows * groups_ * k_)); }

  [[nodiscard]] int64_t groups() const { return groups_; }
  /// Weights per output channel.
  [[nodiscard]] int64_t k() const { return k_; }
  [[nodiscard]] int64_t rows() const { return static_cast<int64_t>(samples_.size()); }
  /// [rows, K, groups]: what many small groups read lies side by side.
  [[nodiscard]] std::span<const float> values() const { return values_; }
  [[nodiscard]] std::span<float> values() { return values_; }
  /// Which sample each row is from.
  [[nodiscard]] std::span<const int64_t> samples() const { return samples_; }

 private:
  template <typename Source>
  void add_from(const Source& data, std::span<const int64_t> dims, Layout layout, int64_t positions);
  template <typename Source>
  void add_matrix(const Source& data, std::span<const int64_t> dims, int64_t positions);
  template <typename Source>
  void add_image(const Source& data, std::span<const int64_t> dims, Layout layout, int64_t image, int64_t positions);
  template <typename Source>
  void window(const Source& data, std::span<const int64_t> dims, Layout layout, int64_t image, int64_t position,
              float* row) const;
  /// Adds rows: `fill(i, row)` writes one, `sample(i)` says what it is from. Those that are not finite are left out.
  void append(int64_t count, FunctionRef<void(int64_t, float*)> fill, FunctionRef<int64_t(int64_t)> sample);

  Shape weights_;
  bool is_conv_ = false;
  std::vector<int64_t> pads_, strides_, dilations_;
  int64_t groups_ = 1;
  int64_t k_ = 0;
  int64_t images_ = 0;  ///< seen so far
  std::vector<float> values_;
  std::vector<int64_t> samples_;
};

}  // namespace planish
