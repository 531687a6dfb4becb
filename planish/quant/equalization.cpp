#include "planish/quant/equalization.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string_view>

namespace planish {
namespace {

/// Exponent of a channel's range. 1 would give every channel all steps of the tensor; but ranges are those of outliers,
/// thresholds lie below them, and the weights behind must round what the channels no longer do.
constexpr double kRangeExponent = 0.6;
/// A channel that the data hardly reached would be clipped where other data reaches it: with 64, pictures of classes
/// that were not calibrated on cost ten times the error.
constexpr double kLargestDivisor = 5;

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

  /// Whether run() would find something to do if it knew all ranges.
  bool any() {
    for (int32_t n = 0; n < static_cast<int32_t>(graph_.nodes.size()); ++n)
      if (channels_of(n)) return true;
    return false;
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

  /// The channels of a convolution that can be evened out.
  struct Channels {
    int64_t count = 0;
    std::vector<Reader> readers;
    std::vector<std::pair<ValueId, int64_t>> tensors;
  };

  std::optional<Channels> channels_of(int32_t n) {
    const Tensor* w = own_weights(n);
    if (w == nullptr) return std::nullopt;
    Channels out{.count = w->dim(0)};
    if (!follow(node(n).outputs[0], 0, out.readers, out.tensors) || out.readers.empty()) return std::nullopt;
    for (const Reader& r : out.readers)
      if (r.offset + out.count > own_weights(r.node)->dim(1)) return std::nullopt;
    if (node(n).in(2) == kNoValue) return out;
    const Tensor* bias = graph_.constant_of(node(n).in(2));
    if (bias == nullptr || bias->size() != out.count || bias->dtype() != DType::f32) return std::nullopt;
    return out;
  }

  void equalise_outputs(int32_t n) {
    const auto channels = channels_of(n);
    if (!channels) return;
    const auto divisors = divisors_for(*channels);
    if (!divisors) return;
    apply(n, channels->readers, *divisors);
    remember(channels->tensors, *divisors);
    ++done_.layers;
  }

  std::optional<std::vector<float>> divisors_for(const Channels& channels) {
    const ValueId read = node(channels.readers.front().node).in(0);
    const std::vector<float>* amax = maxima_(graph_.value(read).name);
    const auto at = std::ranges::find(channels.tensors, read, &std::pair<ValueId, int64_t>::first);
    if (amax == nullptr || at == channels.tensors.end() ||
        at->second + channels.count > static_cast<int64_t>(amax->size()))
      return std::nullopt;
    // Relative to the whole tensor, so that the branches of a concat are evened out with each other.
    const double largest = *std::ranges::max_element(*amax);
    if (!(largest > 0)) return std::nullopt;
    std::vector<float> divisors(static_cast<size_t>(channels.count), 1.0F);
    for (size_t c = 0; c < divisors.size(); ++c) {
      const double range = (*amax)[static_cast<size_t>(at->second) + c] / largest;
      divisors[c] = static_cast<float>(std::max(std::pow(range, kRangeExponent), 1 / kLargestDivisor));
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
  const ChannelMaxima maxima_;
  const Uses uses_;
  Equalization done_;
};

}  // namespace

bool can_equalise(Graph graph) { return Equaliser(graph, {}).any(); }

Equalization equalise(Graph& graph, const ChannelMaxima& maxima) { return Equaliser(graph, maxima).run(); }

}  // namespace planish
