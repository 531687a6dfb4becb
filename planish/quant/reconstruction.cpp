#include "planish/quant/reconstruction.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "planish/base/parallel.h"
#include "planish/quant/cholesky.h"
#include "planish/quant/grouped_reconstruction.h"
#include "planish/quant/ridges.h"

namespace planish {
namespace {

/// Systems up to this size try more ridges, and both halves of the samples as the judge.
constexpr int64_t kSmallK = 200;

/// Outputs that the ridge is chosen by at most, spread evenly: it is one number for all of them.
constexpr int64_t kJudges = 128;

/// What the rows of one half of the samples say: H = mean of x' x'^T, T = mean of x' (W x - W x')^T; both centred.
struct Moments {
  std::vector<float> h;  // [K, K]
  std::vector<float> t;  // [K, M]
  double rows = 0;
};

/// One group of a product: its rows as matrices, those of samples with even numbers first, and its weights with the
/// outputs last.
struct Group {
  int64_t k = 0;
  int64_t m = 0;
  int64_t rows = 0;
  int64_t even_rows = 0;
  std::vector<float> x;   // [rows, K]; after centre() the difference to xq
  std::vector<float> xq;  // [rows, K]
  std::vector<float> w;   // [K, M]
};

/// Columns that one thread takes the mean of at a time, and rows that single precision sums.
constexpr int64_t kColumns = 32;
constexpr int64_t kSummedRows = 64;

std::vector<double> column_means(const std::vector<float>& x, int64_t n, int64_t k) {
  std::vector<double> mean(static_cast<size_t>(k));
  parallel_for((k + kColumns - 1) / kColumns, 1, [&](int64_t begin, int64_t end) {
    for (int64_t first = begin * kColumns; first < std::min(k, end * kColumns); first += kColumns) {
      const auto count = static_cast<size_t>(std::min(kColumns, k - first));
      for (int64_t row = 0; row < n; row += kSummedRows) {
        std::array<float, kColumns> sums{};
        for (int64_t i = row; i < std::min(n, row + kSummedRows); ++i) {
          const float* const values = x.data() + i * k + first;
          if (count == sums.size())
            for (size_t c = 0; c < sums.size(); ++c) sums[c] += values[c];
          else
            for (size_t c = 0; c < count; ++c) sums[c] += values[c];
        }
        for (size_t c = 0; c < count; ++c) {
          double& sum = mean[static_cast<size_t>(first) + c];
          if (std::isfinite(sums[c])) {
            sum += static_cast<double>(sums[c]);
            continue;
          }
          for (int64_t i = row; i < std::min(n, row + kSummedRows); ++i)
            sum += static_cast<double>(x[static_cast<size_t>(i * k + first) + c]);
        }
      }
    }
  });
  for (double& v : mean) v /= static_cast<double>(std::max<int64_t>(n, 1));
  return mean;
}

/// Mean of x and of xq.
struct Means {
  std::vector<double> x;
  std::vector<double> xq;
};

/// Takes the means out of x and xq, unless they stay, and then xq out of x.
Means centre(Group& g, bool keep_means) {
  Means mean{column_means(g.x, g.rows, g.k), column_means(g.xq, g.rows, g.k)};
  std::vector<float> of_x(static_cast<size_t>(g.k));
  std::vector<float> of_xq(of_x.size());
  if (!keep_means) {
    std::ranges::transform(mean.x, of_x.begin(), [](double v) { return static_cast<float>(v); });
    std::ranges::transform(mean.xq, of_xq.begin(), [](double v) { return static_cast<float>(v); });
  }
  parallel_for(g.rows, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* const x = g.x.data() + i * g.k;
      float* const xq = g.xq.data() + i * g.k;
      for (size_t c = 0; c < of_x.size(); ++c) {
        xq[c] -= of_xq[c];
        x[c] = x[c] - of_x[c] - xq[c];
      }
    }
  });
  return mean;
}

/// Moments of the rows of one half of the samples.
Moments moments_of(const Group& g, int64_t half, const GramFunction& gram) {
  const int64_t first = half == 0 ? 0 : g.even_rows;
  const int64_t n = half == 0 ? g.even_rows : g.rows - g.even_rows;
  Moments m{std::vector<float>(static_cast<size_t>(g.k * g.k)), std::vector<float>(static_cast<size_t>(g.k * g.m)),
            static_cast<double>(n)};
  if (n == 0) return m;
  const float* const d = g.x.data() + first * g.k;
  const GramOperand quantised{g.xq.data() + first * g.k, g.k};
  gram(n, g.k, g.k, quantised, quantised, m.h.data());
  const GramOperand weights{g.w.data(), g.m};
  if (2 * g.m < g.k) {  // fewer multiplications by way of the errors of the results
    std::vector<float> errors(static_cast<size_t>(n * g.m));
    gram(g.k, n, g.m, {d, 1, g.k}, weights, errors.data());
    gram(n, g.k, g.m, quantised, {errors.data(), g.m}, m.t.data());
  } else {
    std::vector<float> cross(static_cast<size_t>(g.k * g.k));
    gram(n, g.k, g.k, {d, g.k}, quantised, cross.data());
    gram(g.k, g.k, g.m, {cross.data(), g.k}, weights, m.t.data());
  }
  const auto scale = static_cast<float>(1 / m.rows);
  for (float& v : m.h) v *= scale;
  for (float& v : m.t) v *= scale;
  return m;
}

