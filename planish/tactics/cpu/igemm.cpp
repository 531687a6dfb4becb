// Quantised convolutions and matrix products with constant weights by our own integer kernels.

#include "planish/kernels/cpu/igemm/igemm.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstring>

#include "planish/ops/conv_geometry.h"
#include "planish/ops/matmul_shape.h"
#include "planish/tactics/cpu/own_tactics.h"
#include "planish/tactics/cpu/quantized_layer.h"
#include "planish/tactics/cpu/window.h"

namespace planish {
namespace {

using kernels::IgemmFormat;
using kernels::IgemmKernel;
using kernels::IgemmShape;

/// Sums of this many products of bytes fit 32 bits.
constexpr int64_t kMaxInner = 65000;

bool is_matmul(const NodeView& view) { return view.node->op == "QuantizedMatMul"; }
bool transposed_b(const NodeView& view) { return view.node->attr_int("trans_b", 0) != 0; }

Result<IgemmShape> shape_of_conv(const NodeView& view) {
  const ConvShape c = PLANISH_TRY(resolve_conv(*view.node, view.inputs[kQuantX].shape, view.inputs[kQuantW].shape));
  IgemmShape s;
  s.images = c.n;
  s.groups = c.groups;
  s.channels = c.c / c.groups;
  s.outputs = c.k / c.groups;
  set_window(c.window, s);
  return s;
}

IgemmShape shape_of_matmul(const NodeView& view) {
  const Shape& a = view.inputs[kQuantX].shape;
  const Shape& b = view.inputs[kQuantW].shape;
  IgemmShape s;
  s.channels = a.back();
  s.outputs = b[b.size() - (transposed_b(view) ? 2 : 1)];
  s.in_h = s.out_h = element_count(a) / std::max<int64_t>(1, a.back());
  return s;
}

Result<IgemmShape> shape_of(const NodeView& view) {
  if (is_matmul(view)) return shape_of_matmul(view);
  return shape_of_conv(view);
}

WhyNot conv_refusal(const NodeView& view) {
  const int64_t rank = view.inputs[kQuantX].rank();
  if (rank != 3 && rank != 4) return fmt::format("needs 1 or 2 spatial dimensions, got rank {}", rank);
  if (!lies_channels_last(view.inputs[kQuantX]) || !lies_channels_last(view.outputs[0]))
    return "takes channels-last tensors only";
  auto shape = shape_of_conv(view);
  if (!shape.ok()) return shape.error().what;
  constexpr int64_t kFewOutputs = 4;  // a vector of columns would be nearly empty
  if (shape->groups != 1 && shape->outputs < kFewOutputs)
    return fmt::format("needs at least {} outputs per group, got {}", kFewOutputs, shape->outputs);
  return std::nullopt;
}

WhyNot matmul_refusal(const NodeView& view) {
  const TensorDesc& a = view.inputs[kQuantX];
  const TensorDesc& b = view.inputs[kQuantW];
  if (a.rank() < 2 || b.rank() < 2) return "needs matrices";
  if (view.node->attr_int("trans_a", 0) != 0) return "takes A as it is, not transposed";
  if (b.size() != b.shape.back() * b.shape[b.shape.size() - 2]) return "needs one matrix of weights for all batches";
  if (a.layout != Layout::row_major || view.outputs[0].layout != Layout::row_major)
    return "takes row-major tensors only";
  const auto product = resolve_matmul(a.shape, b.shape, false, transposed_b(view));
  if (!product || product->y != view.outputs[0].shape) return "the shapes do not multiply";
  if (view.has_input(kQuantBias)) {
    const Shape& bias = view.inputs[kQuantBias].shape;
    const int64_t size = element_count(bias);
    if (size != 1 && (size != product->n || bias.back() != product->n)) return "needs one bias per column";
  }
  return std::nullopt;
}

WhyNot supports(const NodeView& view, const Target&) {
  if (WhyNot why = quantized_refusal(view)) return why;
  if (WhyNot why = is_matmul(view) ? matmul_refusal(view) : conv_refusal(view)) return why;
  const Result<IgemmShape> shape = shape_of(view);
  const int64_t inner = shape->channels * shape->kernel_h * shape->kernel_w;
  if (inner > kMaxInner) return fmt::format("sums {} products at most, got {}", kMaxInner, inner);
  return std::nullopt;
}

// --- weights ------------------------------------------------------------------------------------------------------

std::string format_name(const IgemmFormat& f) { return fmt::format("igemm:{},{},{}", f.depth, f.lanes, f.block); }

std::optional<IgemmFormat> parse_format(std::string_view name) {
  constexpr std::string_view kPrefix = "igemm:";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  IgemmFormat f;
  constexpr int32_t kLargest = 1024;
  for (int32_t* field : {&f.depth, &f.lanes, &f.block}) {
    const auto [end, ec] = std::from_chars(name.data(), name.data() + name.size(), *field);
    if (ec != std::errc() || *field < 1 || *field > kLargest) return std::nullopt;
    name.remove_prefix(static_cast<size_t>(end - name.data()));
    if (field != &f.block && !name.starts_with(",")) return std::nullopt;
    if (field != &f.block) name.remove_prefix(1);
  }
  if (!name.empty() || f.block % f.lanes != 0) return std::nullopt;
  return f;
}

/// [K,N] into [N,K] or back: what it writes has rows of `to_row` elements.
void transpose(int64_t rows, int64_t cols, const int8_t* from, int8_t* to) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c) to[c * rows + r] = from[r * cols + c];
}

