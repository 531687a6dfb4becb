#include "planish/ops/elementwise.h"

#include <algorithm>
#include <array>

#include "planish/ops/broadcast.h"
#include "planish/ops/element_buffer.h"
#include "planish/ops/infer_graph.h"

namespace planish {
namespace {

const Shape& shape_of(const InferContext& ctx, size_t i) { return ctx.shape(i); }
const Shape& shape_of(const RefContext& ctx, size_t i) { return ctx.in(i).shape(); }

template <typename Context>
Result<Shape> broadcast_all(const Context& ctx, size_t count) {
  Shape out = shape_of(ctx, 0);
  for (size_t i = 1; i < count; ++i) {
    auto joint = broadcast_shapes(out, shape_of(ctx, i));
    if (!joint) {
      Error e = ctx.error("shapes " + to_string(out) + " and " + to_string(shape_of(ctx, i)) + " do not broadcast",
                          "check the dimensions of its inputs, or the input shapes given");
      e.code = Code::shape_mismatch;
      return e;
    }
    out = std::move(*joint);
  }
  return out;
}

template <typename T>
void apply_blocks(void (*block)(int64_t, const T*, const T*, T*), const Tensor& a, const Tensor& b, Tensor& y) {
  BroadcastReader read_a(a, y.shape());
  BroadcastReader read_b(b, y.shape());
  std::array<T, kElementBlock> va;
  std::array<T, kElementBlock> vb;
  for (int64_t i = 0, total = y.size(); i < total; i += kElementBlock) {
    const int64_t n = std::min(kElementBlock, total - i);
    read_a.read(n, va.data());
    read_b.read(n, vb.data());
    block(n, va.data(), vb.data(), va.data());
    store_elements(y.dtype(), y.raw(), i, 1, n, va.data());
  }
}

}  // namespace

ScalarParams params_of(const UnaryFunction& function, const Node& node) {
  ScalarParams p = function.default_params();
  // detect_negative and detect_positive of IsInf are integers, all others are floats.
  const auto read = [&node](std::string_view attr, double fallback) {
    const std::string key(attr);
    if (key.empty() || !node.has_attr(key)) return fallback;
    const auto as_int = static_cast<double>(node.attr_int(key, 0));
    return as_int != 0 ? as_int : static_cast<double>(node.attr_float(key, 0.0F));
  };
  p.alpha = read(function.alpha_attr, p.alpha);
  p.beta = read(function.beta_attr, p.beta);
  p.approximate_tanh = node.attr_string("approximate", "none") == "tanh";
  return p;
}

const BinaryFunction* binary_function_of(const Node& node) {
  if (node.op == "Mod" && node.attr_int("fmod", 0) != 0) return find_binary_function("Fmod");
  if (node.op == "BitShift")
    return find_binary_function(node.attr_string("direction", "") == "LEFT" ? "ShiftLeft" : "ShiftRight");
  return find_binary_function(node.op);
}

bool apply_binary(const BinaryFunction& f, DType domain_type, const Tensor& a, const Tensor& b, Tensor& y) {
  switch (domain_of(domain_type)) {
    case Domain::real:
      if (f.block == nullptr) return false;
      apply_blocks(f.block, a, b, y);
      return true;
    case Domain::sint:
      if (f.block_i64 == nullptr) return false;
      apply_blocks(f.block_i64, a, b, y);
      return true;
    case Domain::uint:
      if (f.block_u64 == nullptr) return false;
      apply_blocks(f.block_u64, a, b, y);
      return true;
  }
  return false;
}

Result<Shape> broadcast_input_shapes(const InferContext& ctx, size_t count) { return broadcast_all(ctx, count); }
Result<Shape> broadcast_input_shapes(const RefContext& ctx, size_t count) { return broadcast_all(ctx, count); }

}  // namespace planish
