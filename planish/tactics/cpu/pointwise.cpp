// Elementwise functions and fused chains of them (planish.Pointwise) by our own vector loops, in every layout.

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>

#include "planish/base/parallel.h"
#include "planish/kernels/cpu/byte_gate/byte_gate.h"
#include "planish/kernels/cpu/byte_lookup/byte_lookup.h"
#include "planish/kernels/cpu/byte_sum/byte_sum.h"
#include "planish/kernels/cpu/convert/tile.h"
#include "planish/kernels/cpu/pointwise/pointwise.h"
#include "planish/kernels/cpu/quantize/quantize.h"
#include "planish/ops/pointwise.h"
#include "planish/tactics/cpu/loop_nest.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {
namespace {

using kernels::PointwiseOp;

constexpr int64_t kTile = 1024;     // elements; a handful of tiles fits in the first-level cache
constexpr size_t kMaxBuffers = 48;  // inputs and steps together

struct Step {
  PointwiseOp op = PointwiseOp::identity;
  float alpha = 0;
  float beta = 0;
  size_t a = 0;  ///< operand: input, or inputs + step
  size_t b = 0;
  size_t c = 0;  ///< what `select` takes where `a` is 0
};

/// The function of a QuantizeLinear or DequantizeLinear step by the type that it gives.
std::optional<PointwiseOp> quantization_op(DType gives) {
  if (gives == DType::f32) return PointwiseOp::dequantize;
  return gives == DType::i8 ? PointwiseOp::quantize_i8 : PointwiseOp::quantize_u8;
}

bool is_byte(DType t) { return t == DType::i8 || t == DType::u8; }

/// A step that makes bytes of type `y`, as the numbers of its kernel.
kernels::Quantization quantization_of(const Step& step, DType y) {
  const bool is_signed = y == DType::i8;
  return {.factor = 1.0F / step.alpha,
          .low = (is_signed ? -128.0F : 0.0F) - step.beta,
          .high = (is_signed ? 127.0F : 255.0F) - step.beta,
          .zero = static_cast<int32_t>(step.beta),
          .is_signed = is_signed};
}

/// A single elementwise node in the notation of planish.Pointwise, so that both take one path.
Result<std::vector<Step>> steps_of(const NodeView& view) {
  const Node& node = *view.node;
  const auto refuse = [&node](std::string what) {
    return Error{.code = Code::unsupported, .node = node.name, .what = std::move(what)};
  };
  std::vector<Step> steps;
  if (node.domain == "planish") {
    const PointwiseProgram program = PLANISH_TRY(parse_pointwise(node));
    for (const PointwiseStep& s : program.steps) {
      const std::string_view name = s.where ? "Where" : s.unary != nullptr ? s.unary->op : s.binary->op;
      const auto op = s.gives != DType::undefined ? quantization_op(s.gives)
                                                  : kernels::find_pointwise_op(name, s.params.approximate_tanh);
      if (!op) return refuse(fmt::format("has no function {}", name));
      steps.push_back({*op, static_cast<float>(s.params.alpha), static_cast<float>(s.params.beta),
                       static_cast<size_t>(s.operands[0]),
                       static_cast<size_t>(s.operands[std::min(1, s.operand_count - 1)]),
                       static_cast<size_t>(s.operands[static_cast<size_t>(s.operand_count - 1)])});
    }
    return steps;
  }
  const bool tanh_form = node.op == "Gelu" && node.attr_string("approximate", "none") == "tanh";
  const auto op = kernels::find_pointwise_op(node.op, tanh_form);
  if (!op) return refuse(fmt::format("has no function {}", node.op));
  Step step{*op};
  if (*op == PointwiseOp::clip) {
    // Without constant bounds the minimum and maximum would have to be read during the run.
    step.alpha = -3.4028235e38F;
    step.beta = 3.4028235e38F;
    for (const size_t i : {size_t{1}, size_t{2}}) {
      if (!view.has_input(i)) continue;
      if (view.constants[i] == nullptr) return refuse("needs constant bounds");
      (i == 1 ? step.alpha : step.beta) = static_cast<float>(view.constants[i]->at(0));
    }
    return std::vector<Step>{step};
  }
  if (const UnaryFunction* f = find_unary_function(node.op); f != nullptr) {
    if (!f->alpha_attr.empty()) step.alpha = node.attr_float(std::string(f->alpha_attr), static_cast<float>(f->alpha));
    if (!f->beta_attr.empty()) step.beta = node.attr_float(std::string(f->beta_attr), static_cast<float>(f->beta));
    return std::vector<Step>{step};
  }
  if (view.inputs.size() == 1) return std::vector<Step>{Step{PointwiseOp::identity}};
  step.b = 1;
  step.c = view.inputs.size() - 1;
  steps.push_back(step);
  for (size_t i = 2; i < view.inputs.size() && *op != PointwiseOp::select; ++i)
    steps.push_back({*op, 0, 0, view.inputs.size() + i - 2, i, 0});  // Max, Min, Sum of many
  return steps;
}

size_t operand_count(const NodeView& view) { return view.node->op == "Clip" ? 1 : view.inputs.size(); }

/// How the elements of an operand lie in memory; the arithmetic is f32.
struct Element {
  DType type = DType::f32;
  int64_t bytes = sizeof(float);
  kernels::ReadTile read = nullptr;
  kernels::WriteTile write = nullptr;
};

/// Truth values are bytes of 0 and 1.
DType stored_as(DType type) { return type == DType::boolean ? DType::u8 : type; }

Element element_of(DType type) {
  type = stored_as(type);
  return {type, dtype_bits(type) / 8, kernels::tile_reader(type), kernels::tile_writer(type)};
}

using ByteTable = std::array<uint8_t, 256>;
using ByteValues = std::array<float, 256>;

/// The part of a program behind operand `of`, a byte of type `from`, which reads nothing else but known operands.
struct BytePart {
  size_t of = 0;
  DType from = DType::undefined;
  size_t inputs = 1;  ///< operands in front of the first step
};

/// What the last step gives for every byte, as bytes of type `to`. `values`: by operand, those that are known.
ByteTable table_of(const std::vector<Step>& steps, const BytePart& part, DType to, std::vector<ByteValues> values) {
  ByteTable all;
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint8_t>(i);
  values.resize(part.inputs + steps.size());
  kernels::tile_reader(part.from)(static_cast<int64_t>(all.size()), all.data(), values[part.of].data());
  const auto fn = kernels::best_pointwise_kernel().fn;
  for (size_t s = part.of < part.inputs ? 0 : part.of - part.inputs + 1; s < steps.size(); ++s) {
    ByteValues& out = values[part.inputs + s];
    // A selection writes over what it takes elsewhere.
    if (steps[s].op == PointwiseOp::select) out = values[steps[s].c];
    fn(steps[s].op, static_cast<int64_t>(out.size()), values[steps[s].a].data(), values[steps[s].b].data(), out.data(),
       steps[s].alpha, steps[s].beta);
  }
  kernels::tile_writer(to)(static_cast<int64_t>(all.size()), values.back().data(), all.data());
  return all;
}

bool makes_bytes(const Step& step) {
  return step.op == PointwiseOp::quantize_i8 || step.op == PointwiseOp::quantize_u8;
}

/// The first step in a program to bytes that makes bytes of which alone, and of inputs of one element, everything
/// behind it is computed: networks that were quantised layer by layer have whole activations there.
std::optional<size_t> byte_in_the_middle(const NodeView& view, const std::vector<Step>& steps) {
  constexpr size_t kWorthIt = 2;  // steps behind
  const size_t inputs = operand_count(view);
  if (steps.empty() || !makes_bytes(steps.back())) return std::nullopt;
  for (size_t s = 0; s + kWorthIt < steps.size(); ++s) {
    if (!makes_bytes(steps[s])) continue;
    const auto known = [&](size_t operand) {
      return operand < inputs ? view.inputs[operand].size() == 1 : operand >= inputs + s;
    };
    const auto alone = [&](const Step& later) { return known(later.a) && known(later.b) && known(later.c); };
    if (std::all_of(steps.begin() + static_cast<std::ptrdiff_t>(s) + 1, steps.end(), alone)) return s;
  }
  return std::nullopt;
}

class PointwiseRunner final : public Kernel {
 public:
  /// `byte`: the step behind which a table takes over; nullopt: none.
  PointwiseRunner(std::vector<Step> steps, std::optional<size_t> byte, LoopNest nest, std::vector<Element> elements)
      : steps_(std::move(steps)),
        byte_(byte),
        nest_(std::move(nest)),
        elements_(std::move(elements)),
        fn_(kernels::best_pointwise_kernel().fn) {
    const size_t rank = nest_.dims.size();
    inner_ = nest_.dims[rank - 1];
    rows_ = rank > 1 ? nest_.dims[rank - 2] : 1;
    outer_ = nest_.size() / std::max<int64_t>(inner_ * rows_, 1);
    segment_ = std::min(inner_, kTile);
    rows_per_tile_ = std::clamp<int64_t>(kTile / std::max<int64_t>(segment_, 1), 1, rows_);
    row_tiles_ = (rows_ + rows_per_tile_ - 1) / rows_per_tile_;
    segments_ = (inner_ + segment_ - 1) / segment_;
    last_ = byte_.value_or(steps_.size() - 1);
    if (makes_bytes(steps_[last_]))
      quantization_ = quantization_of(steps_[last_], byte_ ? type_of(steps_[last_]) : elements_.back().type);
  }

