#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "planish/base/status.h"

namespace planish {

/// Times of tactics measured before. Keys name the device, the tactic with its version, and the work (shapes, types,
/// layouts, threads), so that entries of other machines never apply.
///
/// The file is text: one line per entry, "checksum TAB ms TAB key". Saving locks a file beside it, merges what others
/// wrote meanwhile, writes a new file and renames it: neither a concurrent writer nor a kill can damage it. Lines that
/// do not check out are skipped and counted.
class TimingCache {
 public:
  [[nodiscard]] std::optional<double> find(const std::string& key) const;
  void add(const std::string& key, double ms);
  /// What follows `prefix` in the key with the least time of those that begin so; nullopt: none does.
  [[nodiscard]] std::optional<std::string> best_after(const std::string& prefix) const;
  [[nodiscard]] size_t size() const { return entries_.size(); }
  [[nodiscard]] size_t skipped_lines() const { return skipped_; }

  /// A missing file gives an empty cache; only reading errors are errors.
  static Result<TimingCache> load(const std::filesystem::path& path);
  /// Merges with the file and replaces it.
  Status save(const std::filesystem::path& path) const;
  /// Where the cache lives when the user names no file: $XDG_CACHE_HOME/planish/timing.cache or ~/.cache/...; nullopt
  /// when there is no home folder.
  static std::optional<std::filesystem::path> default_path();

 private:
  void parse(std::string_view text);
  std::map<std::string, double> entries_;
  size_t skipped_ = 0;
};

}  // namespace planish
