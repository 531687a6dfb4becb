// Stride-1 3x3 convolutions by minimal filtering: fewer products than the direct form, larger weights, and a rounding
// error that is checked while packing.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <random>

#include "planish/base/isa.h"
#include "planish/base/parallel.h"
#include "planish/kernels/cpu/pointwise/pointwise.h"
#include "planish/kernels/cpu/winograd/winograd.h"
#include "planish/ops/conv_geometry.h"
#include "planish/ops/fused_epilogue.h"
#include "planish/tactics/cpu/own_tactics.h"
#include "planish/tactics/half_weights.h"

namespace planish {
namespace {

using kernels::FloatEpilogue;
using kernels::WinogradImages;
using kernels::WinogradKernel;
using kernels::WinogradProblem;

enum Input : size_t { kX, kW, kB, kR };

/// Largest relative L2 error of a layer against exact arithmetic that packing accepts.
constexpr double kErrorBound = 1e-4;

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

Result<WinogradProblem> problem_of(const NodeView& view, const WinogradKernel& kernel) {
  const ConvShape conv = PLANISH_TRY(resolve_conv(*view.node, view.inputs[kX].shape, view.inputs[kW].shape));
  const WindowGeometry& g = conv.window;
  WinogradProblem p{.channels = round_up(conv.c, kernel.width),
                    .filters = round_up(conv.k, kernel.width),
                    .in_h = g.in[0],
                    .in_w = g.in[1],
                    .out_h = g.out[0],
                    .out_w = g.out[1],
                    .pad_top = g.pads_begin[0],
                    .pad_left = g.pads_begin[1]};
  p.tiles_h = (p.out_h + kernel.tile - 1) / kernel.tile;
  p.tiles_w = (p.out_w + kernel.tile - 1) / kernel.tile;
  return p;
}

/// Strides of a tensor in channels-last or blocked layout, its channels in vectors of `width`.
struct Form {
  WinogradImages images;
  std::vector<int64_t> vectors;

  Form(const TensorDesc& d, int64_t width) {
    const int64_t h = d.shape[2];
    const int64_t w = d.shape[3];
    const int64_t block = layout_block(d.layout);
    const int64_t channels = round_up(d.shape[1], std::max(block, width));
    images.pixel = block > 1 ? block : d.shape[1];
    images.row = images.pixel * w;
    images.image = block > 1 ? round_up(d.shape[1], block) * h * w : d.shape[1] * h * w;
    for (int64_t c = 0; c < channels; c += width)
      vectors.push_back(block > 1 ? c / block * block * h * w + c % block : c);
    images.vectors = vectors.data();
  }
  Form(const Form&) = delete;
  Form& operator=(const Form&) = delete;
};

/// How the work is cut. Few tiles: everybody transforms the input together, then each thread takes filters. Many: each
/// thread takes tiles, in portions whose transforms stay in its second-level cache. Weights that fit in there too stay,
/// next to small portions; others pass through for every portion, so that there had better be few.
struct Partition {
  bool by_filters = false;
  int64_t slots = 1;
  int64_t tiles = 0;    ///< in all
  int64_t portion = 0;  ///< tiles at a time
  int64_t blocks = 0;   ///< of filters
  int64_t v_floats = 0;
  int64_t m_floats = 0;  ///< per slot

