#include "planish/data/npz.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <zlib.h>

#include <algorithm>
#include <limits>

#include "planish/base/atomic_file.h"
#include "planish/data/npy.h"

namespace planish {
namespace {

// Record layouts: PKWARE APPNOTE 6.3.9, sections 4.3.7 (local header) to 4.3.16 (end of the directory).
constexpr uint32_t kLocalMagic = 0x04034b50, kCentralMagic = 0x02014b50, kEndMagic = 0x06054b50;
constexpr uint32_t kEnd64Magic = 0x06064b50, kLocator64Magic = 0x07064b50;
constexpr size_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22, kEnd64Bytes = 56, kLocator64Bytes = 20;
constexpr uint32_t kIn64 = 0xFFFFFFFF;  // "see the ZIP64 record"
constexpr uint16_t kEncrypted = 1, kStored = 0, kDeflated = 8;
/// Deflate shrinks at most 1032 to 1, so a larger claim is a lie that would only cost memory.
constexpr uint64_t kMaxDeflateRatio = 1032;

/// Little-endian number; 0 beyond the end, which the callers exclude by their bounds checks.
uint64_t number(std::span<const uint8_t> bytes, size_t offset, size_t count) {
  uint64_t v = 0;
  for (size_t i = 0; i < count && offset + i < bytes.size(); ++i)
    v |= static_cast<uint64_t>(bytes[offset + i]) << 8 * i;
  return v;
}

void append_number(std::vector<uint8_t>& out, uint64_t value, size_t count) {
  for (size_t i = 0; i < count; ++i) out.push_back(i < 8 ? static_cast<uint8_t>(value >> 8 * i) : 0);
}

std::string without_npy(const std::string& name) {
  return name.size() > 4 && name.ends_with(".npy") ? name.substr(0, name.size() - 4) : name;
}

uint32_t checksum(std::span<const uint8_t> bytes) {
  return static_cast<uint32_t>(crc32_z(crc32_z(0, nullptr, 0), bytes.data(), bytes.size()));
}

/// Feeds zlib in pieces, as its counters have 32 bits. True when the stream ends exactly at out's end.
bool inflate_raw(std::span<const uint8_t> in, std::span<uint8_t> out) {
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return false;
  constexpr size_t kPiece = size_t{1} << 30;
  size_t read = 0, written = 0;
  int status = Z_OK;
  uint8_t nothing = 0;
  while (status == Z_OK) {
    stream.next_in = const_cast<uint8_t*>(in.data() + read);
    stream.avail_in = static_cast<uInt>(std::min(kPiece, in.size() - read));
    stream.next_out = out.empty() ? &nothing : out.data() + written;
    stream.avail_out = static_cast<uInt>(std::min(kPiece, out.size() - written));
    const uInt in_before = stream.avail_in, out_before = stream.avail_out;
    status = inflate(&stream, Z_NO_FLUSH);
    read += in_before - stream.avail_in;
    written += out_before - stream.avail_out;
    if (status == Z_OK && in_before == stream.avail_in && out_before == stream.avail_out) break;  // no progress
  }
  inflateEnd(&stream);
  return status == Z_STREAM_END && written == out.size();
}

Result<std::vector<uint8_t>> deflate_raw(std::span<const uint8_t> in) {
  z_stream stream{};
  const Error failed{.code = Code::internal, .what = "zlib could not compress", .fix = "write without compression"};
  if (in.size() > std::numeric_limits<uInt>::max() / 2 ||
      deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    return failed;
  std::vector<uint8_t> out(deflateBound(&stream, in.size()));
  stream.next_in = const_cast<uint8_t*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size());
  const int status = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  if (status != Z_STREAM_END) return failed;
  return out;
}

}  // namespace

Error NpzFile::corrupt(std::string what) const {
  return Error{.code = Code::corrupt,
               .file = file_,
               .what = "damaged .npz file: " + std::move(what),
               .fix = "save it again with numpy.savez"};
}

Result<NpzFile> NpzFile::open(const std::string& path) {
  auto bytes = PLANISH_TRY(read_file_bytes(path));
  return from_bytes(std::move(bytes), path);
}

Result<NpzFile> NpzFile::from_bytes(std::vector<uint8_t> bytes, std::string name) {
  NpzFile file;
  file.file_ = std::move(name);
  file.bytes_ = std::move(bytes);
  PLANISH_TRY(file.read_directory());
  return file;
}

Status NpzFile::read_directory() {
  if (bytes_.size() < kEndBytes) return corrupt("it is shorter than an empty ZIP archive");
  size_t end = bytes_.size() - kEndBytes;  // a comment of up to 64 KiB may follow the record
  const size_t lowest = end > 0xFFFF ? end - 0xFFFF : 0;
  while (number(bytes_, end, 4) != kEndMagic) {
    if (end == lowest) return corrupt("no ZIP directory at its end (truncated, or not an .npz file)");
    --end;
  }
  uint64_t count = number(bytes_, end + 10, 2), offset = number(bytes_, end + 16, 4);
  if (end >= kLocator64Bytes && number(bytes_, end - kLocator64Bytes, 4) == kLocator64Magic) {
    const uint64_t record = number(bytes_, end - kLocator64Bytes + 8, 8);
    if (record > bytes_.size() || bytes_.size() - record < kEnd64Bytes || number(bytes_, record, 4) != kEnd64Magic)
      return corrupt("the ZIP64 record is out of bounds");
    count = number(bytes_, record + 32, 8);
    offset = number(bytes_, record + 48, 8);
  }
  if (offset > end || count > (end - offset) / kCentralBytes) return corrupt("the directory is out of bounds");
  size_t position = offset;
  for (uint64_t i = 0; i < count; ++i) PLANISH_TRY(read_member(position));
  return ok_status();
}

/// Reads one directory entry at `position` and moves on to the next.
Status NpzFile::read_member(size_t& position) {
  if (bytes_.size() - position < kCentralBytes || number(bytes_, position, 4) != kCentralMagic)
    return corrupt("a directory entry is malformed");
  Member m;
  m.flags = static_cast<uint16_t>(number(bytes_, position + 8, 2));
  m.method = static_cast<uint16_t>(number(bytes_, position + 10, 2));
  m.crc = static_cast<uint32_t>(number(bytes_, position + 16, 4));
  m.compressed_bytes = number(bytes_, position + 20, 4);
  m.bytes = number(bytes_, position + 24, 4);
  m.header_offset = number(bytes_, position + 42, 4);
  const size_t name_bytes = number(bytes_, position + 28, 2), extra_bytes = number(bytes_, position + 30, 2);
  const size_t tail_bytes = name_bytes + extra_bytes + number(bytes_, position + 32, 2);
  position += kCentralBytes;
  if (bytes_.size() - position < tail_bytes) return corrupt("a directory entry is cut off");
  m.name.assign(bytes_.begin() + static_cast<ptrdiff_t>(position),
                bytes_.begin() + static_cast<ptrdiff_t>(position + name_bytes));

  const auto extra = std::span(bytes_).subspan(position + name_bytes, extra_bytes);
  for (size_t at = 0; at + 4 <= extra.size(); at += 4 + number(extra, at + 2, 2)) {
    if (number(extra, at, 2) != 1) continue;  // header id 1: the 64-bit sizes, only those that did not fit
    size_t field = at + 4;
    for (uint64_t* value : {&m.bytes, &m.compressed_bytes, &m.header_offset}) {
      if (*value != kIn64) continue;
      *value = number(extra, field, 8);
      field += 8;
    }
  }
  position += tail_bytes;
  members_.push_back(std::move(m));
  return ok_status();
}

std::vector<std::string> NpzFile::names() const {
  std::vector<std::string> names;
  for (const Member& m : members_) names.push_back(without_npy(m.name));
  return names;
}

bool NpzFile::contains(const std::string& member) const {
  return std::any_of(members_.begin(), members_.end(), [&](const Member& m) { return without_npy(m.name) == member; });
}

Result<std::vector<uint8_t>> NpzFile::extract(const std::string& member) const {
  const auto m = std::find_if(members_.begin(), members_.end(),
                              [&](const Member& candidate) { return without_npy(candidate.name) == member; });
  if (m == members_.end())
    return Error{.code = Code::not_found,
                 .file = file_,
                 .what = fmt::format("there is no array \"{}\"", member),
                 .fix = fmt::format("it holds: {}", fmt::join(names(), ", "))};
  if ((m->flags & kEncrypted) != 0 || (m->method != kStored && m->method != kDeflated))
    return Error{.code = Code::unsupported,
                 .file = file_,
                 .what = fmt::format("\"{}\" is encrypted or compressed by another method than deflate", m->name),
                 .fix = "save it with numpy.savez or numpy.savez_compressed"};
  const uint64_t header = m->header_offset;
  if (header > bytes_.size() || bytes_.size() - header < kLocalBytes || number(bytes_, header, 4) != kLocalMagic)
    return corrupt(fmt::format("\"{}\" starts out of bounds", m->name));
  const uint64_t data = header + kLocalBytes + number(bytes_, header + 26, 2) + number(bytes_, header + 28, 2);
  if (data > bytes_.size() || m->compressed_bytes > bytes_.size() - data)
    return corrupt(fmt::format("\"{}\" ends out of bounds", m->name));

  const auto packed = std::span(bytes_).subspan(data, m->compressed_bytes);
  std::vector<uint8_t> out;
  if (m->method == kStored) {
    out.assign(packed.begin(), packed.end());
  } else {
    if (m->bytes / kMaxDeflateRatio > packed.size()) return corrupt(fmt::format("\"{}\" claims too much", m->name));
    out.resize(m->bytes);
    if (!inflate_raw(packed, out)) return corrupt(fmt::format("\"{}\" cannot be decompressed", m->name));
  }
  if (out.size() != m->bytes || checksum(out) != m->crc)
    return corrupt(fmt::format("\"{}\" has a wrong checksum", m->name));
  return out;
}

Result<Tensor> NpzFile::load(const std::string& member) const {
  const auto bytes = PLANISH_TRY(extract(member));
  return npy_decode(bytes, fmt::format("{}[{}]", file_, member));
}

Result<std::vector<std::string>> NpzFile::load_strings(const std::string& member) const {
  const auto bytes = PLANISH_TRY(extract(member));
  return npy_decode_strings(bytes, fmt::format("{}[{}]", file_, member));
}

Result<NamedTensors> read_npz(const std::string& path) {
  const NpzFile file = PLANISH_TRY(NpzFile::open(path));
  NamedTensors tensors;
  for (const std::string& name : file.names()) tensors.emplace_back(name, PLANISH_TRY(file.load(name)));
  return tensors;
}

namespace {

struct WrittenMember {
  std::string name;
  uint16_t method;
  uint32_t crc;
  uint64_t compressed_bytes, bytes, offset;
};

/// The fields that local and central headers share; 64-bit sizes always go into an extra field, as NumPy does it.
void append_common(std::vector<uint8_t>& out, const WrittenMember& m, size_t extra_bytes) {
  append_number(out, 45, 2);       // version needed: ZIP64
  append_number(out, 1 << 11, 2);  // names are UTF-8
  append_number(out, m.method, 2);
  append_number(out, 0x00210000, 4);  // 1 January 1980: equal content gives equal files
  append_number(out, m.crc, 4);
  append_number(out, kIn64, 4);
  append_number(out, kIn64, 4);
  append_number(out, m.name.size(), 2);
  append_number(out, extra_bytes, 2);
}

void append_sizes(std::vector<uint8_t>& out, const WrittenMember& m, size_t count) {
  append_number(out, 1, 2);
  append_number(out, 8 * count, 2);
  append_number(out, m.bytes, 8);
  append_number(out, m.compressed_bytes, 8);
  if (count == 3) append_number(out, m.offset, 8);
}

void append_directory(std::vector<uint8_t>& out, const std::vector<WrittenMember>& members) {
  const uint64_t start = out.size();
  for (const WrittenMember& m : members) {
    append_number(out, kCentralMagic, 4);
    append_number(out, 45, 2);  // version made by
    append_common(out, m, 28);
    append_number(out, 0, 2 + 2 + 2 + 4);  // comment, disk, attributes
    append_number(out, kIn64, 4);
    out.insert(out.end(), m.name.begin(), m.name.end());
    append_sizes(out, m, 3);
  }
  const uint64_t end = out.size(), directory_bytes = end - start;
  append_number(out, kEnd64Magic, 4);
  append_number(out, kEnd64Bytes - 12, 8);
  append_number(out, 45 | 45 << 16, 4);
  append_number(out, 0, 8);
  append_number(out, members.size(), 8);
  append_number(out, members.size(), 8);
  append_number(out, directory_bytes, 8);
  append_number(out, start, 8);
  append_number(out, kLocator64Magic, 4);
  append_number(out, 0, 4);
  append_number(out, end, 8);
  append_number(out, 1, 4);
  append_number(out, kEndMagic, 4);
  append_number(out, 0, 4);
  const uint64_t count16 = std::min<uint64_t>(members.size(), 0xFFFF);
  append_number(out, count16, 2);
  append_number(out, count16, 2);
  append_number(out, std::min<uint64_t>(directory_bytes, kIn64), 4);
  append_number(out, std::min<uint64_t>(start, kIn64), 4);
  append_number(out, 0, 2);
}

}  // namespace

Result<std::vector<uint8_t>> npz_encode(const NamedTensors& tensors, bool compress) {
  std::vector<uint8_t> out;
  std::vector<WrittenMember> members;
  for (const auto& [name, tensor] : tensors) {
    const auto npy = PLANISH_TRY(npy_encode(tensor));
    std::vector<uint8_t> packed;
    if (compress) packed = PLANISH_TRY(deflate_raw(npy));
    const auto& data = compress ? packed : npy;
    const WrittenMember m{name + ".npy", compress ? kDeflated : kStored, checksum(npy), data.size(), npy.size(),
                          out.size()};
    if (m.name.size() > 0xFFFF)
      return Error{.code = Code::unsupported, .what = "a tensor's name has over 64 KiB", .fix = "shorten it"};
    append_number(out, kLocalMagic, 4);
    append_common(out, m, 20);
    out.insert(out.end(), m.name.begin(), m.name.end());
    append_sizes(out, m, 2);
    out.insert(out.end(), data.begin(), data.end());
    members.push_back(m);
  }
  append_directory(out, members);
  return out;
}

Status write_npz(const std::string& path, const NamedTensors& tensors, bool compress) {
  const auto bytes = PLANISH_TRY(npz_encode(tensors, compress));
  return write_file_atomically(path, bytes);
}

}  // namespace planish