Tensor pack_weights(const NodeView& view, const IgemmShape& s, const IgemmFormat& f, const Tensor& weights) {
  Tensor packed(DType::u8, {static_cast<int64_t>(igemm_packed_bytes(s, f))});
  const int8_t* from = weights.data<int8_t>();
  Tensor turned;
  if (is_matmul(view) && !transposed_b(view)) {
    turned = Tensor(DType::i8, {s.outputs, s.channels});
    transpose(s.channels, s.outputs, from, turned.data<int8_t>());
    from = turned.data<int8_t>();
  }
  igemm_pack(s, f, from, packed.data<int8_t>());
  return packed;
}

/// The weights in the graph's form. Error corrupt: the format or the size is not ours.
Result<Tensor> unpack(const NodeView& view, const PackedConstant& p) {
  const IgemmShape s = PLANISH_TRY(shape_of(view));
  const auto f = parse_format(p.format);
  if (!f || p.data.bytes() < igemm_packed_bytes(s, *f))
    return Error{.code = Code::corrupt, .node = view.node->name, .what = "packed weights have an unknown format"};
  Tensor weights(DType::i8, view.inputs[kQuantW].shape);
  if (is_matmul(view) && !transposed_b(view)) {
    Tensor turned(DType::i8, {s.outputs, s.channels});
    igemm_unpack(s, *f, p.data.data<int8_t>(), turned.data<int8_t>());
    transpose(s.outputs, s.channels, turned.data<int8_t>(), weights.data<int8_t>());
  } else {
    igemm_unpack(s, *f, p.data.data<int8_t>(), weights.data<int8_t>());
  }
  return weights;
}

/// A kernel and weights in its form.
struct Choice {
  const IgemmKernel* kernel = nullptr;
  Tensor own;                    ///< packed here; undefined when the engine's weights have the right form
  const int8_t* data = nullptr;  ///< of `own`, or of the engine's
};

/// The fastest kernel of this machine that takes the layer and is exact for its inputs and weights.
Result<Choice> choose(const NodeView& view, const IgemmShape& s, const kernels::IgemmInputType& type,
                      std::span<const PackedConstant> packed) {
  Tensor plain;
  if (packed.empty() && view.constants[kQuantW] != nullptr) plain = *view.constants[kQuantW];
  const int32_t max_input = igemm_max_input(type);
  for (const IgemmKernel& k : kernels::igemm_kernels()) {
    constexpr int32_t kSmallestPair = 127;  // one weight of most channels is the largest that there is
    if (!cpu_features().has(k.isa) || !igemm_takes(k, s) || !igemm_is_exact(k, max_input, kSmallestPair)) continue;
    Choice c{.kernel = &k, .own = {}, .data = nullptr};
    if (!packed.empty() && parse_format(packed[0].format) == k.format &&
        packed[0].data.bytes() >= igemm_packed_bytes(s, k.format)) {
      c.data = packed[0].data.data<int8_t>();
    } else {
      if (!plain.defined()) {
        if (packed.empty())
          return Error{.code = Code::internal, .node = view.node->name, .what = "weights are missing"};
        plain = PLANISH_TRY(unpack(view, packed[0]));
      }
      c.own = pack_weights(view, s, k.format, plain);
      c.data = c.own.data<int8_t>();
    }
    if (igemm_is_exact(k, max_input) || igemm_is_exact(k, max_input, igemm_max_pair(s, k.format, c.data))) return c;
  }
  return Error{.code = Code::internal, .node = view.node->name, .what = "no integer kernel is exact"};
}

