#include "planish/base/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <vector>

#include "planish/base/output_path.h"

namespace planish {
namespace {

Error io_error(const std::filesystem::path& path, std::string_view doing) {
  const int e = errno;
  return Error{.code = e == ENOENT ? Code::not_found : Code::io,
               .file = path.string(),
               .what = fmt::format("{}: {}", doing, std::strerror(e)),
               .fix = e == ENOSPC ? "free some disk space" : "check the path and its permissions"};
}

Status write_all(int fd, std::span<const uint8_t> bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error(path, "cannot write");
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return {};
}

Status write_pieces(int fd, std::span<const std::span<const uint8_t>> pieces, const std::filesystem::path& path) {
  for (const auto& piece : pieces) PLANISH_TRY(write_all(fd, piece, path));
  return {};
}

/// For pipes and devices, in whose place a rename would put a file.
Status write_into(const std::filesystem::path& path, std::span<const std::span<const uint8_t>> pieces) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return io_error(path, "cannot open");
  Status status = write_pieces(fd, pieces, path);
  if (::close(fd) != 0 && status.ok()) status = io_error(path, "cannot close");
  return status;
}

}  // namespace

Status write_file_atomically(const std::filesystem::path& path, std::span<const std::span<const uint8_t>> pieces) {
  if (is_special_file(path)) return write_into(path, pieces);
  static std::atomic<int> counter{0};
  const std::filesystem::path target = follow_links(path);
  const std::filesystem::path temporary = target.string() + fmt::format(".{}.{}.tmp", ::getpid(), counter++);
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return io_error(path, "cannot create");
  struct stat old {};
  if (::stat(target.c_str(), &old) == 0) (void)::fchmod(fd, old.st_mode & 07777);  // a private file stays private
  Status status = write_pieces(fd, pieces, path);
  if (status.ok() && ::fsync(fd) != 0) status = io_error(path, "cannot flush to disk");
  if (::close(fd) != 0 && status.ok()) status = io_error(path, "cannot close");
  if (status.ok() && ::rename(temporary.c_str(), target.c_str()) != 0) status = io_error(path, "cannot rename");
  if (!status.ok()) ::unlink(temporary.c_str());
  return status;
}

Status write_file_atomically(const std::filesystem::path& path, std::span<const uint8_t> bytes) {
  return write_file_atomically(path, std::span(&bytes, 1));
}

Status write_file_atomically(const std::filesystem::path& path, std::string_view text) {
  return write_file_atomically(path, std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

namespace {

template <typename Bytes>
Status read_open_file(int fd, const std::filesystem::path& path, uint64_t max_bytes, Bytes& out) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return io_error(path, "cannot read");
  if (!S_ISREG(info.st_mode))
    return Error{.code = Code::io,
                 .file = path.string(),
                 .what = S_ISDIR(info.st_mode) ? "is a folder" : "is not a regular file",
                 .fix = "name a file"};
  const auto size = static_cast<uint64_t>(info.st_size);
  if (size > max_bytes)
    return Error{.code = Code::unsupported,
                 .file = path.string(),
                 .what = fmt::format("has {} bytes; the limit is {}", size, max_bytes),
                 .fix = "use a smaller file"};
  out.resize(size);
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = ::read(fd, out.data() + done, out.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error(path, "cannot read");
    if (n == 0)
      return Error{.code = Code::io,
                   .file = path.string(),
                   .what = "ended early while it was read",
                   .fix = "check that nothing is writing the file"};
    done += static_cast<size_t>(n);
  }
  return {};
}

template <typename Bytes>
Result<Bytes> read_whole(const std::filesystem::path& path, uint64_t max_bytes) {
  // O_NONBLOCK: opening a pipe must not wait for a writer.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return io_error(path, "cannot open");
  Bytes out;
  Status status = read_open_file(fd, path, max_bytes, out);
  ::close(fd);
  if (!status.ok()) return std::move(status).take_error();
  return out;
}

}  // namespace

Result<std::string> read_file(const std::filesystem::path& path, uint64_t max_bytes) {
  return read_whole<std::string>(path, max_bytes);
}

Result<std::vector<uint8_t>> read_file_bytes(const std::filesystem::path& path, uint64_t max_bytes) {
  return read_whole<std::vector<uint8_t>>(path, max_bytes);
}

namespace {

constexpr uint64_t kPrime = 0x9e3779b97f4a7c15ULL;

uint64_t mix(uint64_t lane, uint64_t word) {
  lane = (lane ^ word) * kPrime;
  return lane ^ (lane >> 32);
}

}  // namespace

void Checksum64::absorb(std::span<const uint8_t> bytes) {
  std::array<uint64_t, 4> lanes = lanes_;
  for (size_t i = 0; i < bytes.size(); i += 32)
    for (size_t l = 0; l < lanes.size(); ++l) {
      uint64_t word = 0;
      std::memcpy(&word, bytes.data() + i + 8 * l, 8);
      lanes[l] = mix(lanes[l], word);
    }
  lanes_ = lanes;
}

void Checksum64::update(std::span<const uint8_t> bytes) {
  length_ += bytes.size();
  if (pending_size_ != 0) {
    const size_t take = std::min(bytes.size(), pending_.size() - pending_size_);
    std::copy_n(bytes.begin(), take, pending_.begin() + static_cast<std::ptrdiff_t>(pending_size_));
    pending_size_ += take;
    bytes = bytes.subspan(take);
    if (pending_size_ < pending_.size()) return;
    absorb(pending_);
    pending_size_ = 0;
  }
  const size_t whole = bytes.size() / 32 * 32;
  absorb(bytes.first(whole));
  pending_size_ = bytes.size() - whole;
  std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(whole), pending_size_, pending_.begin());
}

uint64_t Checksum64::value() const {
  Checksum64 last = *this;
  std::fill(last.pending_.begin() + static_cast<std::ptrdiff_t>(pending_size_), last.pending_.end(), uint8_t{0});
  if (pending_size_ != 0) last.absorb(last.pending_);
  uint64_t h = length_ * kPrime;
  for (const uint64_t lane : last.lanes_) h = mix(h, lane);
  return h;
}

uint64_t checksum64(std::span<const uint8_t> bytes) {
  Checksum64 sum;
  sum.update(bytes);
  return sum.value();
}

Result<uint64_t> file_checksum(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return io_error(path, "cannot open");
  std::vector<uint8_t> piece(size_t{1} << 20);
  Checksum64 sum;
  ssize_t n = 0;
  while ((n = ::read(fd, piece.data(), piece.size())) > 0 || (n < 0 && errno == EINTR))
    if (n > 0) sum.update(std::span(piece).first(static_cast<size_t>(n)));
  Status status;
  if (n < 0) status = io_error(path, "cannot read");
  ::close(fd);
  if (!status.ok()) return std::move(status).take_error();
  return sum.value();
}

}  // namespace planish
