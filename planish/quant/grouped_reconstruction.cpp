#include "planish/quant/grouped_reconstruction.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "planish/base/parallel.h"
#include "planish/quant/ridges.h"

namespace planish {
namespace {

/// One number of each of 16 neighbouring groups.
constexpr size_t kLanes = 16;
struct Lanes {
  std::array<float, kLanes> v{};
  float& operator[](size_t i) { return v[i]; }
  float operator[](size_t i) const { return v[i]; }
};

/// sum += x * y
inline void add_product(Lanes& sum, const Lanes& x, const Lanes& y) {
  for (size_t i = 0; i < kLanes; ++i) sum[i] += x[i] * y[i];
}
inline void take_product(Lanes& sum, const Lanes& x, const Lanes& y) {
  for (size_t i = 0; i < kLanes; ++i) sum[i] -= x[i] * y[i];
}

/// Symmetric matrices [K, K]; the lower triangles count.
using Matrix = std::vector<Lanes>;

/// What the rows of one half of the samples say, as in reconstruct_weights().
struct Moments {
  Matrix h;
  std::vector<Lanes> t;  // [K]
  float rows = 0;
};

/// The systems of up to 16 neighbouring groups, for one output channel of each.
class Block {
 public:
  Block(const GroupedProduct& p, int64_t first)
      : p_(p),
        k_(static_cast<size_t>(p.in_float.k())),
        first_(first),
        lanes_(static_cast<size_t>(std::min<int64_t>(kLanes, p.in_float.groups() - first))) {
    mean_ = mean_of(p.in_float);
    quantised_mean_ = mean_of(p.quantised);
  }

  void solve(int64_t outputs_per_group, int64_t output) {
    std::array<int64_t, kLanes> outputs{};
    for (size_t i = 0; i < lanes_; ++i) outputs[i] = (first_ + static_cast<int64_t>(i)) * outputs_per_group + output;
    std::vector<Lanes> w(k_);
    for (size_t c = 0; c < k_; ++c)
      for (size_t i = 0; i < lanes_; ++i) w[c][i] = p_.weights[static_cast<size_t>(outputs[i]) * k_ + c];
    const std::array<Moments, 2> halves = moments(w);
    const Moments all = joined(halves);
    std::vector<Lanes> target = w;
    if (halves[0].rows > 0 && halves[1].rows > 0) {
      const Lanes ridge = choose_ridges(halves);
      const std::vector<Lanes> step = ridge_step(all, ridge);
      for (size_t c = 0; c < k_; ++c)
        for (size_t i = 0; i < kLanes; ++i) target[c][i] += ridge[i] > 0 ? step[c][i] : 0.0F;
    }
    round(all.h, target, outputs);
    for (size_t i = 0; i < lanes_; ++i) {
      const auto o = static_cast<size_t>(outputs[i]);
      for (size_t c = 0; c < k_; ++c)
        p_.shift[o] += static_cast<double>(w[c][i]) * static_cast<double>(mean_[c][i]) -
                       static_cast<double>(p_.q[o * k_ + c]) * static_cast<double>(p_.scale[o]) *
                           static_cast<double>(quantised_mean_[c][i]);
    }
  }

 private:
  void load(const InputRows& rows, size_t row, std::vector<Lanes>& x) const {
    const auto groups = static_cast<size_t>(rows.groups());
    const float* from = rows.values().data() + row * k_ * groups + static_cast<size_t>(first_);
    for (size_t c = 0; c < k_; ++c) {
      if (lanes_ == kLanes)
        std::memcpy(x[c].v.data(), from + c * groups, sizeof(Lanes));  // of a fixed size, not a call
      else
        std::copy_n(from + c * groups, lanes_, x[c].v.data());
    }
  }

  [[nodiscard]] std::vector<Lanes> mean_of(const InputRows& rows) const {
    std::vector<Lanes> sum(k_);
    std::vector<Lanes> x(k_);
    const auto n = static_cast<size_t>(rows.rows());
    for (size_t r = 0; r < n; ++r) {
      load(rows, r, x);
      for (size_t c = 0; c < k_; ++c)
        for (size_t i = 0; i < kLanes; ++i) sum[c][i] += x[c][i];
    }
    for (Lanes& s : sum)
      for (float& v : s.v) v /= static_cast<float>(n);
    return sum;
  }

