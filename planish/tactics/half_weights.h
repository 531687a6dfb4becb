#pragma once

#include <optional>

#include "planish/tactics/tactic.h"

namespace planish {

/// Packed FP32 weights stored in 16 bits per element. They are expanded when an engine is made ready to run, so that
/// kernels never see them: the engine file is half as large, the computation is FP32. The form is written behind the
/// format's name ("onednn:123|f16"). Forms that arithmetic made (Winograd) are stored as what they were made of
/// (Tactic::to_roundable), because the inverse transformation would amplify their rounding errors.

/// True when the constant is stored that way.
bool is_half_stored(const PackedConstant& packed);
/// The type it is stored in: f16, bf16, or f32 when it is not stored that way.
DType stored_type(const PackedConstant& packed);

/// Stores f32 elements as `type` (f16 or bf16), rounding to nearest even. nullopt when an element would overflow.
std::optional<PackedConstant> store_half(const PackedConstant& packed, DType type);
/// The same for what `tactic` packed for `view`, in the form that it wants rounded.
Result<std::optional<PackedConstant>> store_half(const Tactic& tactic, const NodeView& view,
                                                 const PackedConstant& packed, DType type);
/// A device's own conversion of n numbers of type `from`, f16 or bf16, to f32.
using WidenHalf = void (*)(DType from, int64_t n, const uint16_t* x, float* y);

/// In f32 again, by `widen` or, without it, portable loops. Error corrupt: the data is no whole number of elements.
Result<PackedConstant> expand_half(const PackedConstant& packed, WidenHalf widen = nullptr);
/// The constant as its tactic packed it; `shape` is its shape in the graph. `tactic` may be nullptr where it does not
/// exist on this machine: then the form is one that unpack_constant() knows.
Result<PackedConstant> restore_half(const Tactic* tactic, const Shape& shape, const PackedConstant& packed,
                                    WidenHalf widen = nullptr);

/// Memory for `count` f32 elements that several threads are about to fill, hence not cleared by one of them first.
/// Large pages save most of the page faults, which would take longer than the filling. Throws std::bad_alloc.
Tensor uninitialized_f32(int64_t count);

}  // namespace planish
