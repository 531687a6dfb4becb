#include "planish/api/layer_rows.h"

#include <algorithm>
#include <optional>
#include <set>

#include "planish/api/observed_network.h"
#include "planish/base/parallel.h"
#include "planish/passes/pass.h"

namespace planish::api {
namespace {

/// Tensors between two parts of a network; those of the part before are still there while they are made.
constexpr size_t kCutBytes = size_t{96} << 20;

/// Fewer floats than this are not worth another thread.
constexpr int64_t kLeastCopied = int64_t{1} << 15;

/// What nodes from number `node` on read of what comes before; nullopt where that is not all f32.
std::optional<std::set<std::string>> crossing(const Graph& graph, int32_t node) {
  std::set<ValueId> before(graph.inputs.begin(), graph.inputs.end());
  for (int32_t n = 0; n < node; ++n)
    before.insert(graph.nodes[static_cast<size_t>(n)].outputs.begin(),
                  graph.nodes[static_cast<size_t>(n)].outputs.end());
  std::set<std::string> names;
  for (auto n = static_cast<size_t>(node); n < graph.nodes.size(); ++n)
    for (const ValueId v : graph.nodes[n].inputs) {
      if (v == kNoValue || graph.constant_of(v) != nullptr || !before.contains(v)) continue;
      if (graph.value(v).dtype != DType::f32 || !graph.value(v).shape) return std::nullopt;
      names.insert(graph.value(v).name);
    }
  if (names.empty()) return std::nullopt;
  return names;
}

/// The tensors of a cut as they are computed, batch after batch.
class CutRecorder {
 public:
  CutRecorder(std::set<std::string> names, size_t batches) : names_(std::move(names)), batches_(batches) {}

  void add(std::string_view name, const TensorDesc& desc, const float* data) {
    if (!fits_ || !names_.contains(std::string(name))) return;
    const bool is_next =
        cut_.empty() || std::ranges::any_of(cut_.back(), [&](const auto& t) { return t.first == name; });
    if (is_next) cut_.emplace_back();
    Tensor copy(DType::f32, desc.shape);
    parallel_for(copy.size(), kLeastCopied, [&copy, data](int64_t begin, int64_t end) {
      std::copy(data + begin, data + end, copy.data<float>() + begin);
    });
    bytes_ += copy.bytes();
    cut_.back().emplace_back(name, std::move(copy));
    fits_ = desc.layout == Layout::row_major && bytes_ / cut_.size() * std::max(batches_, cut_.size()) <= kCutBytes;
    if (!fits_) cut_.clear();
  }

  /// Empty when the tensors did not fit or were not all shown.
  std::vector<std::vector<std::pair<std::string, Tensor>>> take() {
    const bool complete = std::ranges::all_of(cut_, [this](const auto& t) { return t.size() == names_.size(); });
    return fits_ && complete ? std::move(cut_) : std::vector<std::vector<std::pair<std::string, Tensor>>>{};
  }

