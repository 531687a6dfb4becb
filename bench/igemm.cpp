// Speed of the integer products and depthwise convolutions on the layers of ResNet-50 and MobileNetV2 (batch 1), beside
// oneDNN's INT8 and FP32 convolutions. Rounds are interleaved and the best run of each counts. GOP/s: two operations
// per multiply-add.
//
//   igemm [threads] [rounds] [name of a layer or of a kernel, part of it]
//
// PLANISH_MAX_ISA and ONEDNN_MAX_CPU_ISA choose weaker instruction sets.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "planish/base/parallel.h"
#include "planish/kernels/cpu/depthwise_int8/depthwise_int8.h"
#include "planish/kernels/cpu/igemm/igemm.h"

namespace {

using namespace planish::kernels;
using Clock = std::chrono::steady_clock;

struct Layer {
  const char* name;
  int64_t size;  ///< input height and width
  int64_t channels;
  int64_t outputs;
  int64_t kernel;
  int64_t stride;
  int count;  ///< how often the model has it
  bool depthwise = false;
};

const Layer kLayers[] = {
    {"resnet50.conv1", 224, 3, 64, 7, 2, 1},
    {"resnet50.2.a1", 56, 64, 64, 1, 1, 1},
    {"resnet50.2.b", 56, 64, 64, 3, 1, 3},
    {"resnet50.2.c", 56, 64, 256, 1, 1, 4},
    {"resnet50.2.a", 56, 256, 64, 1, 1, 2},
    {"resnet50.3.a1", 56, 256, 128, 1, 1, 1},
    {"resnet50.3.b1", 56, 128, 128, 3, 2, 1},
    {"resnet50.3.c", 28, 128, 512, 1, 1, 4},
    {"resnet50.3.down", 56, 256, 512, 1, 2, 1},
    {"resnet50.3.a", 28, 512, 128, 1, 1, 3},
    {"resnet50.3.b", 28, 128, 128, 3, 1, 3},
    {"resnet50.4.a1", 28, 512, 256, 1, 1, 1},
    {"resnet50.4.b1", 28, 256, 256, 3, 2, 1},
    {"resnet50.4.c", 14, 256, 1024, 1, 1, 6},
    {"resnet50.4.down", 28, 512, 1024, 1, 2, 1},
    {"resnet50.4.a", 14, 1024, 256, 1, 1, 5},
    {"resnet50.4.b", 14, 256, 256, 3, 1, 5},
    {"resnet50.5.a1", 14, 1024, 512, 1, 1, 1},
    {"resnet50.5.b1", 14, 512, 512, 3, 2, 1},
    {"resnet50.5.c", 7, 512, 2048, 1, 1, 3},
    {"resnet50.5.down", 14, 1024, 2048, 1, 2, 1},
    {"resnet50.5.a", 7, 2048, 512, 1, 1, 2},
    {"resnet50.5.b", 7, 512, 512, 3, 1, 2},
    {"resnet50.fc", 1, 2048, 1000, 1, 1, 1},
    {"mobilenetv2.1.project", 112, 32, 16, 1, 1, 1},
    {"mobilenetv2.2.expand", 112, 16, 96, 1, 1, 1},
    {"mobilenetv2.2.project", 56, 96, 24, 1, 1, 1},
    {"mobilenetv2.3.expand", 56, 24, 144, 1, 1, 2},
    {"mobilenetv2.3.project", 56, 144, 24, 1, 1, 1},
    {"mobilenetv2.4.project", 28, 144, 32, 1, 1, 1},
    {"mobilenetv2.5.expand", 28, 32, 192, 1, 1, 3},
    {"mobilenetv2.5.project", 28, 192, 32, 1, 1, 2},
    {"mobilenetv2.7.project", 14, 192, 64, 1, 1, 1},
    {"mobilenetv2.8.expand", 14, 64, 384, 1, 1, 4},
    {"mobilenetv2.8.project", 14, 384, 64, 1, 1, 3},
    {"mobilenetv2.11.project", 14, 384, 96, 1, 1, 1},
    {"mobilenetv2.12.expand", 14, 96, 576, 1, 1, 3},
    {"mobilenetv2.12.project", 14, 576, 96, 1, 1, 2},
    {"mobilenetv2.14.project", 7, 576, 160, 1, 1, 1},
    {"mobilenetv2.15.expand", 7, 160, 960, 1, 1, 3},
    {"mobilenetv2.15.project", 7, 960, 160, 1, 1, 2},
    {"mobilenetv2.17.project", 7, 960, 320, 1, 1, 1},
    {"mobilenetv2.18", 7, 320, 1280, 1, 1, 1},
    {"depthwise.1", 112, 32, 32, 3, 1, 1, true},
    {"depthwise.2", 112, 96, 96, 3, 2, 1, true},
    {"depthwise.3", 56, 144, 144, 3, 1, 1, true},
    {"depthwise.4", 56, 144, 144, 3, 2, 1, true},
    {"depthwise.5", 28, 192, 192, 3, 1, 2, true},
    {"depthwise.7", 28, 192, 192, 3, 2, 1, true},
    {"depthwise.8", 14, 384, 384, 3, 1, 4, true},
    {"depthwise.12", 14, 576, 576, 3, 1, 2, true},
    {"depthwise.14", 14, 576, 576, 3, 2, 1, true},
    {"depthwise.15", 7, 960, 960, 3, 1, 3, true},
};

int64_t pad_of(const Layer& l) { return l.kernel / 2; }
int64_t out_of(const Layer& l) { return (l.size + 2 * pad_of(l) - l.kernel) / l.stride + 1; }

/// Something to measure, and the shortest time so far: infinite where there is nothing to run.
struct Entry {
  std::string name;
  std::function<void()> run;
  double best_ms = std::numeric_limits<double>::infinity();
};

IgemmShape shape_of(const Layer& l) {
  IgemmShape shape;
  shape.in_h = shape.in_w = l.size;
  shape.out_h = shape.out_w = out_of(l);
  shape.channels = l.channels;
  shape.outputs = l.outputs;
  shape.kernel_h = shape.kernel_w = l.kernel;
  shape.stride_h = shape.stride_w = l.stride;
  shape.pad_top = shape.pad_left = pad_of(l);
  return shape;
}

std::string cell(double value) { return std::isfinite(value) ? fmt::format("{:.3f}", value) : "-"; }

std::vector<float>& channel_values() {
  static std::vector<float> values(4096, 0.01F);
  return values;
}

/// Memory at the beginning of a cache line, as an engine's tensors are.
class Bytes {
 public:
  void assign(size_t size, uint8_t value) { memory_.assign(size + kLine, value); }
  uint8_t* data() {
    const auto at = reinterpret_cast<uintptr_t>(memory_.data());
    return memory_.data() + (kLine - at % kLine) % kLine;
  }

