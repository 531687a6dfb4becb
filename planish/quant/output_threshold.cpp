#include "planish/quant/output_threshold.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "planish/base/parallel.h"
#include "planish/kernels/cpu/grouped_error/grouped_error.h"
#include "planish/quant/grouped_reconstruction.h"
#include "planish/quant/thresholds.h"

namespace planish {
namespace {

/// Thresholds to try, from the first one outwards: rounding errors grow with the threshold and clipping errors shrink,
/// so that a direction is left when it gets worse twice.
constexpr std::array kSmaller{0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5};
constexpr std::array kLarger{1.1, 1.2, 1.35};
constexpr int kPatience = 2;
/// What another threshold must bring in either half of the samples: less is within their noise, and a gain in one half
/// alone is the luck of the rare large values.
constexpr double kClearGain = 0.97;

/// Outputs of a group that thresholds are judged by at most, spread evenly.
constexpr int64_t kJudges = 256;

/// Errors of the samples with even and with odd numbers.
using Halves = std::array<double, 2>;

/// Rows that thresholds are tried on at most, spread evenly: of products in many groups each row shows many results.
constexpr int64_t kRows = 1536;
constexpr int64_t kGroupedRows = 256;

/// Numbers of the rows that are looked at.
std::vector<int64_t> chosen_rows(const InputRows& rows, int64_t most) {
  const int64_t count = std::min(most, rows.rows());
  std::vector<int64_t> chosen(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) chosen[static_cast<size_t>(i)] = i * rows.rows() / count;
  return chosen;
}

/// A reader with groups as small as those of depthwise convolutions: neighbouring groups are looked at side by side.
struct GroupedOperands {
  const InputRows* rows = nullptr;
  std::vector<int64_t> chosen;
  int64_t m = 0;         ///< outputs of a group
  std::vector<float> w;  // [M, K, groups]
};

/// One group of a reader as matrices.
struct Operands {
  int64_t n = 0;
  int64_t k = 0;
  int64_t m = 0;
  std::vector<float> x;      // [n, K]
  std::vector<float> w;      // [K, M]
  std::vector<size_t> half;  // [n]: of the sample that a position belongs to
};

std::vector<Operands> operands_of(const Graph& graph, const TensorReader& reader) {
  const Tensor& w = *graph.constant_of(reader.product->weights);
  const InputRows& rows = *reader.rows;
  const int64_t outputs = w.shape()[static_cast<size_t>(reader.product->channel_axis)];
  const bool rows_first = reader.product->channel_axis == 0;
  const std::vector<int64_t> chosen = chosen_rows(rows, kRows);
  std::vector<Operands> all;
  for (int64_t g = 0; g < rows.groups(); ++g) {
    const int64_t of_group = outputs / rows.groups();
    const int64_t every = (of_group + kJudges - 1) / kJudges;
    Operands o{.n = static_cast<int64_t>(chosen.size()), .k = rows.k(), .m = (of_group + every - 1) / every};
    o.x.resize(static_cast<size_t>(o.k * o.n));
    o.w.resize(static_cast<size_t>(o.k * o.m));
    for (int64_t i = 0; i < o.n; ++i) {
      const int64_t row = chosen[static_cast<size_t>(i)];
      o.half.push_back(static_cast<size_t>(rows.samples()[static_cast<size_t>(row)] % 2));
      for (int64_t c = 0; c < o.k; ++c)
        o.x[static_cast<size_t>(i * o.k + c)] = rows.values()[static_cast<size_t>((row * o.k + c) * rows.groups() + g)];
    }
    for (int64_t c = 0; c < o.k; ++c)
      for (int64_t m = 0; m < o.m; ++m) {
        const int64_t output = g * of_group + m * every;
        o.w[static_cast<size_t>(c * o.m + m)] = w.data<float>()[rows_first ? output * o.k + c : c * outputs + output];
      }
    all.push_back(std::move(o));
  }
  return all;
}

GroupedOperands grouped_operands_of(const Graph& graph, const TensorReader& reader) {
  const InputRows& rows = *reader.rows;
  const Tensor& w = *graph.constant_of(reader.product->weights);
  GroupedOperands o{.rows = &rows, .chosen = chosen_rows(rows, kGroupedRows)};
  const int64_t groups = rows.groups();
  o.m = w.size() / (groups * rows.k());
  o.w.resize(static_cast<size_t>(w.size()));
  for (int64_t g = 0; g < groups; ++g)
    for (int64_t m = 0; m < o.m; ++m)
      for (int64_t c = 0; c < rows.k(); ++c)
        o.w[static_cast<size_t>((m * rows.k() + c) * groups + g)] = w.data<float>()[(g * o.m + m) * rows.k() + c];
  return o;
}

/// Memory that is used again by the next trial.
struct Scratch {
  std::vector<float> inputs;
  std::vector<float> results;
};

/// Variance over the positions of what quantising adds to the results, summed over the outputs.
Halves output_error(const Operands& o, const TensorQuantization& quantiser, const GramFunction& gram,
                    Scratch& scratch) {
  auto& [d, e] = scratch;
  d.resize(std::max(d.size(), o.x.size()));
  e.resize(std::max(e.size(), static_cast<size_t>(o.n * o.m)));
  const Steps steps(quantiser);
  parallel_for(static_cast<int64_t>(o.x.size()), 4096, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) d[i] = steps.nearest(o.x[i]) - o.x[i];
  });
  gram(o.k, o.n, o.m, {d.data(), 1, o.k}, {o.w.data(), o.m}, e.data());
  Halves error{};
  Halves rows{};
  for (const size_t h : o.half) rows[h] += 1;
  const auto outputs = static_cast<size_t>(o.m);
  std::array<std::vector<double>, 2> sum{std::vector<double>(outputs), std::vector<double>(outputs)};
  Halves squares{};
  for (size_t i = 0; i < o.half.size(); ++i) {
    const float* row = e.data() + i * outputs;
    double* sums = sum[o.half[i]].data();
    float square = 0;
    for (size_t m = 0; m < outputs; ++m) {
      sums[m] += static_cast<double>(row[m]);
      square += row[m] * row[m];
    }
    squares[o.half[i]] += static_cast<double>(square);
  }
  for (size_t h = 0; h < error.size(); ++h) {
    if (rows[h] == 0) continue;
    error[h] = squares[h] / rows[h];
    for (const double s : sum[h]) error[h] -= std::pow(s / rows[h], 2);
  }
  return error;
}

