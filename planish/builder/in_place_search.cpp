#include "planish/builder/in_place_search.h"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <optional>

namespace planish {
namespace {

/// A plan or layer is faster when it saves more than this share.
constexpr double kNoise = 0.005;
constexpr double kLayerNoise = 0.02;
/// The share of the time after which no new choices are tried, so that what was learnt can be put together.
constexpr double kLeftForLast = 0.25;

class Search {
 public:
  Search(PlanSpace& space, Picks start, PlanRace& race, const SearchEffort& effort)
      : space_(space), best_(std::move(start)), race_(race), effort_(effort), alone_(times_alone(space)) {
    seen_.resize(alone_.size());
    for (size_t n = 0; n < alone_.size(); ++n) seen_[n].resize(alone_[n].size());
  }

  Picks run(const PlanTimes& start_times) {
    usual_ = start_times.node_ms;
    usual_total_ms_ = start_times.total_ms();
    if (usual_.size() != alone_.size() || !(usual_total_ms_ > 0)) return best_;
    learn_reformats(start_times, 1.0);
    for (int round = 0; round < effort_.max_rounds && race_.time_left() > kLeftForLast; ++round) {
      const Picks trial = space_.cheapest(costs(true), best_);
      if (trial == best_) break;
      if (!compare(trial)) return best_;
    }
    const Picks last = space_.cheapest(costs(false), best_);
    if (last != best_) compare(last);
    return best_;
  }

 private:
  /// What each choice is expected to take in place.
  std::vector<std::vector<double>> costs(bool tries_new) const {
    std::vector<std::vector<double>> ms = alone_;
    for (size_t n = 0; n < ms.size(); ++n)
      for (size_t c = 0; c < ms[n].size(); ++c) {
        if (c == best_[n])
          ms[n][c] = usual_[n] * (1 - kLayerNoise);
        else if (!seen_[n][c].empty())
          ms[n][c] =
              std::accumulate(seen_[n][c].begin(), seen_[n][c].end(), 0.0) / static_cast<double>(seen_[n][c].size());
        else
          ms[n][c] = tries_new ? expected_ms(n, c) * effort_.optimism : kNever;
      }
    return ms;
  }

  /// Alone, the operands lie in the caches and the machine may have been in another mood. Cold operands cost every
  /// choice of a layer about as much; a slow spell hit the choices of a layer, timed one after the other, alike.
  [[nodiscard]] double expected_ms(size_t n, size_t c) const {
    const double alone = alone_[n][best_[n]];
    if (alone <= 0) return alone_[n][c];
    return usual_[n] >= alone ? alone_[n][c] + usual_[n] - alone : alone_[n][c] * usual_[n] / alone;
  }

  /// Runs the plan beside the best one and learns; false: it could not be run.
  bool compare(const Picks& trial) {
    const std::vector<Picks> plans{best_, trial};
    const auto times = race_.run(plans);
    if (!times.ok() || times->size() != 2) return false;
    const PlanTimes& of_best = (*times)[0];
    const PlanTimes& of_trial = (*times)[1];
    if (!(of_best.total_ms() > 0)) return false;
    // Times of this round in terms of the first: the machine may run faster or slower now.
    const double pace = usual_total_ms_ / of_best.total_ms();
    for (size_t n = 0; n < best_.size(); ++n) {
      if (trial[n] == best_[n]) continue;
      const bool both = of_best.node_ms[n] > 0 && usual_[n] > 0;
      seen_[n][trial[n]].push_back(both ? usual_[n] * of_trial.node_ms[n] / of_best.node_ms[n]
                                        : of_trial.node_ms[n] * pace);
    }
    learn_reformats(of_best, pace);
    learn_reformats(of_trial, pace);
    if (of_trial.total_ms() >= of_best.total_ms() * (1 - kNoise)) return true;
    for (size_t n = 0; n < best_.size(); ++n) {
      if (trial[n] == best_[n]) continue;
      seen_[n][best_[n]].push_back(usual_[n]);
      usual_[n] = of_trial.node_ms[n] * pace;
    }
    usual_total_ms_ = of_trial.total_ms() * pace;
    best_ = trial;
    return true;
  }

  void learn_reformats(const PlanTimes& times, double pace) {
    std::map<FormChange, std::pair<double, int>> sums;
    for (const ReformatTime& reformat : times.reformats) {
      auto& [sum, count] = sums[reformat.change];
      sum += reformat.ms * pace;
      ++count;
    }
    for (const auto& [change, sum] : sums) {
      auto& seen = reformats_[change];
      seen.push_back(sum.first / sum.second);
      space_.set_reformat_ms(change, std::accumulate(seen.begin(), seen.end(), 0.0) / static_cast<double>(seen.size()));
    }
  }

  static constexpr double kNever = 1e8;
  PlanSpace& space_;
  Picks best_;
  PlanRace& race_;
  SearchEffort effort_;
  std::vector<std::vector<double>> alone_;
  std::vector<double> usual_;  ///< by node: what the choice of the best plan takes
  double usual_total_ms_ = 0;
  std::vector<std::vector<std::vector<double>>> seen_;  ///< by node and choice: times in place
  std::map<FormChange, std::vector<double>> reformats_;
};

}  // namespace

double PlanTimes::total_ms() const {
  double ms = std::accumulate(node_ms.begin(), node_ms.end(), 0.0);
  for (const ReformatTime& reformat : reformats) ms += reformat.ms;
  return ms;
}

Picks search_in_place(PlanSpace& space, Picks start, const PlanTimes& start_times, PlanRace& race,
                      const SearchEffort& effort) {
  return Search(space, std::move(start), race, effort).run(start_times);
}

}  // namespace planish