  [[nodiscard]] std::array<Moments, 2> moments(const std::vector<Lanes>& w) const {
    std::array<Moments, 2> halves;
    for (Moments& m : halves) m = {Matrix(k_ * k_), std::vector<Lanes>(k_)};
    std::vector<Lanes> x(k_);
    std::vector<Lanes> xq(k_);
    for (size_t r = 0; r < static_cast<size_t>(p_.in_float.rows()); ++r) {
      load(p_.in_float, r, x);
      load(p_.quantised, r, xq);
      Moments& m = halves[static_cast<size_t>(p_.in_float.samples()[r] % 2)];
      m.rows += 1;
      Lanes error;  // of the result: W x - W x'
      for (size_t c = 0; c < k_; ++c) {
        for (size_t i = 0; p_.has_bias && i < kLanes; ++i) {
          x[c][i] -= mean_[c][i];
          xq[c][i] -= quantised_mean_[c][i];
        }
        for (size_t i = 0; i < kLanes; ++i) error[i] += w[c][i] * (x[c][i] - xq[c][i]);
      }
      for (size_t a = 0; a < k_; ++a) {
        add_product(m.t[a], xq[a], error);
        for (size_t b = 0; b <= a; ++b) add_product(m.h[a * k_ + b], xq[a], xq[b]);
      }
    }
    for (Moments& m : halves) {
      const float scale = m.rows > 0 ? 1 / m.rows : 0;
      for (Lanes& l : m.h)
        for (float& v : l.v) v *= scale;
      for (Lanes& l : m.t)
        for (float& v : l.v) v *= scale;
    }
    return halves;
  }

  static Moments joined(const std::array<Moments, 2>& halves) {
    Moments all = halves[0];
    all.rows += halves[1].rows;
    const float a = halves[0].rows / all.rows;
    const float b = halves[1].rows / all.rows;
    const auto join = [a, b](std::vector<Lanes>& x, const std::vector<Lanes>& y) {
      for (size_t j = 0; j < x.size(); ++j)
        for (size_t i = 0; i < kLanes; ++i) x[j][i] = x[j][i] * a + y[j][i] * b;
    };
    join(all.h, halves[1].h);
    join(all.t, halves[1].t);
    return all;
  }

  [[nodiscard]] Lanes mean_diagonal(const Matrix& h) const {
    Lanes sum;
    for (size_t c = 0; c < k_; ++c)
      for (size_t i = 0; i < kLanes; ++i) sum[i] += h[c * k_ + c][i] / static_cast<float>(k_);
    return sum;
  }

  /// a = L L^T in place. Lanes without a positive pivot (nothing varies there) get a large one, so that nothing follows
  /// from them.
  void cholesky(Matrix& a) const {
    for (size_t j = 0; j < k_; ++j) {
      for (size_t c = 0; c < j; ++c) take_product(a[j * k_ + j], a[j * k_ + c], a[j * k_ + c]);
      for (float& v : a[j * k_ + j].v) v = v > 0 ? std::sqrt(v) : kNoPivot;
      for (size_t i = j + 1; i < k_; ++i) {
        for (size_t c = 0; c < j; ++c) take_product(a[i * k_ + j], a[i * k_ + c], a[j * k_ + c]);
        for (size_t l = 0; l < kLanes; ++l) a[i * k_ + j][l] /= a[j * k_ + j][l];
      }
    }
  }

  /// (H + ridge * mean diagonal)^-1 T
  [[nodiscard]] std::vector<Lanes> ridge_step(const Moments& m, const Lanes& ridge) const {
    Matrix a = m.h;
    const Lanes diagonal = mean_diagonal(m.h);
    for (size_t c = 0; c < k_; ++c) add_product(a[c * k_ + c], ridge, diagonal);
    cholesky(a);
    std::vector<Lanes> x = m.t;
    for (size_t i = 0; i < k_; ++i) {
      for (size_t j = 0; j < i; ++j) take_product(x[i], a[i * k_ + j], x[j]);
      for (size_t l = 0; l < kLanes; ++l) x[i][l] /= a[i * k_ + i][l];
    }
    for (size_t i = k_; i-- > 0;) {
      for (size_t j = i + 1; j < k_; ++j) take_product(x[i], a[j * k_ + i], x[j]);
      for (size_t l = 0; l < kLanes; ++l) x[i][l] /= a[i * k_ + i][l];
    }
    return x;
  }