  Partition(const WinogradProblem& p, const WinogradKernel& k, int64_t batch, int threads) {
    tiles = batch * p.tiles_h * p.tiles_w;
    blocks = (p.filters + k.block - 1) / k.block;
    slots = threads;
    constexpr auto kFloat = static_cast<int64_t>(sizeof(float));
    const int64_t cache = cpu_features().l2_bytes;
    const int64_t weights = k.points * p.channels * p.filters * kFloat;
    // By filters every thread reads what all have transformed, by tiles it reads all weights.
    const int64_t few = (weights > 2 * cache ? 4 : 3) * k.rows * threads / 2;
    by_filters = tiles < few && blocks >= threads;
    if (by_filters) {
      portion = tiles;
      v_floats = k.points * tiles * p.channels;
    } else {
      const int64_t cached = cache / (weights <= cache / 2 ? 4 : 2) / kFloat / k.points / p.channels;
      const int64_t most = std::max(k.rows, cached / k.rows * k.rows);
      const int64_t portions = round_up((tiles + most - 1) / most, std::min<int64_t>(threads, tiles));
      portion = (tiles + portions - 1) / portions;
      slots = std::min<int64_t>(threads, (tiles + portion - 1) / portion);
      v_floats = slots * k.points * portion * p.channels;
    }
    m_floats = k.points * portion * k.block;
  }
};

class WinogradRunner final : public Kernel {
 public:
  WinogradRunner(const NodeView& view, const WinogradKernel& kernel, const WinogradProblem& problem,
                 const FusedEpilogue& fused, int threads, Tensor u)
      : k_(kernel),
        p_(problem),
        part_(problem, kernel, view.inputs[kX].shape[0], threads),
        in_(view.inputs[kX], kernel.width),
        out_(view.outputs[0], kernel.width),
        u_(std::move(u)) {
    filters_ = view.outputs[0].shape[1];
    has_bias_ = view.has_input(kB);
    if (has_bias_ && filters_ != problem.filters) padded_bias_.resize(static_cast<size_t>(problem.filters), 0.0F);
    if (fused.activation != nullptr)
      set_activation(epilogue_, *kernels::find_pointwise_op(fused.activation->op, fused.params.approximate_tanh),
                     static_cast<float>(fused.params.alpha), static_cast<float>(fused.params.beta));
    epilogue_.residual_last = fused.residual_last;
    has_residual_ = view.has_input(kR);
  }

  [[nodiscard]] size_t workspace_bytes() const override {
    return static_cast<size_t>(part_.v_floats + part_.slots * part_.m_floats) * sizeof(float);
  }
  [[nodiscard]] std::string detail() const override { return std::string(k_.name); }

  Status run(const Bindings& b) override {
    const auto* x = host_ptr<const float>(b.inputs[kX]);
    auto* y = host_ptr<float>(b.outputs[0]);
    auto* v = host_ptr<float>(b.workspace);
    float* m = v + part_.v_floats;
    FloatEpilogue epilogue = epilogue_;
    if (has_bias_) epilogue.bias = host_ptr<const float>(b.inputs[kB]);
    if (!padded_bias_.empty()) {
      std::memcpy(padded_bias_.data(), epilogue.bias, static_cast<size_t>(filters_) * sizeof(float));
      epilogue.bias = padded_bias_.data();
    }
    if (has_residual_) epilogue.residual = host_ptr<const float>(b.inputs[kR]);
    if (part_.by_filters)
      run_by_filters(x, v, m, epilogue, y);
    else
      run_by_tiles(x, v, m, epilogue, y);
    return {};
  }

 private:
  void run_by_filters(const float* x, float* v, float* m, const FloatEpilogue& epilogue, float* y) {
    parallel_for(part_.tiles, 1, [&](int64_t begin, int64_t end) {
      k_.transform_input(p_, in_.images, x, begin, end - begin, v + begin * p_.channels, part_.tiles);
    });
    parallel_for(part_.slots, 1, [&](int64_t begin, int64_t end) {
      for (int64_t slot = begin; slot < end; ++slot)
        for (int64_t block = part_.blocks * slot / part_.slots; block < part_.blocks * (slot + 1) / part_.slots;
             ++block)
          finish(block, v, 0, part_.tiles, m + slot * part_.m_floats, epilogue, y);
    });
  }

  void run_by_tiles(const float* x, float* v, float* m, const FloatEpilogue& epilogue, float* y) {
    parallel_for(part_.slots, 1, [&](int64_t begin, int64_t end) {
      for (int64_t slot = begin; slot < end; ++slot) {
        float* own_v = v + slot * (part_.v_floats / part_.slots);
        const int64_t last = part_.tiles * (slot + 1) / part_.slots;
        for (int64_t first = part_.tiles * slot / part_.slots; first < last; first += part_.portion) {
          const int64_t tiles = std::min(part_.portion, last - first);
          k_.transform_input(p_, in_.images, x, first, tiles, own_v, tiles);
          for (int64_t block = 0; block < part_.blocks; ++block)
            finish(block, own_v, first, tiles, m + slot * part_.m_floats, epilogue, y);
        }
      }
    });
  }

