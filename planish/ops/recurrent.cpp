// RNN, GRU and LSTM, one layer, one or two directions.
// https://onnx.ai/onnx/operators/onnx__RNN.html, onnx__GRU.html, onnx__LSTM.html
//
// Names: S sequence length, N batch, I input size, H hidden size, D directions, G gates. `clip` bounds the input of
// every activation function.

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "planish/ops/checks.h"
#include "planish/ops/float_view.h"
#include "planish/ops/gemm.h"
#include "planish/ops/registry.h"
#include "planish/ops/scalar_functions.h"

namespace planish {
namespace {

enum Input : size_t { kX, kW, kR, kB, kLengths, kInitialH, kInitialC, kPeephole };

struct RecurrentShape {
  int64_t gates = 1;
  int64_t steps = 0;
  int64_t batch = 0;
  int64_t inputs = 0;
  int64_t hidden = 0;
  int64_t directions = 1;
  bool batch_first = false;  ///< layout = 1

  [[nodiscard]] Shape y() const {
    return batch_first ? Shape{batch, steps, directions, hidden} : Shape{steps, directions, batch, hidden};
  }
  [[nodiscard]] Shape state() const {
    return batch_first ? Shape{batch, directions, hidden} : Shape{directions, batch, hidden};
  }
};

int64_t gates_of(const Node& node) { return node.op == "LSTM" ? 4 : node.op == "GRU" ? 3 : 1; }

template <typename Context>
Result<RecurrentShape> resolve(const Context& ctx, const Shape& x, const Shape& w, const Shape& r) {
  if (x.size() != 3 || w.size() != 3 || r.size() != 3) return ctx.error("X, W and R must have rank 3");
  RecurrentShape s{.gates = gates_of(ctx.node()), .batch_first = ctx.node().attr_int("layout", 0) != 0};
  s.steps = x[s.batch_first ? 1 : 0];
  s.batch = x[s.batch_first ? 0 : 1];
  s.inputs = x[2] < 0 ? w[2] : x[2];
  s.hidden = r[2] < 0 ? ctx.node().attr_int("hidden_size", kUnknownDim) : r[2];
  const std::string direction = ctx.node().attr_string("direction", "forward");
  if (direction != "forward" && direction != "reverse" && direction != "bidirectional")
    return ctx.error("direction is '" + direction + "'", "use forward, reverse or bidirectional");
  s.directions = direction == "bidirectional" ? 2 : 1;
  const auto fits = [](int64_t have, int64_t want) { return have < 0 || want < 0 || have == want; };
  const int64_t rows = s.hidden < 0 ? kUnknownDim : s.gates * s.hidden;
  if (!fits(w[0], s.directions) || !fits(r[0], s.directions) || !fits(w[1], rows) || !fits(r[1], rows) ||
      !fits(w[2], s.inputs) || !fits(r[2], s.hidden))
    return ctx.error("W " + to_string(w) + " and R " + to_string(r) + " do not fit X " + to_string(x) + " with " +
                     std::to_string(s.directions) + " direction(s)");
  return s;
}

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  const RecurrentShape s = PLANISH_TRY(resolve(ctx, ctx.shape(kX), ctx.shape(kW), ctx.shape(kR)));
  ctx.set(0, ctx.dtype(kX), s.y());
  ctx.set(1, ctx.dtype(kX), s.state());
  ctx.set(2, ctx.dtype(kX), s.state());
  return {};
}

/// One activation with its parameters, and the clip in front of it.
struct Activation {
  double (*scalar)(double, const ScalarParams&) = nullptr;
  ScalarParams params;
  double clip = 0;  ///< 0: none

  double operator()(double x) const {
    if (clip > 0) x = std::clamp(x, -clip, clip);
    return scalar(x, params);
  }
};

/// Functions that only recurrent operators know.
double affine(double x, const ScalarParams& p) { return p.alpha * x + p.beta; }
double scaled_tanh(double x, const ScalarParams& p) { return p.alpha * std::tanh(p.beta * x); }

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return (x | 0x20) == (y | 0x20); });
}

/// Takes the next value of a parameter list; the lists only hold values for functions that have the parameter.
void consume(const std::vector<float>& values, size_t& next, double& to) {
  if (next < values.size()) to = static_cast<double>(values[next++]);
}

