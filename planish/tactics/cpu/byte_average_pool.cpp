// Means of windows over channels-last bytes (planish.QuantizedAveragePool).

#include "planish/kernels/cpu/byte_average_pool/byte_average_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "planish/base/parallel.h"
#include "planish/ops/conv_geometry.h"
#include "planish/ops/quantization.h"
#include "planish/ops/quantized_fused.h"
#include "planish/tactics/cpu/own_tactics.h"
#include "planish/tactics/cpu/quantized_layer.h"
#include "planish/tactics/cpu/window.h"

namespace planish {
namespace {

constexpr int64_t kMostTaps = int64_t{1} << 16;  // whose sum is exact in f32

WhyNot supports(const NodeView& view, const Target&) {
  const TensorDesc& x = view.inputs[0];
  if (x.rank() != 3 && x.rank() != 4) return fmt::format("needs 1 or 2 spatial dimensions, got rank {}", x.rank());
  if (x.size() == 0 || view.outputs[0].size() == 0) return "the tensor is empty";
  if (!lies_channels_last(x) || !lies_channels_last(view.outputs[0])) return "takes channels-last tensors only";
  auto window = resolve_window(*view.node, std::span(x.shape).subspan(2));
  if (!window.ok()) return window.error().what;
  if (window->taps() > kMostTaps) return fmt::format("adds {} elements at most, got {}", kMostTaps, window->taps());
  return std::nullopt;
}

class ByteAveragePoolRunner final : public Kernel {
 public:
  ByteAveragePoolRunner(const kernels::ByteAveragePool& pool, int64_t images) : pool_(pool), images_(images) {}

  Status run(const Bindings& b) override {
    const auto* x = host_ptr<const uint8_t>(b.inputs[0]);
    auto* y = host_ptr<uint8_t>(b.outputs[0]);
    const int64_t x_image = pool_.in_h * pool_.in_w * pool_.channels;
    const int64_t y_image =
        pool_.out_h * pool_.out_w * pool_.channels * static_cast<int64_t>(pool_.writes_floats ? sizeof(float) : 1);
    constexpr int64_t kBytesPerThread = 32768;  // looked at
    const int64_t line_bytes = pool_.out_w * pool_.kernel_h * pool_.kernel_w * pool_.channels;
    const int64_t grain = std::max<int64_t>(1, kBytesPerThread / std::max<int64_t>(1, line_bytes));
    for (int64_t n = 0; n < images_; ++n)
      parallel_for(pool_.out_h, grain, [&](int64_t begin, int64_t end) {
        kernels::best_byte_average_pool_kernel().fn(pool_, x + n * x_image, y + n * y_image, begin, end);
      });
    return {};
  }

  [[nodiscard]] std::string detail() const override {
    return std::string(kernels::best_byte_average_pool_kernel().name);
  }

 private:
  kernels::ByteAveragePool pool_;
  int64_t images_;
};

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant>, const Target&) {
  const Shape& x = view.inputs[0].shape;
  const WindowGeometry window = PLANISH_TRY(resolve_window(*view.node, std::span(x).subspan(2)));
  const QuantizedAttrs q = PLANISH_TRY(read_quantized_attrs(*view.node));
  kernels::ByteAveragePool pool;
  set_window(window, pool);
  pool.pad_right = window.pads_end.back();
  if (window.axes() == 2) pool.pad_bottom = window.pads_end[0];
  pool.channels = x[1];
  pool.count_pads = view.node->attr_int("count_include_pad", 0) != 0;
  pool.x_signed = view.inputs[0].dtype == DType::i8;
  pool.x_zero = static_cast<int32_t>(q.x.zero);
  pool.writes_floats = q.y_type == DType::f32;
  pool.factor = q.x.scale;
  if (!pool.writes_floats) {
    const IntegerRange range = integer_range(q.y_type);
    pool.y_signed = q.y_type == DType::i8;
    pool.y_zero = static_cast<int32_t>(q.y.zero);
    pool.factor = q.x.scale / q.y.scale;
    pool.low = static_cast<float>(range.low - static_cast<double>(q.y.zero));
    pool.high = static_cast<float>(range.high - static_cast<double>(q.y.zero));
  }
  return std::unique_ptr<Kernel>(new ByteAveragePoolRunner(pool, x[0]));
}

constexpr std::array<std::string_view, 1> kOps{"planish.QuantizedAveragePool"};

}  // namespace

constinit const Tactic kCpuByteAveragePool{.id = "cpu.byte_average_pool",
                                           .ops = kOps,
                                           .supports = supports,
                                           .pack = nullptr,
                                           .prepare = prepare,
                                           .unpack = nullptr};

}  // namespace planish
