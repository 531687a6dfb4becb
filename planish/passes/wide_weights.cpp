#include "planish/passes/wide_weights.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace planish {
namespace {

constexpr size_t kScale = 2;
constexpr size_t kResidual = 4;
/// Below this many input channels, reading all of them twice is cheap: the first layer.
constexpr int64_t kFewChannels = 16;
/// Kernels multiply bytes in groups of four.
constexpr int64_t kStep = 4;

/// Weights as [outer][channels][inner], channels being those of the input.
struct Blocks {
  int64_t axis = 0;
  int64_t outer = 1;
  int64_t channels = 1;
  int64_t inner = 1;
};

Blocks blocks_of(const Shape& shape, int64_t axis) {
  Blocks b{.axis = axis, .channels = shape[static_cast<size_t>(axis)]};
  for (size_t d = 0; d < shape.size(); ++d) {
    if (static_cast<int64_t>(d) < axis) b.outer *= shape[d];
    if (static_cast<int64_t>(d) > axis) b.inner *= shape[d];
  }
  return b;
}

/// As much of `rest` as i8 holds; what it does not hold stays there. Undefined when nothing was left.
Tensor take_part(Tensor& rest) {
  Tensor part;
  auto* left = rest.data<int16_t>();
  for (int64_t i = 0, n = rest.size(); i < n; ++i) {
    if (left[i] == 0) continue;
    if (!part.defined()) {
      part = Tensor(DType::i8, rest.shape());
      std::memset(part.raw(), 0, part.bytes());
    }
    const int held = std::clamp<int>(left[i], -128, 127);
    part.data<int8_t>()[i] = static_cast<int8_t>(held);
    left[i] = static_cast<int16_t>(left[i] - held);
  }
  return part;
}

/// Input channels in which `part` is not zero, and a few more where that keeps their number a multiple of kStep.
std::vector<int64_t> channels_of(const Tensor& part, const Blocks& b) {
  std::vector<bool> used(static_cast<size_t>(b.channels), false);
  const auto* q = part.data<int8_t>();
  for (int64_t i = 0, n = part.size(); i < n; ++i)
    if (q[i] != 0) used[static_cast<size_t>(i / b.inner % b.channels)] = true;
  auto count = std::count(used.begin(), used.end(), true);
  for (size_t c = 0; b.channels % kStep == 0 && count % kStep != 0; ++c) {
    if (used[c]) continue;
    used[c] = true;
    ++count;
  }
  std::vector<int64_t> channels;
  for (size_t c = 0; c < used.size(); ++c)
    if (used[c]) channels.push_back(static_cast<int64_t>(c));
  return channels;
}

/// Channels that are read again, with the weights they have then.
struct Repeated {
  Tensor weights;
  std::vector<int64_t> channels;
};

/// `w` with the repeated channels behind its own.
Tensor joined(const Tensor& w, const Blocks& b, const std::vector<Repeated>& repeated) {
  Shape shape = w.shape();
  for (const Repeated& r : repeated) shape[static_cast<size_t>(b.axis)] += static_cast<int64_t>(r.channels.size());
  Tensor out(DType::i8, shape);
  auto* y = out.data<int8_t>();
  const auto inner = static_cast<size_t>(b.inner);
  for (int64_t o = 0; o < b.outer; ++o) {
    const int64_t row = o * b.channels * b.inner;
    std::memcpy(y, w.data<int8_t>() + row, static_cast<size_t>(b.channels) * inner);
    y += b.channels * b.inner;
    for (const Repeated& r : repeated)
      for (const int64_t c : r.channels) {
        std::memcpy(y, r.weights.data<int8_t>() + row + c * b.inner, inner);
        y += b.inner;
      }
  }
  return out;
}

/// The chosen channels of the first operand, by a product with ones and zeros.
Node chooser(Edit& edit, const Node& node, const Blocks& b, const std::vector<int64_t>& channels, int64_t rank) {
  const bool conv = node.op == "QuantizedConv";
  const auto count = static_cast<int64_t>(channels.size());
  Shape shape = conv ? Shape{count, b.channels} : Shape{b.channels, count};
  if (conv) shape.resize(static_cast<size_t>(rank), 1);
  Tensor ones(DType::i8, shape);
  std::memset(ones.raw(), 0, ones.bytes());
  for (int64_t i = 0; i < count; ++i) {
    const int64_t c = channels[static_cast<size_t>(i)];
    ones.data<int8_t>()[conv ? i * b.channels + c : c * count + i] = 1;
  }
  const std::string x = conv ? "x" : "a";
  const DType type = edit.dtype(node.in(0));
  Node choose = node;
  choose.attrs.clear();
  choose.attrs[x + "_scale"] = 1.0F;
  choose.attrs[x + "_zero"] = node.attr_int(x + "_zero", 0);
  choose.attrs["y_scale"] = 1.0F;
  choose.attrs["y_zero"] = node.attr_int(x + "_zero", 0);
  choose.attrs["y_type"] = std::string(dtype_name(type));
  const std::string stem = edit.value(node.in(0)).name;
  choose.inputs = {node.in(0), edit.new_constant(stem + "/choice", std::move(ones)),
                   edit.new_constant(stem + "/one", Tensor::scalar_f32(1).reshaped({1}))};
  choose.outputs = {edit.new_value(stem + "/chosen", type)};
  return choose;
}

bool repeat_channels(Edit& edit, int32_t anchor, Node& node, const Tensor& w, Tensor rest) {
  const bool conv = node.op == "QuantizedConv";
  if (!conv && (w.rank() != 2 || node.attr_int("trans_a", 0) != 0)) return false;
  const Blocks b = blocks_of(w.shape(), conv || node.attr_int("trans_b", 0) != 0 ? 1 : 0);
  std::vector<Repeated> repeated;
  std::vector<int64_t> channels;
  for (Tensor part = take_part(rest); part.defined(); part = take_part(rest)) {
    const Repeated& last = repeated.emplace_back(Repeated{part, channels_of(part, b)});
    channels.insert(channels.end(), last.channels.begin(), last.channels.end());
  }
  if (b.channels >= kFewChannels && static_cast<int64_t>(channels.size()) * 2 > b.channels) return false;
  const ValueId x = node.in(0);
  const std::string stem = edit.value(x).name;
  const Node choose = chooser(edit, node, b, channels, w.rank());
  const ValueId chosen = choose.out(0);
  edit.insert(anchor, choose);
  Node concat;
  concat.op = "Concat";
  concat.name = node.name;
  concat.origins = node.origins;
  concat.inputs = {x, chosen};
  concat.attrs["axis"] = static_cast<int64_t>(conv ? 1 : -1);
  concat.outputs = {edit.new_value(stem + "/repeated", edit.dtype(x))};
  node.inputs[0] = concat.out(0);
  edit.insert(anchor, std::move(concat));
  node.inputs[1] = edit.new_constant(edit.value(node.in(1)).name + "/wide", joined(w, b, repeated));
  return true;
}

bool add_as_residual(Edit& edit, int32_t anchor, Node& node, Tensor rest) {
  if (node.in(kResidual) != kNoValue) return false;
  Node second = node;
  for (const char* attr :
       {"activation", "act_alpha", "act_beta", "act_approximate", "residual_last", "y_scale", "y_zero"})
    second.attrs.erase(attr);
  second.attrs["y_type"] = std::string("f32");
  const std::string stem = edit.value(node.in(1)).name + "/rest";
  second.inputs = {node.in(0), edit.new_constant(stem, take_part(rest)), node.in(kScale)};
  second.outputs = {edit.new_value(stem + "/sum", DType::f32)};
  node.attrs.erase("residual_last");
  node.inputs.resize(kResidual + 1, kNoValue);
  node.inputs[kResidual] = second.out(0);
  const auto* left = std::as_const(rest).data<int16_t>();
  if (std::any_of(left, left + rest.size(), [](int16_t q) { return q != 0; }))
    add_as_residual(edit, anchor, second, std::move(rest));
  edit.insert(anchor, std::move(second));
  return true;
}

}  // namespace

bool add_rest_of_weights(Edit& edit, int32_t anchor, Node& node, const Tensor& rest) {
  const Tensor w = *edit.constant(node.in(1));
  if (node.op == "QuantizedConv" && node.attr_int("group", 1) != 1) return add_as_residual(edit, anchor, node, rest);
  return repeat_channels(edit, anchor, node, w, rest);
}

}  // namespace planish
