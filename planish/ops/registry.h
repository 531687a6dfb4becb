#pragma once

// One declaration per file of planish/ops that declares operators; registry.cpp joins them into one table.

#include <span>

#include "planish/ops/op.h"

namespace planish {

std::span<const OpDecl> identity_ops();
std::span<const OpDecl> cast_ops();
std::span<const OpDecl> range_ops();
std::span<const OpDecl> softmax_ops();
std::span<const OpDecl> cumulative_ops();
std::span<const OpDecl> arg_reduce_ops();
std::span<const OpDecl> reduce_ops();
std::span<const OpDecl> concat_ops();
std::span<const OpDecl> expand_ops();
std::span<const OpDecl> gather_ops();
std::span<const OpDecl> pad_ops();
std::span<const OpDecl> reshape_ops();
std::span<const OpDecl> shape_of_ops();
std::span<const OpDecl> slice_ops();
std::span<const OpDecl> transpose_ops();
std::span<const OpDecl> clip_ops();
std::span<const OpDecl> where_ops();
std::span<const OpDecl> variadic_ops();
std::span<const OpDecl> binary_ops();
std::span<const OpDecl> unary_ops();
std::span<const OpDecl> conv_ops();
std::span<const OpDecl> pool_ops();
std::span<const OpDecl> matmul_ops();
std::span<const OpDecl> normalization_ops();
std::span<const OpDecl> batch_normalization_ops();
std::span<const OpDecl> reformat_ops();

}  // namespace planish
