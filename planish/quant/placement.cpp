#include "planish/quant/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <string_view>

#include "planish/passes/pass.h"
#include "planish/quant/thresholds.h"

namespace planish {
namespace {

/// Scales of neighbours that are nearer than this become one, which saves a requantisation and costs little accuracy.
constexpr float kNearScales = 1.3F;
/// Products with fewer multiplications per image than this are not worth the conversion.
constexpr int64_t kMinWork = 1 << 14;

constexpr std::array<std::string_view, 14> kActivations{"Relu",        "LeakyRelu", "Sigmoid",  "Tanh", "Elu",
                                                        "HardSigmoid", "HardSwish", "Clip",     "Gelu", "Swish",
                                                        "Mish",        "Selu",      "Softplus", "PRelu"};
/// Operators that hand elements through; quantisers pass them.
constexpr std::array<std::string_view, 16> kMovements{
    "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Concat",       "Split",        "Slice",
    "MaxPool", "Gather",    "Expand",  "Tile",    "Identity",  "DepthToSpace", "SpaceToDepth", "Pad"};

template <size_t N>
bool is_one_of(const Node& node, const std::array<std::string_view, N>& ops) {
  return node.domain.empty() && std::ranges::find(ops, node.op) != ops.end();
}

bool listed(const Node& node, const std::vector<std::string>& patterns) {
  return std::ranges::any_of(patterns, [&node](const std::string& p) {
    return names_node(p, node.name) ||
           std::ranges::any_of(node.origins, [&p](const std::string& origin) { return names_node(p, origin); });
  });
}

std::string float_reason(const Node& node) {
  static const std::map<std::string_view, std::string_view> reasons{
      {"LayerNormalization", "normalisation needs the range of float"},
      {"RMSNormalization", "normalisation needs the range of float"},
      {"InstanceNormalization", "normalisation needs the range of float"},
      {"GroupNormalization", "normalisation needs the range of float"},
      {"BatchNormalization", "this batch norm does not fold into a layer"},
      {"Softmax", "exponentials need the range of float"},
      {"LogSoftmax", "exponentials need the range of float"},
      {"Attention", "attention stays in float"},
      {"ConvTranspose", "there is no INT8 kernel for transposed convolutions"},
      {"LSTM", "recurrent layers stay in float"},
      {"GRU", "recurrent layers stay in float"},
      {"RNN", "recurrent layers stay in float"},
      {"Einsum", "there is no INT8 kernel for Einsum"}};
  const auto it = node.domain.empty() ? reasons.find(node.op) : reasons.end();
  return it == reasons.end() ? std::string() : std::string(it->second);
}

/// The finest quantiser of the same type that holds what both hold.
TensorQuantization spanning(const TensorQuantization& a, const TensorQuantization& b) {
  if (a.type == DType::i8) return a.scale > b.scale ? a : b;
  const auto low = [](const TensorQuantization& q) { return -static_cast<float>(q.zero) * q.scale; };
  const auto high = [](const TensorQuantization& q) { return static_cast<float>(kUnsignedSteps - q.zero) * q.scale; };
  return unsigned_quantiser(std::min(low(a), low(b)), std::max(high(a), high(b)));
}

class Planner {
 public:
  Planner(const Graph& graph, const PlacementOptions& options) : graph_(graph), options_(options), uses_(graph) {}

  PlacementPlan run() {
    find_products();
    find_residuals();
    quantise_around_joins();
    find_gated();
    find_averaged();
    set_scales();
    return std::move(plan_);
  }

 private:
  [[nodiscard]] const Node& node(int32_t n) const { return graph_.nodes[static_cast<size_t>(n)]; }
  [[nodiscard]] int32_t producer(ValueId v) const {
    return v == kNoValue ? -1 : uses_.producer[static_cast<size_t>(v)];
  }
  [[nodiscard]] const std::vector<int32_t>& consumers(ValueId v) const {
    return uses_.consumers[static_cast<size_t>(v)];
  }
  [[nodiscard]] int64_t rank(ValueId v) const {
    return graph_.value(v).shape ? static_cast<int64_t>(graph_.value(v).shape->size()) : -1;
  }
  [[nodiscard]] bool has_scale(ValueId v) const {
    return !options_.scale_of || options_.scale_of(graph_.value(v).name).has_value();
  }

