#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "planish/quant/weights.h"

namespace planish {

/// Second moments H = sum x x^T of what the weights of one output channel multiply (a window of the image, a row of a
/// matrix), from a sample of positions. Memory: K * K floats, K = weights per output channel.
class InputMoments {
 public:
  /// True for products that adaptive rounding handles: no groups, and K not beyond `max_k`.
  static bool possible(const Graph& graph, const QuantisedProduct& product, int64_t max_k = 2304);
  /// `product` as in possible(); the graph must outlive this.
  InputMoments(const Graph& graph, const QuantisedProduct& product);

  /// Adds up to `positions` output positions per image of an input of logical shape `dims` in `layout`.
  void add(const float* data, std::span<const int64_t> dims, Layout layout, int64_t positions);
  [[nodiscard]] int64_t k() const { return k_; }
  [[nodiscard]] int64_t rows() const { return rows_; }
  /// Row-major [K,K], symmetric; only the lower triangle is filled.
  [[nodiscard]] std::span<const float> moments() const { return h_; }

 private:
  void add_rows(std::span<const float> x);
  void window(const float* data, std::span<const int64_t> dims, Layout layout, int64_t image, int64_t position,
              float* row) const;

  const Node& node_;
  Shape weights_;
  bool is_conv_ = false;
  int64_t k_ = 0;
  int64_t rows_ = 0;
  std::vector<float> h_;
};

/// Rounds the weights of every output channel so that the result, not the single weight, errs least: each weight is
/// rounded after the errors of those before it were carried over to it through H. Nearest rounding where H is empty.
/// Source: Frantar et al., "GPTQ", ICLR 2023; the order of computation follows Chee et al., "QuIP", NeurIPS 2023
/// (LDLQ, which is the same rounding without an inverse).
void round_adaptively(const Graph& graph, const QuantisedProduct& product, const InputMoments& moments,
                      QuantisedWeights& weights);

}  // namespace planish
