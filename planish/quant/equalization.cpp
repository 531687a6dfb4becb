#include "planish/quant/equalization.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string_view>

namespace planish {
namespace {

/// Exponents of the range of a channel and of the weights that read it: their ratio becomes even, so that neither side
/// of a product rounds much more coarsely than the other.
constexpr double kRangeExponent = 0.5;
constexpr double kWeightExponent = 0.5;
constexpr double kLargestDivisor = 64;

constexpr std::array<std::string_view, 4> kTransparent{"Relu", "LeakyRelu", "MaxPool", "AveragePool"};

/// A convolution that reads channels [first, first + count) of the equalised ones at its input channel `offset`.
struct Reader {
  int32_t node = 0;
  int64_t offset = 0;
};

class Equaliser {
 public:
  Equaliser(Graph& graph, const ChannelMaxima& maxima) : graph_(graph), maxima_(maxima), uses_(graph) {}

  Equalization run() {
    for (int32_t n = 0; n < static_cast<int32_t>(graph_.nodes.size()); ++n) equalise_outputs(n);
    return std::move(done_);
  }

 private:
  [[nodiscard]] Node& node(int32_t n) { return graph_.nodes[static_cast<size_t>(n)]; }

  /// Weights of a convolution that this graph may change: f32, nobody else's.
  Tensor* own_weights(int32_t n) {
    Node& conv = node(n);
    if (!conv.is("Conv") || conv.in(1) == kNoValue) return nullptr;
    Value& w = graph_.value(conv.inputs[1]);
    if (!w.constant || w.constant->dtype() != DType::f32 || w.constant->rank() < 3) return nullptr;
    return uses_.consumers[static_cast<size_t>(conv.inputs[1])].size() == 1 ? &*w.constant : nullptr;
  }

  std::optional<int64_t> channels(ValueId v) const {
    const auto& shape = graph_.value(v).shape;
    if (!shape || shape->size() < 3 || (*shape)[1] < 0) return std::nullopt;
    return (*shape)[1];
  }

  /// All convolutions that read `v` (which holds the channels from `offset` on), and the tensors on the way; false when
  /// something else reads it.
  bool follow(ValueId v, int64_t offset, std::vector<Reader>& readers,
              std::vector<std::pair<ValueId, int64_t>>& tensors) {
    if (uses_.is_output[static_cast<size_t>(v)] || uses_.consumers[static_cast<size_t>(v)].empty()) return false;
    tensors.emplace_back(v, offset);
    for (const int32_t c : uses_.consumers[static_cast<size_t>(v)]) {
      const Node& reader = node(c);
      if (reader.is("Conv") && reader.in(0) == v && reader.attr_int("group", 1) == 1 && own_weights(c) != nullptr) {
        readers.push_back({c, offset});
      } else if (reader.domain.empty() && std::ranges::find(kTransparent, reader.op) != kTransparent.end() &&
                 reader.out(1) == kNoValue) {
        if (!follow(reader.outputs[0], offset, readers, tensors)) return false;
      } else if (reader.is("Concat") && reader.attr_int("axis", 0) == 1) {
        int64_t at = offset;
        for (const ValueId part : reader.inputs) {
          if (part == v) break;
          const auto count = channels(part);
          if (!count) return false;
          at += *count;
        }
        if (std::ranges::count(reader.inputs, v) != 1 || !follow(reader.outputs[0], at, readers, tensors)) return false;
      } else {
        return false;
      }
    }
    return true;
  }

  /// By channel: the largest share that the weights reading it have of their output channel's largest weight.
  std::vector<double> weight_shares(const std::vector<Reader>& readers, int64_t count) {
    std::vector<double> shares(static_cast<size_t>(count), 0);
    for (const Reader& r : readers) {
      const Tensor& w = *own_weights(r.node);
      const int64_t inputs = w.dim(1);
      const int64_t taps = w.size() / (w.dim(0) * inputs);
      const float* x = w.data<float>();
      for (int64_t m = 0; m < w.dim(0); ++m) {
        float row_max = 0;
        for (int64_t i = 0; i < inputs * taps; ++i) row_max = std::max(row_max, std::fabs(x[m * inputs * taps + i]));
        if (row_max == 0) continue;
        for (int64_t c = 0; c < count; ++c)
          for (int64_t t = 0; t < taps; ++t) {
            const double share = std::fabs(x[(m * inputs + r.offset + c) * taps + t]) / row_max;
            shares[static_cast<size_t>(c)] = std::max(shares[static_cast<size_t>(c)], share);
          }
      }
    }
    return shares;
  }