constexpr int64_t kWidth = 64;
using Lanes = std::array<float, kWidth>;

/// output_error() of the groups from number `first` on, `count` of them.
Halves block_error(const GroupedOperands& o, const kernels::StepRange& steps, int64_t first, size_t count) {
  static const kernels::GroupedErrorFn add_errors = kernels::best_grouped_error_kernel().fn;
  const int64_t groups = o.rows->groups();
  const int64_t k = o.rows->k();
  std::array<std::vector<Lanes>, 2> sums{std::vector<Lanes>(static_cast<size_t>(o.m)),
                                         std::vector<Lanes>(static_cast<size_t>(o.m))};
  std::array<std::vector<Lanes>, 2> squares = sums;
  Halves rows{};
  kernels::GroupedRow of_row{
      .w = o.w.data() + first, .k = k, .m = o.m, .groups = groups, .count = static_cast<int64_t>(count)};
  for (const int64_t row : o.chosen) {
    of_row.x = o.rows->values().data() + row * k * groups + first;
    const auto half = static_cast<size_t>(o.rows->samples()[static_cast<size_t>(row)] % 2);
    rows[half] += 1;
    add_errors(of_row, steps, sums[half].front().data(), squares[half].front().data(), kWidth);
  }
  Halves error{};
  for (size_t h = 0; h < error.size(); ++h)
    for (size_t m = 0; rows[h] > 0 && m < sums[h].size(); ++m)
      for (size_t i = 0; i < count; ++i)
        error[h] +=
            static_cast<double>(squares[h][m][i]) / rows[h] - std::pow(static_cast<double>(sums[h][m][i]) / rows[h], 2);
  return error;
}

