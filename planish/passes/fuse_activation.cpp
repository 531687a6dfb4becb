// An activation that alone reads a FusedConv, FusedConvTranspose or FusedMatMul becomes part of it.

#include <algorithm>
#include <array>
#include <limits>

#include "planish/ops/elementwise.h"
#include "planish/passes/match.h"
#include "planish/passes/pass.h"

namespace planish {
namespace {

/// Functions that kernels have behind their products, or that are cheap enough to run there.
constexpr std::array<std::string_view, 14> kActivations{"Relu",     "LeakyRelu",   "Elu",       "Sigmoid", "Tanh",
                                                        "Softplus", "HardSigmoid", "HardSwish", "Swish",   "Mish",
                                                        "Gelu",     "Clip",        "Celu",      "Selu"};

/// Clip's bounds are inputs; both must be constants where present.
bool read_clip(const Edit& edit, const Node& clip, ScalarParams& params) {
  params.alpha = -std::numeric_limits<double>::infinity();
  params.beta = std::numeric_limits<double>::infinity();
  for (size_t i = 1; i < 3; ++i) {
    if (clip.in(i) == kNoValue) continue;
    const auto bound = scalar_of(edit, clip.in(i));
    if (!bound) return false;
    (i == 1 ? params.alpha : params.beta) = *bound;
  }
  return true;
}

bool fuse(Edit& edit, int32_t n) {
  const Node& product = edit.node(n);
  if (!product.is("FusedConv", "planish") && !product.is("FusedConvTranspose", "planish") &&
      !product.is("FusedMatMul", "planish"))
    return false;
  if (!product.attr_string("activation", "").empty() || product.attr_int("residual_last", 0) != 0) return false;
  const int32_t reader = edit.single_consumer(product.out(0));
  if (reader < 0) return false;
  const Node& act = edit.node(reader);
  if (!act.domain.empty() || std::ranges::find(kActivations, act.op) == kActivations.end()) return false;
  const UnaryFunction* function = find_unary_function(act.op);
  if (function == nullptr || act.in(0) != product.out(0)) return false;
  ScalarParams params = params_of(*function, act);
  if (act.op == "Clip" && !read_clip(edit, act, params)) return false;

  Node fused = product;
  fused.name = joined_name(fused.name, act.name);
  add_origins(fused, act);
  fused.attrs["activation"] = act.op;
  if (!function->alpha_attr.empty()) fused.attrs["act_alpha"] = static_cast<float>(params.alpha);
  if (!function->beta_attr.empty()) fused.attrs["act_beta"] = static_cast<float>(params.beta);
  if (params.approximate_tanh) fused.attrs["act_approximate"] = std::string("tanh");
  fused.outputs = act.outputs;
  edit.remove(n);
  edit.replace(reader, std::move(fused));
  return true;
}

}  // namespace

Result<Graph> fuse_activation(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  for (int32_t n = 0; n < edit.size(); ++n)
    if (edit.alive(n)) fuse(edit, n);
  return std::move(edit).finish();
}

}  // namespace planish