 private:
  std::set<std::string> names_;
  size_t batches_;
  size_t bytes_ = 0;
  bool fits_ = true;
  std::vector<std::vector<std::pair<std::string, Tensor>>> cut_;
};

}  // namespace

CalibrationBatch LayerWalk::batch(size_t i) const {
  if (cut_.empty()) return samples_.batch(i);
  CalibrationBatch out;
  for (const auto& [name, tensor] : cut_[i])
    out.inputs.emplace_back(
        name, HostTensor{DType::f32, tensor.shape(), {static_cast<const std::byte*>(tensor.raw()), tensor.bytes()}});
  return out;
}

/// Makes the tensors of the cut the inputs of `network`, without what computes them.
Status LayerWalk::start_at_cut(Graph& network) const {
  if (cut_.empty()) return {};
  std::set<ValueId> inputs;
  for (const auto& [name, tensor] : cut_.front()) {
    const auto v = network.find_value(name);
    if (!v) return Error{.code = Code::internal, .tensor = name, .what = "the network has lost a tensor"};
    Shape dims = tensor.shape();
    for (const auto& other : cut_)
      for (const auto& [other_name, t] : other)
        for (size_t d = 0; other_name == name && d < dims.size(); ++d)
          if (t.shape()[d] != dims[d]) dims[d] = -1;
    network.value(*v).shape = std::move(dims);
    network.value(*v).dim_names.clear();
    inputs.insert(*v);
  }
  for (Node& node : network.nodes)
    for (ValueId& y : node.outputs)
      if (inputs.contains(y)) y = kNoValue;
  network.inputs.assign(inputs.begin(), inputs.end());
  network = PLANISH_TRY(dead_code(network, {}));
  return {};
}

RowCollector::RowCollector(const Graph& graph, const std::vector<LayerRows>& layers, int64_t samples)
    : samples_(std::max<int64_t>(1, samples)) {
  for (const LayerRows& layer : layers) {
    const int32_t node = layer.product->node;
    seen_.emplace(node, InputRows(graph, *layer.product)).first->second.reserve(layer.rows);
    const std::string& name = graph.value(layer.product->input).name;
    readers_.emplace(name, layer);
    needed_.insert(name);
  }
}

void RowCollector::show(std::string_view name, const TensorDesc& desc, const float* data) {
  const auto [first, last] = readers_.equal_range(name);
  for (auto it = first; it != last; ++it)
    seen_.at(it->second.product->node)
        .add(data, desc.shape, desc.layout, std::max<int64_t>(1, it->second.rows / samples_));
}

bool RowCollector::saw_all() const {
  return std::ranges::all_of(seen_, [](const auto& entry) { return entry.second.rows() > 0; });
}

Result<RowsByNode> LayerWalk::look(Graph network, const std::vector<LayerRows>& layers, int32_t final_before) {
  RowCollector rows(graph_, layers, samples_.samples());
  std::optional<CutRecorder> recorder;
  const auto show = [&](std::string_view name, const TensorDesc& desc, const float* data) {
    rows.show(name, desc, data);
    if (recorder) recorder->add(name, desc, data);
  };
  if (built_ != nullptr) {
    for (size_t i = 0; i < samples_.batches(); ++i) PLANISH_TRY(built_->run(samples_.batch(i), show));
    if (rows.saw_all()) return rows.take();
    built_ = nullptr;  // it has a tensor in a layout that rows cannot be read from
    return this->look(std::move(network), layers, final_before);
  }
  std::set<std::string> needed = rows.needed();
  if (auto next = crossing(graph_, final_before)) {
    needed.insert(next->begin(), next->end());
    recorder.emplace(std::move(*next), batches());
  }
  network.outputs.clear();
  std::set<std::string> given;
  if (cut_.empty())
    for (const ValueId v : network.inputs) given.insert(network.value(v).name);
  else
    for (const auto& [name, tensor] : cut_.front()) given.insert(name);
  for (const std::string& name : needed)
    if (const auto v = network.find_value(name); v && !given.contains(name)) network.outputs.push_back(*v);
  if (network.outputs.empty()) {  // inputs alone are looked at: nothing is computed, and nothing is nearer than they
    recorder.reset();
    for (size_t i = 0; i < batches(); ++i) {
      const CalibrationBatch inputs = batch(i);
      for (const auto& [name, tensor] : inputs.inputs)
        if (tensor.dtype == DType::f32)
          show(name, {DType::f32, tensor.dims, Layout::row_major}, reinterpret_cast<const float*>(tensor.data.data()));
    }
    return rows.take();
  }
  PLANISH_TRY(start_at_cut(network));
  // What is needed is an output.
  ObservedNetwork observed(network, {}, threads_, cut_.empty() ? profile_ : ProfileRanges{}, 0, !cut_.empty());
  for (size_t i = 0; i < batches(); ++i) PLANISH_TRY(observed.run(batch(i), show));
  if (recorder)
    if (auto made = recorder->take(); !made.empty()) cut_ = std::move(made);
  return rows.take();
}

size_t fitting_layers(const std::vector<LayerRows>& layers, size_t first, int64_t bytes) {
  int64_t used = 0;
  size_t end = first;
  for (; end < layers.size(); ++end) {
    used += layers[end].rows * layers[end].k * layers[end].groups * static_cast<int64_t>(sizeof(float));
    if (end > first && used > bytes) break;
  }
  return end;
}

}  // namespace planish::api
