#pragma once

#include <memory>

#include "planish/quant/reconstruction.h"

namespace planish::api {

/// Products x^T y by the fastest matrix multiplication of this machine; an engine is made for every size once.
/// `threads` 0: all cores. Sizes that are too small for it, and those where it fails, are computed by loops.
GramFunction engine_gram(int threads);

}  // namespace planish::api
