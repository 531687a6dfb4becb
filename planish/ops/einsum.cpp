// Einsum: sums of products over named dimensions. https://onnx.ai/onnx/operators/onnx__Einsum.html
//
// Operands are contracted from left to right, two at a time, each pair as a batched matrix product.

#include <algorithm>
#include <array>
#include <cctype>
#include <string>
#include <vector>

#include "planish/ops/checks.h"
#include "planish/ops/element_buffer.h"
#include "planish/ops/gemm.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

/// A dimension name: a letter, or a number below 64 for the dimensions of the ellipsis (0 is the outermost).
using Label = int;
constexpr int kMaxEllipsis = 64;
constexpr int kLabels = 128;

struct Equation {
  std::vector<std::vector<Label>> terms;  ///< one per operand
  std::vector<Label> output;
  std::array<int64_t, kLabels> size{};  ///< of every label; -1 unknown, 0 entries of unused labels do not matter
};

/// Dimensions that the ellipsis of a term stands for are numbered from the right, so that they broadcast.
Result<std::vector<Label>> expand_term(const Node& node, std::string_view term, int ellipsis_dims, int max_ellipsis) {
  std::vector<Label> labels;
  for (size_t i = 0; i < term.size(); ++i) {
    if (term.substr(i, 3) == "...") {
      for (int d = max_ellipsis - ellipsis_dims; d < max_ellipsis; ++d) labels.push_back(d);
      i += 2;
    } else if (std::isalpha(static_cast<unsigned char>(term[i])) != 0) {
      labels.push_back(term[i]);
    } else {
      return Error{.code = Code::invalid_model,
                   .node = node.name,
                   .what = "Einsum: '" + std::string(term) + "' is no valid term"};
    }
  }
  return labels;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == separator)
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

/// Labels of an equation without "->": the ellipsis, then every letter that occurs once, in ASCII order.
std::vector<Label> implicit_output(const Equation& e, int max_ellipsis) {
  std::array<int, kLabels> count{};
  for (const auto& term : e.terms)
    for (const Label l : term) ++count[static_cast<size_t>(l)];
  std::vector<Label> output;
  for (int d = 0; d < max_ellipsis; ++d) output.push_back(d);
  for (Label l = kMaxEllipsis; l < kLabels; ++l)
    if (count[static_cast<size_t>(l)] == 1) output.push_back(l);
  return output;
}

/// Sizes of all labels; a dimension of 1 broadcasts against any other.
template <typename Context>
Status measure(const Context& ctx, Equation& e, std::span<const Shape> shapes) {
  e.size.fill(1);
  for (size_t i = 0; i < shapes.size(); ++i) {
    if (e.terms[i].size() != shapes[i].size())
      return ctx.error("operand " + std::to_string(i) + " of shape " + to_string(shapes[i]) +
                       " does not have the dimensions that its term names");
    for (size_t d = 0; d < shapes[i].size(); ++d) {
      int64_t& size = e.size[static_cast<size_t>(e.terms[i][d])];
      const int64_t dim = shapes[i][d];
      if (size == 1 || (size < 0 && dim > 1))
        size = dim;
      else if (dim >= 0 && dim != 1 && dim != size)
        return ctx.error("a dimension is " + std::to_string(size) + " in one place and " + std::to_string(dim) +
                         " in operand " + std::to_string(i));
    }
  }
  return {};
}

template <typename Context>
Result<Equation> parse(const Context& ctx, std::span<const Shape> shapes) {
  std::string text = ctx.node().attr_string("equation", "");
  std::erase(text, ' ');
  const size_t arrow = text.find("->");
  const std::vector<std::string> inputs = split(text.substr(0, arrow), ',');
  if (inputs.size() != shapes.size())
    return ctx.error("the equation '" + text + "' has " + std::to_string(inputs.size()) + " terms for " +
                     std::to_string(shapes.size()) + " operands");
  std::vector<int> ellipsis(inputs.size(), 0);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const size_t at = inputs[i].find("...");
    if (at == std::string::npos) continue;
    if (inputs[i].find("...", at + 3) != std::string::npos) return ctx.error("a term has two ellipses");
    ellipsis[i] = static_cast<int>(std::min<size_t>(shapes[i].size(), 1000)) - static_cast<int>(inputs[i].size() - 3);
    if (ellipsis[i] < 0 || ellipsis[i] >= kMaxEllipsis)
      return ctx.error("operand " + std::to_string(i) + " has too few dimensions for '" + inputs[i] + "'");
  }
  const int max_ellipsis = *std::ranges::max_element(ellipsis);
  Equation e;
  for (size_t i = 0; i < inputs.size(); ++i)
    e.terms.push_back(PLANISH_TRY(expand_term(ctx.node(), inputs[i], ellipsis[i], max_ellipsis)));
  e.output = arrow == std::string::npos
                 ? implicit_output(e, max_ellipsis)
                 : PLANISH_TRY(expand_term(ctx.node(), text.substr(arrow + 2), max_ellipsis, max_ellipsis));
  for (size_t i = 0; i < e.output.size(); ++i) {
    const Label l = e.output[i];
    if (std::count(e.output.begin(), e.output.end(), l) != 1)
      return ctx.error("the output of '" + text + "' names a dimension twice");
    if (l >= kMaxEllipsis && std::ranges::none_of(e.terms, [l](const auto& t) { return std::ranges::count(t, l) > 0; }))
      return ctx.error("the output of '" + text + "' names a dimension that no operand has");
  }
  PLANISH_TRY(measure(ctx, e, shapes));
  return e;
}

