#include "planish/api/layer_rows.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <optional>
#include <set>

#include "planish/api/observed_network.h"
#include "planish/base/huge_pages.h"
#include "planish/base/isa.h"
#include "planish/passes/pass.h"
#include "planish/quant/reconstruction.h"

namespace planish::api {
namespace {

/// Tensors between two parts of a network; those of the part before are still there while they are made.
constexpr size_t kCutBytes = size_t{128} << 20;

/// A cut of more bytes than these and so many times those of the one before is left out once: computing the layer again
/// takes less than writing and reading what it makes, and the memory stays small.
constexpr size_t kLargeCut = size_t{32} << 20;
constexpr size_t kGrowth = 3;

constexpr size_t kAlignment = 64;

/// Batches that each worker gets in one round: at the end of one somebody waits.
constexpr size_t kRunsOfWorker = 64;

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

/// How bytes of `tensor` lie in memory between two parts of a network: as the kernels for bytes want them. `matrices`:
/// tensors that matrix products read, whose rows have to lie one after the other, however many dimensions there are.
Layout layout_of_bytes(const std::set<std::string>& matrices, const std::string& tensor,
                       const std::optional<Shape>& shape) {
  return shape && shape->size() == 4 && !matrices.contains(tensor) ? Layout::channels_last : Layout::row_major;
}

std::map<std::string, Layout> layouts_of(const Graph& network, const BytesOf& bytes,
                                         const std::set<std::string>& matrices) {
  std::map<std::string, Layout> layouts;
  for (const auto* values : {&network.inputs, &network.outputs})
    for (const ValueId v : *values)
      if (const auto of = bytes.find(network.value(v).name); of != bytes.end())
        layouts[of->first] = layout_of_bytes(matrices, of->second.tensor, network.value(v).shape);
  return layouts;
}

/// QuantizeLinear or DequantizeLinear of `x` into the value `y`.
Node conversion(Graph& network, std::string op, ValueId x, ValueId y, const TensorQuantization& quantiser) {
  const std::string name = network.value(y).name;  // constants move the values
  Tensor zero(quantiser.type, {});
  zero.set(0, static_cast<double>(quantiser.zero));
  Node node{.op = std::move(op), .name = name};
  const ValueId scale = network.add_constant(network.unique_name(name + "_scale"), Tensor::scalar_f32(quantiser.scale));
  const ValueId zero_point = network.add_constant(network.unique_name(name + "_zero_point"), std::move(zero));
  node.inputs = {x, scale, zero_point};
  node.outputs = {y};
  return node;
}

/// A value for the bytes of `x`, which `bytes` is told of.
ValueId bytes_value(Graph& network, ValueId x, const TensorQuantization& quantiser, BytesOf& bytes) {
  const Value& of = network.value(x);
  Value value{.name = network.unique_name(of.name + "_bytes"), .dtype = quantiser.type, .shape = of.shape};
  bytes[value.name] = {of.name, quantiser};
  return network.add_value(std::move(value));
}

/// Makes `x` an output of `network`, as bytes where it has a quantiser.
void add_output(Graph& network, ValueId x, const Quantisers& quantisers, BytesOf& bytes) {
  const auto quantiser = quantisers.find(network.value(x).name);
  if (quantiser == quantisers.end()) {
    network.outputs.push_back(x);
    return;
  }
  network.outputs.push_back(bytes_value(network, x, quantiser->second, bytes));
  Node node = conversion(network, "QuantizeLinear", x, network.outputs.back(), quantiser->second);
  network.nodes.push_back(std::move(node));
}

/// Makes the bytes of `x` the input of `network` that `x` is computed from. Returns it.
ValueId start_with_bytes(Graph& network, ValueId x, const TensorQuantization& quantiser, BytesOf& bytes) {
  const ValueId made = bytes_value(network, x, quantiser, bytes);
  std::set<ValueId> same;  // who quantised the tensor has these bytes
  for (Node& node : network.nodes) {
    for (ValueId& v : node.inputs)
      if (same.contains(v)) v = made;
    if (!node.is("QuantizeLinear") || node.in(0) != x) continue;
    same.insert(node.out(0));
    node.outputs[0] = kNoValue;
  }
  Node node = conversion(network, "DequantizeLinear", made, x, quantiser);
  network.nodes.insert(network.nodes.begin(), std::move(node));
  return made;
}

/// Tensors between two parts of a network, of one run.
using Cut = std::vector<CutTensor>;

/// The tensors of a cut as they are computed, run after run; several workers may add theirs at the same time.
class CutRecorder {
 public:
  /// `most`: bytes.
  CutRecorder(const std::set<std::string>& names, const std::set<std::string>& matrices, CutMemory& memory, size_t runs,
              size_t most)
      : names_(names), matrices_(matrices), memory_(memory), most_(most), cut_(runs) {}

