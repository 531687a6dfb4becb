// RNN, GRU and LSTM with the usual activations: the products of all inputs first, then step by step the products with
// the state, in panels that are packed once. Directions and sequences of a batch are independent and go to different
// threads; where there are fewer of them than threads, every step divides the hidden elements.
//
// Names: S sequence length, N batch, I input size, H hidden size, P = H rounded up to whole panels, D directions,
// G gates.

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>

#include "planish/base/parallel.h"
#include "planish/kernels/cpu/recurrent/recurrent.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {
namespace {

using kernels::kRecurrentPanel;

enum Input : size_t { kX, kW, kR, kB, kLengths, kInitialH, kInitialC, kPeephole };

constexpr std::string_view kFormat = "recurrent:panels16";

struct Plan {
  int64_t gates = 1;
  int64_t steps = 0;
  int64_t batch = 0;
  int64_t inputs = 0;
  int64_t hidden = 0;
  int64_t directions = 1;
  bool reverse = false;      ///< of the first direction
  bool batch_first = false;  ///< layout = 1
  bool relu = false;         ///< of RNN
  bool reset_after = false;  ///< GRU's linear_before_reset

  [[nodiscard]] int64_t padded() const { return (hidden + kRecurrentPanel - 1) / kRecurrentPanel * kRecurrentPanel; }
  [[nodiscard]] int64_t width() const { return gates * padded(); }
};

Error refuse(const NodeView& view, std::string what) {
  return Error{.code = Code::unsupported, .node = view.node->name, .what = std::move(what)};
}

bool same_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return (x | 0x20) == (y | 0x20); });
}

/// Fills plan.relu; refuses every other activation than the operator's own.
Status read_activations(const NodeView& view, Plan& plan) {
  const auto it = view.node->attrs.find("activations");
  if (it == view.node->attrs.end() || !std::holds_alternative<std::vector<std::string>>(it->second)) return {};
  const auto& names = std::get<std::vector<std::string>>(it->second);
  if (names.empty()) return {};
  const std::array<std::string_view, 3> usual = plan.gates == 1 ? std::array<std::string_view, 3>{"Tanh"}
                                                : plan.gates == 3
                                                    ? std::array<std::string_view, 3>{"Sigmoid", "Tanh"}
                                                    : std::array<std::string_view, 3>{"Sigmoid", "Tanh", "Tanh"};
  const size_t each = plan.gates == 1 ? 1 : plan.gates == 3 ? 2 : 3;
  if (names.size() != each * static_cast<size_t>(plan.directions)) return refuse(view, "counts activations otherwise");
  plan.relu = plan.gates == 1 && same_ignoring_case(names[0], "Relu");
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string_view want = plan.relu ? "Relu" : usual[i % each];
    if (!same_ignoring_case(names[i], want)) return refuse(view, fmt::format("has no activation {}", names[i]));
  }
  return {};
}

Status check_tensors(const NodeView& view, const Plan& plan) {
  const auto size_of = [&](size_t i) { return view.inputs[i].size(); };
  for (size_t i = 0; i < view.inputs.size(); ++i) {
    if (!view.has_input(i)) continue;
    if (view.inputs[i].layout != Layout::row_major) return refuse(view, "takes row-major tensors only");
    const DType want = i == kLengths ? DType::i32 : DType::f32;
    if (view.inputs[i].dtype != want)
      return refuse(view, fmt::format("computes in f32, got {}", dtype_name(view.inputs[i].dtype)));
  }
  for (const TensorDesc& y : view.outputs)
    if (y.present() && (y.layout != Layout::row_major || y.dtype != DType::f32))
      return refuse(view, "writes row-major f32 only");
  if (!view.is_constant(kW) || !view.is_constant(kR)) return refuse(view, "needs constant weights");
  if (view.has_input(kB) && view.constants[kB] == nullptr) return refuse(view, "needs a constant bias");
  if (plan.gates == 4 && view.has_input(kPeephole)) return refuse(view, "has no peepholes");
  const int64_t state = plan.directions * plan.batch * plan.hidden;
  if (size_of(kW) != plan.directions * plan.gates * plan.hidden * plan.inputs ||
      size_of(kR) != plan.directions * plan.gates * plan.hidden * plan.hidden ||
      (view.has_input(kB) && size_of(kB) != plan.directions * 2 * plan.gates * plan.hidden) ||
      (view.has_input(kLengths) && size_of(kLengths) != plan.batch) ||
      (view.has_input(kInitialH) && size_of(kInitialH) != state) ||
      (plan.gates == 4 && view.has_input(kInitialC) && size_of(kInitialC) != state))
    return refuse(view, "the inputs' shapes do not fit each other");
  return {};
}