  Status run(const Bindings& b) override {
    constexpr int64_t kElementsPerThread = 8192;  // below this a second thread costs more than it brings
    const int64_t grain = std::max<int64_t>(1, kElementsPerThread / (segment_ * rows_per_tile_));
    const ByteTable table = byte_ ? tail(b) : ByteTable{};
    parallel_for(outer_ * row_tiles_ * segments_, grain,
                 [&](int64_t begin, int64_t end) { run_items(b, table, begin, end); });
    return {};
  }

  [[nodiscard]] std::string detail() const override { return std::string(kernels::best_pointwise_kernel().name); }

 private:
  struct Operand {
    const float* tile = nullptr;
    const std::byte* cached = nullptr;  ///< source that the buffer holds, when it holds one
    int64_t cached_count = 0;
  };
  using Buffers = std::array<std::array<float, kTile>, kMaxBuffers>;

  static DType type_of(const Step& step) { return step.op == PointwiseOp::quantize_i8 ? DType::i8 : DType::u8; }

  /// What is behind the byte in the middle.
  [[nodiscard]] ByteTable tail(const Bindings& b) const {
    const size_t inputs = nest_.strides.size() - 1;
    std::vector<ByteValues> values(inputs);
    for (size_t i = 0; i < inputs; ++i) {
      // Others than those of one element are not read.
      elements_[i].read(1, host_ptr<const std::byte>(b.inputs[i]), values[i].data());
      values[i].fill(values[i][0]);
    }
    return table_of(steps_, {inputs + *byte_, type_of(steps_[*byte_]), inputs}, elements_.back().type,
                    std::move(values));
  }

