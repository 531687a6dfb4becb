// planish.QuantizedInvertedResidual: in one kernel, whose threads share lines or channels, or as three layers.

#include "planish/kernels/cpu/inverted_residual_int8/inverted_residual_int8.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "planish/ops/conv_geometry.h"
#include "planish/ops/inverted_residual.h"
#include "planish/tactics/cpu/own_tactics.h"
#include "planish/tactics/cpu/quantized_layer.h"
#include "planish/tactics/cpu/window.h"

namespace planish {
namespace {

using kernels::IgemmFormat;
using kernels::IgemmShape;
using kernels::InvertedResidualKernel;
using kernels::InvertedResidualShape;
using kernels::InvertedResidualSplit;
using kernels::InvertedResidualTypes;

constexpr size_t kPartInputs = 5;
constexpr size_t kExpandW = inverted_residual_weights(0);
constexpr size_t kDepthwiseW = inverted_residual_weights(1);
constexpr size_t kProjectW = inverted_residual_weights(2);

/// The three layers as nodes of their own. Views point to the nodes: not copied.
struct Parts {
  std::array<Node, kInvertedResidualParts> nodes;
  std::array<NodeView, kInvertedResidualParts> views;
  Parts() = default;
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;
};

/// Which input of the node is input `slot` of part `i`; `absent` when it is none.
size_t input_of(size_t i, size_t slot, size_t absent) {
  if (slot == kQuantX) return i == 0 ? 0 : absent;
  if (slot == kQuantResidual) return i + 1 == kInvertedResidualParts ? kInvertedResidualR : absent;
  return inverted_residual_weights(i) + slot - kQuantW;
}

/// Errors invalid_model: the shapes do not fit each other.
Result<std::unique_ptr<Parts>> parts_of(const NodeView& view) {
  auto parts = std::make_unique<Parts>();
  TensorDesc x = view.inputs[0];
  for (size_t i = 0; i < kInvertedResidualParts; ++i) {
    Node& node = parts->nodes[i] = inverted_residual_part(*view.node, i);
    NodeView& part = parts->views[i];
    part.node = &node;
    part.inputs.resize(kPartInputs);
    part.constants.resize(kPartInputs, nullptr);
    part.constant_inputs.resize(kPartInputs, false);
    for (size_t slot = 0; slot < kPartInputs; ++slot) {
      const size_t from = input_of(i, slot, view.inputs.size());
      if (!view.has_input(from)) continue;
      part.inputs[slot] = view.inputs[from];
      part.constants[slot] = view.constants[from];
      part.constant_inputs[slot] = view.is_constant(from);
    }
    part.inputs[kQuantX] = x;
    if (i + 1 == kInvertedResidualParts) {
      part.outputs = {view.outputs[0]};
      break;
    }
    const ConvShape c = PLANISH_TRY(resolve_conv(node, x.shape, part.inputs[kQuantW].shape));
    const QuantizedAttrs attrs = PLANISH_TRY(read_quantized_attrs(node));
    x = {attrs.y_type, c.output(), Layout::channels_last};
    part.outputs = {x};
  }
  return parts;
}

Result<InvertedResidualShape> shape_of(const Parts& parts) {
  std::array<ConvShape, kInvertedResidualParts> c;
  for (size_t i = 0; i < c.size(); ++i)
    c[i] = PLANISH_TRY(
        resolve_conv(parts.nodes[i], parts.views[i].inputs[kQuantX].shape, parts.views[i].inputs[kQuantW].shape));
  InvertedResidualShape s;
  s.expand.images = s.depthwise.images = c[0].n;
  s.expand.groups = c[0].groups;
  s.expand.channels = c[0].c / c[0].groups;
  s.expand.outputs = c[0].k / c[0].groups;
  set_window(c[0].window, s.expand);
  s.depthwise.channels = c[1].c;
  set_window(c[1].window, s.depthwise);
  s.outputs = c[2].k;
  return s;
}

/// What a layer whose result stays inside must do behind its sums; nullopt, or why it does something else.
WhyNot inside_refusal(const Parts& parts, size_t i) {
  const NodeView& view = parts.views[i];
  auto layer = make_quantized_layer(view, view.outputs[0].shape[1]);
  if (!layer.ok()) return layer.error().what;
  const kernels::QuantizedEpilogue& e = layer->epilogue;
  if (e.y_type == kernels::QuantizedType::f32) return "needs bytes between the layers";
  if (!e.folded || e.r_type != kernels::QuantizedType::none) return "has no such activation between the layers";
  if (!e.within_32_bits || e.low > 0 || e.high < 0) return "the numbers between the layers are too large";
  const auto attrs = read_quantized_attrs(parts.nodes[i]);
  const auto next = read_quantized_attrs(parts.nodes[i + 1]);
  if (!attrs.ok() || !next.ok() || attrs->y.zero != next->x.zero) return "zero points differ between the layers";
  return std::nullopt;
}

Result<InvertedResidualTypes> types_of(const Parts& parts) {
  InvertedResidualTypes types;
  const QuantizedAttrs expand = PLANISH_TRY(read_quantized_attrs(parts.nodes[0]));
  const QuantizedAttrs depthwise = PLANISH_TRY(read_quantized_attrs(parts.nodes[1]));
  types.x = input_type(parts.views[0], expand);
  types.first_signed = expand.y_type == DType::i8;
  types.first_zero = static_cast<int32_t>(expand.y.zero);
  types.second_signed = depthwise.y_type == DType::i8;
  types.second_zero = static_cast<int32_t>(depthwise.y.zero);
  return types;
}

// --- weights ------------------------------------------------------------------------------------------------------

std::string format_name(const IgemmFormat& f) { return fmt::format("igemm:{},{},{}", f.depth, f.lanes, f.block); }

IgemmShape product_shape(const InvertedResidualShape& s, size_t input) {
  return input == kExpandW ? s.expand : kernels::project_shape(s);
}
const IgemmFormat& product_format(const InvertedResidualKernel& k, size_t input) {
  return input == kExpandW ? k.expand_format : k.project_format;
}

PackedConstant pack_product(const InvertedResidualShape& s, const InvertedResidualKernel& kernel, size_t input,
                            const Tensor& weights) {
  const IgemmShape shape = product_shape(s, input);
  const IgemmFormat& format = product_format(kernel, input);
  Tensor packed(DType::u8, {static_cast<int64_t>(igemm_packed_bytes(shape, format))});
  igemm_pack(shape, format, weights.data<int8_t>(), packed.data<int8_t>());
  return {static_cast<int32_t>(input), format_name(format), std::move(packed)};
}

Result<Tensor> unpack(const NodeView& view, const PackedConstant& p) {
  const auto parts = PLANISH_TRY(parts_of(view));
  const InvertedResidualShape s = PLANISH_TRY(shape_of(*parts));
  const auto input = static_cast<size_t>(p.input);
  for (const InvertedResidualKernel& k : kernels::inverted_residual_kernels()) {
    const IgemmShape shape = product_shape(s, input);
    const IgemmFormat& format = product_format(k, input);
    if (p.format != format_name(format) || p.data.bytes() < igemm_packed_bytes(shape, format)) continue;
    Tensor weights(DType::i8, view.inputs[input].shape);
    igemm_unpack(shape, format, p.data.data<int8_t>(), weights.data<int8_t>());
    return weights;
  }
  return Error{.code = Code::corrupt, .node = view.node->name, .what = "packed weights have an unknown format"};
}

/// Packed weights of a product; `own` is undefined when the engine's serve.
struct Product {
  Tensor own;
  const int8_t* data = nullptr;
};

Result<Product> product_of(const NodeView& view, const InvertedResidualShape& s, const InvertedResidualKernel& kernel,
                           size_t input, std::span<const PackedConstant> packed) {
  Product out;
  Tensor plain = view.constants[input] != nullptr ? *view.constants[input] : Tensor();
  for (const PackedConstant& p : packed) {
    if (p.input != static_cast<int32_t>(input)) continue;
    const IgemmFormat& format = product_format(kernel, input);
    if (p.format == format_name(format) && p.data.bytes() >= igemm_packed_bytes(product_shape(s, input), format)) {
      out.data = p.data.data<int8_t>();
      return out;
    }
    plain = PLANISH_TRY(unpack(view, p));
  }
  if (!plain.defined()) return Error{.code = Code::internal, .node = view.node->name, .what = "weights are missing"};
  out.own = pack_product(s, kernel, input, plain).data;
  out.data = out.own.data<int8_t>();
  return out;
}

/// A kernel of this machine that is exact for the weights, and the weights in its form; no kernel where none is.
struct Choice {
  const InvertedResidualKernel* kernel = nullptr;
  Product expand;
  Product project;
  kernels::InvertedResidualWeights weights;
};

Result<Choice> choose(const NodeView& view, const InvertedResidualShape& s, const InvertedResidualTypes& types,
                      std::span<const PackedConstant> packed) {
  const Tensor* depthwise = view.constants[kDepthwiseW];
  if (depthwise == nullptr)
    return Error{.code = Code::internal, .node = view.node->name, .what = "weights are missing"};
  for (const InvertedResidualKernel& k : kernels::inverted_residual_kernels()) {
    if (!cpu_features().has(k.isa)) continue;
    Choice c{.kernel = &k,
             .expand = PLANISH_TRY(product_of(view, s, k, kExpandW, packed)),
             .project = PLANISH_TRY(product_of(view, s, k, kProjectW, packed)),
             .weights = {}};
    c.weights = {c.expand.data, depthwise->data<int8_t>(), c.project.data};
    if (inverted_residual_is_exact(k, s, types, c.weights)) return c;
  }
  return Choice{};
}

/// Why no kernel of this machine takes the weights. An engine's are looked at when they are bound.
WhyNot weights_refusal(const NodeView& view, const Parts& parts, const InvertedResidualShape& s) {
  const auto kernels = kernels::inverted_residual_kernels();
  const auto usable = [](const InvertedResidualKernel& k) { return cpu_features().has(k.isa); };
  if (std::ranges::none_of(kernels, usable)) return "needs AVX2";
  const bool takes_all =
      std::ranges::any_of(kernels, [&](const InvertedResidualKernel& k) { return usable(k) && k.pair_limit == 0; });
  const bool known = view.constants[kExpandW] != nullptr && view.constants[kDepthwiseW] != nullptr &&
                     view.constants[kProjectW] != nullptr;
  if (takes_all || !known) return std::nullopt;
  const auto types = types_of(parts);
  if (!types.ok()) return types.error().what;
  const auto choice = choose(view, s, *types, {});
  if (!choice.ok()) return choice.error().what;
  if (choice->kernel == nullptr) return "neighbouring weights are too large for sums in 16 bits";
  return std::nullopt;
}

WhyNot supports(const NodeView& view, const Target&) {
  constexpr int64_t kMaxInner = 65000;  // sums of this many products of bytes fit 32 bits
  if (view.inputs[0].rank() != 4) return "needs two spatial dimensions";
  if (!lies_channels_last(view.inputs[0]) || !lies_channels_last(view.outputs[0]))
    return "takes channels-last tensors only";
  auto parts = parts_of(view);
  if (!parts.ok()) return parts.error().what;
  for (const NodeView& part : (*parts)->views)
    if (WhyNot why = quantized_refusal(part)) return why;
  auto shape = shape_of(**parts);
  if (!shape.ok()) return shape.error().what;
  if (!kernels::inverted_residual_fits(*shape)) return "has no loops for these windows";
  if (shape->expand.channels * shape->expand.kernel_h * shape->expand.kernel_w > kMaxInner ||
      shape->depthwise.channels > kMaxInner)
    return fmt::format("sums {} products at most", kMaxInner);
  for (size_t i = 0; i + 1 < kInvertedResidualParts; ++i)
    if (WhyNot why = inside_refusal(**parts, i)) return why;
  return weights_refusal(view, **parts, *shape);
}

WhyNot supports_channels(const NodeView& view, const Target& target) {
  if (target.threads < 2) return "needs several threads";
  if (view.inputs[0].shape[0] != 1) return "needs one image";
  return supports(view, target);
}

Result<std::vector<PackedConstant>> pack(const NodeView& view, const Target&) {
  const auto parts = PLANISH_TRY(parts_of(view));
  const InvertedResidualShape s = PLANISH_TRY(shape_of(*parts));
  const InvertedResidualTypes types = PLANISH_TRY(types_of(*parts));
  Choice c = PLANISH_TRY(choose(view, s, types, {}));
  if (c.kernel == nullptr)
    return Error{.code = Code::internal, .node = view.node->name, .what = "no integer kernel is exact"};
  std::vector<PackedConstant> out;
  out.push_back({static_cast<int32_t>(kExpandW), format_name(c.kernel->expand_format), std::move(c.expand.own)});
  out.push_back({static_cast<int32_t>(kProjectW), format_name(c.kernel->project_format), std::move(c.project.own)});
  return out;
}

// --- three layers -------------------------------------------------------------------------------------------------

constexpr std::array<const Tactic*, kInvertedResidualParts> kPartTactics{&kCpuIgemm, &kCpuDepthwiseInt8, &kCpuIgemm};

WhyNot supports_parts(const NodeView& view, const Target& target) {
  if (!lies_channels_last(view.inputs[0]) || !lies_channels_last(view.outputs[0]))
    return "takes channels-last tensors only";
  auto parts = parts_of(view);
  if (!parts.ok()) return parts.error().what;
  for (size_t i = 0; i < kInvertedResidualParts; ++i)
    if (WhyNot why = kPartTactics[i]->supports((*parts)->views[i], target)) return why;
  return std::nullopt;
}

Result<std::vector<PackedConstant>> pack_parts(const NodeView& view, const Target& target) {
  const auto parts = PLANISH_TRY(parts_of(view));
  std::vector<PackedConstant> out;
  for (size_t i = 0; i < kInvertedResidualParts; ++i)
    for (PackedConstant& p : PLANISH_TRY(kPartTactics[i]->pack(parts->views[i], target))) {
      p.input = static_cast<int32_t>(input_of(i, static_cast<size_t>(p.input), 0));
      out.push_back(std::move(p));
    }
  return out;
}

/// Part whose weights are input `input`.
size_t part_of(size_t input) { return (input - kExpandW) / (kDepthwiseW - kExpandW); }

Result<Tensor> unpack_parts(const NodeView& view, const PackedConstant& packed) {
  const auto parts = PLANISH_TRY(parts_of(view));
  const size_t i = part_of(static_cast<size_t>(packed.input));
  return kPartTactics[i]->unpack(parts->views[i], {static_cast<int32_t>(kQuantW), packed.format, packed.data});
}

class PartsRunner final : public Kernel {
 public:
  using Kernels = std::array<std::unique_ptr<Kernel>, kInvertedResidualParts>;
  /// `bytes`: of the two tensors between the layers.
  PartsRunner(Kernels kernels, std::array<size_t, 2> bytes) : kernels_(std::move(kernels)) {
    constexpr size_t kAlignment = 64;
    for (size_t i = 0; i < bytes.size(); ++i) {
      offsets_[i] = total_;
      total_ += (bytes[i] + kAlignment - 1) / kAlignment * kAlignment;
    }
    workspace_ = total_;
    for (const auto& kernel : kernels_) total_ = std::max(total_, workspace_ + kernel->workspace_bytes());
  }