  /// Products and output of one block of filters.
  void finish(int64_t block, const float* v, int64_t first, int64_t tiles, float* m, const FloatEpilogue& epilogue,
              float* y) {
    const int64_t first_filter = block * k_.block;
    const int64_t filters = std::min(k_.block, p_.filters - first_filter);
    const float* u = u_.data<float>() + first_filter * k_.points * p_.channels;
    k_.multiply(p_, u, v, tiles, filters, m);
    k_.transform_output(p_, out_.images, m, first, tiles, first_filter, filters, epilogue, y);
  }

  const WinogradKernel& k_;
  WinogradProblem p_;
  Partition part_;
  Form in_;
  Form out_;
  Tensor u_;
  bool has_bias_ = false;
  std::vector<float> padded_bias_;  ///< empty when the filters fill whole vectors
  int64_t filters_ = 0;
  bool has_residual_ = false;
  FloatEpilogue epilogue_;
};

WhyNot layout_refusal(const TensorDesc& d, const WinogradKernel& kernel) {
  if (d.layout == Layout::row_major) return "takes channels-last and blocked tensors only";
  if (d.layout == Layout::channels_last && d.shape[1] % kernel.width != 0)
    return fmt::format("needs channels in multiples of {}, got {}", kernel.width, d.shape[1]);
  if (layout_block(d.layout) > 1 && layout_block(d.layout) != kernel.width)
    return fmt::format("needs blocks of {} channels", kernel.width);
  return std::nullopt;
}

template <int64_t kTile>
WhyNot supports(const NodeView& view, const Target&) {
  const WinogradKernel& kernel = *kernels::best_winograd_kernel(kTile);
  const Node& node = *view.node;
  const TensorDesc& x = view.inputs[kX];
  const TensorDesc& y = view.outputs[0];
  if (x.dtype != DType::f32 || view.inputs[kW].dtype != DType::f32 || y.dtype != DType::f32)
    return fmt::format("computes in f32, got {}", dtype_name(x.dtype));
  if (x.rank() != 4) return fmt::format("needs 2 spatial dimensions, got rank {}", x.rank());
  if (!view.is_constant(kW)) return "needs constant weights";
  if (x.size() == 0 || y.size() == 0) return "the tensor is empty";
  const auto conv = resolve_conv(node, x.shape, view.inputs[kW].shape);
  if (!conv.ok()) return conv.error().what;
  const WindowGeometry& g = conv->window;
  const auto is = [](const std::vector<int64_t>& v, int64_t n) {
    return std::ranges::all_of(v, [n](int64_t i) { return i == n; });
  };
  if (!is(g.kernel, 3) || !is(g.strides, 1) || !is(g.dilations, 1) || conv->groups != 1)
    return "needs a 3x3 kernel, stride 1, no dilation, one group";
  if (conv->c < kernel.width || conv->k < kernel.width) return "too few channels to pay";
  if (g.out[0] < kTile || g.out[1] < kTile) return fmt::format("the image is smaller than a tile of {}", kTile);
  if (WhyNot why = layout_refusal(x, kernel)) return why;
  if (WhyNot why = layout_refusal(y, kernel)) return why;
  if (view.has_input(kR) && view.inputs[kR] != y) return "needs a residual in the output's shape, type and layout";
  const auto fused = read_epilogue(node);
  if (!fused.ok()) return fused.error().what;
  if (const UnaryFunction* act = fused->activation; act != nullptr) {
    if (!kernels::find_pointwise_op(act->op, fused->params.approximate_tanh))
      return fmt::format("has no activation {}", act->op);
    // Padding lanes of a blocked output stay zero only when the activation keeps zero.
    if (conv->k % kernel.width != 0 && act->scalar(0.0, fused->params) != 0.0)
      return "the padding of the last block would not stay zero";
  }
  return std::nullopt;
}

std::string format_of(const WinogradKernel& kernel) {
  return fmt::format("winograd:{}x{}:{}", kernel.tile, kernel.tile, kernel.block);
}

/// Relative L2 error of one tile of outputs over all filters, for pseudo-random input, against exact arithmetic.
double error_of(const WinogradKernel& kernel, WinogradProblem p, const Tensor& weights, const float* u) {
  const int64_t side = kernel.tile + 2;
  const int64_t channels = weights.dim(1);
  const int64_t filters = weights.dim(0);
  p.in_h = p.in_w = side;
  p.out_h = p.out_w = kernel.tile;
  p.tiles_h = p.tiles_w = 1;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(side * side * p.channels), 0.0F);
  for (int64_t i = 0; i < side * side; ++i)
    for (int64_t c = 0; c < channels; ++c) x[static_cast<size_t>(i * p.channels + c)] = normal(random);
  const TensorDesc in{DType::f32, {1, p.channels, side, side}, Layout::channels_last};
  const TensorDesc out{DType::f32, {1, p.filters, kernel.tile, kernel.tile}, Layout::channels_last};
  const Form in_form(in, kernel.width);
  const Form out_form(out, kernel.width);
  std::vector<float> v(static_cast<size_t>(kernel.points * p.channels));
  std::vector<float> m(static_cast<size_t>(kernel.points * kernel.block));
  std::vector<float> y(static_cast<size_t>(out.size()));
  kernel.transform_input(p, in_form.images, x.data(), 0, 1, v.data(), 1);
  for (int64_t first = 0; first < p.filters; first += kernel.block) {
    const int64_t count = std::min(kernel.block, p.filters - first);
    kernel.multiply(p, u + first * kernel.points * p.channels, v.data(), 1, count, m.data());
    kernel.transform_output(p, out_form.images, m.data(), 0, 1, first, count, {}, y.data());
  }
  double error = 0;
  double norm = 1e-30;
  const auto* w = weights.data<float>();
  for (int64_t k = 0; k < filters; ++k) {  // one pixel of the tile per filter, a different one each time
    const int64_t pixel = k % (kernel.tile * kernel.tile);
    const int64_t row = pixel / kernel.tile;
    const int64_t column = pixel % kernel.tile;
    double sum = 0;
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t t = 0; t < 9; ++t)
        sum += static_cast<double>(w[(k * channels + c) * 9 + t]) *
               x[static_cast<size_t>(((row + t / 3) * side + column + t % 3) * p.channels + c)];
    const double d = y[static_cast<size_t>(pixel * p.filters + k)] - sum;
    error += d * d;
    norm += sum * sum;
  }
  return std::sqrt(error / norm);
}

