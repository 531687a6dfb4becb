#include "planish/tactics/cpu/chain_parts.h"

#include <algorithm>

#include "planish/ops/op.h"

namespace planish {
namespace {

constexpr size_t kWeights = 1;

}  // namespace

Result<ChainPart> chain_part(const NodeView& chain, const ChainStep& step, Layout layout,
                             std::vector<TensorDesc>& results) {
  ChainPart part;
  part.node = step.node;
  part.operands = step.operands;
  std::vector<InferContext::Known> known;
  for (const int32_t from : step.operands) {
    const auto at = static_cast<size_t>(std::max(from, 0));
    const bool of_chain = from >= 0 && at < chain.inputs.size();
    const TensorDesc d = from < 0 ? TensorDesc{} : of_chain ? chain.inputs[at] : results[at - chain.inputs.size()];
    part.view.inputs.push_back(d);
    part.view.constants.push_back(of_chain ? chain.constants[at] : nullptr);
    part.view.constant_inputs.push_back(of_chain && chain.is_constant(at));
    known.push_back(d.present() ? InferContext::Known{d.dtype, d.shape, nullptr} : InferContext::Known{});
  }
  InferContext ctx(step.node, std::move(known));
  const OpDecl* op = find_op(step.node.domain, step.node.op);
  if (op == nullptr)
    return Error{.code = Code::invalid_model, .node = chain.node->name, .what = "a step names no operator"};
  PLANISH_TRY(op->infer(ctx));
  if (!ctx.outputs()[0].shape)
    return Error{.code = Code::unsupported, .node = chain.node->name, .what = "the shape of a step depends on values"};
  part.view.outputs = {TensorDesc{ctx.outputs()[0].dtype, *ctx.outputs()[0].shape, layout}};
  results.push_back(part.view.outputs[0]);
  return part;
}

Result<std::vector<PackedConstant>> pack_parts(std::span<const ChainPart* const> parts, const Target& target) {
  std::vector<PackedConstant> out;
  for (const ChainPart* part : parts)
    for (PackedConstant& p : PLANISH_TRY(part->tactic->pack(part->view, target))) {
      p.input = part->operands[static_cast<size_t>(p.input)];
      out.push_back(std::move(p));
    }
  return out;
}

std::vector<PackedConstant> packed_weights_of(const ChainPart& part, std::span<const PackedConstant> packed) {
  std::vector<PackedConstant> own;
  for (const PackedConstant& p : packed)
    if (p.input == part.operands[kWeights]) own.push_back({static_cast<int32_t>(kWeights), p.format, p.data});
  return own;
}

Result<Tensor> unpack_part(const NodeView& chain, const PackedConstant& packed,
                           std::span<const Tactic* const> tactics) {
  const auto steps = PLANISH_TRY(chain_steps(*chain.node));
  if (packed.input < 0 || static_cast<size_t>(packed.input) >= chain.inputs.size())
    return Error{.code = Code::corrupt, .node = chain.node->name, .what = "packed weights belong to no input"};
  for (const ChainStep& step : steps) {
    if (step.operands.size() <= kWeights || step.operands[kWeights] != packed.input) continue;
    NodeView part;
    part.node = &step.node;
    part.inputs = {TensorDesc{}, chain.inputs[static_cast<size_t>(packed.input)]};
    PackedConstant own = packed;
    own.input = static_cast<int32_t>(kWeights);
    for (const Tactic* tactic : tactics)
      if (auto plain = tactic->unpack(part, own); plain.ok()) return plain;
  }
  return Error{.code = Code::unsupported, .node = chain.node->name, .what = "packed weights have an unknown format"};
}

}  // namespace planish
