// planish.Chain(x0, ..., xn-1): operators one behind the other as one layer, so that what they hand on need not exist
// as a whole. The result of the last step is the output. Which operators stand in it, and in which types, is theirs to
// say.

#include "planish/ops/chain.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "planish/ops/checks.h"
#include "planish/ops/op.h"
#include "planish/ops/pointwise.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

constexpr std::string_view kAbsent = "_";

Error broken(const Node& chain, std::string_view what) {
  return Error{.code = Code::invalid_model, .node = chain.name, .what = fmt::format("Chain: {}", what)};
}

std::string prefix_of(size_t step) { return fmt::format("s{}_", step); }

Result<ChainStep> parse_step(const Node& chain, std::string_view text, size_t place) {
  const auto words = step_words(text);
  if (words.empty()) return broken(chain, "a step names no operator");
  ChainStep step;
  const size_t dot = words[0].rfind('.');
  step.node.domain = dot == std::string_view::npos ? "" : std::string(words[0].substr(0, dot));
  step.node.op = std::string(words[0].substr(dot == std::string_view::npos ? 0 : dot + 1));
  // A file could nest chains deeper than the stack is.
  if (step.node.op == chain.op) return broken(chain, "a step is a Chain itself");
  step.node.name = chain.name;
  step.node.outputs = {0};
  for (size_t i = 1; i < words.size(); ++i) {
    int32_t operand = -1;
    if (words[i] != kAbsent) {
      const char* end = words[i].data() + words[i].size();
      const auto [p, ec] = std::from_chars(words[i].data(), end, operand);
      const auto defined = static_cast<int64_t>(chain.inputs.size() + place);
      if (ec != std::errc() || p != end || operand < 0 || operand >= defined)
        return broken(chain, fmt::format("operand {} of step {} is not defined there", words[i], place));
    }
    step.operands.push_back(operand);
  }
  const std::string prefix = prefix_of(place);
  for (const auto& [key, value] : chain.attrs)
    if (key.starts_with(prefix)) step.node.attrs[key.substr(prefix.size())] = value;
  return step;
}

Status infer(InferContext& ctx) {
  const auto steps = PLANISH_TRY(chain_steps(ctx.node()));
  std::vector<InferContext::Known> known;
  for (size_t i = 0; i < ctx.num_inputs(); ++i)
    known.push_back(ctx.has(i) ? InferContext::Known{ctx.dtype(i), ctx.shape(i), ctx.value(i)} : InferContext::Known{});
  for (const ChainStep& step : steps) {
    const OpDecl* op = find_op(step.node.domain, step.node.op);
    if (op == nullptr) return ctx.error(fmt::format("there is no operator {}.{}", step.node.domain, step.node.op));
    std::vector<InferContext::Known> in;
    for (const int32_t operand : step.operands)
      in.push_back(operand < 0 ? InferContext::Known{} : known[static_cast<size_t>(operand)]);
    InferContext inner(step.node, std::move(in));
    PLANISH_TRY(op->infer(inner));
    known.push_back(inner.outputs()[0]);
    if (!known.back().shape) return ctx.error("the shape of a step depends on values");
  }
  ctx.set(0, known.back().dtype, known.back().shape);
  return {};
}

Status reference(RefContext& ctx) {
  const auto steps = PLANISH_TRY(chain_steps(ctx.node()));
  const size_t inputs = ctx.num_inputs();
  std::vector<Tensor> results(steps.size());
  for (size_t k = 0; k < steps.size(); ++k) {
    std::vector<const Tensor*> in;
    for (const int32_t operand : steps[k].operands) {
      const auto at = static_cast<size_t>(operand);
      if (operand < 0 || (at < inputs && !ctx.has(at)))
        in.push_back(nullptr);
      else
        in.push_back(at < inputs ? &ctx.in(at) : &results[at - inputs]);
    }
    PLANISH_TRY(run_reference(steps[k].node, in, std::span(&results[k], 1)));
  }
  const Tensor& last = results.back();
  Tensor* y = PLANISH_TRY(ctx.output(0, last.dtype(), last.shape()));
  std::copy_n(static_cast<const std::byte*>(last.raw()), last.bytes(), static_cast<std::byte*>(y->raw()));
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "Chain", .domain = "planish", .since = 1, .infer = infer, .reference = reference},
};

}  // namespace

Result<std::vector<ChainStep>> chain_steps(const Node& chain) {
  const auto it = chain.attrs.find("steps");
  const auto* texts = it == chain.attrs.end() ? nullptr : std::get_if<std::vector<std::string>>(&it->second);
  if (texts == nullptr || texts->empty()) return broken(chain, "there are no steps");
  std::vector<ChainStep> steps;
  for (const std::string& text : *texts) steps.push_back(PLANISH_TRY(parse_step(chain, text, steps.size())));
  return steps;
}

void set_chain_steps(Node& chain, std::span<const ChainStep> steps) {
  std::vector<std::string> texts;
  for (const ChainStep& step : steps) {
    std::string text = step.node.domain.empty() ? step.node.op : step.node.domain + "." + step.node.op;
    for (const int32_t operand : step.operands)
      text += operand < 0 ? fmt::format(" {}", kAbsent) : fmt::format(" {}", operand);
    for (const auto& [key, value] : step.node.attrs) chain.attrs[prefix_of(texts.size()) + key] = value;
    texts.push_back(std::move(text));
  }
  chain.attrs["steps"] = std::move(texts);
}

std::span<const OpDecl> chain_ops() { return kOps; }

}  // namespace planish