  /// `of`: null for f32.
  void add(size_t run, std::string_view name, const TensorDesc& desc, const void* data, const Quantised* of) {
    const std::string tensor = of != nullptr ? of->tensor : std::string(name);
    if (!fits_ || !names_.contains(tensor) || (of == nullptr) != (desc.dtype == DType::f32)) return;
    const Layout layout = of != nullptr ? layout_of_bytes(matrices_, tensor, desc.shape) : Layout::row_major;
    CutTensor t{tensor, {}, of != nullptr ? std::optional(of->quantiser) : std::nullopt};
    const size_t size = dtype_bytes(desc.dtype, desc.size());
    if (desc.layout != layout || size * cut_.size() > most_ || (bytes_ += size) > most_) {
      fits_ = false;
      return;
    }
    const auto place = place_of(run, tensor, size);
    if (place == nullptr) return;
    std::memcpy(place.get(), data, size);
    t.data = Tensor::share(desc.dtype, desc.shape, place, place.get());
    cut_[run].push_back(std::move(t));
  }

  /// Empty when the tensors did not fit or were not all shown.
  std::vector<Cut> take() {
    const bool complete = std::ranges::all_of(cut_, [this](const Cut& t) { return t.size() == names_.size(); });
    return fits_ && complete ? std::move(cut_) : std::vector<Cut>{};
  }

 private:
  /// One tensor of all runs, those of a length one behind the other.
  struct Column {
    std::shared_ptr<std::byte> memory;
    size_t size = 0;  ///< of one run
  };

  std::shared_ptr<std::byte> place_of(size_t run, const std::string& tensor, size_t size) {
    const std::lock_guard lock(mutex_);
    const auto [it, is_first] = columns_.try_emplace(tensor);
    Column& column = it->second;
    const size_t padded = (size + kAlignment - 1) / kAlignment * kAlignment;
    if (is_first) {
      // What does not fit as a whole is not begun: the memory of a column is taken for all runs at once.
      planned_ += padded * cut_.size();
      if (planned_ > most_) {
        fits_ = false;
        column = {nullptr, 0};
      } else {
        column = {memory_.take(padded * cut_.size()), padded};
      }
    }
    if (column.memory == nullptr) return nullptr;
    if (padded > column.size) return memory_.take(padded);
    return {column.memory, column.memory.get() + run * column.size};
  }

