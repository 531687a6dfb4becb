#include "planish/api/layer_rows.h"

#include <algorithm>
#include <set>
#include <string>

#include "planish/api/observed_network.h"

namespace planish::api {
namespace {

/// Rows of the float network that are kept at once.
constexpr int64_t kRowBytes = int64_t{256} << 20;

}  // namespace

Result<RowsByNode> collect_rows(Graph network, const Graph& graph, const std::vector<LayerRows>& layers,
                                const KeptSamples& samples, int threads, const ProfileRanges& profile) {
  RowsByNode rows;
  std::multimap<std::string, const LayerRows*, std::less<>> readers;
  std::set<std::string> needed;
  network.outputs.clear();
  for (const LayerRows& layer : layers) {
    rows.emplace(layer.product->node, InputRows(graph, *layer.product));
    const std::string& name = graph.value(layer.product->input).name;
    readers.emplace(name, &layer);
    if (!needed.insert(name).second) continue;
    const auto v = network.find_value(name);
    const bool is_input = v && std::ranges::find(network.inputs, *v) != network.inputs.end();
    if (v && !is_input) network.outputs.push_back(*v);
  }
  const int64_t count = std::max<int64_t>(1, samples.samples());
  const auto show = [&](std::string_view name, const TensorDesc& desc, const float* data) {
    const auto [first, last] = readers.equal_range(name);
    for (auto it = first; it != last; ++it)
      rows.at(it->second->product->node)
          .add(data, desc.shape, desc.layout, std::max<int64_t>(1, it->second->rows / count));
  };
  if (network.outputs.empty()) {  // inputs alone are looked at: nothing is computed
    for (size_t i = 0; i < samples.batches(); ++i) {
      const CalibrationBatch batch = samples.batch(i);
      for (const auto& [name, tensor] : batch.inputs)
        if (tensor.dtype == DType::f32)
          show(name, {DType::f32, tensor.dims, Layout::row_major}, reinterpret_cast<const float*>(tensor.data.data()));
    }
    return rows;
  }
  ObservedNetwork observed(network, {}, threads, profile, 0);  // what is needed is an output
  for (size_t i = 0; i < samples.batches(); ++i) PLANISH_TRY(observed.run(samples.batch(i), show));
  return rows;
}

size_t fitting_layers(const std::vector<LayerRows>& layers, size_t first) {
  int64_t bytes = 0;
  size_t end = first;
  for (; end < layers.size(); ++end) {
    bytes += layers[end].rows * layers[end].k * layers[end].groups * static_cast<int64_t>(sizeof(float));
    if (end > first && bytes > kRowBytes) break;
  }
  return end;
}

}  // namespace planish::api