/// The activations of all directions in order, f (g (h)) each.
Result<std::vector<Activation>> read_activations(const RefContext& ctx, const RecurrentShape& s) {
  std::vector<std::string> names;
  for (int64_t d = 0; d < s.directions; ++d) {
    if (s.gates == 1) names.insert(names.end(), {"Tanh"});
    if (s.gates == 3) names.insert(names.end(), {"Sigmoid", "Tanh"});
    if (s.gates == 4) names.insert(names.end(), {"Sigmoid", "Tanh", "Tanh"});
  }
  const auto it = ctx.node().attrs.find("activations");
  if (it != ctx.node().attrs.end() && std::holds_alternative<std::vector<std::string>>(it->second)) {
    const auto& given = std::get<std::vector<std::string>>(it->second);
    if (!given.empty() && given.size() != names.size())
      return ctx.error("attribute activations has " + std::to_string(given.size()) + " names, " +
                       std::to_string(names.size()) + " are needed");
    if (!given.empty()) names = given;
  }
  const std::vector<float> alphas = ctx.node().attr_floats("activation_alpha");
  const std::vector<float> betas = ctx.node().attr_floats("activation_beta");
  const auto clip = static_cast<double>(ctx.node().attr_float("clip", 0));
  size_t next_alpha = 0;
  size_t next_beta = 0;
  std::vector<Activation> result;
  constexpr std::array kKnown{"Relu",        "Tanh", "Sigmoid",  "LeakyRelu", "ThresholdedRelu",
                              "HardSigmoid", "Elu",  "Softsign", "Softplus"};
  for (const std::string& name : names) {
    Activation a{.clip = clip};
    bool has_alpha = true;
    bool has_beta = true;
    if (equal_ignoring_case(name, "Affine")) {
      a.scalar = affine;
      a.params.alpha = 1;
    } else if (equal_ignoring_case(name, "ScaledTanh")) {
      a.scalar = scaled_tanh;
      a.params.alpha = a.params.beta = 1;
    } else {
      const auto known = std::ranges::find_if(kKnown, [&](const char* k) { return equal_ignoring_case(name, k); });
      const UnaryFunction* f = known == kKnown.end() ? nullptr : find_unary_function(*known);
      if (f == nullptr) return ctx.error("activation '" + name + "' is not known");
      a.scalar = f->scalar;
      a.params = f->default_params();
      has_alpha = !f->alpha_attr.empty();
      has_beta = !f->beta_attr.empty();
    }
    if (has_alpha) consume(alphas, next_alpha, a.params.alpha);
    if (has_beta) consume(betas, next_beta, a.params.beta);
    result.push_back(a);
  }
  return result;
}

/// Everything one direction reads, and the state [N,H] that it carries from step to step.
template <typename T>
struct Direction {
  const RecurrentShape& s;
  std::span<const Activation> f;
  const T* r = nullptr;       ///< [G*H, H]
  const T* w_bias = nullptr;  ///< [G*H] or nullptr
  const T* r_bias = nullptr;  ///< [G*H] or nullptr
  const T* peephole = nullptr;
  bool linear_before_reset = false;
  bool input_forget = false;
  std::vector<T> h;  ///< [N,H]
  std::vector<T> c;  ///< [N,H]

  /// Bias of row `i`; the recurrent half apart, since GRU may have to multiply it by the reset gate.
  [[nodiscard]] double wb(int64_t i) const { return w_bias == nullptr ? 0.0 : static_cast<double>(w_bias[i]); }
  [[nodiscard]] double rb(int64_t i) const { return r_bias == nullptr ? 0.0 : static_cast<double>(r_bias[i]); }

  /// New state of batch entry `n` out of its input products xw [G*H] and recurrent products hr [G*H].
  void step(int64_t n, const T* xw, const T* hr) {
    if (s.gates == 1) rnn(n, xw, hr);
    if (s.gates == 3) gru(n, xw, hr);
    if (s.gates == 4) lstm(n, xw, hr);
  }

 private:
  [[nodiscard]] double gate(const T* xw, const T* hr, int64_t row) const {
    return static_cast<double>(xw[row]) + static_cast<double>(hr[row]) + wb(row) + rb(row);
  }

  void rnn(int64_t n, const T* xw, const T* hr) {
    for (int64_t i = 0; i < s.hidden; ++i)
      h[static_cast<size_t>(n * s.hidden + i)] = static_cast<T>(f[0](gate(xw, hr, i)));
  }