 private:
  static constexpr size_t kLine = 64;
  std::vector<uint8_t> memory_;
};

/// Our kernel with a Relu, bytes in and out, on memory of its own.
Entry own_entry(const Layer& l, const IgemmKernel& kernel, const IgemmInputType& type, int threads) {
  struct State {
    IgemmPlan plan;
    Bytes x, y, scratch, packed;
    QuantizedEpilogue epilogue;
  };
  auto s = std::make_shared<State>();
  const std::string name = fmt::format("{}{}", kernel.name.substr(6), type.never_negative ? "+" : "");
  const IgemmShape shape = shape_of(l);
  if (!igemm_takes(kernel, shape)) return {name, nullptr};
  std::vector<int8_t> weights(static_cast<size_t>(shape.weights()));
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<int8_t>(i * 37 % 255);
  s->packed.assign(igemm_packed_bytes(shape, kernel.format), 0);
  auto* packed = reinterpret_cast<int8_t*>(s->packed.data());
  igemm_pack(shape, kernel.format, weights.data(), packed);
  s->plan = plan_igemm(shape, kernel, type, packed, threads);
  s->x.assign(static_cast<size_t>(l.size * l.size * l.channels), 3);
  s->y.assign(static_cast<size_t>(shape.out_h * shape.out_w * l.outputs), 0);
  s->scratch.assign(s->plan.scratch_bytes() + 64, 0);
  s->epilogue.scale = s->epilogue.bias = channel_values().data();
  s->epilogue.y = s->y.data();
  s->epilogue.y_row = l.outputs;
  s->epilogue.low = 0;
  s->epilogue.high = 127;
  s->epilogue.within_32_bits = true;
  return {name, [s, packed] { run_igemm(s->plan, s->x.data(), packed, s->epilogue, s->scratch.data()); }};
}

/// The same for a depthwise kernel.
Entry depthwise_entry(const Layer& l, const DepthwiseInt8Kernel& kernel, bool never_negative) {
  struct State {
    DepthwisePlan plan;
    std::vector<uint8_t> x, y;
    std::vector<int8_t> packed;
    QuantizedEpilogue epilogue;
  };
  auto s = std::make_shared<State>();
  DepthwiseShape shape;
  shape.channels = l.channels;
  shape.in_h = shape.in_w = l.size;
  shape.out_h = shape.out_w = out_of(l);
  shape.kernel_h = shape.kernel_w = l.kernel;
  shape.stride_h = shape.stride_w = l.stride;
  shape.pad_top = shape.pad_left = pad_of(l);
  const std::vector<int8_t> weights(static_cast<size_t>(l.channels * l.kernel * l.kernel), 3);
  s->packed.resize(depthwise_packed_bytes(shape, kernel.format));
  depthwise_pack(shape, kernel.format, weights.data(), s->packed.data());
  s->plan = plan_depthwise_int8(shape, kernel, true, never_negative ? 0 : -128, 0, s->packed.data());
  s->x.assign(static_cast<size_t>(l.size * l.size * l.channels), 3);
  s->y.resize(static_cast<size_t>(shape.out_h * shape.out_w * l.channels));
  s->epilogue.scale = s->epilogue.bias = channel_values().data();
  s->epilogue.y = s->y.data();
  s->epilogue.y_row = l.channels;
  s->epilogue.low = 0;
  s->epilogue.high = 127;
  s->epilogue.within_32_bits = true;
  const std::string name = fmt::format("{}{}", kernel.name.substr(10), never_negative ? "+" : "");
  return {name, [s] { run_depthwise_int8(s->plan, s->x.data(), s->packed.data(), s->epilogue); }};
}

/// oneDNN's convolution with a Relu in the layouts that it likes best (INT8: channels last).
Entry onednn_entry(const Layer& l, bool int8) {
  using dnnl::memory;
  static dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  static dnnl::stream stream(engine);
  const auto type = int8 ? memory::data_type::u8 : memory::data_type::f32;
  const auto tag = int8 ? memory::format_tag::nhwc : memory::format_tag::any;
  const memory::desc x({1, l.channels, l.size, l.size}, type, tag);
  const memory::desc y({1, l.outputs, out_of(l), out_of(l)}, type, tag);
  const memory::dims dims = l.depthwise ? memory::dims{l.channels, 1, 1, l.kernel, l.kernel}
                                        : memory::dims{l.outputs, l.channels, l.kernel, l.kernel};
  const memory::desc w(dims, int8 ? memory::data_type::s8 : memory::data_type::f32, memory::format_tag::any);
  const memory::desc b({l.outputs}, memory::data_type::f32, memory::format_tag::a);
  dnnl::primitive_attr attr;
  dnnl::post_ops post;
  post.append_eltwise(dnnl::algorithm::eltwise_relu, 0, 0);
  attr.set_post_ops(post);
  if (int8) {
    attr.set_scales_mask(DNNL_ARG_SRC, 0);
    attr.set_scales_mask(DNNL_ARG_WEIGHTS, l.depthwise ? 3 : 1);
    attr.set_scales_mask(DNNL_ARG_DST, 0);
  }
  const dnnl::convolution_forward::primitive_desc pd(
      engine, dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_direct, x, w, b, y, {l.stride, l.stride},
      {0, 0}, {pad_of(l), pad_of(l)}, {pad_of(l), pad_of(l)}, attr);
  std::unordered_map<int, memory> args{{DNNL_ARG_SRC, memory(pd.src_desc(), engine)},
                                       {DNNL_ARG_WEIGHTS, memory(pd.weights_desc(), engine)},
                                       {DNNL_ARG_BIAS, memory(b, engine)},
                                       {DNNL_ARG_DST, memory(pd.dst_desc(), engine)}};
  for (auto& [key, m] : args) std::memset(m.get_data_handle(), 0, m.get_desc().get_size());
  if (int8) {
    const auto scales = [&](int64_t n) {
      memory m({{n}, memory::data_type::f32, memory::format_tag::a}, engine);
      std::fill_n(static_cast<float*>(m.get_data_handle()), n, 0.01F);
      return m;
    };
    args.emplace(DNNL_ARG_ATTR_SCALES | DNNL_ARG_SRC, scales(1));
    args.emplace(DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS, scales(l.outputs));
    args.emplace(DNNL_ARG_ATTR_SCALES | DNNL_ARG_DST, scales(1));
  }
  return {fmt::format("onednn_{}", int8 ? "u8" : "f32"),
          [primitive = dnnl::convolution_forward(pd), args] { primitive.execute(stream, args); }};
}

void measure(std::vector<Entry>& entries, int rounds) {
  for (Entry& e : entries)
    if (e.run) e.run();
  for (int round = 0; round < rounds; ++round)
    for (Entry& e : entries) {
      if (!e.run) continue;
      // Short layers run several times in a row, so that the clock's resolution does not matter.
      const int repeats = std::clamp(static_cast<int>(0.3 / e.best_ms), 1, 50);
      const auto begin = Clock::now();
      for (int i = 0; i < repeats; ++i) e.run();
      const double ms = std::chrono::duration<double, std::milli>(Clock::now() - begin).count() / repeats;
      e.best_ms = std::min(e.best_ms, ms);
    }
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 20;
  const std::string only = argc > 3 ? argv[3] : "";
  planish::set_num_threads(threads);
  std::vector<std::pair<std::string, std::vector<double>>> totals;  // per model, per entry
  for (const Layer& l : kLayers) {
    std::vector<Entry> entries;
    for (const DepthwiseInt8Kernel& k : depthwise_int8_kernels()) {
      if (!l.depthwise || !planish::cpu_features().has(k.isa) || k.isa == planish::Isa::baseline) continue;
      entries.push_back(depthwise_entry(l, k, true));
      if (depthwise_is_exact(k, 255)) entries.push_back(depthwise_entry(l, k, false));
    }
    for (const IgemmKernel& k : igemm_kernels()) {
      if (l.depthwise || !planish::cpu_features().has(k.isa) || k.isa == planish::Isa::baseline) continue;
      entries.push_back(own_entry(l, k, {true, true, 0}, threads));
      if (igemm_is_exact(k, 255)) entries.push_back(own_entry(l, k, {true, false, 0}, threads));
    }
    entries.push_back(onednn_entry(l, true));
    entries.push_back(onednn_entry(l, false));
    if (!only.empty()) {
      if (std::string(l.name).find(only) == std::string::npos)
        std::erase_if(entries, [&](const Entry& e) { return e.name.find(only) == std::string::npos; });
      if (entries.empty()) continue;
    }
    measure(entries, rounds);
    const int64_t inner = (l.depthwise ? 1 : l.channels) * l.kernel * l.kernel;
    const double gop = 2e-9 * static_cast<double>(out_of(l) * out_of(l) * l.outputs * inner);
    const std::string model = std::string(l.name).substr(0, std::string(l.name).find('.'));
    if (totals.empty() || totals.back().first != model) {
      fmt::print("{:<24}{:>8}", model + ", GOP/s", "MOP");
      for (const Entry& e : entries) fmt::print("{:>14}", e.name);
      fmt::print("\n");
      totals.push_back({model, std::vector<double>(entries.size())});
    }
    fmt::print("{:<24}{:>8.1f}", l.name, gop * 1e3);
    for (size_t i = 0; i < entries.size(); ++i) {
      fmt::print("{:>14}", entries[i].run ? fmt::format("{:.1f}", gop / (entries[i].best_ms * 1e-3)) : "-");
      totals.back().second[i] += entries[i].best_ms * l.count;
    }
    fmt::print("\n");
    std::fflush(stdout);
  }
  for (const auto& [model, ms] : totals) {
    fmt::print("{:<32}", model + ", ms in all");
    for (const double t : ms) fmt::print("{:>14}", cell(t));
    fmt::print("\n");
  }
  return 0;
}