  const std::set<std::string>& names_;
  const std::set<std::string>& matrices_;
  CutMemory& memory_;
  size_t most_;
  std::mutex mutex_;
  std::map<std::string, Column> columns_;
  size_t planned_ = 0;  ///< bytes of all columns
  std::atomic<size_t> bytes_ = 0;
  std::atomic<bool> fits_ = true;
  std::vector<Cut> cut_;
};

}  // namespace

std::shared_ptr<std::byte> CutMemory::take(size_t bytes) {
  const auto is_free = [](const Block& block) { return block.memory.use_count() == 1; };
  Block* best = nullptr;
  for (Block& block : blocks_)
    if (is_free(block) && block.bytes >= bytes && (best == nullptr || block.bytes < best->bytes)) best = &block;
  if (best != nullptr) return best->memory;
  size_t all = bytes;
  for (const Block& block : blocks_) all += block.bytes;
  if (all > 2 * kCutBytes) std::erase_if(blocks_, is_free);
  auto* const memory = static_cast<std::byte*>(allocate_pages(bytes, kAlignment));
  if (memory == nullptr) throw std::bad_alloc();
  return blocks_.emplace_back(Block{{memory, std::free}, bytes}).memory;
}

LayerWalk::LayerWalk(const Graph& graph, const KeptSamples& samples, int threads, const ProfileRanges& profile,
                     ObservedNetwork* built)
    : graph_(graph), samples_(samples), threads_(threads), profile_(profile), built_(built) {
  for (const Node& node : graph.nodes)
    if (node.is("MatMul") || node.is("Gemm")) matrices_.insert(graph.value(node.in(0)).name);
}

/// Makes the tensors of the cut the inputs of `network`, without what computes them.
Status LayerWalk::start_at_cut(Graph& network, BytesOf& bytes) const {
  if (cut_.empty()) return {};
  std::map<ValueId, const CutTensor*> inputs;
  for (const CutTensor& cut : cut_.front()) {
    const std::string& name = cut.name;
    const auto v = network.find_value(name);
    if (!v) return Error{.code = Code::internal, .tensor = name, .what = "the network has lost a tensor"};
    Shape dims = cut.data.shape();
    for (const auto& other : cut_)
      for (const auto& [other_name, t, q] : other)
        for (size_t d = 0; other_name == name && d < dims.size(); ++d)
          if (t.shape()[d] != dims[d]) dims[d] = -1;
    network.value(*v).shape = std::move(dims);
    network.value(*v).dim_names.clear();
    inputs.emplace(*v, &cut);
  }
  for (Node& node : network.nodes)
    for (ValueId& y : node.outputs)
      if (inputs.contains(y)) y = kNoValue;
  network.inputs.clear();
  for (const auto& [v, cut] : inputs)
    network.inputs.push_back(cut->quantiser ? start_with_bytes(network, v, *cut->quantiser, bytes) : v);
  network = PLANISH_TRY(dead_code(network, {}));
  return {};
}

RowCollector::RowCollector(const Graph& graph, const std::vector<LayerRows>& layers, int64_t samples, int workers)
    : samples_(std::max<int64_t>(1, samples)), seen_(static_cast<size_t>(workers)) {
  for (const LayerRows& layer : layers) {
    // Room for all of them: who gets how many depends on which samples are kept, and memory that stays untouched costs
    // nothing.
    for (Seen& seen : seen_)
      seen.rows.emplace(layer.product->node, InputRows(graph, *layer.product)).first->second.reserve(layer.rows);
    const std::string& name = graph.value(layer.product->input).name;
    readers_.emplace(name, layer);
    needed_.insert(name);
  }
}

void RowCollector::show(int worker, int64_t first, int64_t count, std::string_view name, const TensorDesc& desc,
                        const void* data, const TensorQuantization* quantiser) {
  if ((quantiser == nullptr) != (desc.dtype == DType::f32)) return;
  const auto [reader, last] = readers_.equal_range(name);
  // Of a tensor whose first axis is longer than the batch each sample has as many images.
  const int64_t image = desc.shape.empty() ? first : first * desc.shape[0] / std::max<int64_t>(count, 1);
  for (auto it = reader; it != last; ++it) {
    const int32_t node = it->second.product->node;
    Seen& mine = seen_[static_cast<size_t>(worker)];
    InputRows& rows = mine.rows.at(node);
    const int64_t begin = rows.rows();
    const int64_t each = std::max<int64_t>(1, it->second.rows / samples_);
    if (quantiser != nullptr)
      rows.add(static_cast<const uint8_t*>(data), *quantiser, desc.shape, desc.layout, each, image);
    else
      rows.add(static_cast<const float*>(data), desc.shape, desc.layout, each, image);
    mine.parts[node].push_back({first, static_cast<size_t>(worker), begin, rows.rows()});
  }
}

bool RowCollector::saw_all() const {
  return std::ranges::all_of(seen_.front().rows, [this](const auto& entry) {
    return std::ranges::any_of(seen_, [&](const Seen& seen) { return seen.rows.at(entry.first).rows() > 0; });
  });
}

/// Puts what the workers saw of `node` together in `rows`, those of the first worker.
void RowCollector::join(int32_t node, InputRows& rows) {
  std::vector<Part> parts;
  int64_t others = 0;
  for (const Seen& seen : seen_)
    if (const auto it = seen.parts.find(node); it != seen.parts.end()) {
      parts.insert(parts.end(), it->second.begin(), it->second.end());
      others += &seen != &seen_.front() ? it->second.back().end : 0;
    }
  if (others == 0) return;
  std::ranges::stable_sort(parts, {}, &Part::first);
  const InputRows first_worker = rows.take_rows();
  rows.reserve(first_worker.rows() + others);
  for (const Part& p : parts) rows.append(p.worker == 0 ? first_worker : seen_[p.worker].rows.at(node), p.begin, p.end);
  for (size_t w = 1; w < seen_.size(); ++w) (void)seen_[w].rows.at(node).take_rows();
}

RowsByNode RowCollector::take() {
  RowsByNode all = std::move(seen_.front().rows);
  std::vector<RowsByNode::value_type*> nodes;
  for (auto& entry : all) nodes.push_back(&entry);
  parallel_for(static_cast<int64_t>(nodes.size()), 1, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i)
      join(nodes[i]->first, nodes[i]->second);
  });
  return all;
}

