#include "planish/tactics/timing_cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>

#include "planish/base/atomic_file.h"

namespace planish {
namespace {

constexpr std::string_view kHeader = "planish timing cache 1\n";

uint64_t line_checksum(std::string_view payload) {
  return checksum64({reinterpret_cast<const uint8_t*>(payload.data()), payload.size()});
}

/// Holds an exclusive lock on "<path>.lock" while it lives. Without a lock the cache still works, unshared.
class FileLock {
 public:
  explicit FileLock(const std::filesystem::path& path)
      : fd_(::open((path.string() + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
    if (fd_ >= 0) ::flock(fd_, LOCK_EX);
  }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock() {
    if (fd_ >= 0) ::close(fd_);
  }

 private:
  int fd_;
};

}  // namespace

std::optional<double> TimingCache::find(const std::string& key) const {
  const auto it = entries_.find(key);
  return it == entries_.end() ? std::nullopt : std::optional<double>(it->second);
}

void TimingCache::add(const std::string& key, double ms) {
  if (key.find_first_of("\n\t") == std::string::npos) entries_[key] = ms;
}

std::optional<std::string> TimingCache::best_after(const std::string& prefix) const {
  const std::pair<const std::string, double>* best = nullptr;
  for (auto it = entries_.lower_bound(prefix); it != entries_.end() && it->first.starts_with(prefix); ++it)
    if (best == nullptr || it->second < best->second) best = &*it;
  return best == nullptr ? std::nullopt : std::optional<std::string>(best->first.substr(prefix.size()));
}

void TimingCache::parse(std::string_view text) {
  if (!text.starts_with(kHeader)) {
    skipped_ += text.empty() ? 0 : 1;
    return;
  }
  text.remove_prefix(kHeader.size());
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const size_t first = line.find('\t');
    const size_t second = first == std::string_view::npos ? first : line.find('\t', first + 1);
    if (second == std::string_view::npos) {
      ++skipped_;
      continue;
    }
    uint64_t sum = 0;
    double ms = 0;
    std::from_chars(line.data(), line.data() + first, sum, 16);
    const auto number = std::from_chars(line.data() + first + 1, line.data() + second, ms);
    if (number.ec != std::errc() || sum != line_checksum(line.substr(first + 1)) || !(ms >= 0)) {
      ++skipped_;
      continue;
    }
    entries_.emplace(line.substr(second + 1), ms);
  }
}

Result<TimingCache> TimingCache::load(const std::filesystem::path& path) {
  TimingCache cache;
  auto text = read_file(path, uint64_t{1} << 30);
  if (!text.ok()) {
    if (text.error().code == Code::not_found) return cache;
    return std::move(text).take_error();
  }
  cache.parse(*text);
  return cache;
}

Status TimingCache::save(const std::filesystem::path& path) const {
  std::error_code ignored;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), ignored);
  const FileLock lock(path);
  TimingCache merged = *this;
  if (auto on_disk = load(path); on_disk.ok())
    for (const auto& [key, ms] : on_disk->entries_) merged.entries_.emplace(key, ms);
  std::string text(kHeader);
  for (const auto& [key, ms] : merged.entries_) {
    const std::string payload = fmt::format("{:.6g}\t{}", ms, key);
    text += fmt::format("{:016x}\t{}\n", line_checksum(payload), payload);
  }
  return write_file_atomically(path, text);
}

std::optional<std::filesystem::path> TimingCache::default_path() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache == '/')
    return std::filesystem::path(cache) / "planish" / "timing.cache";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/')
    return std::filesystem::path(home) / ".cache" / "planish" / "timing.cache";
  return std::nullopt;
}

}  // namespace planish
