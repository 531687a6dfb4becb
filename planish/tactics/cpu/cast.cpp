// Cast between f32 and the 16-bit float types and from truth values, in any layout; also the Reformats that change the
// type only.

#include <array>

#include <fmt/format.h>

#include "planish/base/parallel.h"
#include "planish/kernels/cpu/convert/convert.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {
namespace {

bool is_half(DType t) { return t == DType::f16 || t == DType::bf16; }

WhyNot supports(const NodeView& view, const Target&) {
  if (!view.has_input(0) || view.outputs.size() != 1 || !view.outputs[0].present()) return "needs one input and output";
  const TensorDesc& x = view.inputs[0];
  const TensorDesc& y = view.outputs[0];
  const bool widens = (is_half(x.dtype) || x.dtype == DType::boolean) && y.dtype == DType::f32;
  if (!widens && !(x.dtype == DType::f32 && is_half(y.dtype)))
    return fmt::format("converts between f32 and f16 or bf16 and from bool to f32, got {} to {}", dtype_name(x.dtype),
                       dtype_name(y.dtype));
  if (x.layout != y.layout) return "needs input and output in the same layout";
  return std::nullopt;
}

class CastKernel final : public Kernel {
 public:
  CastKernel(DType from, DType to, int64_t count) : from_(from), to_(to), count_(count) {}

  Status run(const Bindings& b) override {
    parallel_for(count_, 16384, [&](int64_t begin, int64_t end) {
      const int64_t n = end - begin;
      if (from_ == DType::f32) {
        const auto convert = to_ == DType::f16 ? kernels_.f32_to_f16 : kernels_.f32_to_bf16;
        convert(n, host_ptr<const float>(b.inputs[0]) + begin, host_ptr<uint16_t>(b.outputs[0]) + begin);
      } else if (from_ == DType::boolean) {
        kernels_.u8_to_f32(n, host_ptr<const uint8_t>(b.inputs[0]) + begin, host_ptr<float>(b.outputs[0]) + begin);
      } else {
        const auto convert = from_ == DType::f16 ? kernels_.f16_to_f32 : kernels_.bf16_to_f32;
        convert(n, host_ptr<const uint16_t>(b.inputs[0]) + begin, host_ptr<float>(b.outputs[0]) + begin);
      }
    });
    return {};
  }

  [[nodiscard]] std::string detail() const override { return std::string(kernels_.id); }

 private:
  const kernels::ConvertKernels& kernels_ = kernels::best_convert_kernels();
  DType from_;
  DType to_;
  int64_t count_;
};

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant>, const Target&) {
  const TensorDesc& x = view.inputs[0];
  // A blocked layout's padding is converted too: zero stays zero.
  const auto count = static_cast<int64_t>(x.bytes() * 8 / static_cast<size_t>(dtype_bits(x.dtype)));
  return std::unique_ptr<Kernel>(new CastKernel(x.dtype, view.outputs[0].dtype, count));
}

constexpr std::array<std::string_view, 2> kOps{"Cast", "planish.Reformat"};

}  // namespace

constinit const Tactic kCpuCast{
    .id = "cpu.cast", .ops = kOps, .supports = supports, .pack = nullptr, .prepare = prepare, .unpack = nullptr};

}  // namespace planish
