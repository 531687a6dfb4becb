// MaxPool over channels-last bytes.

#include "planish/kernels/cpu/byte_max_pool/byte_max_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "planish/base/parallel.h"
#include "planish/ops/conv_geometry.h"
#include "planish/tactics/cpu/own_tactics.h"
#include "planish/tactics/cpu/quantized_layer.h"
#include "planish/tactics/cpu/window.h"

namespace planish {
namespace {

WhyNot supports(const NodeView& view, const Target&) {
  const TensorDesc& x = view.inputs[0];
  if (x.dtype != DType::i8 && x.dtype != DType::u8) return fmt::format("takes i8 and u8, got {}", dtype_name(x.dtype));
  if (x.rank() != 3 && x.rank() != 4) return fmt::format("needs 1 or 2 spatial dimensions, got rank {}", x.rank());
  if (view.outputs.size() > 1 && view.outputs[1].present()) return "does not return the indices of the maxima";
  if (x.size() == 0 || view.outputs[0].size() == 0) return "the tensor is empty";
  if (!lies_channels_last(x) || !lies_channels_last(view.outputs[0])) return "takes channels-last tensors only";
  auto window = resolve_window(*view.node, std::span(x.shape).subspan(2));
  if (!window.ok()) return window.error().what;
  return std::nullopt;
}

class ByteMaxPoolRunner final : public Kernel {
 public:
  ByteMaxPoolRunner(const kernels::ByteMaxPool& pool, int64_t images) : pool_(pool), images_(images) {}

  Status run(const Bindings& b) override {
    const auto* x = host_ptr<const uint8_t>(b.inputs[0]);
    auto* y = host_ptr<uint8_t>(b.outputs[0]);
    constexpr int64_t kBytesPerThread = 65536;  // looked at
    const int64_t line_bytes = pool_.out_w * pool_.kernel_h * pool_.kernel_w * pool_.channels;
    const int64_t grain = std::max<int64_t>(1, kBytesPerThread / std::max<int64_t>(1, line_bytes));
    for (int64_t n = 0; n < images_; ++n)
      parallel_for(pool_.out_h, grain, [&](int64_t begin, int64_t end) {
        kernels::best_byte_max_pool_kernel().fn(pool_, x + n * pool_.in_h * pool_.in_w * pool_.channels,
                                                y + n * pool_.out_h * pool_.out_w * pool_.channels, begin, end);
      });
    return {};
  }

  [[nodiscard]] std::string detail() const override { return std::string(kernels::best_byte_max_pool_kernel().name); }

 private:
  kernels::ByteMaxPool pool_;
  int64_t images_;
};

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant>, const Target&) {
  const Shape& x = view.inputs[0].shape;
  kernels::ByteMaxPool pool;
  set_window(PLANISH_TRY(resolve_window(*view.node, std::span(x).subspan(2))), pool);
  pool.channels = x[1];
  pool.is_signed = view.inputs[0].dtype == DType::i8;
  return std::unique_ptr<Kernel>(new ByteMaxPoolRunner(pool, x[0]));
}

constexpr std::array<std::string_view, 1> kOps{"MaxPool"};

}  // namespace

constinit const Tactic kCpuByteMaxPool{.id = "cpu.byte_max_pool",
                                       .ops = kOps,
                                       .supports = supports,
                                       .pack = nullptr,
                                       .prepare = prepare,
                                       .unpack = nullptr};

}  // namespace planish
