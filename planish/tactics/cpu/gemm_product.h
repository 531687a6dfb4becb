#pragma once

// A matrix product by our packed kernels, bound to shapes: what cpu.gemm and cpu.strassen run, and what others run with
// something of theirs before or behind some rows of it.

#include "planish/base/status.h"
#include "planish/kernels/cpu/gemm/gemm.h"
#include "planish/tactics/cpu/packed_product.h"
#include "planish/tactics/tactic.h"

namespace planish {

/// Why the node is not a product of f32 with constant weights, of plain rows, whose bias, residual and activation our
/// kernels have; nullopt: it is.
WhyNot float_product_refusal(const NodeView& view);

class GemmProduct {
 public:
  /// How threads share the work: rows and columns as it costs least, or rows only, so that whoever computes a part of a
  /// row computes all of it.
  enum class Sharing { any, whole_rows };

  /// `weights` as the kernel's tactic packs them. Error: the node's activation is none that it knows.
  static Result<GemmProduct> of(const NodeView& view, const kernels::GemmKernel& kernel, int threads, Tensor weights,
                                Sharing sharing);

  struct Operands {
    const float* a = nullptr;
    const float* bias = nullptr;
    const float* residual = nullptr;
    float* c = nullptr;
  };
  [[nodiscard]] kernels::GemmProblem problem(const Operands& operands) const;
  /// Parts that threads can work on at the same time.
  [[nodiscard]] int64_t parts() const { return grid_.by_rows * grid_.by_panels; }
  [[nodiscard]] kernels::GemmPart part(int64_t i, float* scratch) const;
  /// Floats that each part needs.
  [[nodiscard]] int64_t scratch_size() const { return scratch_; }
  /// Rows that a part is worked on at a time.
  [[nodiscard]] int64_t chunk() const { return cut_.chunk; }
  [[nodiscard]] int64_t columns_of_a() const { return problem_.k; }
  [[nodiscard]] const kernels::GemmKernel& kernel() const { return *kernel_; }

 private:
  const kernels::GemmKernel* kernel_ = nullptr;
  Tensor weights_;
  ProductGrid grid_;
  kernels::GemmProblem problem_;
  kernels::GemmPart cut_;
  int64_t scratch_ = 0;
};

}  // namespace planish
