#include "planish/tools/max_drop_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace planish::tools {
namespace {

class Search {
 public:
  Search(const SearchOptions& search, const TryMix& try_mix, const std::function<void(const std::string&)>& say)
      : search_(search), try_mix_(try_mix), say_(say) {}

  Result<SearchResult> run(Measured in_float, std::vector<NodeSensitivity> ranked) {
    result_.in_float = std::move(in_float);
    ranked_ = std::move(ranked);
    say_(fmt::format("FP32: {} {}, {:.3f} ms", result_.in_float.score.metric,
                     percent_text(result_.in_float.score.value), result_.in_float.ms));
    // Harm per time saved: what hurts much and saves little goes first.
    const auto worth = [](const NodeSensitivity& n) {
      return n.output_error * n.output_error / std::max(n.saved_ms(), 1e-3);
    };
    std::stable_sort(ranked_.begin(), ranked_.end(),
                     [&](const NodeSensitivity& a, const NodeSensitivity& b) { return worth(a) > worth(b); });
    if (!PLANISH_TRY(passes({}))) {
      PLANISH_TRY(bisect());
      if (best_) PLANISH_TRY(give_back());
    }
    return finish();
  }

 private:
  [[nodiscard]] bool late() {
    result_.timed_out = result_.timed_out || std::chrono::steady_clock::now() > search_.deadline;
    return result_.timed_out;
  }

  /// Whether the network with `kept` in float keeps the limit.
  Result<bool> passes(const std::vector<NodeSensitivity>& kept) {
    const auto same = [&](const MixTrial& trial) {
      return std::ranges::equal(trial.kept, kept, {}, &NodeSensitivity::node, &NodeSensitivity::node);
    };
    if (const auto it = std::ranges::find_if(result_.trials, same); it != result_.trials.end()) return it->enough;
    MixTrial trial{.kept = kept, .measured = PLANISH_TRY(try_mix_(kept))};
    const Score& score = trial.measured.score;
    const double drop = result_.in_float.score.value - score.value;
    trial.enough = drop <= search_.max_drop + 1e-12;
    say_(fmt::format("{} nodes in float: {} {} ({}), {:.3f} ms{}", kept.size(), score.metric, percent_text(score.value),
                     points_text(-drop), trial.measured.ms, trial.enough ? "" : ", too low"));
    const bool enough = trial.enough;
    if (enough && (!best_ || trial.measured.ms < result_.trials[*best_].measured.ms)) best_ = result_.trials.size();
    result_.trials.push_back(std::move(trial));
    return enough;
  }

  /// The shortest head of the ranking that is enough: doubling, then halving the gap.
  Status bisect() {
    const auto head = [&](size_t count) {
      return std::vector<NodeSensitivity>(ranked_.begin(), ranked_.begin() + static_cast<std::ptrdiff_t>(count));
    };
    size_t low = 0, high = 1;
    while (true) {
      high = std::min(high, ranked_.size());
      if (late() || high == 0) return {};
      if (PLANISH_TRY(passes(head(high)))) break;
      if (high == ranked_.size()) return {};
      low = high;
      high *= 2;
    }
    shortest_ = head(high);
    while (high - low > 1 && !late()) {
      const size_t middle = low + (high - low) / 2;
      if (PLANISH_TRY(passes(head(middle)))) {
        high = middle;
        shortest_ = head(high);
      } else {
        low = middle;
      }
    }
    return {};
  }

  /// Nodes that turn out not to be needed in float, most time saved first.
  Status give_back() {
    std::vector<NodeSensitivity> candidates = shortest_;
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const NodeSensitivity& a, const NodeSensitivity& b) { return a.saved_ms() > b.saved_ms(); });
    for (const NodeSensitivity& candidate : candidates) {
      if (late() || shortest_.size() <= 1) return {};
      std::vector<NodeSensitivity> fewer;
      for (const NodeSensitivity& node : shortest_)
        if (node.node != candidate.node) fewer.push_back(node);
      if (PLANISH_TRY(passes(fewer))) shortest_ = std::move(fewer);
    }
    return {};
  }

  Result<SearchResult> finish() {
    if (!best_) PLANISH_TRY(passes(ranked_));
    if (best_) {
      result_.chosen = result_.trials[*best_];
    } else {
      result_.only_in_fp32 = true;
      result_.chosen = {.kept = ranked_, .measured = result_.in_float, .enough = true};
    }
    result_.all_float = result_.chosen.kept.size() == ranked_.size();
    return std::move(result_);
  }

  const SearchOptions& search_;
  const TryMix& try_mix_;
  const std::function<void(const std::string&)>& say_;
  std::vector<NodeSensitivity> ranked_, shortest_;
  std::optional<size_t> best_;  ///< of the trials that keep the limit the fastest
  SearchResult result_;
};

}  // namespace

const MixTrial* SearchResult::nearest_miss(size_t nodes) const {
  const MixTrial* nearest = nullptr;
  for (const MixTrial& trial : trials)
    if (!trial.enough && trial.kept.size() < nodes &&
        (nearest == nullptr || trial.measured.score.value > nearest->measured.score.value))
      nearest = &trial;
  return nearest;
}

Result<SearchResult> search_mix(Measured in_float, std::vector<NodeSensitivity> ranked, const SearchOptions& search,
                                const TryMix& try_mix, const std::function<void(const std::string&)>& say) {
  return Search(search, try_mix, say).run(std::move(in_float), std::move(ranked));
}

}  // namespace planish::tools