  int64_t outer_offset(size_t operand, int64_t index) const {
    const auto& strides = nest_.strides[operand];
    int64_t offset = 0;
    for (size_t d = nest_.dims.size() > 2 ? nest_.dims.size() - 2 : 0; d-- > 0;) {
      offset += index % nest_.dims[d] * strides[d];
      index /= nest_.dims[d];
    }
    return offset;
  }

  /// Points the operand at `rows` x `count` contiguous f32 elements, copying them into the buffer where they are not.
  void load(size_t operand, Operand& o, std::array<float, kTile>& buffer, const std::byte* source, int64_t rows,
            int64_t count) const {
    const auto& strides = nest_.strides[operand];
    const Element& element = elements_[operand];
    const int64_t inner_stride = strides.back();
    const int64_t row_stride = strides.size() > 1 ? strides[strides.size() - 2] : 0;
    const bool contiguous = inner_stride == 1 && (rows == 1 || row_stride == count);
    if (contiguous && element.type == DType::f32) {
      o.tile = reinterpret_cast<const float*>(source);
      return;
    }
    o.tile = buffer.data();
    const bool repeats = row_stride == 0;
    if (repeats && o.cached == source && o.cached_count == rows * count) return;
    o.cached = repeats ? source : nullptr;
    o.cached_count = rows * count;
    if (contiguous) {
      element.read(rows * count, source, buffer.data());
      return;
    }
    for (int64_t r = 0; r < rows; ++r) {
      const std::byte* from = source + r * row_stride * element.bytes;
      float* to = buffer.data() + r * count;
      if (inner_stride == 1) {
        element.read(count, from, to);
      } else if (inner_stride == 0) {
        element.read(1, from, to);
        std::fill_n(to, count, *to);
      } else if (element.type == DType::f32) {
        const auto* f = reinterpret_cast<const float*>(from);
        for (int64_t i = 0; i < count; ++i) to[i] = f[i * inner_stride];
      } else {
        for (int64_t i = 0; i < count; ++i) element.read(1, from + i * inner_stride * element.bytes, to + i);
      }
    }
  }