  void leave(int32_t n, std::string reason) { plan_.float_nodes.emplace_back(n, std::move(reason)); }

  /// The product as far as its form allows INT8; the reason when it does not.
  std::optional<QuantisedProduct> product_of(int32_t n, std::string& reason) const {
    const Node& p = node(n);
    const bool conv = p.is("Conv");
    const bool gemm = p.is("Gemm");
    if (!conv && !gemm && !p.is("MatMul")) {
      reason = float_reason(p);
      return std::nullopt;
    }
    const Tensor* w = graph_.constant_of(p.in(1));
    if (w == nullptr) {
      reason = graph_.constant_of(p.in(0)) != nullptr ? "its weights come first, as the left matrix"
                                                      : "both operands are activations";
    } else if (w->dtype() != DType::f32 || graph_.value(p.in(0)).dtype != DType::f32) {
      reason = fmt::format("it works on {}", dtype_name(w->dtype()));
    } else if (w->size() == 0 || w->rank() < 2 || (!conv && w->rank() != 2)) {
      reason = fmt::format("its weights have the shape {}", to_string(w->shape()));
    } else if (gemm &&
               (p.attr_int("transA", 0) != 0 || p.attr_float("alpha", 1) != 1 || p.attr_float("beta", 1) != 1)) {
      reason = "a Gemm with alpha, beta or a transposed input has no INT8 form";
    } else if (gemm && p.in(2) != kNoValue && graph_.constant_of(p.in(2)) == nullptr) {
      reason = "its bias is an activation";
    } else {
      const bool rows = conv || (gemm && p.attr_int("transB", 0) != 0);
      return QuantisedProduct{n, p.in(0), p.in(1), rows ? 0 : w->rank() - 1};
    }
    return std::nullopt;
  }

  /// Multiplications of a product per output image, as far as the shapes tell; -1 when they do not.
  [[nodiscard]] int64_t work(const QuantisedProduct& p) const {
    const Tensor& w = *graph_.constant_of(p.weights);
    const auto& y = graph_.value(node(p.node).out(0)).shape;
    if (!y) return -1;
    int64_t positions = 1;
    if (node(p.node).is("Conv")) {
      for (size_t i = 2; i < y->size(); ++i) positions = dim_mul(positions, (*y)[i]);
    } else {
      for (size_t i = 1; i + 1 < y->size(); ++i) positions = dim_mul(positions, (*y)[i]);
    }
    return dim_mul(positions, w.size());
  }

  /// Softmax somewhere in front, with nothing but movements between: an expectation over a distribution.
  [[nodiscard]] bool behind_softmax(ValueId v) const {
    for (int32_t n = producer(v); n >= 0; n = producer(node(n).in(0))) {
      if (node(n).is("Softmax")) return true;
      if (!is_one_of(node(n), kMovements)) return false;
    }
    return false;
  }

  [[nodiscard]] std::string not_worth_it(const QuantisedProduct& p) const {
    if (behind_softmax(p.input)) return "it weights a probability distribution";
    const int64_t w = work(p);
    if (w >= 0 && w < kMinWork) return "it has too little work to gain from INT8";
    if (node(p.node).is("Conv") && is_gate(p))
      return "it belongs to a squeeze-and-excite gate, where INT8 gains nothing";
    return {};
  }

  /// A convolution of single pixels whose result is a gate or leads to one.
  [[nodiscard]] bool is_gate(const QuantisedProduct& p) const {
    const auto& x = graph_.value(p.input).shape;
    if (!x || x->size() != 4 || (*x)[2] != 1 || (*x)[3] != 1) return false;
    ValueId v = node(p.node).out(0);
    for (int steps = 0; steps < 8; ++steps) {
      if (consumers(v).empty() || uses_.is_output[static_cast<size_t>(v)]) return false;
      for (const int32_t c : consumers(v))
        if (node(c).is("Mul") && rank(node(c).out(0)) == 4) {
          const auto& y = graph_.value(node(c).out(0)).shape;
          if (y && ((*y)[2] != 1 || (*y)[3] != 1)) return true;
        }
      v = node(consumers(v).front()).out(0);
      if (v == kNoValue) return false;
    }
    return false;
  }