Result<Plan> make_plan(const NodeView& view) {
  const Node& node = *view.node;
  const Shape& x = view.inputs[kX].shape;
  if (x.size() != 3 || view.inputs[kW].rank() != 3 || view.inputs[kR].rank() != 3)
    return refuse(view, "needs X, W and R of rank 3");
  Plan plan{.gates = node.op == "LSTM" ? 4 : node.op == "GRU" ? 3 : 1};
  plan.batch_first = node.attr_int("layout", 0) != 0;
  plan.steps = x[plan.batch_first ? 1 : 0];
  plan.batch = x[plan.batch_first ? 0 : 1];
  plan.inputs = x[2];
  plan.hidden = view.inputs[kR].shape[2];
  const std::string direction = node.attr_string("direction", "forward");
  plan.directions = direction == "bidirectional" ? 2 : 1;
  plan.reverse = direction == "reverse";
  plan.reset_after = node.attr_int("linear_before_reset", 0) != 0;
  if (plan.steps * plan.batch * plan.inputs * plan.hidden == 0) return refuse(view, "a tensor is empty");
  if (node.attr_float("clip", 0) != 0.0F) return refuse(view, "does not clip");
  if (node.attr_int("input_forget", 0) != 0) return refuse(view, "does not couple input and forget gates");
  PLANISH_TRY(read_activations(view, plan));
  PLANISH_TRY(check_tensors(view, plan));
  return plan;
}

/// W or R [D, G*H, depth] as panels [D, G*P/panel][depth][panel], padded with zeros.
Tensor pack_panels(const Plan& plan, const Tensor& weights, int64_t depth) {
  const int64_t padded = plan.padded();
  Tensor out(DType::f32, {plan.directions, plan.width(), depth});
  const auto* from = weights.data<float>();
  auto* to = static_cast<float*>(out.raw());
  std::memset(to, 0, out.bytes());
  for (int64_t dg = 0; dg < plan.directions * plan.gates; ++dg)
    for (int64_t i = 0; i < plan.hidden; ++i)
      for (int64_t k = 0; k < depth; ++k)
        to[(dg * padded + i / kRecurrentPanel * kRecurrentPanel) * depth + k * kRecurrentPanel + i % kRecurrentPanel] =
            from[(dg * plan.hidden + i) * depth + k];
  return out;
}

Result<std::vector<PackedConstant>> pack(const NodeView& view, const Target&) {
  const Plan plan = PLANISH_TRY(make_plan(view));
  std::vector<PackedConstant> out;
  out.push_back({kW, std::string(kFormat), pack_panels(plan, *view.constants[kW], plan.inputs)});
  out.push_back({kR, std::string(kFormat), pack_panels(plan, *view.constants[kR], plan.hidden)});
  return out;
}

Result<Tensor> unpack(const NodeView& view, const PackedConstant& packed) {
  const Plan plan = PLANISH_TRY(make_plan(view));
  const int64_t depth = packed.input == kW ? plan.inputs : plan.hidden;
  const int64_t padded = plan.padded();
  if (packed.format != kFormat || packed.data.dtype() != DType::f32 ||
      packed.data.size() != plan.directions * plan.width() * depth)
    return Error{.code = Code::corrupt, .node = view.node->name, .what = "packed weights have an unknown format"};
  Tensor out(DType::f32, {plan.directions, plan.gates * plan.hidden, depth});
  const auto* from = packed.data.data<float>();
  auto* to = static_cast<float*>(out.raw());
  for (int64_t dg = 0; dg < plan.directions * plan.gates; ++dg)
    for (int64_t i = 0; i < plan.hidden; ++i)
      for (int64_t k = 0; k < depth; ++k)
        to[(dg * plan.hidden + i) * depth + k] = from[(dg * padded + i / kRecurrentPanel * kRecurrentPanel) * depth +
                                                      k * kRecurrentPanel + i % kRecurrentPanel];
  return out;
}