  void equalise_outputs(int32_t n) {
    const Tensor* w = own_weights(n);
    if (w == nullptr) return;
    const int64_t count = w->dim(0);
    std::vector<Reader> readers;
    std::vector<std::pair<ValueId, int64_t>> tensors;
    if (!follow(node(n).outputs[0], 0, readers, tensors) || readers.empty()) return;
    for (const Reader& r : readers)
      if (r.offset + count > own_weights(r.node)->dim(1)) return;
    if (node(n).in(2) != kNoValue &&
        (graph_.constant_of(node(n).in(2)) == nullptr || graph_.constant_of(node(n).in(2))->size() != count ||
         graph_.constant_of(node(n).in(2))->dtype() != DType::f32))
      return;
    const auto divisors = divisors_for(readers, tensors, count);
    if (!divisors) return;
    apply(n, readers, *divisors);
    remember(tensors, *divisors);
    ++done_.layers;
  }

  std::optional<std::vector<float>> divisors_for(const std::vector<Reader>& readers,
                                                 const std::vector<std::pair<ValueId, int64_t>>& tensors,
                                                 int64_t count) {
    const ValueId read = node(readers.front().node).in(0);
    const std::vector<float>* amax = maxima_(graph_.value(read).name);
    const auto at = std::ranges::find(tensors, read, &std::pair<ValueId, int64_t>::first);
    if (amax == nullptr || at == tensors.end() || at->second + count > static_cast<int64_t>(amax->size()))
      return std::nullopt;
    const std::vector<double> shares = weight_shares(readers, count);
    // Relative to the whole tensor, so that the branches of a concat are evened out with each other.
    const double largest = *std::ranges::max_element(*amax);
    if (!(largest > 0)) return std::nullopt;
    std::vector<float> divisors(static_cast<size_t>(count), 1.0F);
    for (size_t c = 0; c < divisors.size(); ++c) {
      const double range = (*amax)[static_cast<size_t>(at->second) + c] / largest;
      const double share = std::max(shares[c], 1e-3);
      const double d = std::pow(std::max(range, 0.0), kRangeExponent) / std::pow(share, kWeightExponent);
      divisors[c] = static_cast<float>(std::clamp(d, 1 / kLargestDivisor, kLargestDivisor));
    }
    return divisors;
  }

  void apply(int32_t n, const std::vector<Reader>& readers, const std::vector<float>& divisors) {
    Node& conv = node(n);
    Tensor w = own_weights(n)->clone();
    const int64_t slice = w.size() / w.dim(0);
    for (int64_t i = 0; i < w.size(); ++i) w.data<float>()[i] /= divisors[static_cast<size_t>(i / slice)];
    graph_.value(conv.inputs[1]).constant = std::move(w);
    if (conv.in(2) != kNoValue) {
      Tensor b = graph_.constant_of(conv.inputs[2])->clone();
      for (int64_t c = 0; c < b.size(); ++c) b.data<float>()[c] /= divisors[static_cast<size_t>(c)];
      // Biases may be shared between layers.
      conv.inputs[2] = graph_.add_constant(graph_.unique_name(graph_.value(conv.inputs[2]).name), std::move(b));
    }
    for (const Reader& r : readers) {
      Tensor v = own_weights(r.node)->clone();
      const int64_t inputs = v.dim(1);
      const int64_t taps = v.size() / (v.dim(0) * inputs);
      for (int64_t i = 0; i < v.size(); ++i) {
        const int64_t c = i / taps % inputs - r.offset;
        if (c >= 0 && c < static_cast<int64_t>(divisors.size())) v.data<float>()[i] *= divisors[static_cast<size_t>(c)];
      }
      graph_.value(node(r.node).inputs[1]).constant = std::move(v);
    }
  }

  void remember(const std::vector<std::pair<ValueId, int64_t>>& tensors, const std::vector<float>& divisors) {
    for (const auto& [v, offset] : tensors) {
      const auto count = channels(v);
      if (!count) continue;
      auto& all = done_.divisors[graph_.value(v).name];
      all.resize(static_cast<size_t>(*count), 1.0F);
      for (size_t c = 0; c < divisors.size() && static_cast<size_t>(offset) + c < all.size(); ++c)
        all[static_cast<size_t>(offset) + c] *= divisors[c];
    }
  }

  Graph& graph_;
  const ChannelMaxima& maxima_;
  const Uses uses_;
  Equalization done_;
};

}  // namespace

Equalization equalise(Graph& graph, const ChannelMaxima& maxima) { return Equaliser(graph, maxima).run(); }

}  // namespace planish
