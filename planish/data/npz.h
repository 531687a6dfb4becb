#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "planish/base/status.h"
#include "planish/ir/tensor.h"

namespace planish {

/// Tensors with their names, in file order.
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

/// A NumPy .npz file: a ZIP archive of .npy members, stored or deflated, ZIP64 allowed. Members are decoded on request.
class NpzFile {
 public:
  static Result<NpzFile> open(const std::string& path);
  /// `name` is used in errors.
  static Result<NpzFile> from_bytes(std::vector<uint8_t> bytes, std::string name);

  /// Member names without ".npy", in the order of the directory.
  [[nodiscard]] std::vector<std::string> names() const;
  [[nodiscard]] bool contains(const std::string& member) const;
  /// Errors: not_found (lists the names), corrupt (bounds, checksum), unsupported (encryption, other compression).
  [[nodiscard]] Result<Tensor> load(const std::string& member) const;
  /// A member that holds text.
  [[nodiscard]] Result<std::vector<std::string>> load_strings(const std::string& member) const;

 private:
  struct Member {
    std::string name;
    uint16_t flags = 0, method = 0;
    uint32_t crc = 0;
    uint64_t compressed_bytes = 0, bytes = 0, header_offset = 0;
  };
  [[nodiscard]] Result<std::vector<uint8_t>> extract(const std::string& member) const;
  [[nodiscard]] Error corrupt(std::string what) const;
  Status read_directory();
  Status read_member(size_t& position);

  std::string file_;
  std::vector<uint8_t> bytes_;
  std::vector<Member> members_;
};

/// All members of an .npz file.
Result<NamedTensors> read_npz(const std::string& path);

/// Writes an .npz file; `compress` deflates the members as numpy.savez_compressed does.
Status write_npz(const std::string& path, const NamedTensors& tensors, bool compress = false);
/// The file's bytes.
Result<std::vector<uint8_t>> npz_encode(const NamedTensors& tensors, bool compress = false);

}  // namespace planish
