#pragma once

// One declaration per file of planish/ops that declares operators; registry.cpp joins them into one table.

#include <span>

#include "planish/ops/op.h"

namespace planish {

std::span<const OpDecl> identity_ops();
std::span<const OpDecl> col2im_ops();
std::span<const OpDecl> grid_sample_ops();
std::span<const OpDecl> non_max_suppression_ops();
std::span<const OpDecl> resize_ops();
std::span<const OpDecl> roi_pool_ops();
std::span<const OpDecl> pointwise_ops();
std::span<const OpDecl> loss_ops();
std::span<const OpDecl> det_ops();
std::span<const OpDecl> mel_weight_matrix_ops();
std::span<const OpDecl> window_function_ops();
std::span<const OpDecl> random_ops();
std::span<const OpDecl> control_flow_ops();
std::span<const OpDecl> depth_to_space_ops();
std::span<const OpDecl> dropout_ops();
std::span<const OpDecl> one_hot_ops();
std::span<const OpDecl> scan_ops();
std::span<const OpDecl> scatter_ops();
std::span<const OpDecl> select_ops();
std::span<const OpDecl> top_k_ops();
std::span<const OpDecl> quantized_conv_ops();
std::span<const OpDecl> quantized_matmul_ops();
std::span<const OpDecl> quantized_fused_ops();
std::span<const OpDecl> inverted_residual_ops();
std::span<const OpDecl> quantized_fork_ops();
std::span<const OpDecl> quantize_linear_ops();
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
std::span<const OpDecl> chain_ops();
std::span<const OpDecl> conv_ops();
std::span<const OpDecl> pool_ops();
std::span<const OpDecl> matmul_ops();
std::span<const OpDecl> normalization_ops();
std::span<const OpDecl> batch_normalization_ops();
std::span<const OpDecl> reformat_ops();
std::span<const OpDecl> attention_ops();
std::span<const OpDecl> rotary_embedding_ops();
std::span<const OpDecl> recurrent_ops();
std::span<const OpDecl> lp_normalization_ops();
std::span<const OpDecl> max_unpool_ops();
std::span<const OpDecl> fourier_ops();
std::span<const OpDecl> einsum_ops();
std::span<const OpDecl> deform_conv_ops();
std::span<const OpDecl> linear_attention_ops();
std::span<const OpDecl> merged_attention_ops();
std::span<const OpDecl> weight_only_ops();
std::span<const OpDecl> tf_idf_vectorizer_ops();
std::span<const OpDecl> contrib_ops();
std::span<const OpDecl> flex_attention_ops();

}  // namespace planish