  void run_items(const Bindings& b, const ByteTable& table, int64_t begin, int64_t end) const {
    Buffers buffers;
    std::array<uint8_t, kTile> bytes;
    const size_t inputs = nest_.strides.size() - 1;  // the output is the last operand
    std::array<Operand, kMaxBuffers> operands{};
    for (int64_t item = begin; item < end; ++item) {
      const int64_t segment = item % segments_;
      const int64_t row_tile = item / segments_ % row_tiles_;
      const int64_t outer = item / segments_ / row_tiles_;
      const int64_t row = row_tile * rows_per_tile_;
      const int64_t rows = std::min(rows_per_tile_, rows_ - row);
      const int64_t at = segment * segment_;
      const int64_t count = std::min(segment_, inner_ - at);
      const auto offset_bytes = [&](size_t k) {
        const auto& s = nest_.strides[k];
        return (outer_offset(k, outer) + (s.size() > 1 ? row * s[s.size() - 2] : 0) + at * s.back()) *
               elements_[k].bytes;
      };
      for (size_t i = 0; i < inputs; ++i)
        load(i, operands[i], buffers[i], host_ptr<const std::byte>(b.inputs[i]) + offset_bytes(i), rows, count);
      auto* out = host_ptr<std::byte>(b.outputs[0]) + offset_bytes(inputs);
      const bool direct = elements_[inputs].type == DType::f32;
      for (size_t s = 0; s <= last_; ++s) {
        const Step& step = steps_[s];
        const bool last = s == last_;
        if (last && quantization_) {
          auto* made = reinterpret_cast<uint8_t*>(out);
          kernels::best_quantize_kernel().fn(*quantization_, rows * count, operands[step.a].tile,
                                             byte_ ? bytes.data() : made);
          if (byte_) kernels::best_byte_lookup_kernel().fn(table.data(), rows * count, bytes.data(), made);
          continue;
        }
        const bool selects = step.op == PointwiseOp::select;
        // The output may be the memory of an operand, which a selection still reads after the first writing.
        const bool in_place = last && direct && !selects;
        float* to = in_place ? reinterpret_cast<float*>(out) : buffers[inputs + s].data();
        if (selects) std::copy_n(operands[step.c].tile, rows * count, to);
        fn_(step.op, rows * count, operands[step.a].tile, operands[step.b].tile, to, step.alpha, step.beta);
        operands[inputs + s].tile = to;
        if (last && !in_place) elements_[inputs].write(rows * count, to, out);
      }
    }
  }