  void find_products() {
    for (int32_t n = 0; n < static_cast<int32_t>(graph_.nodes.size()); ++n) {
      std::string reason;
      auto product = product_of(n, reason);
      if (product && listed(node(n), options_.keep_float)) {
        reason = "kept in float on request";
        product.reset();
      }
      if (product && !listed(node(n), options_.force_int8)) {
        reason = not_worth_it(*product);
        if (!reason.empty()) product.reset();
      }
      if (product && !has_scale(product->input)) {
        const std::string& name = graph_.value(product->input).name;
        if (std::ranges::find(plan_.without_scale, name) == plan_.without_scale.end())
          plan_.without_scale.push_back(name);
        reason = fmt::format("calibration has no range for its input '{}'", name);
        product.reset();
      }
      if (!product) {
        if (!reason.empty()) leave(n, std::move(reason));
        continue;
      }
      plan_.tensors[product->input].push_back({n, 0});
      is_int8_.insert(n);
      plan_.products.push_back(*product);
    }
  }

  /// The quantised product whose result, alone or through an activation, is `v` and goes to nobody else; -1 when
  /// there is none.
  [[nodiscard]] int32_t product_behind(ValueId v) const {
    for (int steps = 0; steps < 4; ++steps) {
      const int32_t n = producer(v);
      if (n < 0) return -1;
      if (is_int8_.contains(n)) return n;
      const Node& p = node(n);
      if (is_one_of(p, kActivations)) {
        v = p.in(0);
      } else if (p.is("Mul")) {
        // x * sigmoid(x) and its relatives, not fused yet
        const int32_t a = producer(p.in(0));
        const int32_t b = producer(p.in(1));
        if (b >= 0 && is_one_of(node(b), kActivations) && node(b).in(0) == p.in(0))
          v = p.in(0);
        else if (a >= 0 && is_one_of(node(a), kActivations) && node(a).in(0) == p.in(1))
          v = p.in(1);
        else
          return -1;
      } else {
        return -1;
      }
    }
    return -1;
  }

  /// A sum behind a convolution is computed by the convolution, which reads the other branch; that one is quantised,
  /// the convolution's own result never leaves float. Only images: the residual stream of a transformer stays in float,
  /// because its outliers would cost more than the bytes gain.
  void find_residuals() {
    for (int32_t n = 0; n < static_cast<int32_t>(graph_.nodes.size()); ++n) {
      const Node& add = node(n);
      if (!add.is("Add") || add.in(0) == add.in(1) || rank(add.in(0)) < 4) continue;
      if (graph_.constant_of(add.in(0)) != nullptr || graph_.constant_of(add.in(1)) != nullptr) continue;
      if (graph_.value(add.in(0)).shape != graph_.value(add.in(1)).shape) continue;
      if (listed(add, options_.keep_float)) continue;
      const int32_t a = consumers(add.in(0)).size() == 1 ? product_behind(add.in(0)) : -1;
      const int32_t b = consumers(add.in(1)).size() == 1 ? product_behind(add.in(1)) : -1;
      if (a < 0 && b < 0) continue;
      const size_t other = a > b ? 1 : 0;
      const ValueId r = add.in(other);
      const bool known = plan_.tensors.contains(r) || product_behind(r) >= 0 || behind_int8_sum(r);
      if (!known || !has_scale(r)) continue;
      plan_.tensors[r].push_back({n, other});
      // A runtime that does not fuse the sum into the convolution wants both operands as integers.
      const ValueId own = add.in(1 - other);
      if (options_.style == QdqStyle::onnxruntime && has_scale(own)) plan_.tensors[own].push_back({n, 1 - other});
    }
  }

  /// ONNX Runtime's integer kernels for concats and averages need quantised tensors on both sides; it moves quantisers
  /// through pools and reshapes by itself.
  void quantise_around_joins() {
    if (options_.style != QdqStyle::onnxruntime) return;
    for (int32_t n = static_cast<int32_t>(graph_.nodes.size()); n-- > 0;) {
      const Node& join = node(n);
      if (!join.is("Concat") && !join.is("GlobalAveragePool") && !join.is("AveragePool")) continue;
      if (listed(join, options_.keep_float) || !read_as_bytes(join.out(0))) continue;
      const auto ready = [this](ValueId x) {
        return x != kNoValue && graph_.value(x).dtype == DType::f32 && graph_.constant_of(x) == nullptr && has_scale(x);
      };
      if (!std::ranges::all_of(join.inputs, ready)) continue;
      for (size_t slot = 0; slot < join.inputs.size(); ++slot) {
        const ValueId part = join.inputs[slot];
        if (!plan_.tensors.contains(part)) parts_.insert(part);
        plan_.tensors[part].push_back({n, slot});
      }
    }
  }