  /// Gates z, r, h.
  void gru(int64_t n, const T* xw, const T* hr) {
    const int64_t H = s.hidden;
    T* state = h.data() + n * H;
    std::vector<double> reset(static_cast<size_t>(H));
    std::vector<T> candidate(static_cast<size_t>(H), T{});
    for (int64_t i = 0; i < H; ++i) reset[static_cast<size_t>(i)] = f[0](gate(xw, hr, H + i));
    if (!linear_before_reset) {
      std::vector<T> reset_state(static_cast<size_t>(H));
      for (int64_t i = 0; i < H; ++i)
        reset_state[static_cast<size_t>(i)] =
            static_cast<T>(reset[static_cast<size_t>(i)] * static_cast<double>(state[i]));
      gemm<T>(1, H, H, {reset_state.data(), H, 1}, {r + 2 * H * H, 1, H}, candidate.data(), H);
    }
    for (int64_t i = 0; i < H; ++i) {
      const auto k = static_cast<size_t>(i);
      const int64_t row = 2 * H + i;
      const double recurrent = linear_before_reset ? reset[k] * (static_cast<double>(hr[row]) + rb(row))
                                                   : static_cast<double>(candidate[k]) + rb(row);
      const double fresh = f[1](static_cast<double>(xw[row]) + wb(row) + recurrent);
      const double z = f[0](gate(xw, hr, i));
      state[i] = static_cast<T>((1 - z) * fresh + z * static_cast<double>(state[i]));
    }
  }

  /// Gates i, o, f, c; peepholes i, o, f.
  void lstm(int64_t n, const T* xw, const T* hr) {
    const int64_t H = s.hidden;
    for (int64_t i = 0; i < H; ++i) {
      const auto at = static_cast<size_t>(n * H + i);
      const auto before = static_cast<double>(c[at]);
      const auto peep = [&](int64_t which) {
        return peephole == nullptr ? 0.0 : static_cast<double>(peephole[which * H + i]);
      };
      const double input = f[0](gate(xw, hr, i) + peep(0) * before);
      const double forget = input_forget ? 1 - input : f[0](gate(xw, hr, 2 * H + i) + peep(2) * before);
      const double cell = forget * before + input * f[1](gate(xw, hr, 3 * H + i));
      const double output = f[0](gate(xw, hr, H + i) + peep(1) * cell);
      c[at] = static_cast<T>(cell);
      h[at] = static_cast<T>(output * f[2](cell));
    }
  }
};

/// Input elements of every optional tensor must match what the shapes promise.
Status check_sizes(const RefContext& ctx, const RecurrentShape& s) {
  const auto check = [&](size_t i, int64_t size) -> Status {
    if (ctx.has(i) && ctx.in(i).size() != size)
      return ctx.error("input " + std::to_string(i) + " has shape " + to_string(ctx.in(i).shape()) + ", " +
                       std::to_string(size) + " elements are needed");
    return {};
  };
  PLANISH_TRY(check(kB, s.directions * 2 * s.gates * s.hidden));
  PLANISH_TRY(check(kLengths, s.batch));
  PLANISH_TRY(check(kInitialH, s.directions * s.batch * s.hidden));
  if (s.gates != 4) return {};
  PLANISH_TRY(check(kInitialC, s.directions * s.batch * s.hidden));
  return check(kPeephole, s.directions * 3 * s.hidden);
}

template <typename T>
class Layer {
 public:
  Layer(const RefContext& ctx, const RecurrentShape& s)
      : ctx_(ctx), s_(s), x_(ctx.in(kX)), w_(ctx.in(kW)), r_(ctx.in(kR)), lengths_(static_cast<size_t>(s.batch)) {
    std::ranges::fill(lengths_, s.steps);
    if (ctx.has(kB)) bias_ = FloatInput<T>(ctx.in(kB));
    if (s.gates == 4 && ctx.has(kPeephole)) peephole_ = FloatInput<T>(ctx.in(kPeephole));
    if (!ctx.has(kLengths)) return;
    lengths_ = ctx.in(kLengths).to_i64();
    for (int64_t& length : lengths_) length = std::clamp<int64_t>(length, 0, s.steps);
  }

