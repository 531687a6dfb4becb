// MelWeightMatrix: triangular filters that turn a spectrum into mel bands.
// https://onnx.ai/onnx/operators/onnx__MelWeightMatrix.html

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "planish/ops/checks.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

double mel_of(double hertz) { return 2595.0 * std::log10(1.0 + hertz / 700.0); }
double hertz_of(double mel) { return 700.0 * (std::pow(10.0, mel / 2595.0) - 1.0); }

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 5));
  const DType type = PLANISH_TRY(dtype_attr(ctx, "output_datatype", DType::f32));
  const auto bands = ctx.ints(0);
  const auto dft_length = ctx.ints(1);
  Shape shape{kUnknownDim, kUnknownDim};
  if (dft_length && dft_length->size() == 1) shape[0] = (*dft_length)[0] / 2 + 1;
  if (bands && bands->size() == 1) shape[1] = (*bands)[0];
  ctx.set(0, type, std::move(shape));
  return {};
}

/// Spectrum bin at each corner of the triangles: bands + 2 corners, equally spaced in mel.
std::vector<int64_t> corner_bins(const RefContext& ctx, int64_t bands, int64_t bins) {
  const double low = mel_of(ctx.in(3).at(0));
  const double step = (mel_of(ctx.in(4).at(0)) - low) / static_cast<double>(bands + 2);
  const double bins_per_hertz = static_cast<double>(ctx.in(1).int_at(0) + 1) / ctx.in(2).at(0);
  std::vector<int64_t> corners;
  for (int64_t i = 0; i < bands + 2; ++i) {
    const double bin = std::floor(bins_per_hertz * hertz_of(low + static_cast<double>(i) * step));
    // Edges above the Nyquist frequency, or nonsense, end at the last bin.
    corners.push_back(bin >= 0 ? static_cast<int64_t>(std::min(bin, static_cast<double>(bins - 1))) : 0);
  }
  return corners;
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 5));
  PLANISH_TRY(require_real(ctx));
  for (size_t i = 0; i < 5; ++i)
    if (ctx.in(i).size() != 1) return ctx.error("input " + std::to_string(i) + " must be one number");
  const DType type = PLANISH_TRY(dtype_attr(ctx, "output_datatype", DType::f32));
  const int64_t bands = ctx.in(0).int_at(0);
  const int64_t dft_length = ctx.in(1).int_at(0);
  if (bands < 0 || dft_length < 0 || !(ctx.in(2).at(0) > 0))
    return ctx.error("num_mel_bins, dft_length and sample_rate must be positive");
  const int64_t bins = dft_length / 2 + 1;
  Tensor* y = PLANISH_TRY(ctx.output(0, type, {bins, bands}));
  for (int64_t i = 0, n = y->size(); i < n; ++i) y->set(i, 0.0);
  const auto corner = corner_bins(ctx, bands, bins);
  for (int64_t band = 0; band < bands; ++band) {
    const auto at = static_cast<size_t>(band);
    const int64_t left = corner[at];
    const int64_t centre = corner[at + 1];
    const int64_t right = corner[at + 2];
    for (int64_t j = left; j < centre; ++j)
      y->set(j * bands + band, static_cast<double>(j - left) / static_cast<double>(centre - left));
    for (int64_t j = centre; j < right; ++j)
      y->set(j * bands + band, static_cast<double>(right - j) / static_cast<double>(right - centre));
    y->set(centre * bands + band, 1.0);
  }
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "MelWeightMatrix", .since = 17, .shape_inputs = 0b11, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> mel_weight_matrix_ops() { return kOps; }

}  // namespace planish