  /// All readers of `v`, perhaps behind movements of it, take it quantised.
  [[nodiscard]] bool read_as_bytes(ValueId v) const {
    if (const auto it = plan_.tensors.find(v); it != plan_.tensors.end())
      return it->second.size() == consumers(v).size() && !uses_.is_output[static_cast<size_t>(v)];
    if (consumers(v).size() != 1) return false;
    const Node& reader = node(consumers(v).front());
    return is_one_of(reader, kMovements) && !reader.is("Concat") && read_as_bytes(reader.out(0));
  }

  /// What a gate multiplies is read as bytes by the gate and by the mean that leads to it, when a convolution makes it
  /// and another reads the product: its pixels then never are floats in memory.
  void find_gated() {
    for (int32_t n = 0; n < static_cast<int32_t>(graph_.nodes.size()); ++n) {
      const Node& gate = node(n);
      if (!gate.is("Mul") || !plan_.tensors.contains(gate.out(0)) || listed(gate, options_.keep_float)) continue;
      for (size_t i = 0; i < 2; ++i) {
        const ValueId x = gate.in(i);
        if (plan_.tensors.contains(x) || !has_scale(x) || product_behind(x) < 0) continue;
        if (graph_.value(x).shape != graph_.value(gate.out(0)).shape || !is_single_pixel(gate.in(1 - i))) continue;
        std::vector<QuantisedUse> uses;
        for (const int32_t c : consumers(x)) {
          if (c == n)
            uses.push_back({n, i});
          else if (node(c).is("GlobalAveragePool") || node(c).is("ReduceMean"))
            uses.push_back({c, 0});
        }
        if (uses.size() == consumers(x).size()) plan_.tensors[x] = std::move(uses);
      }
    }
  }

  /// An average between layers that read bytes reads bytes itself, where it would else be the only one that wants its
  /// input as floats: an average of bytes loses nothing that its quantiser would have kept.
  void find_averaged() {
    for (int32_t n = static_cast<int32_t>(graph_.nodes.size()); n-- > 0;) {
      const Node& pool = node(n);
      const ValueId x = pool.in(0);
      if (!pool.is("AveragePool") || (rank(x) != 3 && rank(x) != 4) || listed(pool, options_.keep_float)) continue;
      const auto known = plan_.tensors.find(x);
      if (known == plan_.tensors.end() || !read_as_bytes(pool.out(0)) || uses_.is_output[static_cast<size_t>(x)])
        continue;
      std::vector<QuantisedUse>& uses = known->second;
      const auto takes_bytes = [&](int32_t reader) {
        return reader == n || std::ranges::find(uses, reader, &QuantisedUse::node) != uses.end() ||
               (is_one_of(node(reader), kMovements) && read_as_bytes(node(reader).out(0)));
      };
      const bool is_use = std::ranges::find(uses, n, &QuantisedUse::node) != uses.end();
      if (!is_use && std::ranges::all_of(consumers(x), takes_bytes)) uses.push_back({n, 0});
    }
  }

  /// [N,C,1,...]: one number per channel.
  [[nodiscard]] bool is_single_pixel(ValueId v) const {
    const auto& shape = graph_.value(v).shape;
    return shape && shape->size() > 2 &&
           std::all_of(shape->begin() + 2, shape->end(), [](int64_t d) { return d == 1; });
  }

  /// A value that an addition of a convolution (and perhaps an activation) makes.
  [[nodiscard]] bool behind_int8_sum(ValueId v) const {
    int32_t n = producer(v);
    if (n >= 0 && is_one_of(node(n), kActivations)) n = producer(node(n).in(0));
    if (n < 0 || !node(n).is("Add")) return false;
    return product_behind(node(n).in(0)) >= 0 || product_behind(node(n).in(1)) >= 0;
  }

