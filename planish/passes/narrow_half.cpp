#include "planish/passes/narrow_half.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include "planish/passes/edit.h"

namespace planish {
namespace {

/// Operators without an f16 form in ONNX, or whose type lies in an attribute that says more than a Cast.
constexpr std::array<std::string_view, 22> kFloatOnly{
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "NonMaxSuppression", "Range",      "RandomNormal",
    "RandomUniform",  "RandomNormalLike", "RandomUniformLike",     "Multinomial",       "Bernoulli",  "DFT",
    "STFT",           "MelWeightMatrix",  "BlackmanWindow",        "HammingWindow",     "HannWindow", "EyeLike",
    "BitCast",        "ImageDecoder",     "ConstantOfShape",       "Upsample"};

bool matches(const std::string& pattern, const std::string& name) {
  const size_t star = pattern.find('*');
  if (star == std::string::npos) return pattern == name;
  const std::string_view head = std::string_view(pattern).substr(0, star);
  const std::string_view tail = std::string_view(pattern).substr(star + 1);
  return name.size() >= head.size() + tail.size() && name.starts_with(head) && name.ends_with(tail);
}

double largest_of(DType type) { return type == DType::f16 ? 65504.0 : 3.3895313892515355e38; }

/// Inputs that ONNX wants in f32 whatever the others are: the region and the scales of a Resize.
bool stays_float(const Node& node, size_t slot) { return node.is("Resize") && (slot == 1 || slot == 2); }

class Narrower {
 public:
  Narrower(const Graph& graph, const NarrowOptions& options)
      : graph_(graph), options_(options), was_(graph.values.size()) {
    for (size_t v = 0; v < was_.size(); ++v) was_[v] = graph.values[v].dtype;
  }

  Graph run(NarrowReport& report) {
    std::vector<Node> nodes = std::move(graph_.nodes);
    graph_.nodes.clear();
    for (const Node& node : nodes) node_names_.insert(node.name);
    const std::vector<ValueId> outputs = graph_.outputs;
    if (options_.half_io)
      for (const ValueId v : graph_.inputs)
        if (was_float(v)) make_half(v);
    for (Node& node : nodes) {
      const std::string reason = reason_to_keep(node);
      if (reason.empty()) {
        report.narrowed_nodes += narrow(std::move(node)) ? 1 : 0;
      } else {
        if (reason != "it has no floats") report.float_nodes.emplace_back(node.name, reason);
        for (ValueId& v : node.inputs) v = in_float(v);
        graph_.nodes.push_back(std::move(node));
      }
    }
    for (size_t i = 0; i < outputs.size(); ++i)
      if (was_float(outputs[i])) finish_output(i);
    return std::move(graph_);
  }

 private:
  [[nodiscard]] bool was_float(ValueId v) const {
    return v != kNoValue && static_cast<size_t>(v) < was_.size() && was_[static_cast<size_t>(v)] == DType::f32;
  }
  [[nodiscard]] bool is_half(ValueId v) const { return half_.contains(v); }
  void make_half(ValueId v) {
    graph_.value(v).dtype = options_.type;
    half_[v] = v;
  }

  [[nodiscard]] std::string reason_to_keep(const Node& node) const {
    const auto named = [&](const std::string& pattern) {
      return matches(pattern, node.name) ||
             std::ranges::any_of(node.origins, [&](const std::string& origin) { return matches(pattern, origin); });
    };
    const bool floats = std::ranges::any_of(node.inputs, [&](ValueId v) { return was_float(v); }) ||
                        std::ranges::any_of(node.outputs, [&](ValueId v) { return was_float(v); });
    if (!floats) return "it has no floats";
    if (std::ranges::any_of(options_.keep_float, named)) return "kept in float on request";
    if (node.has_bodies()) return "its body keeps its types";
    if (!node.domain.empty()) return fmt::format("operators of domain {} keep their types", node.domain);
    if (std::ranges::find(kFloatOnly, node.op) != kFloatOnly.end()) return fmt::format("{} computes in FP32", node.op);
    const bool product = node.is("Conv") || node.is("ConvTranspose") || node.is("Gemm") || node.is("MatMul");
    for (size_t i = 0; product && i < node.inputs.size(); ++i)
      if (const Tensor* w = graph_.constant_of(node.in(i)); w != nullptr && was_float(node.in(i)) && overflows(*w))
        return fmt::format("its weights go beyond the range of {}", dtype_name(options_.type));
    return {};
  }

  [[nodiscard]] bool overflows(const Tensor& t) const {
    const double limit = largest_of(options_.type);
    for (const float x : t.span<float>())
      if (std::abs(static_cast<double>(x)) > limit) return true;
    return false;
  }