class RecurrentRunner final : public Kernel {
 public:
  RecurrentRunner(const NodeView& view, const Plan& plan, const Tensor& w, const Tensor& r)
      : plan_(plan), w_(w), r_(r), bias_(static_cast<size_t>(plan.directions * plan.width())) {
    has_lengths_ = view.has_input(kLengths);
    has_h_ = view.has_input(kInitialH);
    has_c_ = plan.gates == 4 && view.has_input(kInitialC);
    for (size_t i = 0; i < writes_.size(); ++i) writes_[i] = i < view.outputs.size() && view.outputs[i].present();
    if (plan.gates == 3) reset_bias_.resize(static_cast<size_t>(plan.directions * plan.padded()));
    if (view.has_input(kB)) read_bias(view.constants[kB]->data<float>());
  }

  [[nodiscard]] size_t workspace_bytes() const override { return static_cast<size_t>(layout().total) * sizeof(float); }
  [[nodiscard]] std::string detail() const override { return std::string(kernels_.name); }

  Status run(const Bindings& b) override {
    Memory m = memory(b);
    input_products(m);
    const int64_t units = plan_.directions * plan_.batch;
    const int64_t threads = num_threads();
    const int64_t step_work = units * plan_.width() * plan_.hidden;
    constexpr int64_t kWorkPerThread = 100000;  // products that take as long as waking a thread
    if (threads > 1 && units < threads && step_work >= 2 * kWorkPerThread) {
      const int64_t panels = plan_.padded() / kRecurrentPanel;
      const int64_t grain = std::max<int64_t>(1, plan_.directions * panels * kWorkPerThread / step_work);
      for (int64_t step = 0; step < plan_.steps; ++step) divided_step(m, step, panels, grain);
    } else {
      const int64_t pieces = std::min(plan_.batch, std::max<int64_t>(1, threads / plan_.directions));
      const int64_t rows = (plan_.batch + pieces - 1) / pieces;
      const bool small = step_work * plan_.steps < 2 * kWorkPerThread;
      parallel_for(plan_.directions * pieces, small ? plan_.directions * pieces : 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t first = i % pieces * rows;
          const Part part{i / pieces, first, std::min(first + rows, plan_.batch), 0, plan_.padded()};
          for (int64_t step = 0; step < plan_.steps && part.row < part.row_end; ++step) {
            reset_state(m, part, step);
            advance(m, part, step);
          }
        }
      });
    }
    write_states(m);
    return {};
  }

 private:
  /// Rows [row, row_end) of the batch and hidden elements [at, at_end) of a direction.
  struct Part {
    int64_t direction;
    int64_t row;
    int64_t row_end;
    int64_t at;
    int64_t at_end;
  };

  /// Where things begin in the workspace, in floats.
  struct Places {
    int64_t xw, sums, h, reset, c, total;
  };

  struct Memory {
    const float* x;
    const int32_t* lengths;
    float* xw;     ///< [rows of X, D*G*P]
    float* sums;   ///< [D, N, G*P]
    float* h;      ///< [2, D, N, P]: steps alternate
    float* reset;  ///< [D, N, P]
    float* c;      ///< [D, N, P]
    std::array<float*, 3> y;
  };

  [[nodiscard]] Places layout() const {
    const int64_t state = plan_.directions * plan_.batch * plan_.padded();
    Places p{};
    p.sums = plan_.steps * plan_.batch * plan_.directions * plan_.width();
    p.h = p.sums + state * plan_.gates;
    p.reset = p.h + 2 * state;
    p.c = p.reset + (plan_.gates == 3 ? state : 0);
    p.total = p.c + (plan_.gates == 4 ? state : 0);
    return p;
  }

  /// What is added to the input products. GRU's recurrent bias of the candidate gate is apart when the reset gate
  /// multiplies it.
  void read_bias(const float* b) {
    const int64_t rows = plan_.gates * plan_.hidden;
    for (int64_t d = 0; d < plan_.directions; ++d)
      for (int64_t g = 0; g < plan_.gates; ++g)
        for (int64_t i = 0; i < plan_.hidden; ++i) {
          const float wb = b[d * 2 * rows + g * plan_.hidden + i];
          const float rb = b[d * 2 * rows + rows + g * plan_.hidden + i];
          const bool apart = plan_.gates == 3 && g == 2 && plan_.reset_after;
          bias_[static_cast<size_t>((d * plan_.gates + g) * plan_.padded() + i)] = apart ? wb : wb + rb;
          if (apart) reset_bias_[static_cast<size_t>(d * plan_.padded() + i)] = rb;
        }
  }

  [[nodiscard]] Memory memory(const Bindings& b) const {
    auto* w = host_ptr<float>(b.workspace);
    const Places p = layout();
    Memory m{};
    m.x = host_ptr<const float>(b.inputs[kX]);
    m.lengths = has_lengths_ ? host_ptr<const int32_t>(b.inputs[kLengths]) : nullptr;
    m.xw = w + p.xw;
    m.sums = w + p.sums;
    m.h = w + p.h;
    m.reset = w + p.reset;
    m.c = w + p.c;
    for (size_t i = 0; i < writes_.size(); ++i) m.y[i] = writes_[i] ? host_ptr<float>(b.outputs[i]) : nullptr;
    read_state(has_h_ ? host_ptr<const float>(b.inputs[kInitialH]) : nullptr, m.h);
    if (plan_.gates == 4) read_state(has_c_ ? host_ptr<const float>(b.inputs[kInitialC]) : nullptr, m.c);
    return m;
  }

  [[nodiscard]] int64_t state_offset(int64_t d, int64_t n) const {
    return (plan_.batch_first ? n * plan_.directions + d : d * plan_.batch + n) * plan_.hidden;
  }
  [[nodiscard]] int64_t row_of(int64_t d, int64_t n) const { return (d * plan_.batch + n) * plan_.padded(); }

  void read_state(const float* from, float* to) const {
    std::fill_n(to, plan_.directions * plan_.batch * plan_.padded(), 0.0F);
    if (from == nullptr) return;
    for (int64_t d = 0; d < plan_.directions; ++d)
      for (int64_t n = 0; n < plan_.batch; ++n) std::copy_n(from + state_offset(d, n), plan_.hidden, to + row_of(d, n));
  }

  void input_products(const Memory& m) const {
    const int64_t rows = plan_.steps * plan_.batch;
    const int64_t columns = plan_.directions * plan_.width();
    const int64_t panels = columns / kRecurrentPanel;
    constexpr int64_t kWorkPerThread = 100000;
    const int64_t panel_work = rows * plan_.inputs * kRecurrentPanel;
    // Four panels at a time suit the kernels.
    const int64_t grain = std::max<int64_t>(4, (kWorkPerThread / panel_work + 3) / 4 * 4);
    parallel_for(panels, grain, [&](int64_t begin, int64_t end) {
      kernels_.product({.rows = rows,
                        .panels = end - begin,
                        .depth = plan_.inputs,
                        .x = m.x,
                        .x_row = plan_.inputs,
                        .w = w_.data<float>() + begin * plan_.inputs * kRecurrentPanel,
                        .from = bias_.data() + begin * kRecurrentPanel,
                        .y = m.xw + begin * kRecurrentPanel,
                        .y_row = columns});
    });
  }

  [[nodiscard]] int64_t length(const Memory& m, int64_t n) const {
    return m.lengths == nullptr ? plan_.steps : std::clamp<int64_t>(m.lengths[n], 0, plan_.steps);
  }

  /// The row of X that batch entry `n` reads in a step before its length.
  [[nodiscard]] int64_t input_row(const Memory& m, int64_t d, int64_t n, int64_t step) const {
    const int64_t t = d == 1 || plan_.reverse ? length(m, n) - 1 - step : step;
    return plan_.batch_first ? n * plan_.steps + t : t * plan_.batch + n;
  }

  [[nodiscard]] float* state(const Memory& m, int64_t step) const {
    return m.h + (step & 1) * plan_.directions * plan_.batch * plan_.padded();
  }

  /// sums = input products + x R of one gate; `x` are rows [D, N, P].
  void gate(const Memory& m, const Part& p, int64_t step, int64_t g, const float* x, bool with_inputs) const {
    const int64_t padded = plan_.padded();
    kernels::RecurrentProduct product{.rows = 1, .panels = (p.at_end - p.at) / kRecurrentPanel, .depth = plan_.hidden};
    product.x_row = padded;
    product.y_row = plan_.width();
    product.w = r_.data<float>() + ((p.direction * plan_.gates + g) * padded + p.at) * plan_.hidden;
    const int64_t columns = plan_.directions * plan_.width();
    const int64_t column = (p.direction * plan_.gates + g) * padded + p.at;
    const auto bind = [&](int64_t n) {
      product.x = x + row_of(p.direction, n);
      product.y = m.sums + (p.direction * plan_.batch + n) * plan_.width() + g * padded + p.at;
      product.from = reset_bias_.data() + p.direction * padded + p.at;
      if (with_inputs) product.from = m.xw + input_row(m, p.direction, n, step) * columns + column;
    };
    if (m.lengths != nullptr) {
      for (int64_t n = p.row; n < p.row_end; ++n) {
        if (step >= length(m, n)) continue;
        bind(n);
        kernels_.product(product);
      }
      return;
    }
    bind(p.row);
    product.rows = p.row_end - p.row;
    if (with_inputs) product.from_row = plan_.batch_first ? plan_.steps * columns : columns;
    kernels_.product(product);
  }

  /// GRU's reset state, where the reset comes before the product: all hidden elements before advance() needs them.
  void reset_state(const Memory& m, const Part& p, int64_t step) const {
    if (plan_.gates != 3 || plan_.reset_after) return;
    const float* before = state(m, step);
    gate(m, p, step, 1, before, true);
    for (int64_t n = p.row; n < p.row_end; ++n) {
      const int64_t row = row_of(p.direction, n);
      if (step < length(m, n))
        kernels_.gated(p.at_end - p.at, m.sums + row * plan_.gates + plan_.padded() + p.at, before + row + p.at,
                       m.reset + row + p.at);
    }
  }

  void advance(const Memory& m, const Part& p, int64_t step) const {
    const float* before = state(m, step);
    float* after = state(m, step + 1);
    if (plan_.gates == 3) {
      gate(m, p, step, 0, before, true);
      if (plan_.reset_after) gate(m, p, step, 1, before, true);
      gate(m, p, step, 2, plan_.reset_after ? before : m.reset, !plan_.reset_after);
    } else {
      for (int64_t g = 0; g < plan_.gates; ++g) gate(m, p, step, g, before, true);
    }
    for (int64_t n = p.row; n < p.row_end; ++n) {
      const int64_t row = row_of(p.direction, n) + p.at;
      const int64_t count = p.at_end - p.at;
      if (step >= length(m, n)) {
        std::copy_n(before + row, count, after + row);
        write_step(m, p, n, step, nullptr);
        continue;
      }
      cell(m, p, n, step, before + row, after + row);
      write_step(m, p, n, input_row(m, p.direction, n, step), after + row);
    }
  }

  /// New state of the part's elements of batch entry `n`.
  void cell(const Memory& m, const Part& p, int64_t n, int64_t step, const float* before, float* after) const {
    const int64_t padded = plan_.padded();
    const int64_t count = p.at_end - p.at;
    float* sums = m.sums + (p.direction * plan_.batch + n) * plan_.width() + p.at;
    if (plan_.gates == 4) {
      float* c = m.c + row_of(p.direction, n) + p.at;
      kernels_.lstm(count, sums, sums + padded, sums + 2 * padded, sums + 3 * padded, c, c, after);
    } else if (plan_.gates == 3) {
      float* candidate = sums + 2 * padded;
      if (plan_.reset_after) {
        kernels_.gated(count, sums + padded, candidate, candidate);
        const int64_t row = input_row(m, p.direction, n, step);
        const float* xw = m.xw + (row * plan_.directions + p.direction) * plan_.width() + 2 * padded + p.at;
        for (int64_t i = 0; i < count; ++i) candidate[i] += xw[i];
      }
      kernels_.gru(count, sums, candidate, before, after);
    } else if (plan_.relu) {
      for (int64_t i = 0; i < count; ++i) after[i] = std::max(sums[i], 0.0F);
    } else {
      kernels_.tanh(count, sums, after);
    }
  }

  /// Writes Y at the row of X; `h` null: the step lies behind the sequence's end, its outputs are zero.
  void write_step(const Memory& m, const Part& p, int64_t n, int64_t row, const float* h) const {
    if (m.y[0] == nullptr) return;
    const int64_t count = std::min(p.at_end, plan_.hidden) - p.at;
    if (h == nullptr) row = plan_.batch_first ? n * plan_.steps + row : row * plan_.batch + n;
    const int64_t at = plan_.batch_first ? row * plan_.directions + p.direction
                                         : ((row / plan_.batch) * plan_.directions + p.direction) * plan_.batch + n;
    float* y = m.y[0] + at * plan_.hidden + p.at;
    if (h != nullptr)
      std::copy_n(h, count, y);
    else
      std::fill_n(y, count, 0.0F);
  }

  /// One step of all directions and sequences, divided by hidden elements.
  void divided_step(const Memory& m, int64_t step, int64_t panels, int64_t grain) const {
    const auto each = [&](auto&& work) {
      parallel_for(plan_.directions * panels, grain, [&](int64_t begin, int64_t end) {
        while (begin < end) {
          const int64_t d = begin / panels;
          const int64_t stop = std::min(end, (d + 1) * panels);
          work(Part{d, 0, plan_.batch, (begin - d * panels) * kRecurrentPanel, (stop - d * panels) * kRecurrentPanel});
          begin = stop;
        }
      });
    };
    if (plan_.gates == 3 && !plan_.reset_after) each([&](const Part& p) { reset_state(m, p, step); });
    each([&](const Part& p) { advance(m, p, step); });
  }

  void write_states(const Memory& m) const {
    const float* h = state(m, plan_.steps);
    for (int64_t d = 0; d < plan_.directions; ++d)
      for (int64_t n = 0; n < plan_.batch; ++n) {
        if (m.y[1] != nullptr) std::copy_n(h + row_of(d, n), plan_.hidden, m.y[1] + state_offset(d, n));
        if (m.y[2] != nullptr) std::copy_n(m.c + row_of(d, n), plan_.hidden, m.y[2] + state_offset(d, n));
      }
  }

  const kernels::RecurrentKernels& kernels_ = kernels::best_recurrent_kernels();
  Plan plan_;
  Tensor w_;
  Tensor r_;
  std::vector<float> bias_;        ///< [D, G*P]
  std::vector<float> reset_bias_;  ///< [D, P]
  bool has_lengths_ = false;
  bool has_h_ = false;
  bool has_c_ = false;
  std::array<bool, 3> writes_{};
};