  void set_scales() {
    if (!options_.scale_of) return;
    for (const auto& [v, readers] : plan_.tensors) {
      plan_.quantisers[v] = {.scale = *options_.scale_of(graph_.value(v).name)};
      if (!options_.unsigned_of) continue;
      if (const auto q = options_.unsigned_of(graph_.value(v).name, is_never_negative(graph_, uses_, v)))
        plan_.quantisers[v] = *q;
    }
    // Twice, so that scales spread through chains of movements.
    for (int round = 0; round < 2; ++round)
      for (size_t n = graph_.nodes.size(); n-- > 0;) {
        const Node& m = graph_.nodes[n];
        if (!is_one_of(m, kMovements)) continue;
        for (const ValueId y : m.outputs) {
          if (!plan_.quantisers.contains(y)) continue;
          for (const ValueId x : m.inputs)
            if (!parts_.contains(x)) share_quantiser(x, y);
        }
      }
  }

  /// One quantiser for both where it is hardly coarser than either: it spans the ranges of both.
  void share_quantiser(ValueId x, ValueId y) {
    const auto a = plan_.quantisers.find(x);
    const auto b = plan_.quantisers.find(y);
    if (a == plan_.quantisers.end() || b == plan_.quantisers.end() || a->second.type != b->second.type) return;
    const TensorQuantization both = spanning(a->second, b->second);
    if (both.scale <= std::min(a->second.scale, b->second.scale) * kNearScales) a->second = b->second = both;
  }

  const Graph& graph_;
  const PlacementOptions& options_;
  const Uses uses_;
  PlacementPlan plan_;
  std::set<int32_t> is_int8_;
  std::set<ValueId> parts_;  ///< quantised for the joins of ONNX Runtime alone, with quantisers of their own
};

}  // namespace

bool names_node(std::string_view pattern, std::string_view name) {
  const size_t star = pattern.find('*');
  if (star == std::string_view::npos) return pattern == name;
  const std::string_view tail = pattern.substr(star + 1);
  return name.size() + 1 >= pattern.size() && name.starts_with(pattern.substr(0, star)) && name.ends_with(tail);
}

bool is_never_negative(const Graph& graph, const Uses& uses, ValueId v) {
  if (v == kNoValue || uses.producer[static_cast<size_t>(v)] < 0) return false;
  const Node& node = graph.nodes[static_cast<size_t>(uses.producer[static_cast<size_t>(v)])];
  if (!node.domain.empty()) return false;
  static constexpr std::array<std::string_view, 7> kPositive{"Relu",     "Sigmoid", "HardSigmoid", "Softmax",
                                                             "Softplus", "Abs",     "Exp"};
  if (is_one_of(node, kPositive)) return true;
  if (node.op == "Clip") {
    const Tensor* low = graph.constant_of(node.in(1));
    return low != nullptr && low->size() == 1 && low->at(0) >= 0;
  }
  static constexpr std::array<std::string_view, 3> kMeans{"GlobalAveragePool", "AveragePool", "Resize"};
  if (node.op == "Resize" && node.attr_string("mode", "nearest") == "cubic") return false;
  if (node.op == "Concat")
    return std::ranges::all_of(node.inputs, [&](ValueId x) { return is_never_negative(graph, uses, x); });
  if (is_one_of(node, kMeans) || (is_one_of(node, kMovements) && node.op != "Pad"))
    return is_never_negative(graph, uses, node.in(0));
  return false;
}

PlacementPlan plan_quantisation(const Graph& graph, const PlacementOptions& options) {
  return Planner(graph, options).run();
}

Result<Graph> tidy_for_quantisation(Graph graph) {
  static constexpr std::array kTidyPasses{Pass{"eliminate_identity", eliminate_identity, ""},
                                          Pass{"fold_constants", fold_constants, ""},
                                          Pass{"static_shape_inputs", static_shape_inputs, ""},
                                          Pass{"dead_code", dead_code, ""},
                                          Pass{"common_subexpressions", common_subexpressions, ""},
                                          Pass{"eliminate_identity", eliminate_identity, ""},
                                          Pass{"fold_batch_norm", fold_batch_norm, ""},
                                          Pass{"dead_code", dead_code, ""}};
  return run_passes(std::move(graph), {}, nullptr, {}, kTidyPasses);
}

}  // namespace planish