  std::vector<Step> steps_;
  std::optional<size_t> byte_;
  size_t last_ = 0;  ///< step that is computed element by element
  LoopNest nest_;
  std::vector<Element> elements_;                      ///< of the inputs, then of the output
  std::optional<kernels::Quantization> quantization_;  ///< that step, where it makes bytes
  kernels::PointwiseFn fn_;
  int64_t inner_ = 0;
  int64_t rows_ = 0;
  int64_t outer_ = 0;
  int64_t segment_ = 0;
  int64_t rows_per_tile_ = 0;
  int64_t row_tiles_ = 0;
  int64_t segments_ = 0;
};

/// Why integers may not be read or written by these steps: their arithmetic is that of real numbers.
WhyNot integer_refusal(const NodeView& view, const std::vector<Step>& steps) {
  const size_t inputs = operand_count(view);
  for (size_t i = 0; i < inputs; ++i) {
    if (!is_byte(view.inputs[i].dtype) && view.inputs[i].dtype != DType::i32) continue;
    for (const Step& s : steps)
      if ((s.a == i && s.op != PointwiseOp::dequantize) || (kernels::is_binary(s.op) && s.b == i) ||
          (s.op == PointwiseOp::select && s.c == i))
        return fmt::format("reads {} only through DequantizeLinear", dtype_name(view.inputs[i].dtype));
  }
  const DType y = view.outputs[0].dtype;
  if (is_byte(y) && (steps.empty() || steps.back().op != *quantization_op(y)))
    return fmt::format("writes {} only through QuantizeLinear", dtype_name(y));
  const PointwiseOp last = steps.back().op;
  const bool gives_truth =
      last == PointwiseOp::logical_not || (last >= PointwiseOp::equal && last <= PointwiseOp::logical_xor);
  if (y == DType::boolean && !gives_truth) return "writes truth values only from comparisons and logic";
  return std::nullopt;
}

/// A program from one tensor of bytes to bytes: whatever its steps are, it is a table of 256 results.
class LookupRunner final : public Kernel {
 public:
  LookupRunner(const std::vector<Step>& steps, DType from, DType to, int64_t count)
      : count_(count), table_(table_of(steps, {.of = 0, .from = from}, to, {})) {}

  Status run(const Bindings& b) override {
    const auto* x = host_ptr<const uint8_t>(b.inputs[0]);
    auto* y = host_ptr<uint8_t>(b.outputs[0]);
    constexpr int64_t kBytesPerThread = 32768;
    parallel_for(count_, kBytesPerThread, [&](int64_t begin, int64_t end) {
      kernels::best_byte_lookup_kernel().fn(table_.data(), end - begin, x + begin, y + begin);
    });
    return {};
  }

  [[nodiscard]] std::string detail() const override { return std::string(kernels::best_byte_lookup_kernel().name); }

 private:
  int64_t count_;
  ByteTable table_;
};

/// The sum (or difference) of two tensors of bytes, perhaps clamped, as bytes: what residual connections become.
std::optional<kernels::ByteSum> byte_sum_of(const NodeView& view, const std::vector<Step>& steps) {
  const TensorDesc& y = view.outputs[0];
  if (operand_count(view) != 2 || !is_byte(y.dtype) || steps.size() < 4 || steps.size() > 5) return std::nullopt;
  for (const TensorDesc& x : view.inputs)
    if (!is_byte(x.dtype) || x.shape != y.shape || x.layout != y.layout) return std::nullopt;
  const Step& sum = steps[2];
  const Step& last = steps.back();
  if ((sum.op != PointwiseOp::add && sum.op != PointwiseOp::sub) || sum.a == sum.b || last.a != steps.size())
    return std::nullopt;
  kernels::ByteSum out;
  const std::array<float*, 2> factors{&out.a_factor, &out.b_factor};
  std::array<bool, 2> read{};
  for (size_t i = 0; i < 2; ++i) {
    const Step& dq = steps[i];
    if (dq.op != PointwiseOp::dequantize || dq.a > 1 || read[dq.a]) return std::nullopt;
    if (sum.a != i + 2 && sum.b != i + 2) return std::nullopt;
    read[dq.a] = true;
    const float sign = sum.op == PointwiseOp::sub && sum.b == i + 2 ? -1.0F : 1.0F;
    *factors[dq.a] = sign * dq.alpha / last.alpha;
    out.offset -= *factors[dq.a] * dq.beta;
  }
  const bool y_signed = y.dtype == DType::i8;
  out.zero = static_cast<int32_t>(last.beta);
  out.low = (y_signed ? -128.0F : 0.0F) - last.beta;
  out.high = (y_signed ? 127.0F : 255.0F) - last.beta;
  if (steps.size() == 5) {
    const Step& limit = steps[3];
    const bool clip = limit.op == PointwiseOp::clip;
    if ((!clip && limit.op != PointwiseOp::relu) || limit.a != 4) return std::nullopt;
    out.low = std::clamp(clip ? limit.alpha / last.alpha : 0.0F, out.low, out.high);
    if (clip) out.high = std::clamp(limit.beta / last.alpha, out.low, out.high);
  }
  out.a_signed = view.inputs[0].dtype == DType::i8;
  out.b_signed = view.inputs[1].dtype == DType::i8;
  out.y_signed = y_signed;
  return out;
}

class ByteSumRunner final : public Kernel {
 public:
  ByteSumRunner(const kernels::ByteSum& sum, int64_t count) : sum_(sum), count_(count) {}