WhyNot supports(const NodeView& view, const Target&) {
  auto plan = make_plan(view);
  if (!plan.ok()) return plan.error().what;
  return std::nullopt;
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant> packed, const Target&) {
  const Plan plan = PLANISH_TRY(make_plan(view));
  std::array<const Tensor*, 3> found{};
  for (const PackedConstant& p : packed)
    if (p.format == kFormat && p.data.dtype() == DType::f32 && (p.input == kW || p.input == kR))
      found[static_cast<size_t>(p.input)] = &p.data;
  if (found[kW] == nullptr || found[kR] == nullptr ||
      found[kW]->size() != plan.directions * plan.width() * plan.inputs ||
      found[kR]->size() != plan.directions * plan.width() * plan.hidden)
    return Error{.code = Code::corrupt, .node = view.node->name, .what = "packed weights have the wrong form"};
  return std::unique_ptr<Kernel>(new RecurrentRunner(view, plan, *found[kW], *found[kR]));
}

constexpr std::array<std::string_view, 3> kOps{"GRU", "LSTM", "RNN"};

}  // namespace

constinit const Tactic kCpuRecurrent{.id = "cpu.recurrent",
                                     .ops = kOps,
                                     .supports = supports,
                                     .pack = pack,
                                     .prepare = prepare,
                                     .unpack = unpack,
                                     .packs = Tactic::kSeveral};

}  // namespace planish
