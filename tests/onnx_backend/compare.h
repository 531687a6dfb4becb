#pragma once

#include <string>

#include "planish/base/status.h"
#include "planish/ir/tensor.h"

namespace planish {

/// The onnx package's criterion: same type, same shape, |actual - expected| <= atol + rtol * |expected|, NaN equals
/// NaN, infinities equal themselves; bfloat16 gets at least two units in the last place. nullopt: they agree.
WhyNot why_different(const Tensor& expected, const Tensor& actual, double rtol, double atol);

}  // namespace planish
