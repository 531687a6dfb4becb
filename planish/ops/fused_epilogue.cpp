#include "planish/ops/fused_epilogue.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "planish/ops/broadcast.h"

namespace planish {

Result<FusedEpilogue> read_epilogue(const Node& node) {
  FusedEpilogue e;
  e.residual_last = node.attr_int("residual_last", 0) != 0;
  const std::string name = node.attr_string("activation", "");
  if (name.empty()) return e;
  e.activation = find_unary_function(name);
  if (e.activation == nullptr || e.activation->block == nullptr)
    return Error{.code = Code::unsupported,
                 .node = node.name,
                 .what = fmt::format("{}: '{}' is not a known activation", node.op, name),
                 .fix = "use the name of a unary ONNX operator such as Relu"};
  e.params = e.activation->default_params();
  if (node.has_attr("act_alpha")) e.params.alpha = static_cast<double>(node.attr_float("act_alpha", 0));
  if (node.has_attr("act_beta")) e.params.beta = static_cast<double>(node.attr_float("act_beta", 0));
  const std::vector<float> list = node.attr_floats("activation_params");  // as com.microsoft.FusedConv spells them
  if (!list.empty()) e.params.alpha = static_cast<double>(list[0]);
  if (list.size() > 1) e.params.beta = static_cast<double>(list[1]);
  e.params.approximate_tanh = node.attr_string("act_approximate", "none") == "tanh";
  return e;
}

template <typename T>
void apply_epilogue(const FusedEpilogue& e, const Tensor* residual, const Shape& y_shape, T* y) {
  if (e.activation == nullptr && residual == nullptr) return;
  std::optional<BroadcastReader> reader;
  if (residual != nullptr) reader.emplace(*residual, y_shape);
  std::array<double, kElementBlock> value;
  std::array<double, kElementBlock> add;
  const int64_t size = element_count(y_shape);
  for (int64_t i = 0; i < size; i += kElementBlock) {
    const int64_t n = std::min(kElementBlock, size - i);
    std::copy_n(y + i, n, value.begin());
    if (reader) reader->read(n, add.data());
    const auto add_residual = [&] {
      for (int64_t j = 0; j < n; ++j) value[static_cast<size_t>(j)] += add[static_cast<size_t>(j)];
    };
    if (reader && !e.residual_last) add_residual();
    if (e.activation != nullptr) e.activation->block(n, value.data(), value.data(), e.params);
    if (reader && e.residual_last) add_residual();
    for (int64_t j = 0; j < n; ++j) y[i + j] = static_cast<T>(value[static_cast<size_t>(j)]);
  }
}

template void apply_epilogue(const FusedEpilogue&, const Tensor*, const Shape&, float*);
template void apply_epilogue(const FusedEpilogue&, const Tensor*, const Shape&, double*);

}  // namespace planish
