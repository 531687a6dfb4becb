#pragma once

#include "planish/quant/reconstruction.h"

namespace planish::api {

/// Products x^T y by the matrix kernels of this machine; of x^T x only one half is multiplied. `threads` 0: all cores.
GramFunction packed_gram(int threads);

}  // namespace planish::api