template <int64_t kTile>
Result<std::vector<PackedConstant>> pack(const NodeView& view, const Target&) {
  const WinogradKernel& kernel = *kernels::best_winograd_kernel(kTile);
  const Tensor& weights = *view.constants[kW];
  const WinogradProblem p{.channels = round_up(weights.dim(1), kernel.width),
                          .filters = round_up(weights.dim(0), kernel.width)};
  Tensor u(DType::f32, {kernels::winograd_weights_size(kernel, weights.dim(0), weights.dim(1))});
  kernels::pack_winograd_weights(kernel, weights.dim(0), weights.dim(1), weights.data<float>(), u.data<float>());
  const double error = error_of(kernel, p, weights, u.data<float>());
  if (!(error <= kErrorBound))
    return Error{.code = Code::unsupported,
                 .node = view.node->name,
                 .what = fmt::format("minimal filtering would lose {:.1e} of these weights' result", error)};
  return std::vector<PackedConstant>{{static_cast<int32_t>(kW), format_of(kernel), std::move(u)}};
}

/// Behind the name of a format: the weights themselves, to be transformed when the engine is loaded.
constexpr std::string_view kSource = ":source";

Result<PackedConstant> to_source(const NodeView& view, const PackedConstant& packed) {
  const Tensor& weights = *view.constants[kW];
  Tensor plain = Tensor::share(DType::f32, {weights.size()}, std::make_shared<Tensor>(weights), weights.raw());
  return PackedConstant{packed.input, packed.format + std::string(kSource), std::move(plain)};
}

Error wrong_source() {
  return Error{.code = Code::corrupt,
               .what = "weights of a Winograd layer have the wrong form",
               .fix = "build the engine again"};
}

