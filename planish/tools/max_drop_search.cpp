#include "planish/tools/max_drop_search.h"

#include <fmt/format.h>

#include <algorithm>

namespace planish::tools {
namespace {

double tuned_total_ms(const std::vector<api::LayerInfo>& layers) {
  double total = 0;
  for (const api::LayerInfo& layer : layers) total += layer.tuned_time_ms;
  return total;
}

class Search {
 public:
  Search(Trials& trials, const api::CalibrationTable& table, const api::QuantizeOptions& options, const Judge& judge,
         const SearchOptions& search, const std::function<void(const std::string&)>& say)
      : trials_(trials), table_(table), options_(options), judge_(judge), search_(search), say_(say) {}

  Result<SearchResult> run(std::vector<NodeSensitivity> ranked) {
    const api::Engine in_float = PLANISH_TRY(trials_.build([&](api::BuildConfig& c) { set_halves(c); }, "float"));
    result_.in_float = PLANISH_TRY(judge_.score(in_float));
    result_.float_ms = tuned_total_ms(PLANISH_TRY(in_float.layers()));
    say_(fmt::format("float: {} {}", result_.in_float.metric, percent_text(result_.in_float.value)));
    // Harm per time saved: what hurts much and saves little goes first.
    const auto worth = [](const NodeSensitivity& n) {
      return n.output_error * n.output_error / std::max(n.saved_ms(), 1e-3);
    };
    std::stable_sort(ranked.begin(), ranked.end(),
                     [&](const NodeSensitivity& a, const NodeSensitivity& b) { return worth(a) > worth(b); });
    if (PLANISH_TRY(passes({}))) return finish();
    PLANISH_TRY(bisect(ranked));
    if (result_.reached) PLANISH_TRY(give_back());
    return finish();
  }

 private:
  void set_halves(api::BuildConfig& config) const {
    config.fp16 = search_.fp16;
    config.bf16 = search_.bf16;
  }
  [[nodiscard]] bool late() {
    result_.timed_out = result_.timed_out || std::chrono::steady_clock::now() > search_.deadline;
    return result_.timed_out;
  }

  /// Builds and judges the network with `kept` in float; remembers it when it is the best so far.
  Result<bool> passes(const std::vector<NodeSensitivity>& kept) {
    api::QuantizeOptions options = options_;
    options.progress = nullptr;
    options.warn = nullptr;
    for (const NodeSensitivity& node : kept) options.keep_float.push_back(node.node);
    api::Model quantised = PLANISH_TRY(api::quantize(trials_.model(), table_, options));
    api::BuildConfig config = trials_.config();
    set_halves(config);
    const api::Engine engine = PLANISH_TRY(trials_.build_model(
        std::move(quantised), std::move(config), fmt::format("INT8 with {} nodes in float", kept.size())));
    ++result_.engines;
    Score score = PLANISH_TRY(judge_.score(engine));
    const double ms = tuned_total_ms(PLANISH_TRY(engine.layers()));
    const double drop = result_.in_float.value - score.value;
    const bool enough = drop <= search_.max_drop + 1e-12;
    say_(fmt::format("{} nodes in float: {} {} ({}), {:.3f} ms{}", kept.size(), score.metric, percent_text(score.value),
                     points_text(-drop), ms, enough ? "" : ", too low"));
    if (kept.empty()) {
      result_.in_int8 = score;
      result_.int8_ms = ms;
    }
    const bool better = enough ? !result_.reached || kept.size() < result_.kept.size() : !result_.reached;
    if (better) {
      result_.reached = enough;
      result_.kept = kept;
      result_.chosen = std::move(score);
      result_.chosen_ms = ms;
    }
    return enough;
  }

  /// The shortest head of the ranking that is enough: doubling, then halving the gap.
  Status bisect(const std::vector<NodeSensitivity>& ranked) {
    const auto head = [&](size_t count) {
      return std::vector<NodeSensitivity>(ranked.begin(), ranked.begin() + static_cast<std::ptrdiff_t>(count));
    };
    size_t low = 0, high = 1;
    while (true) {
      high = std::min(high, ranked.size());
      if (late() || high == 0) return {};
      if (PLANISH_TRY(passes(head(high)))) break;
      if (high == ranked.size()) return {};
      low = high;
      high *= 2;
    }
    while (high - low > 1 && !late()) {
      const size_t middle = low + (high - low) / 2;
      if (PLANISH_TRY(passes(head(middle)))) {
        high = middle;
      } else {
        low = middle;
      }
    }
    return {};
  }

  /// Nodes that turn out not to be needed in float, most time saved first.
  Status give_back() {
    std::vector<NodeSensitivity> candidates = result_.kept;
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const NodeSensitivity& a, const NodeSensitivity& b) { return a.saved_ms() > b.saved_ms(); });
    for (const NodeSensitivity& candidate : candidates) {
      if (late() || result_.kept.size() <= 1) return {};
      std::vector<NodeSensitivity> fewer;
      for (const NodeSensitivity& node : result_.kept)
        if (node.node != candidate.node) fewer.push_back(node);
      (void)PLANISH_TRY(passes(fewer));
    }
    return {};
  }

  Result<SearchResult> finish() { return std::move(result_); }

  Trials& trials_;
  const api::CalibrationTable& table_;
  const api::QuantizeOptions& options_;
  const Judge& judge_;
  const SearchOptions& search_;
  const std::function<void(const std::string&)>& say_;
  SearchResult result_;
};

}  // namespace

Result<SearchResult> search_mix(Trials& trials, const api::CalibrationTable& table, const api::QuantizeOptions& options,
                                std::vector<NodeSensitivity> ranked, const Judge& judge, const SearchOptions& search,
                                const std::function<void(const std::string&)>& say) {
  return Search(trials, table, options, judge, search, say).run(std::move(ranked));
}

}  // namespace planish::tools