  [[nodiscard]] size_t workspace_bytes() const override { return total_; }
  [[nodiscard]] std::string detail() const override {
    return kernels_[0]->detail() + "+" + kernels_[1]->detail() + "+" + kernels_[2]->detail();
  }

  Status run(const Bindings& b) override {
    const auto between = [&](size_t i) { return DevicePtr{b.workspace.value + offsets_[i]}; };
    for (size_t i = 0; i < kernels_.size(); ++i) {
      std::array<DevicePtr, kPartInputs> inputs{};
      for (size_t slot = 0; slot < kPartInputs; ++slot)
        if (const size_t from = input_of(i, slot, b.inputs.size()); from < b.inputs.size())
          inputs[slot] = b.inputs[from];
      if (i > 0) inputs[kQuantX] = between(i - 1);
      const std::array<DevicePtr, 1> y{i + 1 < kernels_.size() ? between(i) : b.outputs[0]};
      PLANISH_TRY(kernels_[i]->run({inputs, y, DevicePtr{b.workspace.value + workspace_}, b.stream}));
    }
    return {};
  }

 private:
  Kernels kernels_;
  std::array<size_t, 2> offsets_{};
  size_t workspace_ = 0;
  size_t total_ = 0;
};

Result<std::unique_ptr<Kernel>> prepare_parts(const NodeView& view, std::span<const PackedConstant> packed,
                                              const Target& target) {
  const auto parts = PLANISH_TRY(parts_of(view));
  PartsRunner::Kernels kernels;
  for (size_t i = 0; i < kInvertedResidualParts; ++i) {
    std::vector<PackedConstant> own;
    for (const PackedConstant& p : packed)
      if (part_of(static_cast<size_t>(p.input)) == i) own.push_back({static_cast<int32_t>(kQuantW), p.format, p.data});
    kernels[i] = PLANISH_TRY(kPartTactics[i]->prepare(parts->views[i], own, target));
  }
  return std::unique_ptr<Kernel>(
      new PartsRunner(std::move(kernels), {parts->views[0].outputs[0].bytes(), parts->views[1].outputs[0].bytes()}));
}

// --- one kernel ---------------------------------------------------------------------------------------------------

class InvertedResidualRunner final : public Kernel {
 public:
  InvertedResidualRunner(kernels::InvertedResidualPlan plan, std::array<QuantizedLayer, kInvertedResidualParts> layers,
                         Tensor own_expand, Tensor own_project)
      : plan_(std::move(plan)),
        layers_(std::move(layers)),
        own_expand_(std::move(own_expand)),
        own_project_(std::move(own_project)) {
    layers_[2].epilogue.y_row = plan_.shape.outputs;
  }