  /// Runs direction `d`. `y` (zero-filled), `y_h`, `y_c` are in the layout of the node; any may be nullptr.
  void run(int64_t d, std::span<const Activation> f, T* y, T* y_h, T* y_c) const {
    const int64_t H = s_.hidden;
    const int64_t rows = s_.gates * H;
    Direction<T> cell{.s = s_, .f = f, .r = r_.data() + d * rows * H};
    if (bias_.data() != nullptr) {
      cell.w_bias = bias_.data() + d * 2 * rows;
      cell.r_bias = cell.w_bias + rows;
    }
    if (peephole_.data() != nullptr) cell.peephole = peephole_.data() + d * 3 * H;
    cell.linear_before_reset = ctx_.node().attr_int("linear_before_reset", 0) != 0;
    cell.input_forget = ctx_.node().attr_int("input_forget", 0) != 0;
    cell.h = initial(kInitialH, d);
    cell.c = initial(kInitialC, d);
    // All input products at once: [S*N or N*S, G*H], in the row order of X.
    std::vector<T> xw(static_cast<size_t>(s_.steps * s_.batch * rows), T{});
    gemm<T>(s_.steps * s_.batch, rows, s_.inputs, {x_.data(), s_.inputs, 1},
            {w_.data() + d * rows * s_.inputs, 1, s_.inputs}, xw.data(), rows);
    std::vector<T> hr(static_cast<size_t>(s_.batch * rows));
    const bool reverse = d == 1 || ctx_.node().attr_string("direction", "forward") == "reverse";
    for (int64_t step = 0; step < s_.steps; ++step) {
      std::ranges::fill(hr, T{});
      gemm<T>(s_.batch, rows, H, {cell.h.data(), H, 1}, {cell.r, 1, H}, hr.data(), rows);
      for (int64_t n = 0; n < s_.batch; ++n) {
        const int64_t length = lengths_[static_cast<size_t>(n)];
        if (step >= length) continue;
        const int64_t t = reverse ? length - 1 - step : step;
        cell.step(n, xw.data() + (s_.batch_first ? n * s_.steps + t : t * s_.batch + n) * rows, hr.data() + n * rows);
        if (y != nullptr) std::copy_n(cell.h.data() + n * H, H, y + y_offset(t, d, n));
      }
    }
    for (int64_t n = 0; n < s_.batch; ++n) {
      if (y_h != nullptr) std::copy_n(cell.h.data() + n * H, H, y_h + state_offset(d, n));
      if (y_c != nullptr) std::copy_n(cell.c.data() + n * H, H, y_c + state_offset(d, n));
    }
  }

 private:
  [[nodiscard]] int64_t y_offset(int64_t t, int64_t d, int64_t n) const {
    return (s_.batch_first ? (n * s_.steps + t) * s_.directions + d : (t * s_.directions + d) * s_.batch + n) *
           s_.hidden;
  }
  [[nodiscard]] int64_t state_offset(int64_t d, int64_t n) const {
    return (s_.batch_first ? n * s_.directions + d : d * s_.batch + n) * s_.hidden;
  }
  [[nodiscard]] std::vector<T> initial(size_t input, int64_t d) const {
    std::vector<T> state(static_cast<size_t>(s_.batch * s_.hidden), T{});
    if (!ctx_.has(input)) return state;
    const FloatInput<T> from(ctx_.in(input));
    for (int64_t n = 0; n < s_.batch; ++n)
      std::copy_n(from.data() + state_offset(d, n), s_.hidden, state.data() + n * s_.hidden);
    return state;
  }

  const RefContext& ctx_;
  const RecurrentShape& s_;
  FloatInput<T> x_;
  FloatInput<T> w_;
  FloatInput<T> r_;
  FloatInput<T> bias_;
  FloatInput<T> peephole_;
  std::vector<int64_t> lengths_;
};

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  PLANISH_TRY(require_real(ctx));
  const RecurrentShape s = PLANISH_TRY(resolve(ctx, ctx.in(kX).shape(), ctx.in(kW).shape(), ctx.in(kR).shape()));
  PLANISH_TRY(check_sizes(ctx, s));
  const std::vector<Activation> activations = PLANISH_TRY(read_activations(ctx, s));
  const DType type = ctx.in(kX).dtype();
  std::array<Tensor*, 3> out{};
  for (size_t i = 0; i < (s.gates == 4 ? 3U : 2U); ++i)
    if (ctx.wants(i)) out[i] = PLANISH_TRY(ctx.output(i, type, i == 0 ? s.y() : s.state()));
  return in_float_arithmetic(type, [&](auto zero) -> Status {
    using T = decltype(zero);
    std::array<std::optional<FloatOutput<T>>, 3> to;
    std::array<T*, 3> data{};
    for (size_t i = 0; i < to.size(); ++i) {
      if (out[i] == nullptr) continue;
      data[i] = to[i].emplace(*out[i]).data();
      std::fill_n(data[i], out[i]->size(), T{});  // steps behind a short sequence stay zero
    }
    const Layer<T> layer(ctx, s);
    const size_t each = activations.size() / static_cast<size_t>(s.directions);
    for (int64_t d = 0; d < s.directions; ++d)
      layer.run(d, std::span(activations).subspan(static_cast<size_t>(d) * each, each), data[0], data[1], data[2]);
    for (auto& o : to)
      if (o) o->finish();
    return {};
  });
}

constexpr std::array kOps{
    OpDecl{.name = "GRU", .since = 1, .one_type = 0b101111, .infer = infer, .reference = reference},
    OpDecl{.name = "LSTM", .since = 1, .one_type = 0b11101111, .infer = infer, .reference = reference},
    OpDecl{.name = "RNN", .since = 1, .one_type = 0b101111, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> recurrent_ops() { return kOps; }

}  // namespace planish