size_t LayerWalk::most_of_next_cut() const {
  if (cut_.empty() || left_out_) return kCutBytes;
  size_t bytes = 0;
  for (const Cut& run : cut_)
    for (const CutTensor& t : run) bytes += t.data.bytes();
  return std::clamp(kGrowth * bytes, kLargeCut, kCutBytes);
}

/// `bytes`: what the network calls the bytes that are its inputs.
CalibrationBatch LayerWalk::batch(size_t i, const BytesOf& bytes) const {
  if (cut_.empty()) return samples_.batch(i);
  CalibrationBatch batch;
  batch.samples = cut_samples_[i];
  for (const CutTensor& t : cut_[i]) {
    const auto made = std::ranges::find_if(bytes, [&](const auto& entry) { return entry.second.tensor == t.name; });
    batch.inputs.emplace_back(
        made == bytes.end() ? t.name : made->first,
        HostTensor{t.data.dtype(), t.data.shape(), {static_cast<const std::byte*>(t.data.raw()), t.data.bytes()}});
  }
  return batch;
}

void LayerWalk::show_inputs(RowCollector& rows) const {
  int64_t samples = 0;
  for (size_t i = 0; i < cut_.size(); samples += cut_samples_[i++])
    for (const CutTensor& t : cut_[i])
      rows.show(0, samples, cut_samples_[i], t.name,
                {t.data.dtype(), t.data.shape(),
                 t.quantiser ? layout_of_bytes(matrices_, t.name, t.data.shape()) : Layout::row_major},
                t.data.raw(), t.quantiser ? &*t.quantiser : nullptr);
  if (!cut_.empty()) return;
  for (size_t i = 0; i < samples_.batches(); ++i) {
    const CalibrationBatch inputs = samples_.batch(i);
    for (const auto& [name, tensor] : inputs.inputs)
      rows.show(0, samples, inputs.samples, name, {tensor.dtype, tensor.dims, Layout::row_major}, tensor.data.data());
    samples += inputs.samples;
  }
}

