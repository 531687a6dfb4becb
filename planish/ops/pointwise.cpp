// planish.Pointwise(x0, ..., xn-1): a chain of elementwise functions over inputs that broadcast, fused into one node.
// Computed in double without rounding between the steps, so it takes the types whose values double holds: not the
// 64-bit integers.

#include "planish/ops/pointwise.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "planish/ops/broadcast.h"
#include "planish/ops/checks.h"
#include "planish/ops/elementwise.h"
#include "planish/ops/quantization.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

constexpr size_t kBlock = 256;  // a dozen rows of doubles fit in the first-level cache

// Quantisation as steps: alpha is the scale, beta the zero point. Rounded as ONNX rounds, by a division in f32.
double quantized(double x, const ScalarParams& p, DType type) {
  const double quotient = static_cast<float>(x) / static_cast<float>(p.alpha);
  return quantize_to_integer(quotient, p.beta, integer_range(type));
}
double dequantize(double x, const ScalarParams& p) { return (x - p.beta) * static_cast<float>(p.alpha); }
double quantize_i8(double x, const ScalarParams& p) { return quantized(x, p, DType::i8); }
double quantize_u8(double x, const ScalarParams& p) { return quantized(x, p, DType::u8); }

template <auto kScalar>
void map_block(int64_t n, const double* x, double* y, const ScalarParams& p) {
  for (int64_t i = 0; i < n; ++i) y[i] = kScalar(x[i], p);
}

template <auto kScalar>
constexpr UnaryFunction quantization_function(std::string_view op) {
  return {.op = op,
          .alpha_attr = "scale",
          .beta_attr = "zero",
          .alpha = 1,
          .beta = 0,
          .gives_bool = false,
          .scalar = kScalar,
          .block = map_block<kScalar>,
          .block_i64 = nullptr,
          .block_u64 = nullptr};
}
constexpr UnaryFunction kDequantize = quantization_function<dequantize>("DequantizeLinear");
constexpr UnaryFunction kQuantizeI8 = quantization_function<quantize_i8>("QuantizeLinear");
constexpr UnaryFunction kQuantizeU8 = quantization_function<quantize_u8>("QuantizeLinear");

template <typename T>
std::optional<T> number_of(std::string_view word) {
  T value{};
  const auto [end, code] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (code != std::errc{} || end != word.data() + word.size()) return std::nullopt;
  return value;
}

/// "" on success, else what is wrong with the pair.
std::string apply_key(PointwiseStep& step, std::string_view key, std::string_view text) {
  if (key == "approximate" && (text == "tanh" || text == "none")) {
    step.params.approximate_tanh = text == "tanh";
    return {};
  }
  if (key == "type" && step.unary == &kQuantizeI8 && (text == "i8" || text == "u8")) {
    step.unary = text == "i8" ? &kQuantizeI8 : &kQuantizeU8;
    step.gives = text == "i8" ? DType::i8 : DType::u8;
    return {};
  }
  const auto value = number_of<double>(text);
  if (step.unary == nullptr || !value || key.empty()) return fmt::format("cannot use '{}={}'", key, text);
  if (key == step.unary->alpha_attr)
    step.params.alpha = *value;
  else if (key == step.unary->beta_attr)
    step.params.beta = *value;
  else
    return fmt::format("{} has no parameter '{}'", step.unary->op, key);
  return {};
}

/// Fills `step` from one string; `defined` values exist already. "" on success.
std::string parse_step(std::string_view text, int32_t defined, PointwiseStep& step) {
  const auto words = step_words(text);
  if (words.empty()) return "empty step";
  step.unary = find_unary_function(words[0]);
  if (words[0] == kDequantize.op) {
    step.unary = &kDequantize;
    step.gives = DType::f32;
  }
  if (words[0] == kQuantizeI8.op) step.unary = &kQuantizeI8;
  step.binary = step.unary != nullptr ? nullptr : find_binary_function(words[0]);
  step.where = words[0] == "Where";
  const bool computable = (step.unary != nullptr && step.unary->block != nullptr) ||
                          (step.binary != nullptr && step.binary->block != nullptr) || step.where;
  if (!computable) return fmt::format("unknown function '{}'", words[0]);
  if (step.unary != nullptr) step.params = step.unary->default_params();
  for (size_t i = 1; i < words.size(); ++i) {
    if (const size_t eq = words[i].find('='); eq != std::string_view::npos) {
      if (auto wrong = apply_key(step, words[i].substr(0, eq), words[i].substr(eq + 1)); !wrong.empty()) return wrong;
      continue;
    }
    const auto operand = number_of<int32_t>(words[i]);
    if (!operand || *operand < 0 || *operand >= defined)
      return fmt::format("operand '{}' is not defined yet", words[i]);
    if (step.operand_count == 3) return "too many operands";
    step.operands[static_cast<size_t>(step.operand_count++)] = *operand;
  }
  const int32_t expected = step.unary != nullptr ? 1 : (step.where ? 3 : 2);
  if (step.operand_count != expected)
    return fmt::format("{} needs {} operands, got {}", words[0], expected, step.operand_count);
  const bool quantizes = words[0] == kQuantizeI8.op;
  if (quantizes && step.gives == DType::undefined) return "a type=i8 or type=u8 is missing";
  if ((quantizes || step.unary == &kDequantize) && !(step.params.alpha > 0)) return "the scale must be positive";
  return {};
}

Status check_types(const auto& ctx, const std::vector<DType>& types) {
  for (const DType t : types)
    if (t == DType::i64 || t == DType::u64) return ctx.error("64-bit integers cannot be fused exactly");
  return {};
}