Halves output_error(const GroupedOperands& o, const TensorQuantization& quantiser) {
  const Steps range(quantiser);
  const kernels::StepRange steps{quantiser.scale, range.low(), range.high()};
  const int64_t groups = o.rows->groups();
  std::vector<Halves> blocks(static_cast<size_t>((groups + kWidth - 1) / kWidth));
  parallel_for(static_cast<int64_t>(blocks.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      blocks[static_cast<size_t>(b)] =
          block_error(o, steps, b * kWidth, static_cast<size_t>(std::min(kWidth, groups - b * kWidth)));
  });
  Halves error{};
  for (const Halves& e : blocks)
    for (size_t h = 0; h < error.size(); ++h) error[h] += e[h];
  return error;
}

/// The larger of the shares that the halves have of their errors in `base`.
double worse_share(const Halves& error, const Halves& base) {
  double worse = 0;
  for (size_t h = 0; h < error.size(); ++h)
    if (base[h] > 0) worse = std::max(worse, error[h] / base[h]);
  return worse;
}

TensorQuantization with_threshold(const TensorQuantization& first, double factor, float min, float max) {
  if (first.type == DType::i8) {
    TensorQuantization q = first;
    q.scale = static_cast<float>(std::min(static_cast<double>(first.scale) * factor,
                                          std::max(std::fabs(min), std::fabs(max)) / double{kSymmetricSteps}));
    return q;
  }
  const double low = static_cast<double>(first.zero) * static_cast<double>(first.scale);
  const double high = static_cast<double>(kUnsignedSteps - first.zero) * static_cast<double>(first.scale);
  const double threshold = std::max(low, high) * factor;
  return unsigned_quantiser(std::max(std::min(0.0, double{min}), -threshold),
                            std::min(std::max(0.0, double{max}), threshold));
}

}  // namespace

TensorQuantization choose_by_output(const Graph& graph, const std::vector<TensorReader>& readers,
                                    const TensorQuantization& first, float min, float max, const GramFunction& gram) {
  std::vector<Operands> operands;
  std::vector<GroupedOperands> grouped;
  for (const TensorReader& reader : readers) {
    if (reader.rows->rows() < 2) continue;
    if (reader.rows->groups() > 1 && reader.rows->k() <= kLargestGroup) {
      grouped.push_back(grouped_operands_of(graph, reader));
      continue;
    }
    for (Operands& o : operands_of(graph, reader)) operands.push_back(std::move(o));
  }
  Scratch scratch;
  const auto error_of = [&](const TensorQuantization& q) {
    Halves error{};
    const auto add = [&error](const Halves& e) {
      for (size_t h = 0; h < error.size(); ++h) error[h] += e[h];
    };
    for (const Operands& o : operands) add(output_error(o, q, gram, scratch));
    for (const GroupedOperands& o : grouped) add(output_error(o, q));
    return error;
  };
  if ((operands.empty() && grouped.empty()) || !(max > min)) return first;
  const Halves base = error_of(first);
  TensorQuantization best = first;
  double least = kClearGain;
  const auto walk = [&](std::span<const double> factors) {
    double before = 1;
    int worse = 0;
    for (const double factor : factors) {
      const TensorQuantization q = with_threshold(first, factor, min, max);
      if (q == first) return;  // nothing lies beyond
      const double share = worse_share(error_of(q), base);
      worse = share < before ? 0 : worse + 1;
      if (worse == kPatience) return;
      before = share;
      if (!(share < least)) continue;
      least = share;
      best = q;
    }
  };
  walk(kSmaller);
  walk(kLarger);
  return best;
}

}  // namespace planish