  /// How much the squared error of the rows behind `m` changes by W + step.
  [[nodiscard]] Lanes change_of_error(const Moments& m, const std::vector<Lanes>& step) const {
    Lanes change;
    for (size_t a = 0; a < k_; ++a) {
      Lanes hs;
      for (size_t b = 0; b < k_; ++b) add_product(hs, m.h[std::max(a, b) * k_ + std::min(a, b)], step[b]);
      for (size_t i = 0; i < kLanes; ++i) change[i] += step[a][i] * (hs[i] - 2 * m.t[a][i]);
    }
    return change;
  }

  /// The ridge of each group that lets one half of its samples predict the other best; 0 when none predicts anything.
  [[nodiscard]] Lanes choose_ridges(const std::array<Moments, 2>& halves) const {
    Lanes best;
    Lanes least;
    std::array<bool, kLanes> settled{};
    for (const double r : kRidges) {
      Lanes ridge;
      ridge.v.fill(static_cast<float>(r));
      Lanes change;
      for (size_t f = 0; f < 2; ++f) {
        const Lanes part = change_of_error(halves[1 - f], ridge_step(halves[f], ridge));
        for (size_t i = 0; i < kLanes; ++i) change[i] += part[i];
      }
      for (size_t i = 0; i < kLanes; ++i) {
        if (settled[i]) continue;
        if (change[i] < least[i]) {
          least[i] = change[i];
          best[i] = ridge[i];
        } else {
          settled[i] = best[i] > 0;  // a weaker ridge fits the half it is made from only more
        }
      }
    }
    return best;
  }

  /// Rounds with the errors carried over through H = U D U^T, U upper triangular with unit diagonal.
  void round(const Matrix& h, const std::vector<Lanes>& target, const std::array<int64_t, kLanes>& outputs) {
    const Lanes diagonal = mean_diagonal(h);
    Matrix factor(k_ * k_);  // of H with its rows and columns in reverse order
    for (size_t a = 0; a < k_; ++a)
      for (size_t b = 0; b <= a; ++b) {
        Lanes& f = factor[a * k_ + b];
        f = h[(k_ - 1 - b) * k_ + k_ - 1 - a];
        for (size_t i = 0; a == b && i < kLanes; ++i) f[i] += static_cast<float>(kDamping) * diagonal[i];
      }
    cholesky(factor);
    std::vector<Lanes> carried(k_);
    for (size_t c = 0; c < k_; ++c) {
      Lanes error;
      for (size_t i = 0; i < lanes_; ++i) {
        const auto o = static_cast<size_t>(outputs[i]);
        int8_t* const q = p_.q.data() + o * k_;
        const float wanted = std::nearbyint((target[c][i] - carried[c][i]) / p_.scale[o]);
        const auto most = static_cast<float>(p_.limit.at(static_cast<int64_t>(c), q, 1, wanted > 0));
        const float step = std::clamp(wanted, -most, most);
        q[c] = static_cast<int8_t>(step);
        error[i] = diagonal[i] > 0 ? step * p_.scale[o] - target[c][i] : 0.0F;
      }
      for (size_t j = c + 1; j < k_; ++j) {
        const size_t r = k_ - 1 - j;
        for (size_t i = 0; i < kLanes; ++i)
          carried[j][i] += error[i] * factor[(k_ - 1 - c) * k_ + r][i] / factor[r * k_ + r][i];
      }
    }
  }

  static constexpr float kNoPivot = 1e18F;

  const GroupedProduct& p_;
  size_t k_ = 0;
  int64_t first_ = 0;                         ///< group
  size_t lanes_ = 0;                          ///< groups; the lanes behind are zero
  std::vector<Lanes> mean_, quantised_mean_;  // [K]
};

}  // namespace

void reconstruct_groups(const GroupedProduct& product) {
  const int64_t groups = product.in_float.groups();
  const int64_t outputs = static_cast<int64_t>(product.scale.size()) / groups;
  constexpr auto kWidth = static_cast<int64_t>(kLanes);
  parallel_for((groups + kWidth - 1) / kWidth, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      Block block(product, b * kWidth);
      for (int64_t m = 0; m < outputs; ++m) block.solve(outputs, m);
    }
  });
}

}  // namespace planish