  [[nodiscard]] size_t workspace_bytes() const override { return plan_.scratch_bytes(); }
  [[nodiscard]] std::string detail() const override { return std::string(plan_.kernel->name); }

  Status run(const Bindings& b) override {
    const auto weights = [&](const Tensor& own, size_t input) {
      return own.defined() ? own.data<int8_t>() : host_ptr<const int8_t>(b.inputs[input]);
    };
    kernels::InvertedResidualEpilogues e{layers_[0].epilogue, layers_[1].epilogue, layers_[2].epilogue};
    kernels::QuantizedEpilogue* const all[] = {&e.expand, &e.depthwise, &e.project};
    for (size_t i = 0; i < layers_.size(); ++i) {
      all[i]->scale = layers_[i].scale.data();
      all[i]->bias = layers_[i].bias.data();
    }
    e.project.y = host_ptr(b.outputs[0]);
    if (e.project.r_type != kernels::QuantizedType::none) e.project.r = host_ptr(b.inputs[kInvertedResidualR]);
    run_inverted_residual(plan_, host_ptr<const void>(b.inputs[0]), weights(own_expand_, kExpandW),
                          weights(own_project_, kProjectW), e, host_ptr(b.workspace));
    return {};
  }

 private:
  kernels::InvertedResidualPlan plan_;
  std::array<QuantizedLayer, kInvertedResidualParts> layers_;
  Tensor own_expand_;
  Tensor own_project_;
};

template <InvertedResidualSplit kSplit>
Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant> packed,
                                        const Target& target) {
  const auto parts = PLANISH_TRY(parts_of(view));
  const InvertedResidualShape s = PLANISH_TRY(shape_of(*parts));
  const InvertedResidualTypes types = PLANISH_TRY(types_of(*parts));
  Choice c = PLANISH_TRY(choose(view, s, types, packed));
  // An engine of a machine whose kernel took any weights.
  if (c.kernel == nullptr) return prepare_parts(view, packed, target);
  std::array<QuantizedLayer, kInvertedResidualParts> layers;
  for (size_t i = 0; i < layers.size(); ++i)
    layers[i] = PLANISH_TRY(make_quantized_layer(parts->views[i], parts->views[i].outputs[0].shape[1]));
  kernels::InvertedResidualPlan plan = plan_inverted_residual(s, *c.kernel, types, c.weights, target.threads, kSplit);
  return std::unique_ptr<Kernel>(new InvertedResidualRunner(std::move(plan), std::move(layers), std::move(c.expand.own),
                                                            std::move(c.project.own)));
}

constexpr std::array<std::string_view, 1> kOps{"planish.QuantizedInvertedResidual"};

constexpr Tactic row(std::string_view id, WhyNot (*takes)(const NodeView&, const Target&), decltype(&pack) packs,
                     decltype(&prepare_parts) prepares, decltype(&unpack) unpacks) {
  return {.id = id,
          .ops = kOps,
          .supports = takes,
          .pack = packs,
          .prepare = prepares,
          .unpack = unpacks,
          .packs = Tactic::kSeveral,
          .version = 2};
}

}  // namespace

constinit const Tactic kCpuInvertedResidual =
    row("cpu.inverted_residual", supports, pack, prepare<InvertedResidualSplit::lines>, unpack);
constinit const Tactic kCpuInvertedResidualChannels =
    row("cpu.inverted_residual_channels", supports_channels, pack, prepare<InvertedResidualSplit::channels>, unpack);
constinit const Tactic kCpuInvertedResidualParts =
    row("cpu.inverted_residual_parts", supports_parts, pack_parts, prepare_parts, unpack_parts);

}  // namespace planish