Shape output_shape(const Equation& e) {
  Shape y;
  for (const Label l : e.output) y.push_back(e.size[static_cast<size_t>(l)]);
  return y;
}

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, std::max<size_t>(ctx.num_inputs(), 1)));
  std::vector<Shape> shapes;
  for (size_t i = 0; i < ctx.num_inputs(); ++i) shapes.push_back(ctx.shape(i));
  ctx.set(0, ctx.dtype(0), output_shape(PLANISH_TRY(parse(ctx, shapes))));
  return {};
}

/// A dense array whose dimensions have labels, each at most once. Dimensions of size 1 are left out.
template <typename T>
struct Labelled {
  std::vector<Label> labels;
  std::vector<int64_t> dims;
  std::vector<T> data;
};

/// `to` += the elements of a strided view, in order; `to` has stride 0 along dimensions that are summed.
template <typename T>
void add_strided(const std::vector<int64_t>& dims, const T* from, const std::vector<int64_t>& from_strides, T* to,
                 const std::vector<int64_t>& to_strides) {
  const int64_t count = element_count(dims);
  std::vector<int64_t> index(dims.size(), 0);
  int64_t f = 0;
  int64_t t = 0;
  for (int64_t i = 0; i < count; ++i) {
    to[t] += from[f];
    for (size_t d = dims.size(); d-- > 0;) {
      f += from_strides[d];
      t += to_strides[d];
      if (++index[d] < dims[d]) break;
      f -= from_strides[d] * dims[d];
      t -= to_strides[d] * dims[d];
      index[d] = 0;
    }
  }
}

/// The array with exactly the dimensions `keep` names, in that order; others are summed. Repeated labels of `labels`
/// take the diagonal. `dims` and `data` describe a row-major array.
template <typename T>
Labelled<T> rearrange(const std::vector<Label>& labels, const std::vector<int64_t>& dims, const T* data,
                      const std::vector<Label>& keep) {
  const std::vector<int64_t> strides = row_major_strides(dims);
  std::vector<Label> unique;
  std::vector<int64_t> unique_dims;
  std::vector<int64_t> unique_strides;
  for (size_t d = 0; d < labels.size(); ++d) {
    if (dims[d] == 1) continue;
    const auto it = std::ranges::find(unique, labels[d]);
    if (it == unique.end()) {
      unique.push_back(labels[d]);
      unique_dims.push_back(dims[d]);
      unique_strides.push_back(strides[d]);
    } else {
      unique_strides[static_cast<size_t>(it - unique.begin())] += strides[d];
    }
  }
  Labelled<T> y;
  for (const Label l : keep) {
    const auto it = std::ranges::find(unique, l);
    if (it == unique.end()) continue;
    y.labels.push_back(l);
    y.dims.push_back(unique_dims[static_cast<size_t>(it - unique.begin())]);
  }
  const std::vector<int64_t> kept_strides = row_major_strides(y.dims);
  std::vector<int64_t> to_strides(unique.size(), 0);
  for (size_t d = 0; d < unique.size(); ++d) {
    const auto it = std::ranges::find(y.labels, unique[d]);
    if (it != y.labels.end()) to_strides[d] = kept_strides[static_cast<size_t>(it - y.labels.begin())];
  }
  y.data.assign(static_cast<size_t>(element_count(y.dims)), T{});
  add_strided(unique_dims, data, unique_strides, y.data.data(), to_strides);
  return y;
}

bool contains(const std::vector<Label>& labels, Label l) { return std::ranges::find(labels, l) != labels.end(); }