double mean_diagonal(std::span<const float> h, int64_t k) {
  double sum = 0;
  for (int64_t i = 0; i < k; ++i) sum += h[static_cast<size_t>(i * k + i)];
  return sum / static_cast<double>(k);
}

/// (H + ridge * mean diagonal)^-1 T; empty when H says nothing.
std::vector<float> ridge_step(const Moments& moments, int64_t k, int64_t m, double ridge, const GramFunction& gram) {
  const double diagonal = mean_diagonal(moments.h, k);
  if (!(diagonal > 0)) return {};
  std::vector<float> a = moments.h;
  for (int64_t i = 0; i < k; ++i) a[static_cast<size_t>(i * k + i)] += static_cast<float>(ridge * diagonal);
  if (!cholesky(a, k, gram)) return {};
  std::vector<float> step = moments.t;
  solve_cholesky(a, k, step, m, gram);
  return step;
}

/// How much the squared error of the rows behind `moments` changes by W + step.
double change_of_error(const Moments& moments, std::span<const float> step, int64_t k, int64_t m,
                       const GramFunction& gram) {
  std::vector<float> hs(step.size());
  gram(k, k, m, {moments.h.data(), 1, k}, {step.data(), m}, hs.data());
  double change = 0;
  for (size_t i = 0; i < step.size(); ++i)
    change += static_cast<double>(step[i]) * (static_cast<double>(hs[i]) - 2.0 * static_cast<double>(moments.t[i]));
  return change;
}

/// The moments of every `step`-th output alone.
Moments some_outputs(const Moments& moments, int64_t k, int64_t m, int64_t step) {
  Moments some{moments.h, {}, moments.rows};
  for (int64_t c = 0; c < k; ++c)
    for (int64_t o = 0; o < m; o += step) some.t.push_back(moments.t[static_cast<size_t>(c * m + o)]);
  return some;
}

/// The ridge that lets one half of the samples predict the other best, or of large systems the even half the odd one;
/// nullopt when none predicts anything.
std::optional<double> choose_ridge(const std::array<Moments, 2>& all, int64_t k, int64_t outputs,
                                   const GramFunction& gram) {
  const int64_t every = (outputs + kJudges - 1) / kJudges;
  const int64_t m = (outputs + every - 1) / every;
  const std::array<Moments, 2> halves{some_outputs(all[0], k, outputs, every), some_outputs(all[1], k, outputs, every)};
  std::optional<double> best;
  double least = 0;
  const std::span<const double> ridges = k <= kSmallK ? std::span<const double>(kRidges) : kFewRidges;
  for (const double ridge : ridges) {
    double change = 0;
    for (size_t f = 0; f < (k <= kSmallK ? halves.size() : 1); ++f) {
      const std::vector<float> step = ridge_step(halves[f], k, m, ridge, gram);
      if (step.empty()) return std::nullopt;
      change += change_of_error(halves[1 - f], step, k, m, gram);
    }
    if (!(change < least)) {
      if (best) break;  // it was good enough before, and a weaker ridge fits the half it is made from only more
      continue;
    }
    least = change;
    best = ridge;
  }
  return best;
}

Moments joined(const std::array<Moments, 2>& halves) {
  Moments all = halves[0];
  const double rows = halves[0].rows + halves[1].rows;
  const auto a = static_cast<float>(halves[0].rows / rows);
  const auto b = static_cast<float>(halves[1].rows / rows);
  for (size_t i = 0; i < all.h.size(); ++i) all.h[i] = all.h[i] * a + halves[1].h[i] * b;
  for (size_t i = 0; i < all.t.size(); ++i) all.t[i] = all.t[i] * a + halves[1].t[i] * b;
  all.rows = rows;
  return all;
}