  Status run(const Bindings& b) override {
    const auto* a = host_ptr<const uint8_t>(b.inputs[0]);
    const auto* c = host_ptr<const uint8_t>(b.inputs[1]);
    auto* y = host_ptr<uint8_t>(b.outputs[0]);
    constexpr int64_t kBytesPerThread = 32768;
    parallel_for(count_, kBytesPerThread, [&](int64_t begin, int64_t end) {
      kernels::best_byte_sum_kernel().fn(sum_, end - begin, a + begin, c + begin, y + begin);
    });
    return {};
  }

  [[nodiscard]] std::string detail() const override { return std::string(kernels::best_byte_sum_kernel().name); }

 private:
  kernels::ByteSum sum_;
  int64_t count_;
};

/// A tensor of bytes times one number per channel (f32 or quantised), as bytes: the gate of squeeze-and-excite blocks.
/// Only over channels-last pixels, where the numbers repeat from pixel to pixel.
struct Gate {
  kernels::ByteGate numbers;
  size_t x = 0;      ///< input with the pixels; the other is the gate
  float factor = 1;  ///< of (gate - gate_zero): everything's scales together
  float gate_zero = 0;
};
std::optional<Gate> gate_of(const NodeView& view, const std::vector<Step>& steps) {
  const TensorDesc& y = view.outputs[0];
  if (operand_count(view) != 2 || !is_byte(y.dtype) || y.layout != Layout::channels_last || y.rank() < 3 ||
      steps.size() < 3 || steps.size() > 4)
    return std::nullopt;
  Gate g;
  g.x = view.inputs[0].shape == y.shape ? 0 : 1;
  const TensorDesc& x = view.inputs[g.x];
  const TensorDesc& gate = view.inputs[1 - g.x];
  if (x.shape != y.shape || x.layout != y.layout || !is_byte(x.dtype) || gate.size() != y.shape[0] * y.shape[1] ||
      gate.rank() != y.rank() || gate.shape[0] != y.shape[0] || gate.shape[1] != y.shape[1] ||
      layout_block(gate.layout) > 1 || (!is_byte(gate.dtype) && gate.dtype != DType::f32))
    return std::nullopt;
  const Step& mul = steps[steps.size() - 2];
  const Step& last = steps.back();
  if (mul.op != PointwiseOp::mul || last.a != steps.size()) return std::nullopt;
  g.factor = 1.0F / last.alpha;
  bool gate_read = gate.dtype == DType::f32;
  bool x_read = false;
  for (size_t i = 0; i + 2 < steps.size(); ++i) {
    const Step& dq = steps[i];
    if (dq.op != PointwiseOp::dequantize || dq.a > 1 || (mul.a != i + 2 && mul.b != i + 2)) return std::nullopt;
    bool& read = dq.a == g.x ? x_read : gate_read;
    if (read) return std::nullopt;
    read = true;
    g.factor *= dq.alpha;
    (dq.a == g.x ? g.numbers.x_zero : g.gate_zero) = dq.beta;
  }
  const size_t other = 1 - g.x;
  if (!x_read || !gate_read || mul.a == mul.b) return std::nullopt;
  if (gate.dtype == DType::f32 && mul.a != other && mul.b != other) return std::nullopt;
  const kernels::Quantization q = quantization_of(last, y.dtype);
  g.numbers.channels = y.shape[1];
  g.numbers.low = q.low;
  g.numbers.high = q.high;
  g.numbers.zero = q.zero;
  g.numbers.y_signed = q.is_signed;
  g.numbers.x_signed = x.dtype == DType::i8;
  return g;
}

class GateRunner final : public Kernel {
 public:
  GateRunner(const Gate& gate, const NodeView& view)
      : gate_(gate),
        read_(kernels::tile_reader(view.inputs[1 - gate.x].dtype)),
        images_(view.outputs[0].shape[0]),
        pixels_(view.outputs[0].size() / std::max<int64_t>(1, images_ * gate.numbers.channels)),
        factors_(static_cast<size_t>(images_ * gate.numbers.channels)) {}

