#include "planish/quant/dynamic_to_static.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "planish/ops/op.h"
#include "planish/passes/edit.h"
#include "planish/passes/pass.h"

namespace planish {
namespace {

/// An operand of an integer product.
struct Operand {
  ValueId real = kNoValue;   ///< the tensor that was quantised; kNoValue for constants
  ValueId scale = kNoValue;  ///< made by DynamicQuantizeLinear; kNoValue for constants
  ValueId bytes = kNoValue;
  ValueId zero = kNoValue;
};

/// nullopt: neither constant nor the result of one DynamicQuantizeLinear, zero point included.
std::optional<Operand> operand_of(const Edit& edit, ValueId bytes, ValueId zero) {
  if (edit.constant(bytes) != nullptr && (zero == kNoValue || edit.constant(zero) != nullptr))
    return Operand{.bytes = bytes, .zero = zero};
  const Node* quantise = edit.made_by(bytes, "DynamicQuantizeLinear");
  if (quantise == nullptr || quantise->out(0) != bytes || zero == kNoValue || quantise->out(2) != zero)
    return std::nullopt;
  return Operand{.real = quantise->in(0), .scale = quantise->out(1), .bytes = bytes, .zero = zero};
}

/// The factors that the sums are multiplied by on their way to `last`.
struct Scaling {
  int32_t last = -1;             ///< node whose output is the real product
  std::vector<ValueId> factors;  ///< products taken apart
};

void take_apart(const Edit& edit, ValueId v, std::vector<ValueId>& factors) {
  if (const Node* mul = edit.made_by(v, "Mul"); mul != nullptr && mul->inputs.size() == 2) {
    take_apart(edit, mul->in(0), factors);
    take_apart(edit, mul->in(1), factors);
    return;
  }
  factors.push_back(v);
}

/// Follows product -> Cast -> Mul (-> Mul) as far as each result has one reader.
std::optional<Scaling> scaling_of(const Edit& edit, ValueId sums) {
  const int32_t cast = edit.single_consumer(sums);
  if (cast < 0 || !edit.node(cast).is("Cast") || edit.node(cast).attr_int("to", 0) != static_cast<int64_t>(DType::f32))
    return std::nullopt;
  Scaling s;
  ValueId at = edit.node(cast).out(0);
  while (s.factors.size() < 2) {
    const int32_t mul = edit.single_consumer(at);
    if (mul < 0 || !edit.node(mul).is("Mul") || edit.node(mul).inputs.size() != 2) return std::nullopt;
    const Node& node = edit.node(mul);
    take_apart(edit, node.in(node.in(0) == at ? 1 : 0), s.factors);
    s.last = mul;
    at = node.out(0);
  }
  return s;
}

/// The scale of the constant operand, given that the others are scales of what was quantised at run time.
std::optional<const Tensor*> constant_scale(const Edit& edit, const Scaling& s, const Operand& a, const Operand& b) {
  std::vector<ValueId> dynamic;
  for (const Operand* o : {&a, &b})
    if (o->scale != kNoValue) dynamic.push_back(o->scale);
  const Tensor* scale = nullptr;
  for (const ValueId factor : s.factors) {
    const auto it = std::ranges::find(dynamic, factor);
    if (it != dynamic.end()) {
      dynamic.erase(it);
    } else if (scale == nullptr && edit.constant(factor) != nullptr && edit.constant(factor)->dtype() == DType::f32) {
      scale = edit.constant(factor);
    } else {
      return std::nullopt;
    }
  }
  const bool both_dynamic = a.scale != kNoValue && b.scale != kNoValue;
  if (!dynamic.empty() || (scale == nullptr) != both_dynamic) return std::nullopt;
  return scale;
}

/// DequantizeLinear of a constant, computed now. nullopt: scale and zero point do not fit.
std::optional<Tensor> dequantised(const Tensor& bytes, Tensor scale, const Tensor* zero, int64_t axis) {
  const int64_t length = bytes.rank() == 0 ? 1 : bytes.dim(axis);
  if (scale.size() != 1 && scale.size() != length) return std::nullopt;
  scale = scale.reshaped(scale.size() == 1 ? Shape{} : Shape{length});
  Tensor zeros;
  if (zero != nullptr) {
    if (zero->size() != 1 && zero->size() != length) return std::nullopt;
    zeros = zero->reshaped(zero->size() == 1 ? Shape{} : Shape{length});
  }
  Node node{.op = "DequantizeLinear", .name = "weights", .inputs = {0, 1, 2}, .outputs = {3}};
  node.attrs["axis"] = axis;
  if (zero == nullptr) node.inputs.pop_back();
  const std::array<const Tensor*, 3> inputs{&bytes, &scale, zero == nullptr ? nullptr : &zeros};
  std::array<Tensor, 1> outputs;
  if (!run_reference(node, std::span(inputs).first(node.inputs.size()), outputs).ok()) return std::nullopt;
  return outputs[0];
}

/// The operand in float; kNoValue when its parameters do not fit.
ValueId real_operand(Edit& edit, const Operand& o, const Tensor* scale, int64_t axis) {
  if (o.real != kNoValue) return o.real;
  const Tensor& bytes = *edit.constant(o.bytes);
  auto real = dequantised(bytes, *scale, o.zero == kNoValue ? nullptr : edit.constant(o.zero),
                          axis < 0 ? std::max<int64_t>(0, axis + bytes.rank()) : axis);
  return real ? edit.new_constant(edit.value(o.bytes).name + "_dequantised", *std::move(real)) : kNoValue;
}

bool rewrite_product(Edit& edit, int32_t n) {
  const Node product = edit.node(n);
  const bool conv = product.is("ConvInteger");
  const auto a = operand_of(edit, product.in(0), product.in(2));
  const auto b = operand_of(edit, product.in(1), product.in(3));
  if (!a || !b || (a->real == kNoValue && b->real == kNoValue)) return false;
  const auto scaling = scaling_of(edit, product.out(0));
  if (!scaling) return false;
  const auto scale = constant_scale(edit, *scaling, *a, *b);
  if (!scale) return false;
  // Only a scalar scale can belong to the first operand: one per row or channel of it would not be its own axis.
  if (a->real == kNoValue && (*scale)->size() != 1) return false;
  const ValueId first = real_operand(edit, *a, *scale, 0);
  const ValueId second = real_operand(edit, *b, *scale, conv ? 0 : -1);
  if (first == kNoValue || second == kNoValue) return false;
  Node real{.op = conv ? "Conv" : "MatMul", .name = product.name, .inputs = {first, second}};
  real.attrs = product.attrs;
  real.origins = product.origins;
  add_origins(real, edit.node(scaling->last));
  real.outputs = edit.node(scaling->last).outputs;
  edit.replace_pattern(scaling->last, std::move(real));
  return true;
}

/// DequantizeLinear(Gather(constant, indices)), per tensor.
bool rewrite_table(Edit& edit, int32_t n) {
  const Node& dequantise = edit.node(n);
  const Node* gather = edit.made_by(dequantise.in(0), "Gather");
  const Tensor* scale = edit.constant(dequantise.in(1));
  const Tensor* zero = dequantise.in(2) == kNoValue ? nullptr : edit.constant(dequantise.in(2));
  if (gather == nullptr || scale == nullptr || scale->size() != 1 || edit.constant(gather->in(0)) == nullptr)
    return false;
  if (dequantise.in(2) != kNoValue && (zero == nullptr || zero->size() != 1)) return false;
  auto table = dequantised(*edit.constant(gather->in(0)), *scale, zero, 0);
  if (!table) return false;
  Node real = *gather;
  add_origins(real, dequantise);
  real.outputs = dequantise.outputs;
  real.inputs[0] = edit.new_constant(edit.value(gather->in(0)).name + "_dequantised", *std::move(table));
  edit.replace_pattern(n, std::move(real));
  return true;
}

/// DequantizeLinear of constants.
bool rewrite_constant(Edit& edit, int32_t n) {
  const Node dequantise = edit.node(n);
  std::vector<const Tensor*> inputs;
  for (const ValueId v : dequantise.inputs) {
    if (v != kNoValue && edit.constant(v) == nullptr) return false;
    inputs.push_back(edit.constant(v));
  }
  std::array<Tensor, 1> outputs;
  if (edit.is_output(dequantise.out(0)) || !run_reference(dequantise, inputs, outputs).ok()) return false;
  edit.remove(n);
  edit.set_constant(dequantise.out(0), outputs[0]);
  return true;
}

}  // namespace

Result<StaticForm> dynamic_to_static(const Graph& graph) {
  static constexpr std::array kBefore{
      Pass{"eliminate_identity", eliminate_identity, ""}, Pass{"fold_constants", fold_constants, ""},
      Pass{"static_shape_inputs", static_shape_inputs, ""}, Pass{"dead_code", dead_code, ""}};
  Edit edit(PLANISH_TRY(run_passes(graph, {}, nullptr, {}, kBefore)));
  StaticForm form;
  for (int32_t n = 0; n < edit.size(); ++n) {
    if (!edit.alive(n) || !edit.node(n).domain.empty()) continue;
    const std::string& op = edit.node(n).op;
    if (op == "MatMulInteger" || op == "ConvInteger") ++(rewrite_product(edit, n) ? form.products : form.left);
  }
  if (form.products > 0)
    for (int32_t n = 0; n < edit.size(); ++n)
      if (edit.alive(n) && edit.node(n).is("DequantizeLinear") && !rewrite_table(edit, n)) rewrite_constant(edit, n);
  form.graph = PLANISH_TRY(std::move(edit).finish());
  static constexpr std::array kAfter{Pass{"dead_code", dead_code, ""}};
  form.graph = PLANISH_TRY(run_passes(std::move(form.graph), {}, nullptr, {}, kAfter));
  return form;
}

}  // namespace planish
