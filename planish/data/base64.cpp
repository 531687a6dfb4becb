#include "planish/data/base64.h"

#include <array>

namespace planish {
namespace {

constexpr std::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

std::string base64_encode(std::span<const uint8_t> bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t left = std::min<size_t>(3, bytes.size() - i);
    uint32_t v = static_cast<uint32_t>(bytes[i]) << 16;
    if (left > 1) v |= static_cast<uint32_t>(bytes[i + 1]) << 8;
    if (left > 2) v |= bytes[i + 2];
    out += kBase64[v >> 18];
    out += kBase64[(v >> 12) & 63];
    out += left > 1 ? kBase64[(v >> 6) & 63] : '=';
    out += left > 2 ? kBase64[v & 63] : '=';
  }
  return out;
}

Result<std::vector<uint8_t>> base64_decode(std::string_view text) {
  std::array<int8_t, 256> value{};
  value.fill(-1);
  for (size_t i = 0; i < kBase64.size(); ++i) value[static_cast<uint8_t>(kBase64[i])] = static_cast<int8_t>(i);

  std::vector<uint8_t> out;
  out.reserve(text.size() / 4 * 3);
  uint32_t bits = 0;
  int digits = 0, padding = 0;
  for (const char c : text) {
    if (c == '\n' || c == '\r') continue;
    if (c == '=' && digits % 4 >= 2) {
      ++padding;
      continue;
    }
    const int v = value[static_cast<uint8_t>(c)];
    if (v < 0 || padding != 0)
      return Error{.code = Code::corrupt, .what = "the text is not Base64", .fix = "write the file again"};
    bits = (bits << 6) | static_cast<uint32_t>(v);
    ++digits;
    if (digits % 4 == 0)
      out.insert(out.end(),
                 {static_cast<uint8_t>(bits >> 16), static_cast<uint8_t>(bits >> 8), static_cast<uint8_t>(bits)});
  }
  const int rest = digits % 4;
  if (rest == 1 || (padding != 0 && rest + padding != 4))
    return Error{.code = Code::corrupt, .what = "the Base64 text is truncated", .fix = "write the file again"};
  if (rest >= 2) out.push_back(static_cast<uint8_t>(rest == 2 ? bits >> 4 : bits >> 10));
  if (rest == 3) out.push_back(static_cast<uint8_t>(bits >> 2));
  return out;
}

}  // namespace planish
