#include "planish/ops/registry.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "planish/ops/op.h"

namespace planish {
namespace {

/// The table of operator files. A new file is one row here and one line in registry.h.
constexpr std::array kFiles{
    identity_ops,
    col2im_ops,
    grid_sample_ops,
    non_max_suppression_ops,
    resize_ops,
    roi_pool_ops,
    pointwise_ops,
    loss_ops,
    det_ops,
    mel_weight_matrix_ops,
    window_function_ops,
    random_ops,
    control_flow_ops,
    depth_to_space_ops,
    dropout_ops,
    one_hot_ops,
    scan_ops,
    scatter_ops,
    select_ops,
    top_k_ops,
    quantized_conv_ops,
    quantized_matmul_ops,
    quantized_fused_ops,
    inverted_residual_ops,
    quantized_fork_ops,
    quantize_linear_ops,
    cast_ops,
    range_ops,
    softmax_ops,
    cumulative_ops,
    arg_reduce_ops,
    reduce_ops,
    concat_ops,
    expand_ops,
    gather_ops,
    pad_ops,
    reshape_ops,
    shape_of_ops,
    slice_ops,
    transpose_ops,
    clip_ops,
    where_ops,
    variadic_ops,
    binary_ops,
    unary_ops,
    chain_ops,
    conv_ops,
    pool_ops,
    matmul_ops,
    normalization_ops,
    batch_normalization_ops,
    reformat_ops,
    attention_ops,
    rotary_embedding_ops,
    recurrent_ops,
    lp_normalization_ops,
    max_unpool_ops,
    fourier_ops,
    einsum_ops,
    deform_conv_ops,
    linear_attention_ops,
    merged_attention_ops,
    weight_only_ops,
    tf_idf_vectorizer_ops,
    contrib_ops,
    flex_attention_ops,
};

std::string_view canonical(std::string_view domain) { return domain == "ai.onnx" ? std::string_view{} : domain; }

bool before(const OpDecl* a, std::string_view domain, std::string_view name) {
  return a->domain != domain ? a->domain < domain : a->name < name;
}

std::vector<const OpDecl*> build() {
  std::vector<const OpDecl*> all;
  for (const auto file : kFiles)
    for (const OpDecl& op : file()) all.push_back(&op);
  std::ranges::sort(all, [](const OpDecl* a, const OpDecl* b) { return before(a, b->domain, b->name); });
  return all;
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substitute = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitute});
    }
  }
  return row[b.size()];
}

}  // namespace

std::span<const OpDecl* const> all_ops() {
  static const std::vector<const OpDecl*> ops = build();
  return ops;
}

const OpDecl* find_op(std::string_view domain, std::string_view name) {
  domain = canonical(domain);
  const auto ops = all_ops();
  const auto it = std::lower_bound(ops.begin(), ops.end(), name,
                                   [domain](const OpDecl* op, std::string_view n) { return before(op, domain, n); });
  return it != ops.end() && (*it)->name == name && (*it)->domain == domain ? *it : nullptr;
}

std::string nearest_op(std::string_view domain, std::string_view name) {
  domain = canonical(domain);
  const OpDecl* best = nullptr;
  size_t best_distance = std::max<size_t>(2, name.size() / 2);
  for (const OpDecl* op : all_ops()) {
    if (op->domain == "planish") continue;
    const size_t d = edit_distance(name, op->name) + (op->domain == domain ? 0 : 1);
    if (d <= best_distance) {
      best_distance = d;
      best = op;
    }
  }
  if (best == nullptr) return {};
  return best->domain.empty() ? std::string(best->name) : std::string(best->domain) + "." + std::string(best->name);
}

}  // namespace planish
