#include "planish/api/layer_rows.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <optional>
#include <set>

#include "planish/api/observed_network.h"
#include "planish/base/isa.h"
#include "planish/base/parallel.h"
#include "planish/passes/pass.h"
#include "planish/quant/reconstruction.h"

namespace planish::api {
namespace {

/// Tensors between two parts of a network; those of the part before are still there while they are made.
constexpr size_t kCutBytes = size_t{128} << 20;

/// Batches that each worker gets in one round.
constexpr size_t kRunsOfWorker = 4;

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

/// Tensors between two parts of a network, of one run.
using Cut = std::vector<CutTensor>;

CutTensor copy_of(std::string_view name, const TensorDesc& desc, const float* data,
                  const std::optional<TensorQuantization>& quantiser) {
  CutTensor out{std::string(name), Tensor(quantiser ? DType::u8 : DType::f32, desc.shape), quantiser};
  parallel_for(out.data.size(), kLeastCopied, [&](int64_t begin, int64_t end) {
    if (!quantiser) {
      std::copy(data + begin, data + end, out.data.data<float>() + begin);
      return;
    }
    codes_of({data + begin, static_cast<size_t>(end - begin)}, *quantiser, out.data.data<uint8_t>() + begin);
  });
  return out;
}

Tensor as_floats(const CutTensor& t) {
  if (!t.quantiser) return t.data;
  Tensor out(DType::f32, t.data.shape());
  parallel_for(out.size(), kLeastCopied, [&](int64_t begin, int64_t end) {
    values_of({t.data.data<uint8_t>() + begin, static_cast<size_t>(end - begin)}, *t.quantiser,
              out.data<float>() + begin);
  });
  return out;
}

/// The tensors of a cut as they are computed, run after run; several workers may add theirs at the same time.
class CutRecorder {
 public:
  CutRecorder(const std::set<std::string>& names, const Quantisers& quantisers, size_t runs)
      : names_(names), quantisers_(quantisers), cut_(runs) {}

  void add(size_t run, std::string_view name, const TensorDesc& desc, const float* data) {
    if (!fits_ || !names_.contains(std::string(name))) return;
    const auto quantiser = quantisers_.find(std::string(name));
    const size_t size =
        static_cast<size_t>(desc.size()) * (quantiser == quantisers_.end() ? sizeof(float) : sizeof(uint8_t));
    if (desc.layout != Layout::row_major || size * cut_.size() > kCutBytes || (bytes_ += size) > kCutBytes) {
      fits_ = false;
      return;
    }
    cut_[run].push_back(
        copy_of(name, desc, data, quantiser == quantisers_.end() ? std::nullopt : std::optional(quantiser->second)));
  }

  /// Empty when the tensors did not fit or were not all shown.
  std::vector<Cut> take() {
    const bool complete = std::ranges::all_of(cut_, [this](const Cut& t) { return t.size() == names_.size(); });
    return fits_ && complete ? std::move(cut_) : std::vector<Cut>{};
  }