/// Runs `network` over the samples, or over the cut in their place.
Status LayerWalk::run(ObservedNetwork& network, const BytesOf& bytes, ShowRun show) const {
  size_t runs = 0;
  int64_t samples = 0;
  const size_t round = kRunsOfWorker * static_cast<size_t>(network.most_workers());
  for (size_t first = 0; first < batches(); first += round) {
    std::vector<CalibrationBatch> batches_of_round;
    std::vector<size_t> first_run;
    std::vector<int64_t> first_sample;
    for (size_t i = first; i < std::min(batches(), first + round); ++i) {
      batches_of_round.push_back(batch(i, bytes));
      first_run.push_back(runs);
      first_sample.push_back(samples);
      runs += network.pieces_of(batches_of_round.back()).size();
      samples += batches_of_round.back().samples;
    }
    PLANISH_TRY(network.run(
        batches_of_round, [&](const Piece& piece, std::string_view name, const TensorDesc& desc, const void* data) {
          const int64_t count = piece.rows > 0 ? piece.rows : batches_of_round[piece.batch].samples;
          show({first_run[piece.batch] + piece.number, piece.worker, first_sample[piece.batch] + piece.first, count},
               name, desc, data);
        }));
  }
  return {};
}

Result<RowsByNode> LayerWalk::look(Graph network, const std::vector<LayerRows>& layers, int32_t final_before,
                                   const Quantisers& quantisers) {
  RowCollector rows(graph_, layers, samples_.samples(), threads_or_all(threads_));
  if (built_ != nullptr) {
    PLANISH_TRY(run(*built_, {}, [&](const Run& r, std::string_view name, const TensorDesc& desc, const void* data) {
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
  BytesOf bytes;
  for (const std::string& name : needed)
    if (const auto v = network.find_value(name); v && !given.contains(name)) add_output(network, *v, quantisers, bytes);
  const bool computes = !network.outputs.empty();
  if (computes) PLANISH_TRY(start_at_cut(network, bytes));
  // What is needed is an output.
  ObservedNetwork observed(network, {}, threads_, cut_.empty() ? profile_ : ProfileRanges{}, 0, !cut_.empty());
  observed.set_io_layouts(layouts_of(network, bytes, matrices_));
  std::set<std::string, std::less<>> as_bytes;
  for (const auto& [name, of] : bytes) as_bytes.insert(of.tensor);
  const auto found_rows = [&] {
    RowsByNode found = rows.take();
    for (const LayerRows& layer : layers) {
      const std::string& name = graph_.value(layer.product->input).name;
      const auto quantiser = quantisers.find(name);
      if (quantiser != quantisers.end() && !as_bytes.contains(name))
        round_to_steps(found.at(layer.product->node).values(), quantiser->second);
    }
    return found;
  };
  if (!computes) {  // inputs alone are looked at, and nothing is nearer than they
    show_inputs(rows);
    return found_rows();
  }
  std::vector<int64_t> samples;
  for (size_t i = 0; i < batches(); ++i) {
    const CalibrationBatch next_batch = batch(i, bytes);
    for (const Piece& piece : observed.pieces_of(next_batch))
      samples.push_back(piece.rows > 0 ? piece.rows : next_batch.samples);
  }
  std::optional<CutRecorder> recorder;
  if (next) recorder.emplace(*next, matrices_, memory_, samples.size(), most_of_next_cut());
  PLANISH_TRY(run(observed, bytes, [&](const Run& r, std::string_view name, const TensorDesc& desc, const void* data) {
    if (as_bytes.contains(name)) return;  // for a reader of its floats
    const auto found = bytes.find(name);
    const Quantised* of = found == bytes.end() ? nullptr : &found->second;
    rows.show(r.worker, r.first_sample, r.samples, of != nullptr ? of->tensor : name, desc, data,
              of != nullptr ? &of->quantiser : nullptr);
    if (recorder) recorder->add(r.number, name, desc, data, of);
  }));
  if (recorder) {
    auto made = recorder->take();
    left_out_ = made.empty();
    if (!left_out_) {
      cut_ = std::move(made);
      cut_samples_ = std::move(samples);
      cut_before_ = final_before;
    }
  }
  return found_rows();
}

size_t fitting_layers(const std::vector<LayerRows>& layers, size_t first, int64_t bytes) {
  int64_t used = 0;
  size_t end = first;
  for (; end < layers.size(); ++end) {
    used += layers[end].bytes();
    if (end > first && used > bytes) break;
  }
  return end;
}

}  // namespace planish::api
