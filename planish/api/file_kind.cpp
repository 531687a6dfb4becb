#include "planish/api/file_kind.h"

#include <array>
#include <fstream>
#include <span>
#include <system_error>

#include "planish/engine/engine.h"

namespace planish::api {

Result<FileKind> file_kind(const std::filesystem::path& file) {
  std::error_code error;
  const auto status = std::filesystem::status(file, error);
  if (!std::filesystem::exists(status))
    return Error{
        .code = Code::not_found, .file = file.string(), .what = "there is no such file", .fix = "check the path"};
  if (std::filesystem::is_directory(status))
    return Error{.code = Code::io, .file = file.string(), .what = "this is a folder", .fix = "name a file in it"};
  std::array<char, 64> head{};
  std::ifstream stream(file, std::ios::binary);
  stream.read(head.data(), head.size());
  if (stream.bad() || !stream.is_open())
    return Error{.code = Code::io, .file = file.string(), .what = "cannot be read", .fix = "check its permissions"};
  const auto size = static_cast<size_t>(stream.gcount());
  if (is_engine_file({reinterpret_cast<const uint8_t*>(head.data()), size})) return FileKind::engine;
  const std::string extension = file.extension().string();
  const bool named_engine = extension == ".engine" || extension == ".plan" || extension == ".trt";
  return named_engine ? FileKind::engine : FileKind::onnx;
}

}  // namespace planish::api