Result<std::vector<PackedConstant>> pack(const NodeView& view, const Target&) {
  const IgemmShape s = PLANISH_TRY(shape_of(view));
  const QuantizedAttrs attrs = PLANISH_TRY(read_quantized_attrs(*view.node));
  Choice c = PLANISH_TRY(choose(view, s, input_type(view, attrs), {}));
  return std::vector<PackedConstant>{{static_cast<int32_t>(kQuantW), format_name(c.kernel->format), std::move(c.own)}};
}

// --- run ----------------------------------------------------------------------------------------------------------

class IgemmRunner final : public Kernel {
 public:
  /// `own`: weights packed here because the engine's have another form; undefined when the engine's serve.
  IgemmRunner(kernels::IgemmPlan plan, QuantizedLayer layer, Tensor own)
      : plan_(std::move(plan)), layer_(std::move(layer)), own_(std::move(own)) {}

  [[nodiscard]] size_t workspace_bytes() const override { return plan_.scratch_bytes(); }
  [[nodiscard]] std::string detail() const override { return std::string(plan_.kernel->name); }

  Status run(const Bindings& b) override {
    const auto* weights = own_.defined() ? own_.data<int8_t>() : host_ptr<const int8_t>(b.inputs[kQuantW]);
    run_igemm(plan_, host_ptr<const void>(b.inputs[kQuantX]), weights, bind_epilogue(layer_, b), host_ptr(b.workspace));
    return {};
  }

 private:
  kernels::IgemmPlan plan_;
  QuantizedLayer layer_;
  Tensor own_;
};

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant> packed,
                                        const Target& target) {
  const IgemmShape s = PLANISH_TRY(shape_of(view));
  return prepare_igemm_rows(view, packed, target, s.groups * s.outputs);
}

constexpr std::array<std::string_view, 2> kOps{"planish.QuantizedConv", "planish.QuantizedMatMul"};

}  // namespace

Result<std::unique_ptr<Kernel>> prepare_igemm_rows(const NodeView& view, std::span<const PackedConstant> packed,
                                                   const Target& target, int64_t y_row) {
  // run() reads the weights where the engine says that they are.
  for (const PackedConstant& p : packed)
    if (p.input != static_cast<int32_t>(kQuantW))
      return Error{.code = Code::corrupt, .node = view.node->name, .what = "packed weights belong to another input"};
  const IgemmShape s = PLANISH_TRY(shape_of(view));
  const QuantizedAttrs attrs = PLANISH_TRY(read_quantized_attrs(*view.node));
  const kernels::IgemmInputType type = input_type(view, attrs);
  Choice c = PLANISH_TRY(choose(view, s, type, packed));
  const float alpha = is_matmul(view) ? view.node->attr_float("alpha", 1.0F) : 1.0F;
  QuantizedLayer layer = PLANISH_TRY(make_quantized_layer(view, s.groups * s.outputs, alpha));
  layer.epilogue.y_row = y_row;
  kernels::IgemmPlan plan = plan_igemm(s, *c.kernel, type, c.data, target.threads);
  return std::unique_ptr<Kernel>(new IgemmRunner(std::move(plan), std::move(layer), std::move(c.own)));
}

constinit const Tactic kCpuIgemm{.id = "cpu.igemm",
                                 .ops = kOps,
                                 .supports = supports,
                                 .pack = pack,
                                 .prepare = prepare,
                                 .unpack = unpack,
                                 .version = 6};

}  // namespace planish