/// Sum of a*b over the labels that both have and `keep` does not name.
template <typename T>
Labelled<T> contract(const Labelled<T>& a, const Labelled<T>& b, const std::vector<Label>& keep,
                     const std::array<int64_t, kLabels>& size) {
  std::vector<Label> batch;
  std::vector<Label> rows;
  std::vector<Label> columns;
  std::vector<Label> summed;
  for (const Label l : a.labels) {
    if (!contains(b.labels, l))
      rows.push_back(l);
    else
      (contains(keep, l) ? batch : summed).push_back(l);
  }
  for (const Label l : b.labels)
    if (!contains(a.labels, l)) columns.push_back(l);
  const auto count = [&](const std::vector<Label>& labels) {
    int64_t n = 1;
    for (const Label l : labels) n *= size[static_cast<size_t>(l)];
    return n;
  };
  const auto join = [](std::vector<Label> x, const std::vector<Label>& y, const std::vector<Label>& z) {
    x.insert(x.end(), y.begin(), y.end());
    x.insert(x.end(), z.begin(), z.end());
    return x;
  };
  const Labelled<T> left = rearrange(a.labels, a.dims, a.data.data(), join(batch, rows, summed));
  const Labelled<T> right = rearrange(b.labels, b.dims, b.data.data(), join(batch, summed, columns));
  const int64_t M = count(rows);
  const int64_t N = count(columns);
  const int64_t K = count(summed);
  Labelled<T> y{.labels = join(batch, rows, columns)};
  for (const Label l : y.labels) y.dims.push_back(size[static_cast<size_t>(l)]);
  y.data.assign(static_cast<size_t>(element_count(y.dims)), T{});
  for (int64_t i = 0, n = count(batch); i < n; ++i)
    gemm<T>(M, N, K, {left.data.data() + i * M * K, K, 1}, {right.data.data() + i * K * N, N, 1},
            y.data.data() + i * M * N, N);
  return y;
}

/// Labels that operands from `first` on, or the output, still need.
std::vector<Label> needed(const Equation& e, size_t first) {
  std::vector<Label> labels = e.output;
  for (size_t i = first; i < e.terms.size(); ++i) labels.insert(labels.end(), e.terms[i].begin(), e.terms[i].end());
  std::ranges::sort(labels);
  labels.erase(std::unique(labels.begin(), labels.end()), labels.end());
  return labels;
}

template <typename T>
Status evaluate(const RefContext& ctx, const Equation& e, Tensor& y) {
  Labelled<T> result{.data = {T{1}}};
  for (size_t i = 0; i < e.terms.size(); ++i) {
    const Tensor& x = ctx.in(i);
    std::vector<T> data(static_cast<size_t>(x.size()));
    load_elements(x.dtype(), x.raw(), 0, 1, x.size(), data.data());
    const std::vector<Label> later = needed(e, i + 1);
    std::vector<Label> keep = later;
    keep.insert(keep.end(), result.labels.begin(), result.labels.end());
    std::ranges::sort(keep);
    keep.erase(std::unique(keep.begin(), keep.end()), keep.end());
    const Labelled<T> operand = rearrange(e.terms[i], x.shape(), data.data(), keep);
    result = contract(result, operand, later, e.size);
    // What only broadcast against a dimension of 1 is not summed by the product.
    result = rearrange(result.labels, result.dims, result.data.data(), later);
  }
  result = rearrange(result.labels, result.dims, result.data.data(), e.output);
  store_elements(y.dtype(), y.raw(), 0, 1, y.size(), result.data.data());
  return {};
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, std::max<size_t>(ctx.num_inputs(), 1)));
  PLANISH_TRY(require_real(ctx));
  std::vector<Shape> shapes;
  for (size_t i = 0; i < ctx.num_inputs(); ++i) shapes.push_back(ctx.in(i).shape());
  const Equation e = PLANISH_TRY(parse(ctx, shapes));
  const DType type = ctx.in(0).dtype();
  Tensor* y = PLANISH_TRY(ctx.output(0, type, output_shape(e)));
  if (y->size() == 0) return {};
  if (type == DType::f64) return evaluate<double>(ctx, e, *y);
  if (dtype_is_float(type)) return evaluate<float>(ctx, e, *y);
  return evaluate<uint64_t>(ctx, e, *y);
}

constexpr std::array kOps{
    OpDecl{.name = "Einsum", .since = 12, .one_type = kEveryInput, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> einsum_ops() { return kOps; }

}  // namespace planish
