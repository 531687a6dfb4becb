// TfIdfVectorizer: counts n-grams of token ids, with gaps. https://onnx.ai/onnx/operators/onnx__TfIdfVectorizer.html
// Only integer tokens: tensors of strings do not exist here.

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <vector>

#include "planish/ops/checks.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

struct Vocabulary {
  int64_t min_length = 1;
  int64_t max_length = 1;
  int64_t max_skip = 0;
  std::string mode;
  std::map<std::vector<int64_t>, size_t> grams;  ///< n-gram -> position in `columns` and `weights`
  std::vector<int64_t> columns;                  ///< output element of every n-gram
  std::vector<float> weights;                    ///< empty: all 1
  int64_t width = 0;
};

template <typename Context>
Result<Vocabulary> read_vocabulary(const Context& ctx) {
  const Node& node = ctx.node();
  Vocabulary v{.min_length = node.attr_int("min_gram_length", 1),
               .max_length = node.attr_int("max_gram_length", 1),
               .max_skip = node.attr_int("max_skip_count", 0),
               .mode = node.attr_string("mode", "TF"),
               .columns = node.attr_ints("ngram_indexes"),
               .weights = node.attr_floats("weights")};
  if (v.min_length < 1 || v.max_length < v.min_length || v.max_skip < 0 || v.max_skip > (int64_t{1} << 30))
    return ctx.error("the n-gram lengths or max_skip_count are out of range");
  if (v.mode != "TF" && v.mode != "IDF" && v.mode != "TFIDF") return ctx.error("mode is '" + v.mode + "'");
  const std::vector<int64_t> pool = node.attr_ints("pool_int64s");
  std::vector<int64_t> starts = node.attr_ints("ngram_counts");
  starts.push_back(static_cast<int64_t>(pool.size()));
  for (size_t i = 0; i + 1 < starts.size(); ++i) {
    const auto length = static_cast<int64_t>(i) + 1;
    if (starts[i] < 0 || starts[i + 1] < starts[i] || starts[i + 1] > static_cast<int64_t>(pool.size()) ||
        (starts[i + 1] - starts[i]) % length != 0)
      return ctx.error("ngram_counts does not fit the pool");
    for (int64_t at = starts[i]; at < starts[i + 1]; at += length)
      v.grams.emplace(std::vector<int64_t>(pool.begin() + at, pool.begin() + at + length), v.grams.size());
  }
  if (v.columns.empty() || v.grams.size() != v.columns.size() ||
      (!v.weights.empty() && v.weights.size() != v.columns.size()))
    return ctx.error("ngram_indexes and weights need one element per n-gram of pool_int64s",
                     "vocabularies of strings are not supported");
  if (*std::ranges::min_element(v.columns) < 0) return ctx.error("ngram_indexes must not be negative");
  v.width = dim_add(*std::ranges::max_element(v.columns), 1);
  return v;
}

Shape output_shape(const Shape& x, int64_t width) { return x.size() == 2 ? Shape{x[0], width} : Shape{width}; }

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  if (ctx.rank(0) > 2) return ctx.error("the input must be [C] or [N,C]");
  const Vocabulary v = PLANISH_TRY(read_vocabulary(ctx));
  ctx.set(0, DType::f32, output_shape(ctx.shape(0), v.width));
  return {};
}

/// Adds the n-grams of one row; n-grams of one token have no gaps and count once.
void count_grams(const Vocabulary& v, const std::vector<int64_t>& tokens, float* counts) {
  const auto size = static_cast<int64_t>(tokens.size());
  for (int64_t length = v.min_length; length <= std::min(v.max_length, size); ++length)
    for (int64_t gap = 1; gap <= (length == 1 ? 1 : std::min(v.max_skip + 1, size)); ++gap)
      for (int64_t first = 0; first + (length - 1) * gap < size; ++first) {
        std::vector<int64_t> gram;
        for (int64_t i = 0; i < length; ++i) gram.push_back(tokens[static_cast<size_t>(first + i * gap)]);
        const auto it = v.grams.find(gram);
        if (it == v.grams.end()) continue;
        float& count = counts[v.columns[it->second]];
        const float weight = v.weights.empty() || v.mode == "TF" ? 1.0F : v.weights[it->second];
        count = v.mode == "IDF" ? weight : count + weight;
      }
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  if (x.rank() > 2) return ctx.error("the input must be [C] or [N,C]");
  const Vocabulary v = PLANISH_TRY(read_vocabulary(ctx));
  Tensor* y = PLANISH_TRY(ctx.output(0, DType::f32, output_shape(x.shape(), v.width)));
  std::fill_n(y->data<float>(), y->size(), 0.0F);
  const int64_t rows = x.rank() == 2 ? x.dim(0) : 1;
  const std::vector<int64_t> tokens = x.to_i64();
  const size_t each = rows == 0 ? 0 : tokens.size() / static_cast<size_t>(rows);
  for (int64_t row = 0; row < rows; ++row) {
    const auto begin = tokens.begin() + static_cast<int64_t>(each) * row;
    count_grams(v, {begin, begin + static_cast<int64_t>(each)}, y->data<float>() + row * v.width);
  }
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "TfIdfVectorizer", .since = 9, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> tf_idf_vectorizer_ops() { return kOps; }

}  // namespace planish