  /// Finite values stay finite: a mask of -3e38 must not turn into infinity, whose differences are NaN.
  [[nodiscard]] Tensor narrowed(const Tensor& t) const {
    const auto limit = static_cast<float>(largest_of(options_.type));
    Tensor bounded = t.clone();
    for (float& x : bounded.span<float>())
      if (std::isfinite(x)) x = std::clamp(x, -limit, limit);
    return bounded.cast(options_.type);
  }

  /// Node names have to be unique in a file that other tools check, and the model may hold Casts of that name.
  std::string unused_node_name(const std::string& stem) {
    std::string name = stem;
    for (int i = 1; !node_names_.insert(name).second; ++i) name = fmt::format("{}_{}", stem, i);
    return name;
  }

  void add_cast(ValueId from, ValueId to, DType type) {
    graph_.nodes.push_back(Node{.op = "Cast",
                                .domain = {},
                                .name = unused_node_name(graph_.value(to).name + "/Cast"),
                                .inputs = {from},
                                .outputs = {to},
                                .attrs = {{"to", static_cast<int64_t>(type)}},
                                .origins = {}});
  }

  ValueId twin(ValueId v, DType type) {
    Value value = graph_.value(v);
    value.name = graph_.unique_name(fmt::format("{}_{}", value.name, dtype_name(type)));
    value.dtype = type;
    value.constant.reset();
    return graph_.add_value(std::move(value));
  }

  /// The value in 16 bits; a Cast or another constant where it exists in f32 only.
  ValueId in_half(ValueId v) {
    if (!was_float(v) || is_half(v)) return is_half(v) ? half_[v] : v;
    const ValueId half = twin(v, options_.type);
    if (const Tensor* constant = graph_.constant_of(v)) {
      graph_.value(half).constant = narrowed(*constant);
    } else {
      add_cast(v, half, options_.type);
    }
    half_[v] = half;
    return half;
  }

  /// The value in f32: itself unless its node now computes in 16 bits.
  ValueId in_float(ValueId v) {
    if (v == kNoValue || graph_.value(v).dtype != options_.type || !was_float(v)) return v;
    if (const auto it = wide_.find(v); it != wide_.end()) return it->second;
    const ValueId wide = twin(v, DType::f32);
    add_cast(v, wide, DType::f32);
    return wide_[v] = wide;
  }

  bool narrow(Node node) {
    const bool cast = node.is("Cast");
    for (size_t i = 0; i < node.inputs.size(); ++i)
      node.inputs[i] = stays_float(node, i) || cast ? cast_input(node.inputs[i]) : in_half(node.inputs[i]);
    if (cast && node.attr_int("to", 0) == static_cast<int64_t>(DType::f32))
      node.attrs["to"] = static_cast<int64_t>(options_.type);
    for (auto& [key, attr] : node.attrs)
      if (auto* tensor = std::get_if<Tensor>(&attr); tensor != nullptr && tensor->dtype() == DType::f32)
        *tensor = narrowed(*tensor);
    const std::vector<ValueId> outputs = node.outputs;
    graph_.nodes.push_back(std::move(node));
    for (const ValueId v : outputs)
      if (was_float(v)) make_half(v);
    return true;
  }

  /// A Cast takes whatever there is.
  ValueId cast_input(ValueId v) { return is_half(v) && graph_.constant_of(v) == nullptr ? half_[v] : v; }

  /// Output `i` keeps its name; its type too unless the caller wants otherwise.
  void finish_output(size_t i) {
    const ValueId v = graph_.outputs[i];
    const bool now_half = graph_.value(v).dtype == options_.type;
    if (now_half == options_.half_io || graph_.constant_of(v) != nullptr) return;
    const bool is_input = std::ranges::find(graph_.inputs, v) != graph_.inputs.end();
    if (is_input) return;
    const DType type = options_.half_io ? options_.type : DType::f32;
    // The computed value gets another name, so that the output can keep its own.
    const std::string name = graph_.value(v).name;
    graph_.value(v).name = graph_.unique_name(name + "_computed");
    Value value = graph_.value(v);
    value.name = name;
    value.dtype = type;
    const ValueId out = graph_.add_value(std::move(value));
    add_cast(v, out, type);
    graph_.outputs[i] = out;
  }

  Graph graph_;
  const NarrowOptions& options_;
  std::set<std::string> node_names_;
  std::vector<DType> was_;           ///< of every value before
  std::map<ValueId, ValueId> half_;  ///< of values: what carries them in 16 bits
  std::map<ValueId, ValueId> wide_;  ///< of values computed in 16 bits: their f32 form
};

}  // namespace

Result<Graph> narrow_to_half(const Graph& graph, const NarrowOptions& options, NarrowReport* report) {
  NarrowReport local;
  NarrowReport& done = report != nullptr ? *report : local;
  done = {};
  // What nobody reads any more goes with finish().
  return std::move(Edit(Narrower(graph, options).run(done))).finish();
}

}  // namespace planish