Result<PackedConstant> from_source(const Shape& shape, const PackedConstant& packed) {
  if (!packed.format.ends_with(kSource)) return packed;
  const std::string format = packed.format.substr(0, packed.format.size() - kSource.size());
  for (const WinogradKernel& kernel : kernels::winograd_kernels()) {
    if (format_of(kernel) != format) continue;
    // A kernel of another instruction set: the layer is computed by something else, which wants the weights.
    if (!cpu_features().has(kernel.isa)) return packed;
    if (shape.size() != 4 || shape[2] != 3 || shape[3] != 3 || packed.data.dtype() != DType::f32 ||
        packed.data.size() != element_count(shape))
      return wrong_source();
    Tensor u = uninitialized_f32(kernels::winograd_weights_size(kernel, shape[0], shape[1]));
    kernels::pack_winograd_weights(kernel, shape[0], shape[1], packed.data.data<float>(), u.data<float>());
    return PackedConstant{packed.input, format, std::move(u)};
  }
  return wrong_source();
}

/// The kernel that wrote the format, or nullptr.
const WinogradKernel* kernel_of(const std::string& format) {
  for (const WinogradKernel& kernel : kernels::winograd_kernels())
    if (format_of(kernel) == format && cpu_features().has(kernel.isa)) return &kernel;
  return nullptr;
}

Result<Tensor> unpack(const NodeView& view, const PackedConstant& packed) {
  for (const WinogradKernel& kernel : kernels::winograd_kernels()) {
    if (view.inputs[kW].rank() != 4 || packed.data.dtype() != DType::f32) break;
    if (packed.format == format_of(kernel) + std::string(kSource)) {
      if (packed.data.size() != element_count(view.inputs[kW].shape)) break;
      return packed.data.reshaped(view.inputs[kW].shape);
    }
    if (format_of(kernel) != packed.format) continue;
    Tensor weights(DType::f32, view.inputs[kW].shape);
    if (packed.data.size() != kernels::winograd_weights_size(kernel, weights.dim(0), weights.dim(1))) break;
    kernels::unpack_winograd_weights(kernel, weights.dim(0), weights.dim(1), packed.data.data<float>(),
                                     weights.data<float>());
    return weights;
  }
  return Error{.code = Code::corrupt, .node = view.node->name, .what = "packed weights have an unknown format"};
}

template <int64_t kTile>
Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant> packed,
                                        const Target& target) {
  if (packed.empty())
    return Error{.code = Code::internal, .node = view.node->name, .what = "the weights are not packed"};
  const WinogradKernel* kernel = kernel_of(packed[0].format);
  if (kernel == nullptr || kernel->tile != kTile)
    return Error{.code = Code::unsupported,
                 .node = view.node->name,
                 .what = fmt::format("weights packed as {} need another machine", packed[0].format)};
  const WinogradProblem p = PLANISH_TRY(problem_of(view, *kernel));
  if (packed[0].data.dtype() != DType::f32 || packed[0].data.size() != kernel->points * p.channels * p.filters)
    return Error{.code = Code::corrupt, .node = view.node->name, .what = "packed weights have the wrong size"};
  const FusedEpilogue fused = PLANISH_TRY(read_epilogue(*view.node));
  return std::unique_ptr<Kernel>(new WinogradRunner(view, *kernel, p, fused, target.threads, packed[0].data));
}

constexpr std::array<std::string_view, 1> kOps{"planish.FusedConv"};

}  // namespace

constinit const Tactic kCpuWinograd4{.id = "cpu.winograd.4x4",
                                     .ops = kOps,
                                     .supports = supports<4>,
                                     .pack = pack<4>,
                                     .prepare = prepare<4>,
                                     .unpack = unpack,
                                     .to_roundable = to_source,
                                     .from_roundable = from_source,
                                     .version = 3};
constinit const Tactic kCpuWinograd2{.id = "cpu.winograd.2x2",
                                     .ops = kOps,
                                     .supports = supports<2>,
                                     .pack = pack<2>,
                                     .prepare = prepare<2>,
                                     .unpack = unpack,
                                     .to_roundable = to_source,
                                     .from_roundable = from_source,
                                     .version = 3};

}  // namespace planish
