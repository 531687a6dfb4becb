#include "planish/onnx/file_kind.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace planish {
namespace {

struct Signature {
  size_t offset;
  std::string_view bytes;
  std::string_view kind;
};

using namespace std::string_view_literals;

constexpr std::array kSignatures{
    Signature{0, "ftrt"sv, "is a TensorRT engine; planish needs the ONNX file that it was built from"},
    Signature{0, "PK\x03\x04"sv, "is a zip archive (PyTorch checkpoints and .npz files are); export it to ONNX first"},
    Signature{0, "version https://git-lfs"sv, "is a Git LFS pointer, not the model; run 'git lfs pull'"},
    Signature{0, "\x1f\x8b"sv, "is compressed with gzip; unpack it first"},
    Signature{0, "\x89HDF"sv, "is an HDF5 file (Keras); convert it with tf2onnx first"},
    Signature{0, "\x93NUMPY"sv, "is a NumPy array"},
    Signature{0, "\x80\x02"sv, "is a Python pickle (an old PyTorch checkpoint); export it to ONNX first"},
    Signature{0,
              "\x7f"
              "ELF"sv,
              "is a program or shared library"},
    Signature{0, "\x89PNG"sv, "is a PNG image"},
    Signature{0, "\xff\xd8\xff"sv, "is a JPEG image"},
    Signature{0, "%PDF"sv, "is a PDF document"},
    Signature{0, "GGUF"sv, "is a GGUF file"},
    Signature{4, "TFL3"sv, "is a TensorFlow Lite model; convert it with tf2onnx first"},
    Signature{4, "ORTM"sv, "is an ONNX Runtime (.ort) model; planish needs the .onnx file that it was made from"},
};

bool is_text(std::string_view head) {
  const auto printable = [](char c) { return (c >= 0x20 && c < 0x7f) || c == '\n' || c == '\r' || c == '\t'; };
  return head.size() >= 2 && std::ranges::all_of(head, printable);
}

}  // namespace

WhyNot why_not_onnx(std::span<const std::byte> head) {
  if (head.empty()) return "is empty";
  const std::string_view text(reinterpret_cast<const char*>(head.data()), std::min<size_t>(head.size(), 256));
  for (const Signature& s : kSignatures)
    if (text.size() >= s.offset + s.bytes.size() && text.substr(s.offset, s.bytes.size()) == s.bytes)
      return std::string(s.kind);
  if (is_text(text)) return "is a text file";
  if (std::ranges::all_of(text, [](char c) { return c == 0; })) return "holds only zero bytes (a failed download?)";
  return std::nullopt;
}

}  // namespace planish