/// Rounds w [K, M] to q, in units of scale[m], carrying errors over through H = U D U^T with U upper triangular and
/// unit diagonal.
void round_with_carry(std::span<const float> h, int64_t k, int64_t m, std::span<const float> w,
                      std::span<const float> scale, const WeightLimit& limit, std::span<int8_t> q,
                      const GramFunction& gram) {
  const auto damping = static_cast<float>(kDamping * mean_diagonal(h, k));
  // U comes from the Cholesky factor of H with its rows and columns in reverse order.
  std::vector<float> factor(h.size());
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = 0; j < k; ++j)
      factor[static_cast<size_t>((k - 1 - i) * k + k - 1 - j)] =
          h[static_cast<size_t>(i * k + j)] + (i == j ? damping : 0);
  const bool carry = damping > 0 && cholesky(factor, k, gram);
  std::vector<float> u(h.size());
  for (int64_t i = 0; carry && i < k; ++i)
    for (int64_t j = i + 1; j < k; ++j) {
      const auto r = static_cast<size_t>(k - 1 - j);
      u[static_cast<size_t>(i * k + j)] =
          factor[static_cast<size_t>((k - 1 - i) * k) + r] / factor[r * static_cast<size_t>(k) + r];
    }
  parallel_for(m, 4, [&](int64_t first, int64_t last) {
    std::vector<float> carried(static_cast<size_t>(k));
    for (int64_t o = first; o < last; ++o) {
      std::ranges::fill(carried, 0.0F);
      const float s = scale[static_cast<size_t>(o)];
      for (int64_t c = 0; c < k; ++c) {
        const float value = w[static_cast<size_t>(c * m + o)];
        const float wanted = std::nearbyint((value - carried[static_cast<size_t>(c)]) / s);
        const auto most = static_cast<float>(limit.at(c, q.data() + o, m, wanted > 0));
        const float step = std::clamp(wanted, -most, most);
        q[static_cast<size_t>(c * m + o)] = static_cast<int8_t>(step);
        const float error = step * s - value;
        const float* row = u.data() + c * k;
        if (carry)
          for (int64_t j = c + 1; j < k; ++j) carried[static_cast<size_t>(j)] += error * row[j];
      }
    }
  });
}

/// True when the layer's bias can be replaced; `bias` gets it, zeros where there is none.
bool take_bias(const Graph& graph, const QuantisedProduct& product, std::vector<double>& bias) {
  const Node& node = graph.nodes[static_cast<size_t>(product.node)];
  if (node.op == "MatMul") return false;
  if (node.in(2) == kNoValue) return true;
  const Tensor* old = graph.constant_of(node.in(2));
  if (old == nullptr || (old->size() != static_cast<int64_t>(bias.size()) && old->size() != 1)) return false;
  for (size_t m = 0; m < bias.size(); ++m) bias[m] = old->at(old->size() == 1 ? 0 : static_cast<int64_t>(m));
  return true;
}

/// Where weight (k, m) of a group lies in the tensor: outputs first or last.
struct WeightOrder {
  int64_t k = 0;
  int64_t outputs = 0;
  bool rows_first = true;
  [[nodiscard]] size_t at(int64_t c, int64_t m) const {
    return static_cast<size_t>(rows_first ? m * k + c : c * outputs + m);
  }
};

Group group_of(const InputRows& in_float, const InputRows& quantised, const Tensor& w, const WeightOrder& order,
               int64_t g) {
  Group out{.k = order.k, .m = order.outputs / in_float.groups(), .rows = in_float.rows()};
  // Where each row goes.
  std::vector<int64_t> place(static_cast<size_t>(out.rows));
  out.even_rows = std::ranges::count_if(in_float.samples(), [](int64_t sample) { return sample % 2 == 0; });
  for (int64_t i = 0, even = 0, odd = out.even_rows; i < out.rows; ++i)
    place[static_cast<size_t>(i)] = in_float.samples()[static_cast<size_t>(i)] % 2 == 0 ? even++ : odd++;
  const int64_t groups = in_float.groups();
  out.x.resize(static_cast<size_t>(out.rows * order.k));
  out.xq.resize(out.x.size());
  parallel_for(out.rows, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* const x = in_float.values().data() + i * groups * order.k + g;
      const float* const xq = quantised.values().data() + i * groups * order.k + g;
      const int64_t to = place[static_cast<size_t>(i)] * order.k;
      for (int64_t c = 0; c < order.k; ++c) {
        out.x[static_cast<size_t>(to + c)] = x[c * groups];
        out.xq[static_cast<size_t>(to + c)] = xq[c * groups];
      }
    }
  });
  out.w.resize(static_cast<size_t>(out.k * out.m));
  for (int64_t c = 0; c < out.k; ++c)
    for (int64_t m = 0; m < out.m; ++m)
      out.w[static_cast<size_t>(c * out.m + m)] = w.data<float>()[order.at(c, g * out.m + m)];
  return out;
}

