// Scan: a body run once per slice of the scan inputs, with state handed from one run to the next.
// https://onnx.ai/onnx/operators/onnx__Scan.html

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "planish/ops/checks.h"
#include "planish/ops/control_flow.h"
#include "planish/ops/elements.h"
#include "planish/ops/registry.h"
#include "planish/ops/strided_copy.h"

namespace planish {
namespace {

using Known = InferContext::Known;

/// A Scan node with its counts and attribute lists checked.
struct ScanPlan {
  std::shared_ptr<const Graph> body;
  size_t states;
  size_t scan_inputs;
  size_t scan_outputs;
  std::vector<int64_t> in_axes, in_directions, out_axes, out_directions;

  [[nodiscard]] size_t scan_input(size_t i) const { return states + i; }
};

template <typename Ctx>
Result<std::vector<int64_t>> list_attr(const Ctx& ctx, const char* name, size_t count) {
  if (!ctx.node().has_attr(name)) return std::vector<int64_t>(count, 0);
  auto list = ctx.node().attr_ints(name);
  if (list.size() != count) return ctx.error(fmt::format("{} has {} entries, expected {}", name, list.size(), count));
  return list;
}

template <typename Ctx>
Result<ScanPlan> plan_of(const Ctx& ctx) {
  const auto body = ctx.node().attr_graph("body");
  const int64_t scanned = ctx.node().attr_int("num_scan_inputs", 0);
  if (body == nullptr || scanned < 1) return ctx.error("body or num_scan_inputs is missing");
  const size_t own = own_inputs(ctx.node());
  const size_t count = body->inputs.size();
  if (own != count || static_cast<size_t>(scanned) > count)
    return ctx.error(fmt::format("{} inputs do not fit a body with {}", own, count));
  ScanPlan p{.body = body,
             .states = count - static_cast<size_t>(scanned),
             .scan_inputs = static_cast<size_t>(scanned),
             .scan_outputs = 0};
  if (body->outputs.size() < p.states || ctx.num_outputs() != body->outputs.size())
    return ctx.error(fmt::format("the body has {} outputs, the node {}", body->outputs.size(), ctx.num_outputs()));
  p.scan_outputs = body->outputs.size() - p.states;
  for (size_t i = 0; i < own; ++i) PLANISH_TRY(require_inputs_at(ctx, i));
  p.in_axes = PLANISH_TRY(list_attr(ctx, "scan_input_axes", p.scan_inputs));
  p.in_directions = PLANISH_TRY(list_attr(ctx, "scan_input_directions", p.scan_inputs));
  p.out_axes = PLANISH_TRY(list_attr(ctx, "scan_output_axes", p.scan_outputs));
  p.out_directions = PLANISH_TRY(list_attr(ctx, "scan_output_directions", p.scan_outputs));
  return p;
}

/// Takes dimension `axis` out of a shape and hands it back.
template <typename Ctx>
Result<int64_t> remove_axis(const Ctx& ctx, Shape& shape, int64_t axis) {
  const int64_t at = PLANISH_TRY(normalize_axis(ctx, axis, static_cast<int64_t>(shape.size())));
  const int64_t dim = shape[static_cast<size_t>(at)];
  shape.erase(shape.begin() + at);
  return dim;
}

Status infer(InferContext& ctx) {
  const ScanPlan p = PLANISH_TRY(plan_of(ctx));
  int64_t length = kUnknownDim;
  std::vector<Known> in;
  for (size_t i = 0; i < p.states; ++i) {
    Known state{ctx.dtype(i), ctx.shape(i), nullptr};
    in.push_back(std::move(state));
  }
  for (size_t i = 0; i < p.scan_inputs; ++i) {
    Known slice{ctx.dtype(p.scan_input(i)), ctx.shape(p.scan_input(i)), nullptr};
    length = std::max(length, PLANISH_TRY(remove_axis(ctx, *slice.shape, p.in_axes[i])));
    in.push_back(std::move(slice));
  }
  std::vector<Known> out = PLANISH_TRY(infer_body_outputs(ctx, *p.body, in));
  for (size_t i = 0; i < out.size(); ++i) {
    std::optional<Shape> shape = out[i].shape;
    if (i < p.states) {
      // States keep their type and shape from one iteration to the next.
      ctx.set(i, ctx.dtype(i), ctx.shape(i));
      continue;
    }
    if (shape) {
      const auto rank = static_cast<int64_t>(shape->size()) + 1;
      const int64_t at = PLANISH_TRY(normalize_axis(ctx, p.out_axes[i - p.states], rank));
      shape->insert(shape->begin() + at, length);
    }
    ctx.set(i, out[i].dtype, shape);
  }
  return {};
}

/// Slice `index` of `x` along `axis`, with that axis gone.
Tensor slice_at(const Tensor& x, int64_t axis, int64_t index) {
  Shape shape = x.shape();
  shape.erase(shape.begin() + axis);
  auto strides = row_major_strides(x.shape());
  const int64_t offset = index * strides[static_cast<size_t>(axis)];
  strides.erase(strides.begin() + axis);
  Tensor y(x.dtype(), shape);
  const ElementReader in(x);
  ElementWriter out(y);
  if (y.size() != 0)
    strided_copy(in.width(), shape, in.data() + offset * in.width(), strides, out.data(), row_major_strides(shape));
  return y;
}

/// Final states, and the slices of each scan output.
struct ScanResult {
  std::vector<Tensor> states;
  std::vector<std::vector<Tensor>> scans;
};

Result<ScanResult> run_sequence(RefContext& ctx, const ScanPlan& p, std::vector<Tensor> states,
                                std::span<const Tensor> scanned) {
  ScanResult r{std::move(states), std::vector<std::vector<Tensor>>(p.scan_outputs)};
  std::vector<int64_t> axes;
  std::optional<int64_t> length;
  for (size_t i = 0; i < scanned.size(); ++i) {
    axes.push_back(PLANISH_TRY(normalize_axis(ctx, p.in_axes[i], scanned[i].rank())));
    const int64_t dim = scanned[i].dim(axes.back());
    if (length && *length != dim) return ctx.error(fmt::format("scan inputs have lengths {} and {}", *length, dim));
    length = dim;
  }
  for (int64_t t = 0; t < *length; ++t) {
    std::vector<Tensor> in = r.states;
    for (size_t i = 0; i < scanned.size(); ++i)
      in.push_back(slice_at(scanned[i], axes[i], p.in_directions[i] != 0 ? *length - 1 - t : t));
    auto out = PLANISH_TRY(run_body(ctx, *p.body, in));
    for (size_t i = 0; i < out.size(); ++i) {
      if (i < p.states)
        r.states[i] = std::move(out[i]);
      else
        r.scans[i - p.states].push_back(std::move(out[i]));
    }
  }
  for (size_t i = 0; i < p.scan_outputs; ++i)
    if (p.out_directions[i] != 0) std::ranges::reverse(r.scans[i]);
  return r;
}

Status reference(RefContext& ctx) {
  const ScanPlan p = PLANISH_TRY(plan_of(ctx));
  std::vector<Tensor> states;
  std::vector<Tensor> scanned;
  for (size_t i = 0; i < p.states; ++i) states.push_back(ctx.in(i));
  for (size_t i = 0; i < p.scan_inputs; ++i) scanned.push_back(ctx.in(p.scan_input(i)));
  const ScanResult r = PLANISH_TRY(run_sequence(ctx, p, std::move(states), scanned));
  for (size_t i = 0; i < p.states; ++i) PLANISH_TRY(copy_to_output(ctx, i, r.states[i]));
  for (size_t i = 0; i < p.scan_outputs; ++i) {
    const Value& declared = p.body->value(p.body->outputs[p.states + i]);
    PLANISH_TRY(stack_to_output(ctx, p.states + i, r.scans[i], p.out_axes[i], declared));
  }
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "Scan", .since = 8, .traits = kTraitDynamicShape, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> scan_ops() { return kOps; }

}  // namespace planish
