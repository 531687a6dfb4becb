#include "planish/builder/tactic_timer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "planish/base/isa.h"

namespace planish {

TacticTimer::TacticTimer(const BuildOptions& options, const Target& target) : options_(options), target_(target) {
  // Higher levels repeat longer: noise, not the number of candidates, is what costs the last percent.
  constexpr int kThoroughness = 8;
  constexpr int kHighest = 5;
  const int level = std::clamp(options.optimization_level, 0, kHighest);
  is_thorough_ = options.is_exhaustive();
  const int times = is_thorough_ ? kThoroughness : 1;
  effort_.max_runs = std::max(options.avg_timing, 1) * times;
  effort_.min_runs = std::min(effort_.max_runs, std::max(1, level));
  effort_.budget_ms = level <= 1 ? 2.0 : 6.0 * level * times;
  if (!options.use_timing_cache) return;
  path_ = options.timing_cache_file ? options.timing_cache_file : TimingCache::default_path();
  if (!path_) return;
  auto loaded = TimingCache::load(*path_);
  if (loaded.ok())
    cache_ = std::move(loaded).value();
  else if (options.warn)
    options.warn("Timing cache not used: " + loaded.error().message());
  if (cache_.skipped_lines() != 0 && options.warn)
    options.warn(fmt::format("Timing cache '{}': {} entries are foreign or damaged and were skipped", path_->string(),
                             cache_.skipped_lines()));
}

void TacticTimer::expect_weights(size_t bytes) {
  // Activations and other programs want their share of the cache.
  const auto cache = static_cast<size_t>(cpu_features().l3_bytes);
  effort_.cold_constants = cache != 0 && bytes > cache / 4 * 3;
}

bool TacticTimer::is_cold(const NodeView& view) const {
  if (effort_.cold_constants || view.node->is("Gather")) return effort_.cold_constants;
  size_t bytes = 0;
  for (const Tensor* constant : view.constants)
    if (constant != nullptr) bytes += constant->bytes();
  // Until a layer runs again, the others have used the second-level caches.
  const auto cached = static_cast<size_t>(cpu_features().l2_bytes) * static_cast<size_t>(target_.threads);
  return cached != 0 && bytes > cached;
}

Result<double> TacticTimer::time(const NodeView& view, const Tactic& tactic, double to_beat_ms) {
  TimingEffort effort = effort_;
  effort.to_beat_ms = to_beat_ms;
  effort.cold_constants = is_cold(view);
  const std::string key = fmt::format("{}|t{}{}|{}@{}|{}", target_.device->fingerprint(), target_.threads,
                                      effort.cold_constants ? "|cold" : "", tactic.id, tactic.version, work_key(view));
  const std::string rough_key = key + "|rough";
  const std::string thorough_key = key + "|thorough";
  auto known = cache_.find(thorough_key);
  if (!known && !is_thorough_) known = cache_.find(key);
  if (known) {
    ++from_cache_;
    return *known;
  }
  if (const auto rough = cache_.find(rough_key);
      rough && (*rough > to_beat_ms || options_.error_on_timing_cache_miss)) {
    ++from_cache_;
    return *rough;
  }
  if (options_.error_on_timing_cache_miss)
    return Error{.code = Code::invalid_argument,
                 .node = view.node->name,
                 .file = "--errorOnTimingCacheMiss",
                 .what = fmt::format("the timing cache has no time for tactic {}", tactic.id),
                 .fix = "build once without the flag to fill the cache"};
  const Timing timing = PLANISH_TRY(time_tactic(view, tactic, target_, effort));
  ++timed_;
  is_new_ = true;
  if (timing.memory_bytes > peak_bytes_) {
    peak_bytes_ = timing.memory_bytes;
    peak_layer_ = view.node->name;
  }
  // A time that other work disturbed decides this build only; the next one measures again.
  if (timing.given_up)
    cache_.add(rough_key, timing.ms);
  else if (timing.stable)
    cache_.add(is_thorough_ ? thorough_key : key, timing.ms);
  return timing.ms;
}

std::string TacticTimer::named(const std::string& name) const {
  return fmt::format("{}|t{}|{}", target_.device->fingerprint(), target_.threads, name);
}

std::optional<double> TacticTimer::recall(const std::string& name) const { return cache_.find(named(name)); }

void TacticTimer::remember(const std::string& name, double value) {
  const std::string key = named(name);
  // The file keeps six digits, and is not written anew for what it says already.
  constexpr double kDigits = 1e-5;
  const auto known = cache_.find(key);
  if (known && std::abs(*known - value) <= kDigits * std::abs(value)) return;
  cache_.add(key, value);
  is_new_ = true;
}

std::optional<std::string> TacticTimer::recall_after(const std::string& prefix) const {
  return cache_.best_after(named(prefix));
}

void TacticTimer::save() {
  if (!path_ || !is_new_) return;
  Status status = cache_.save(*path_);
  if (!status.ok() && options_.warn) options_.warn("Timing cache not written: " + status.error().message());
}

}  // namespace planish