Status infer(InferContext& ctx) {
  if (ctx.num_inputs() == 0) return ctx.error("has no inputs");
  PLANISH_TRY(require_inputs(ctx, ctx.num_inputs()));
  PLANISH_TRY(require_real(ctx));
  const PointwiseProgram program = PLANISH_TRY(parse_pointwise(ctx.node()));
  std::vector<DType> types;
  for (size_t i = 0; i < ctx.num_inputs(); ++i) types.push_back(ctx.dtype(i));
  PLANISH_TRY(check_types(ctx, types));
  const DType type = PLANISH_TRY(y_type_attr(ctx, pointwise_dtype(program, types)));
  ctx.set(0, type, PLANISH_TRY(broadcast_input_shapes(ctx, ctx.num_inputs())));
  return {};
}

Status reference(RefContext& ctx) {
  if (ctx.num_inputs() == 0) return ctx.error("has no inputs");
  PLANISH_TRY(require_inputs(ctx, ctx.num_inputs()));
  PLANISH_TRY(require_real(ctx));
  const PointwiseProgram program = PLANISH_TRY(parse_pointwise(ctx.node()));
  std::vector<DType> types;
  for (size_t i = 0; i < ctx.num_inputs(); ++i) types.push_back(ctx.in(i).dtype());
  PLANISH_TRY(check_types(ctx, types));
  Shape shape = PLANISH_TRY(broadcast_input_shapes(ctx, ctx.num_inputs()));
  const DType type = PLANISH_TRY(y_type_attr(ctx, pointwise_dtype(program, types)));
  Tensor* y = PLANISH_TRY(ctx.output(0, type, std::move(shape)));

  std::vector<BroadcastReader> readers;
  for (size_t i = 0; i < ctx.num_inputs(); ++i) readers.emplace_back(ctx.in(i), y->shape());
  std::vector<double> memory((readers.size() + program.steps.size()) * kBlock);
  std::vector<double*> rows;
  for (size_t i = 0; i < memory.size(); i += kBlock) rows.push_back(memory.data() + i);
  for (int64_t i = 0, total = y->size(); i < total; i += static_cast<int64_t>(kBlock)) {
    const int64_t n = std::min(static_cast<int64_t>(kBlock), total - i);
    for (size_t r = 0; r < readers.size(); ++r) readers[r].read(n, rows[r]);
    program.run(n, rows.data());
    store_elements(y->dtype(), y->raw(), i, 1, n, rows.back());
  }
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "Pointwise",
           .domain = "planish",
           .since = 1,
           .traits = kTraitPointwise,
           .infer = infer,
           .reference = reference},
};

}  // namespace

std::vector<std::string_view> step_words(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    if (end != 0) words.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

void PointwiseProgram::run(int64_t n, double* const* values) const {
  for (size_t k = 0; k < steps.size(); ++k) {
    const PointwiseStep& s = steps[k];
    double* y = values[static_cast<size_t>(num_inputs) + k];
    const double* a = values[s.operands[0]];
    if (s.unary != nullptr) {
      s.unary->block(n, a, y, s.params);
    } else if (s.binary != nullptr) {
      s.binary->block(n, a, values[s.operands[1]], y);
    } else {
      const double* b = values[s.operands[1]];
      const double* c = values[s.operands[2]];
      for (int64_t i = 0; i < n; ++i) y[i] = a[i] != 0 ? b[i] : c[i];
    }
  }
}

Result<PointwiseProgram> parse_pointwise(const Node& node) {
  const auto fail = [&node](std::string what) {
    return Error{.code = Code::invalid_model, .node = node.name, .what = "Pointwise: " + std::move(what)};
  };
  const auto it = node.attrs.find("steps");
  const auto* texts = it == node.attrs.end() ? nullptr : std::get_if<std::vector<std::string>>(&it->second);
  if (texts == nullptr || texts->empty()) return fail("attribute steps is missing or empty");
  PointwiseProgram program;
  program.num_inputs = static_cast<int32_t>(node.inputs.size());
  for (const std::string& text : *texts) {
    PointwiseStep step{};
    const auto defined = program.num_inputs + static_cast<int32_t>(program.steps.size());
    if (std::string wrong = parse_step(text, defined, step); !wrong.empty())
      return fail(fmt::format("step '{}': {}", text, wrong));
    program.steps.push_back(step);
  }
  return program;
}

std::string pointwise_step(std::string_view op, std::initializer_list<int32_t> operands, const ScalarParams* params) {
  std::string text(op);
  for (const int32_t v : operands) text += fmt::format(" {}", v);
  const UnaryFunction* f = find_unary_function(op);
  if (f == nullptr || params == nullptr) return text;
  // "{}" prints the shortest text that reads back as the same double.
  if (!f->alpha_attr.empty() && params->alpha != f->alpha) text += fmt::format(" {}={}", f->alpha_attr, params->alpha);
  if (!f->beta_attr.empty() && params->beta != f->beta) text += fmt::format(" {}={}", f->beta_attr, params->beta);
  if (params->approximate_tanh) text += " approximate=tanh";
  return text;
}

std::string quantization_step(int32_t operand, float scale, int64_t zero, DType type) {
  if (type == DType::undefined) return fmt::format("DequantizeLinear {} scale={} zero={}", operand, scale, zero);
  return fmt::format("QuantizeLinear {} scale={} zero={} type={}", operand, scale, zero, dtype_name(type));
}

DType pointwise_dtype(const PointwiseProgram& program, const std::vector<DType>& inputs) {
  std::vector<DType> types = inputs;
  for (const PointwiseStep& s : program.steps)
    types.push_back(s.gives != DType::undefined ? s.gives
                    : s.gives_bool()            ? DType::boolean
                                                : types[static_cast<size_t>(s.operands[s.where ? 1 : 0])]);
  return types.back();
}

std::span<const OpDecl> pointwise_ops() { return kOps; }

}  // namespace planish