 private:
  const std::set<std::string>& names_;
  const Quantisers& quantisers_;
  std::atomic<size_t> bytes_ = 0;
  std::atomic<bool> fits_ = true;
  std::vector<Cut> cut_;
};

}  // namespace

/// Makes the tensors of the cut the inputs of `network`, without what computes them.
Status LayerWalk::start_at_cut(Graph& network) const {
  if (cut_.empty()) return {};
  std::set<ValueId> inputs;
  for (const auto& [name, tensor, quantiser] : cut_.front()) {
    const auto v = network.find_value(name);
    if (!v) return Error{.code = Code::internal, .tensor = name, .what = "the network has lost a tensor"};
    Shape dims = tensor.shape();
    for (const auto& other : cut_)
      for (const auto& [other_name, t, q] : other)
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

RowCollector::RowCollector(const Graph& graph, const std::vector<LayerRows>& layers, int64_t samples, int workers)
    : samples_(std::max<int64_t>(1, samples)), seen_(static_cast<size_t>(workers)) {
  for (const LayerRows& layer : layers) {
    for (Seen& seen : seen_)
      seen.rows.emplace(layer.product->node, InputRows(graph, *layer.product))
          .first->second.reserve(layer.rows / workers);
    const std::string& name = graph.value(layer.product->input).name;
    readers_.emplace(name, layer);
    needed_.insert(name);
  }
}

void RowCollector::show(int worker, int64_t first, int64_t count, std::string_view name, const TensorDesc& desc,
                        const float* data) {
  const auto [reader, last] = readers_.equal_range(name);
  // Of a tensor whose first axis is longer than the batch each sample has as many images.
  const int64_t image = desc.shape.empty() ? first : first * desc.shape[0] / std::max<int64_t>(count, 1);
  for (auto it = reader; it != last; ++it) {
    const int32_t node = it->second.product->node;
    Seen& mine = seen_[static_cast<size_t>(worker)];
    InputRows& rows = mine.rows.at(node);
    const int64_t begin = rows.rows();
    rows.add(data, desc.shape, desc.layout, std::max<int64_t>(1, it->second.rows / samples_), image);
    mine.parts[node].push_back({first, static_cast<size_t>(worker), begin, rows.rows()});
  }
}

bool RowCollector::saw_all() const {
  return std::ranges::all_of(seen_.front().rows, [this](const auto& entry) {
    return std::ranges::any_of(seen_, [&](const Seen& seen) { return seen.rows.at(entry.first).rows() > 0; });
  });
}

RowsByNode RowCollector::take() {
  RowsByNode all = std::move(seen_.front().rows);
  for (auto& [node, rows] : all) {
    std::vector<Part> parts;
    int64_t others = 0;
    for (const Seen& seen : seen_)
      if (const auto it = seen.parts.find(node); it != seen.parts.end()) {
        parts.insert(parts.end(), it->second.begin(), it->second.end());
        others += &seen != &seen_.front() ? it->second.back().end : 0;
      }
    if (others == 0) continue;
    std::ranges::stable_sort(parts, {}, &Part::first);
    const InputRows first_worker = rows.take_rows();
    rows.reserve(first_worker.rows() + others);
    for (const Part& p : parts)
      rows.append(p.worker == 0 ? first_worker : seen_[p.worker].rows.at(node), p.begin, p.end);
    for (size_t w = 1; w < seen_.size(); ++w) seen_[w].rows.erase(node);
  }
  return all;
}

CalibrationBatch LayerWalk::batch(size_t i, std::deque<Tensor>* floats) const {
  if (cut_.empty()) return samples_.batch(i);
  CalibrationBatch batch;
  batch.samples = cut_samples_[i];
  for (const CutTensor& t : cut_[i]) {
    HostTensor& given = batch.inputs.emplace_back(t.name, HostTensor{DType::f32, t.data.shape(), {}}).second;
    if (floats == nullptr) continue;
    const Tensor& tensor = floats->emplace_back(as_floats(t));
    given.data = {static_cast<const std::byte*>(tensor.raw()), tensor.bytes()};
  }
  return batch;
}

void LayerWalk::show_inputs(RowCollector& rows) const {
  int64_t samples = 0;
  for (size_t i = 0; i < batches(); ++i) {
    std::deque<Tensor> floats;
    const CalibrationBatch inputs = batch(i, &floats);
    for (const auto& [name, tensor] : inputs.inputs)
      if (tensor.dtype == DType::f32)
        rows.show(0, samples, inputs.samples, name, {DType::f32, tensor.dims, Layout::row_major},
                  reinterpret_cast<const float*>(tensor.data.data()));
    samples += inputs.samples;
  }
}

/// Runs `network` over the samples, or over the cut in their place.
Status LayerWalk::run(ObservedNetwork& network, ShowRun show) const {
  size_t runs = 0;
  int64_t samples = 0;
  const size_t round = kRunsOfWorker * static_cast<size_t>(network.most_workers());
  for (size_t first = 0; first < batches(); first += round) {
    std::vector<CalibrationBatch> batches_of_round;
    std::vector<size_t> first_run;
    std::vector<int64_t> first_sample;
    std::deque<Tensor> floats;
    for (size_t i = first; i < std::min(batches(), first + round); ++i) {
      batches_of_round.push_back(batch(i, &floats));
      first_run.push_back(runs);
      first_sample.push_back(samples);
      runs += network.pieces_of(batches_of_round.back()).size();
      samples += batches_of_round.back().samples;
    }
    PLANISH_TRY(network.run(
        batches_of_round, [&](const Piece& piece, std::string_view name, const TensorDesc& desc, const float* data) {
          const int64_t count = piece.rows > 0 ? piece.rows : batches_of_round[piece.batch].samples;
          show({first_run[piece.batch] + piece.number, piece.worker, first_sample[piece.batch] + piece.first, count},
               name, desc, data);
        }));
  }
  return {};
}

Result<RowsByNode> LayerWalk::look(Graph network, const std::vector<LayerRows>& layers, int32_t final_before,
                                   const Quantisers& quantisers) {
  RowCollector rows(graph_, layers, samples_.samples(), threads_ > 0 ? threads_ : cpu_features().physical_cores);
  if (built_ != nullptr) {
    PLANISH_TRY(run(*built_, [&](const Run& r, std::string_view name, const TensorDesc& desc, const float* data) {
      rows.show(r.worker, r.first_sample, r.samples, name, desc, data);
    }));
    if (rows.saw_all()) return rows.take();
    built_ = nullptr;  // it has a tensor in a layout that rows cannot be read from
    return this->look(std::move(network), layers, final_before, quantisers);
  }
  std::set<std::string> needed = rows.needed();
  const auto next = crossing(graph_, final_before);
  if (next) needed.insert(next->begin(), next->end());
  network.outputs.clear();
  std::set<std::string> given;
  if (cut_.empty())
    for (const ValueId v : network.inputs) given.insert(network.value(v).name);
  else
    for (const CutTensor& t : cut_.front()) given.insert(t.name);
  for (const std::string& name : needed)
    if (const auto v = network.find_value(name); v && !given.contains(name)) network.outputs.push_back(*v);
  const bool computes = !network.outputs.empty();
  if (computes) PLANISH_TRY(start_at_cut(network));
  // What is needed is an output.
  ObservedNetwork observed(network, {}, threads_, cut_.empty() ? profile_ : ProfileRanges{}, 0, !cut_.empty());
  if (!computes) {  // inputs alone are looked at, and nothing is nearer than they
    show_inputs(rows);
    return rows.take();
  }
  std::vector<int64_t> samples;
  for (size_t i = 0; i < batches(); ++i) {
    const CalibrationBatch shape_only = batch(i, nullptr);
    for (const Piece& piece : observed.pieces_of(shape_only))
      samples.push_back(piece.rows > 0 ? piece.rows : shape_only.samples);
  }
  std::optional<CutRecorder> recorder;
  if (next) recorder.emplace(*next, quantisers, samples.size());
  PLANISH_TRY(run(observed, [&](const Run& r, std::string_view name, const TensorDesc& desc, const float* data) {
    rows.show(r.worker, r.first_sample, r.samples, name, desc, data);
    if (recorder) recorder->add(r.number, name, desc, data);
  }));
  if (recorder)
    if (auto made = recorder->take(); !made.empty()) {
      cut_ = std::move(made);
      cut_samples_ = std::move(samples);
    }
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