  Status run(const Bindings& b) override {
    const int64_t channels = gate_.numbers.channels;
    read_(images_ * channels, host_ptr<const std::byte>(b.inputs[1 - gate_.x]), factors_.data());
    for (float& f : factors_) f = (f - gate_.gate_zero) * gate_.factor;
    const auto* x = host_ptr<const uint8_t>(b.inputs[gate_.x]);
    auto* y = host_ptr<uint8_t>(b.outputs[0]);
    constexpr int64_t kBytesPerThread = 32768;
    const int64_t grain = std::max<int64_t>(1, kBytesPerThread / channels);
    for (int64_t n = 0; n < images_; ++n)
      parallel_for(pixels_, grain, [&](int64_t begin, int64_t end) {
        const int64_t at = (n * pixels_ + begin) * channels;
        kernels::best_byte_gate_kernel().fn(gate_.numbers, end - begin, x + at, factors_.data() + n * channels, y + at);
      });
    return {};
  }

  [[nodiscard]] std::string detail() const override { return std::string(kernels::best_byte_gate_kernel().name); }

 private:
  Gate gate_;
  kernels::ReadTile read_;
  int64_t images_;
  int64_t pixels_;
  std::vector<float> factors_;
};

/// A picture of three planes that becomes pixels of three bytes.
bool makes_pixels(const NodeView& view, const std::vector<Step>& steps) {
  if (operand_count(view) != 1 || steps.size() != 1 || !is_byte(view.outputs[0].dtype)) return false;
  const TensorDesc& x = view.inputs[0];
  const TensorDesc& y = view.outputs[0];
  return x.dtype == DType::f32 && x.layout == Layout::row_major && y.layout == Layout::channels_last &&
         x.shape == y.shape && x.rank() > 2 && x.shape[1] == 3 &&
         (steps[0].op == PointwiseOp::quantize_i8 || steps[0].op == PointwiseOp::quantize_u8);
}

class PixelsRunner final : public Kernel {
 public:
  PixelsRunner(const Step& step, const NodeView& view)
      : quantization_(quantization_of(step, view.outputs[0].dtype)),
        images_(view.inputs[0].shape[0]),
        pixels_(view.inputs[0].size() / std::max<int64_t>(1, 3 * images_)) {}

  Status run(const Bindings& b) override {
    const auto* x = host_ptr<const float>(b.inputs[0]);
    auto* y = host_ptr<uint8_t>(b.outputs[0]);
    constexpr int64_t kPixelsPerThread = 4096;
    for (int64_t n = 0; n < images_; ++n)
      parallel_for(pixels_, kPixelsPerThread, [&](int64_t begin, int64_t end) {
        const int64_t image = 3 * n * pixels_;
        kernels::best_quantize_kernel().pixels(quantization_, end - begin, x + image + begin, pixels_,
                                               y + image + 3 * begin);
      });
    return {};
  }

  [[nodiscard]] std::string detail() const override { return std::string(kernels::best_quantize_kernel().name); }

