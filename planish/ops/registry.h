#pragma once

// One declaration per file of planish/ops that declares operators; registry.cpp joins them into one table.

#include <span>

#include "planish/ops/op.h"

namespace planish {

std::span<const OpDecl> identity_ops();
std::span<const OpDecl> clip_ops();
std::span<const OpDecl> where_ops();
std::span<const OpDecl> variadic_ops();
std::span<const OpDecl> binary_ops();
std::span<const OpDecl> unary_ops();

}  // namespace planish
