// Scan-8 works on a batch: dimension 0 of every input and output is the batch, dimension 1 of scan inputs the sequence.

#include <array>
#include <memory>

#include "planish/onnx/adapter.h"

namespace planish {
namespace {

/// Puts the node into the body of a Scan over the batch, in which every initial state and sequence of one sample is a
/// scan input, and every final state and output sequence a scan output.
Status scan_batch(AdaptContext& ctx) {
  Node& n = ctx.node;
  const auto own = static_cast<size_t>(n.attr_int("own_inputs", 0));
  if (own < 1 || n.inputs.size() < own) return ctx.error("it has no inputs");
  if (n.inputs[0] != kNoValue)
    return ctx.error("sequence_lens is not supported", "convert the model to opset 11 with onnx.version_converter");

  Graph batch;
  batch.name = n.name + "/batch";
  batch.opset = ctx.graph.opset;
  const auto mirror = [&](ValueId outer, const char* stem, size_t i) {
    Value v;
    v.name = std::string(stem) + "_" + std::to_string(i);
    if (outer != kNoValue) v.dtype = ctx.graph.value(outer).dtype;
    return batch.add_value(std::move(v));
  };
  Node inner = n;
  inner.inputs.clear();
  inner.outputs.clear();
  inner.attrs["own_inputs"] = static_cast<int64_t>(own - 1);
  if (const auto it = inner.attrs.find("directions"); it != inner.attrs.end()) {
    inner.attrs["scan_input_directions"] = it->second;
    inner.attrs.erase("directions");
  }
  for (size_t i = 1; i < own; ++i) {
    const ValueId v = mirror(n.inputs[i], "sample_input", i);
    batch.inputs.push_back(v);
    inner.inputs.push_back(v);
  }
  for (size_t i = own; i < n.inputs.size(); ++i) {
    const ValueId v = mirror(n.inputs[i], "captured", i);
    if (n.inputs[i] != kNoValue) batch.value(v).shape = ctx.graph.value(n.inputs[i]).shape;
    batch.captures.emplace_back(static_cast<int32_t>(i - 1), v);
    inner.inputs.push_back(v);
  }
  for (size_t i = 0; i < n.outputs.size(); ++i) {
    const ValueId v = mirror(n.outputs[i], "sample_output", i);
    batch.outputs.push_back(v);
    inner.outputs.push_back(v);
  }
  // The body's captures name inputs of its owner, which moved by one with sequence_lens gone.
  const auto body = n.attr_graph("body");
  if (body == nullptr) return ctx.error("it has no body");
  auto moved = std::make_shared<Graph>(*body);
  for (auto& capture : moved->captures) --capture.first;
  inner.attrs["body"] = std::shared_ptr<const Graph>(std::move(moved));
  batch.nodes.push_back(std::move(inner));

  n.inputs.erase(n.inputs.begin());
  n.attrs.clear();
  n.attrs["num_scan_inputs"] = static_cast<int64_t>(own - 1);
  n.attrs["own_inputs"] = static_cast<int64_t>(own - 1);
  n.attrs["body"] = std::shared_ptr<const Graph>(std::make_shared<Graph>(std::move(batch)));
  return {};
}

constexpr std::array kRows{Adapter{"Scan", 8, 8, scan_batch}};

}  // namespace

std::span<const Adapter> scan_adapters() { return kRows; }

}  // namespace planish