/// The rows of the samples that both saw as often: rows with infinity are left out, and only one of the two may hold
/// it, because quantised values are finite.
std::pair<InputRows, InputRows> shared_rows(const Graph& graph, const QuantisedProduct& product, const InputRows& a,
                                            const InputRows& b) {
  std::pair<InputRows, InputRows> shared{InputRows(graph, product), InputRows(graph, product)};
  const auto end_of_sample = [](const InputRows& rows, int64_t i) {
    const auto at = rows.samples().begin() + i;
    return std::find_if(at, rows.samples().end(), [&](int64_t s) { return s != *at; }) - rows.samples().begin();
  };
  for (int64_t i = 0, j = 0; i < a.rows() && j < b.rows();) {
    const int64_t of_a = a.samples()[static_cast<size_t>(i)];
    const int64_t of_b = b.samples()[static_cast<size_t>(j)];
    const int64_t end_i = end_of_sample(a, i);
    const int64_t end_j = end_of_sample(b, j);
    if (of_a == of_b && end_i - i == end_j - j) {
      shared.first.append(a, i, end_i);
      shared.second.append(b, j, end_j);
    }
    if (of_a <= of_b) i = end_i;
    if (of_b <= of_a) j = end_j;
  }
  return shared;
}

}  // namespace

void gram_by_loops(int64_t n, int64_t a, int64_t b, GramOperand x, GramOperand y, float* out) {
  std::fill_n(out, a * b, 0.0F);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t r = 0; r < a; ++r)
      for (int64_t c = 0; c < b; ++c) out[r * b + c] += x.at(i, r) * y.at(i, c);
}

void round_to_steps(std::span<float> values, const TensorQuantization& quantiser) {
  const Steps steps(quantiser);
  parallel_for(static_cast<int64_t>(values.size()), 4096, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) values[i] = steps.nearest(values[i]);
  });
}

std::optional<QuantisedWeights> reconstruct_weights(const Graph& graph, const QuantisedProduct& product,
                                                    const InputRows& in_float, const InputRows& quantised,
                                                    const WeightLimit& limit, const GramFunction& gram) {
  if (in_float.rows() == 0 || quantised.rows() == 0) return std::nullopt;
  if (!std::ranges::equal(in_float.samples(), quantised.samples())) {
    const auto [x, xq] = shared_rows(graph, product, in_float, quantised);
    return reconstruct_weights(graph, product, x, xq, limit, gram);
  }
  const Tensor& w = *graph.constant_of(product.weights);
  const WeightOrder order{in_float.k(), w.shape()[static_cast<size_t>(product.channel_axis)],
                          product.channel_axis == 0};
  QuantisedWeights out = quantise_weights(w, product.channel_axis, true, limit);
  std::vector<double> bias(static_cast<size_t>(order.outputs));
  const bool has_bias = take_bias(graph, product, bias);
  const bool side_by_side = in_float.groups() > 1 && order.k <= kLargestGroup;
  if (side_by_side)
    reconstruct_groups({in_float,
                        quantised,
                        {w.data<float>(), static_cast<size_t>(w.size())},
                        {out.scale.data<float>(), static_cast<size_t>(order.outputs)},
                        limit,
                        has_bias,
                        {out.q.data<int8_t>(), static_cast<size_t>(w.size())},
                        bias});
  for (int64_t g = 0; !side_by_side && g < in_float.groups(); ++g) {
    Group group = group_of(in_float, quantised, w, order, g);
    const Means mean = centre(group, !has_bias);
    const std::array<Moments, 2> halves{moments_of(group, 0, gram), moments_of(group, 1, gram)};
    const Moments all = joined(halves);
    std::vector<float> target = group.w;
    if (halves[0].rows > 0 && halves[1].rows > 0)
      if (const auto ridge = choose_ridge(halves, group.k, group.m, gram)) {
        const std::vector<float> step = ridge_step(all, group.k, group.m, *ridge, gram);
        for (size_t i = 0; i < step.size(); ++i) target[i] += step[i];
      }
    std::vector<int8_t> q(target.size());
    const std::span<const float> scale(out.scale.data<float>() + g * group.m, static_cast<size_t>(group.m));
    round_with_carry(all.h, group.k, group.m, target, scale, limit, q, gram);
    for (int64_t c = 0; c < group.k; ++c)
      for (int64_t m = 0; m < group.m; ++m) {
        const auto i = static_cast<size_t>(c * group.m + m);
        out.q.data<int8_t>()[order.at(c, g * group.m + m)] = q[i];
        const double rounded = static_cast<double>(q[i]) * static_cast<double>(scale[static_cast<size_t>(m)]);
        bias[static_cast<size_t>(g * group.m + m)] += static_cast<double>(group.w[i]) * mean.x[static_cast<size_t>(c)] -
                                                      rounded * mean.xq[static_cast<size_t>(c)];
      }
  }
  if (!has_bias) return out;
  Tensor b(DType::f32, {order.outputs});
  for (int64_t m = 0; m < order.outputs; ++m) b.data<float>()[m] = static_cast<float>(bias[static_cast<size_t>(m)]);
  out.bias = std::move(b);
  return out;
}

}  // namespace planish