 private:
  kernels::Quantization quantization_;
  int64_t images_;
  int64_t pixels_;
};

/// Bytes of a tensor whose elements are walked in the order in which they lie, padding included.
bool is_lookup(const NodeView& view) {
  return operand_count(view) == 1 && is_byte(view.inputs[0].dtype) && is_byte(view.outputs[0].dtype) &&
         view.inputs[0].layout == view.outputs[0].layout && view.inputs[0].shape == view.outputs[0].shape;
}

std::optional<LoopNest> nest_of(const NodeView& view) {
  std::vector<TensorDesc> operands(view.inputs.begin(),
                                   view.inputs.begin() + static_cast<std::ptrdiff_t>(operand_count(view)));
  operands.push_back(view.outputs[0]);
  return make_loop_nest(view.outputs[0], operands);
}

WhyNot supports(const NodeView& view, const Target&) {
  for (size_t i = 0; i < operand_count(view); ++i)
    if (kernels::tile_reader(stored_as(view.inputs[i].dtype)) == nullptr)
      return fmt::format("reads f32, f16, bf16, i8, u8 and bool, got {}", dtype_name(view.inputs[i].dtype));
  if (kernels::tile_writer(stored_as(view.outputs[0].dtype)) == nullptr)
    return "writes f32, f16, bf16, i8, u8 and bool only";
  auto steps = steps_of(view);
  if (!steps.ok()) return steps.error().what;
  if (WhyNot why = integer_refusal(view, *steps)) return why;
  if (operand_count(view) + steps->size() > kMaxBuffers)
    return fmt::format("takes {} inputs and steps together at most", kMaxBuffers);
  if (!nest_of(view)) return "an operand lies in a layout that does not go with the output's";
  return std::nullopt;
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant>, const Target&) {
  std::vector<Step> steps = PLANISH_TRY(steps_of(view));
  if (is_lookup(view))
    return std::unique_ptr<Kernel>(
        new LookupRunner(steps, view.inputs[0].dtype, view.outputs[0].dtype, view.inputs[0].size()));
  if (const auto sum = byte_sum_of(view, steps))
    return std::unique_ptr<Kernel>(new ByteSumRunner(*sum, view.outputs[0].size()));
  if (makes_pixels(view, steps)) return std::unique_ptr<Kernel>(new PixelsRunner(steps[0], view));
  if (const auto gate = gate_of(view, steps)) return std::unique_ptr<Kernel>(new GateRunner(*gate, view));
  auto nest = nest_of(view);
  if (!nest) return Error{.code = Code::unsupported, .node = view.node->name, .what = "layouts do not go together"};
  std::vector<Element> elements;
  for (size_t i = 0; i < operand_count(view); ++i) elements.push_back(element_of(view.inputs[i].dtype));
  elements.push_back(element_of(view.outputs[0].dtype));
  const auto byte = byte_in_the_middle(view, steps);
  return std::unique_ptr<Kernel>(new PointwiseRunner(std::move(steps), byte, std::move(*nest), std::move(elements)));
}

constexpr std::array<std::string_view, 45> kOps{"planish.Pointwise",
                                                "Abs",
                                                "Neg",
                                                "Reciprocal",
                                                "Sqrt",
                                                "Exp",
                                                "Log",
                                                "Floor",
                                                "Ceil",
                                                "Round",
                                                "Sign",
                                                "Erf",
                                                "Relu",
                                                "Elu",
                                                "LeakyRelu",
                                                "Sigmoid",
                                                "Tanh",
                                                "Softplus",
                                                "Swish",
                                                "HardSigmoid",
                                                "HardSwish",
                                                "Gelu",
                                                "Mish",
                                                "Clip",
                                                "Add",
                                                "Sub",
                                                "Mul",
                                                "Div",
                                                "Max",
                                                "Min",
                                                "Pow",
                                                "Celu",
                                                "Selu",
                                                "Softsign",
                                                "PRelu",
                                                "Equal",
                                                "Greater",
                                                "GreaterOrEqual",
                                                "Less",
                                                "LessOrEqual",
                                                "And",
                                                "Or",
                                                "Xor",
                                                "Not",
                                                "Where"};

}  // namespace

constinit const Tactic kCpuPointwise{.id = "cpu.pointwise",
                                     .ops = kOps,
                                     .supports = supports,
                                     .pack = nullptr,
                                     .prepare = prepare,
                                     .unpack = nullptr,
                                     .version = 6};

}  // namespace planish
