// Speed of the float convolution kernels on layers of MobileNetV2 and EfficientNet-B0 (batch 1, one thread, blocked
// images), beside the processor's peak. The best of the rounds counts.
//
//   float_conv PEAK_GFLOPS [rounds] [name of a layer or of a kernel, part of it]

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "planish/kernels/cpu/depthwise/depthwise.h"
#include "planish/kernels/cpu/panel_conv/panel_conv.h"

namespace {

using namespace planish::kernels;
using Clock = std::chrono::steady_clock;

struct Layer {
  const char* name;
  int64_t size;  ///< input height and width
  int64_t channels;
  int64_t filters;
  int64_t kernel;
  int64_t stride;
  PointwiseOp act;
};

const Layer kDense[] = {
    {"project.112", 112, 32, 16, 1, 1, PointwiseOp::identity}, {"expand.112", 112, 16, 96, 1, 1, PointwiseOp::clip},
    {"expand.56", 56, 24, 144, 1, 1, PointwiseOp::swish},      {"project.56", 56, 144, 24, 1, 1, PointwiseOp::identity},
    {"expand.14", 14, 80, 480, 1, 1, PointwiseOp::swish},      {"project.14", 14, 480, 80, 1, 1, PointwiseOp::identity},
    {"expand.7", 7, 192, 1152, 1, 1, PointwiseOp::swish},      {"project.7", 7, 1152, 192, 1, 1, PointwiseOp::identity},
    {"strided.3x3", 40, 64, 128, 3, 2, PointwiseOp::swish},
};
const Layer kDepthwise[] = {
    {"depthwise.112", 112, 32, 32, 3, 1, PointwiseOp::clip},
    {"depthwise.112.s2", 112, 96, 96, 3, 2, PointwiseOp::swish},
    {"depthwise.56", 56, 144, 144, 3, 1, PointwiseOp::swish},
    {"depthwise.28.5x5", 28, 240, 240, 5, 1, PointwiseOp::swish},
    {"depthwise.14", 14, 384, 384, 3, 1, PointwiseOp::clip},
    {"depthwise.7.5x5", 7, 1152, 1152, 5, 1, PointwiseOp::swish},
};

struct Arguments {
  double peak = 0;
  int rounds = 50;
  std::string filter;

  [[nodiscard]] bool wants(const Layer& layer, std::string_view kernel) const {
    return std::string(layer.name).find(filter) != std::string::npos || kernel.find(filter) != std::string_view::npos;
  }
};

template <typename Problem>
void fill(const Layer& l, int64_t width, Problem& p) {
  const int64_t out = (l.size + l.stride - 1) / l.stride;
  p.in_h = p.in_w = l.size;
  p.out_h = p.out_w = out;
  p.kernel_h = p.kernel_w = l.kernel;
  p.stride_h = p.stride_w = l.stride;
  p.pad_top = p.pad_left = l.kernel / 2;
  p.whole_vectors = true;
  p.x_pixel = p.y_pixel = width;
  p.x_row = l.size * width;
  p.y_row = out * width;
  p.y_vector = out * out * width;
}

int64_t vectors(int64_t channels, int64_t width) { return (channels + width - 1) / width; }

template <typename Run>
void report(const Layer& l, std::string_view kernel, double operations, const Arguments& args, Run run) {
  double best = std::numeric_limits<double>::max();
  for (int i = 0; i < args.rounds; ++i) {
    const auto begin = Clock::now();
    run();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - begin).count());
  }
  const double gflops = operations / best / 1e9;
  fmt::print("{:18} {:22} {:9.1f} us {:7.1f} GFLOP/s {:5.0f} % of peak\n", l.name, kernel, best * 1e6, gflops,
             100 * gflops / args.peak);
}

FloatEpilogue epilogue_of(const Layer& l, const std::vector<float>& bias) {
  FloatEpilogue e;
  e.bias = bias.data();
  set_activation(e, l.act, l.act == PointwiseOp::clip ? 0.0F : 1.0F, 6.0F);
  return e;
}

void dense(const Layer& l, const PanelConvKernel& k, const Arguments& args) {
  PanelConvProblem p;
  fill(l, k.width, p);
  p.chunk = k.width;
  p.chunks = vectors(l.channels, k.width);
  p.last_chunk = l.channels - (p.chunks - 1) * k.width;
  p.x_chunk = l.size * l.size * k.width;
  p.filters = l.filters;
  const Panels panels(l.filters, k.width, l.kernel == 1 ? k.vectors : k.window_vectors);
  const int64_t pixels = p.out_h * p.out_w;
  const int64_t panel_floats = p.taps() * l.channels * k.width;
  const std::vector<float> x(static_cast<size_t>(p.chunks * p.x_chunk), 0.5F);
  const std::vector<float> w(static_cast<size_t>(panels.vectors * panel_floats), 0.01F);
  const std::vector<float> bias(static_cast<size_t>(panels.vectors * k.width), 0.1F);
  std::vector<float> y(static_cast<size_t>(panels.vectors * p.y_vector));
  const FloatEpilogue e = epilogue_of(l, bias);
  const double operations = 2.0 * static_cast<double>(pixels * l.filters * l.channels * p.taps());
  report(l, k.name, operations, args, [&] {
    for (int64_t i = 0; i < panels.count; ++i) {
      const int64_t first = panels.begin(i);
      k.run(p, {0, pixels, first, panels.begin(i + 1) - first}, x.data(), w.data() + first * panel_floats, e, y.data());
    }
  });
}

void depthwise(const Layer& l, const DepthwiseKernel& k, const Arguments& args) {
  DepthwiseProblem p;
  fill(l, k.width, p);
  p.channels = l.channels;
  p.x_vector = l.size * l.size * k.width;
  const int64_t count = vectors(l.channels, k.width);
  const std::vector<float> x(static_cast<size_t>(count * p.x_vector), 0.5F);
  const std::vector<float> w(static_cast<size_t>(count * l.kernel * l.kernel * k.width), 0.01F);
  const std::vector<float> bias(static_cast<size_t>(count * k.width), 0.1F);
  std::vector<float> y(static_cast<size_t>(count * p.y_vector));
  const FloatEpilogue e = epilogue_of(l, bias);
  const double operations = 2.0 * static_cast<double>(p.out_h * p.out_w * l.channels * l.kernel * l.kernel);
  report(l, k.name, operations, args, [&] {
    for (int64_t v = 0; v < count; ++v) k.run(p, {0, v, 0, p.out_h}, x.data(), w.data(), e, y.data());
  });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || std::atof(argv[1]) <= 0) {
    fmt::print(stderr, "usage: float_conv PEAK_GFLOPS [rounds] [name of a layer or of a kernel, part of it]\n");
    return 1;
  }
  Arguments args;
  args.peak = std::atof(argv[1]);
  if (argc > 2) args.rounds = std::max(1, std::atoi(argv[2]));
  if (argc > 3) args.filter = argv[3];
  for (const Layer& l : kDense)
    for (const PanelConvKernel& k : panel_conv_kernels())
      if (planish::cpu_features().has(k.isa) && args.wants(l, k.name)) dense(l, k, args);
  for (const Layer& l : kDepthwise)
    for (const DepthwiseKernel& k : depthwise_kernels())
      if (planish::cpu_features().has(k.isa) && args.wants(l, k.name)) depthwise(l, k, args);
  return 0;
}
