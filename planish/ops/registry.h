#pragma once

// One declaration per file of planish/ops that declares operators; registry.cpp joins them into one table.

#include <span>

#include "planish/ops/op.h"

namespace planish {

std::span<const OpDecl> identity_ops();

}  // namespace planish
