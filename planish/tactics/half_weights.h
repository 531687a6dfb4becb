#pragma once

#include <optional>

#include "planish/tactics/tactic.h"

namespace planish {

/// Packed FP32 weights stored in 16 bits per element. They are expanded when an engine is made ready to run, so that
/// tactics never see them: the engine file is half as large, the computation is FP32. The form is written behind the
/// format's name ("onednn:123|f16").

/// False for forms that arithmetic made (Winograd): the inverse transformation would amplify their rounding errors.
bool may_store_half(const PackedConstant& packed);
/// True when the constant is stored that way.
bool is_half_stored(const PackedConstant& packed);
/// The type it is stored in: f16, bf16, or f32 when it is not stored that way.
DType stored_type(const PackedConstant& packed);

/// Stores packed f32 elements as `type` (f16 or bf16), rounding to nearest even. nullopt when an element would
/// overflow.
std::optional<PackedConstant> store_half(const PackedConstant& packed, DType type);
/// The constant as its tactic packed it. Error corrupt: the data is no whole number of elements.
Result<PackedConstant> expand_half(const PackedConstant& packed);

}  // namespace planish
