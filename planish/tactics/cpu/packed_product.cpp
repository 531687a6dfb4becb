#include "planish/tactics/cpu/packed_product.h"

#include <algorithm>

#include "planish/ops/conv_geometry.h"

namespace planish {

bool is_conv(const NodeView& view) { return view.node->op == "FusedConv"; }

ProductWeights::ProductWeights(const NodeView& view) {
  const Shape& s = view.inputs[kB].shape;
  if (s.size() < 2) return;
  const bool by_filter = is_conv(view) || view.node->attr_int("trans_b", 0) != 0;
  k = by_filter ? s[1] : s[0];
  n = by_filter ? s[0] : s[1];
  k_stride = by_filter ? 1 : n;
  n_stride = by_filter ? k : 1;
}

ProductGrid::ProductGrid(const ProductShape& s, int threads) {
  const int64_t all_panels = parts(s.n, s.panel);
  const auto share = [&](int64_t over) { return parts(parts(s.m, over), s.row_unit) * s.row_unit; };
  const auto work = [&](int64_t r) {
    return static_cast<double>(share(r)) * (static_cast<double>(parts(all_panels, threads / r)) + s.overhead);
  };
  const auto traffic = [&](int64_t r) { return r * s.k * s.n + threads / r * s.m * s.k; };
  double least = work(1);
  for (int64_t r = 2; r <= threads; ++r) least = std::min(least, work(r));
  by_rows = 0;
  for (int64_t r = 1; r <= threads; ++r) {
    constexpr double kNear = 1.02;
    if (work(r) > least * kNear) continue;
    const bool by_choice = s.own_rows != 0 && share(r) >= s.own_rows;
    if (by_rows == 0 || by_choice || traffic(r) < traffic(by_rows)) by_rows = r;
  }
  rows = share(by_rows);
  by_rows = parts(s.m, rows);
  panels = parts(all_panels, threads / std::min<int64_t>(by_rows, threads));
  by_panels = parts(all_panels, panels);
}

namespace {

WhyNot conv_refusal(const NodeView& view) {
  const TensorDesc& x = view.inputs[kA];
  const auto conv = resolve_conv(*view.node, x.shape, view.inputs[kB].shape);
  if (!conv.ok()) return conv.error().what;
  const WindowGeometry& g = conv->window;
  const auto is = [](const std::vector<int64_t>& v, int64_t n) {
    return std::ranges::all_of(v, [n](int64_t i) { return i == n; });
  };
  if (!is(g.kernel, 1) || !is(g.strides, 1) || conv->groups != 1 || g.in != g.out)
    return "needs a kernel of one pixel, stride 1, no padding, one group";
  if (x.layout != Layout::channels_last || view.outputs[0].layout != Layout::channels_last)
    return "takes channels-last images only";
  return std::nullopt;
}

WhyNot matmul_refusal(const NodeView& view) {
  const Node& node = *view.node;
  if (view.inputs[kB].rank() != 2) return "needs one matrix of weights";
  if (view.inputs[kA].rank() < 2 || node.attr_int("trans_a", 0) != 0) return "needs rows of A that are contiguous";
  if (node.attr_float("alpha", 1.0F) != 1.0F) return "has no scale";
  for (size_t i = 0; i < view.inputs.size(); ++i)
    if (view.has_input(i) && view.inputs[i].layout != Layout::row_major) return "takes row-major tensors only";
  if (view.outputs[0].layout != Layout::row_major) return "writes row-major tensors only";
  return std::nullopt;
}

}  // namespace

WhyNot product_refusal(const NodeView& view) { return is_conv(view) ? conv_refusal(view) : matmul_refusal(view); }

}  // namespace planish
