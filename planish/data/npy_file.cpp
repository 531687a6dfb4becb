#include "planish/data/npy_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "planish/data/npy.h"

namespace planish {
namespace {

constexpr size_t kHeaderBytes = size_t{1} << 20;  // version 2 headers may be long; numpy refuses more than 10 kB

/// Reads `bytes` at `offset`; fewer only at the end of the file.
Result<size_t> read_at(int descriptor, void* to, size_t bytes, size_t offset, const std::string& path) {
  size_t done = 0;
  while (done < bytes) {
    const ssize_t got =
        pread(descriptor, static_cast<char*>(to) + done, bytes - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Error{.code = Code::io, .file = path, .what = std::strerror(errno), .fix = "try again"};
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

std::shared_ptr<const int> shared_descriptor(int descriptor) {
  return {new int(descriptor), [](const int* d) {
            close(*d);
            delete d;
          }};
}

}  // namespace

Result<NpyFile> NpyFile::open(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    return Error{.code = errno == ENOENT ? Code::not_found : Code::io,
                 .file = path,
                 .what = std::strerror(errno),
                 .fix = "check the path"};
  NpyFile file;
  file.path_ = path;
  file.descriptor_ = shared_descriptor(descriptor);
  struct stat info {};
  if (fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode))
    return Error{.code = Code::io, .file = path, .what = "it is no regular file", .fix = "give a .npy file"};
  const auto file_bytes = static_cast<size_t>(info.st_size);
  std::vector<uint8_t> head(std::min(file_bytes, kHeaderBytes));
  head.resize(PLANISH_TRY(read_at(descriptor, head.data(), head.size(), 0, path)));
  const NpyHeader header = PLANISH_TRY(npy_header(head, path));
  file.dtype_ = header.dtype;
  file.shape_ = header.shape;
  file.data_offset_ = header.data_offset;
  const auto elements = static_cast<uint64_t>(element_count(header.shape));
  const size_t element_bytes = dtype_bytes(header.dtype, 1);
  if (elements > (file_bytes - header.data_offset) / element_bytes)
    return Error{.code = Code::corrupt,
                 .file = path,
                 .what = fmt::format("shape {} needs {} elements of {} bytes, but the file is shorter",
                                     to_string(header.shape), elements, element_bytes),
                 .fix = "save the array again with numpy.save"};
  if (!header.plain) file.whole_ = PLANISH_TRY(read_npy(path));
  return file;
}

Result<Tensor> NpyFile::read(size_t offset, Shape shape) const {
  Tensor tensor(dtype_, std::move(shape));
  const size_t got = PLANISH_TRY(read_at(*descriptor_, tensor.raw(), tensor.bytes(), offset, path_));
  if (got == tensor.bytes()) return tensor;
  return Error{
      .code = Code::io, .file = path_, .what = "the file became shorter while it was read", .fix = "try again"};
}

Result<Tensor> NpyFile::all() const {
  if (whole_.defined()) return whole_;
  return read(data_offset_, shape_);
}

Result<Tensor> NpyFile::rows(int64_t first, int64_t count) const {
  if (shape_.empty()) return all();
  if (first < 0 || count < 0 || first + count > shape_[0])
    return Error{.code = Code::invalid_argument,
                 .file = path_,
                 .what = fmt::format("rows {} to {} of {} were asked for", first, first + count, shape_[0]),
                 .fix = "use rows that exist"};
  Shape shape = shape_;
  shape[0] = 1;
  const size_t row_bytes = dtype_bytes(dtype_, element_count(shape));
  shape[0] = count;
  if (!whole_.defined()) return read(data_offset_ + static_cast<size_t>(first) * row_bytes, std::move(shape));
  Tensor tensor(dtype_, std::move(shape));
  std::memcpy(tensor.raw(), static_cast<const char*>(whole_.raw()) + static_cast<size_t>(first) * row_bytes,
              tensor.bytes());
  return tensor;
}

}  // namespace planish
