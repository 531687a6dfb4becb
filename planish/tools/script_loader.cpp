#include "planish/tools/script_loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <tuple>

namespace planish::tools {
namespace {

namespace fs = std::filesystem;

bool is_identifier(std::string_view text) {
  return !text.empty() && std::isdigit(static_cast<unsigned char>(text[0])) == 0 &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return c == '_' || std::isalnum(static_cast<unsigned char>(c)) != 0; });
}

std::string inputs_json(const std::vector<api::TensorInfo>& inputs) {
  auto json = nlohmann::json::array();
  for (const api::TensorInfo& input : inputs) {
    auto shape = nlohmann::json::array();
    for (const int64_t d : input.dims) shape.push_back(d);
    json.push_back({input.name, std::string(dtype_numpy_name(input.dtype)), shape});
  }
  return json.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

std::string text_of(const ChildFrame& frame) { return {frame.payload.begin(), frame.payload.end()}; }

/// Payload of an 'A' frame.
Result<std::pair<std::string, Tensor>> array_of(const ChildFrame& frame, const std::string& where) {
  const std::span<const uint8_t> bytes(frame.payload);
  uint32_t name_bytes = 0;
  if (bytes.size() >= sizeof name_bytes) std::memcpy(&name_bytes, bytes.data(), sizeof name_bytes);
  if (bytes.size() < sizeof name_bytes || bytes.size() - sizeof name_bytes < name_bytes)
    return Error{.code = Code::corrupt, .file = where, .what = "Python sent half an array", .fix = "try again"};
  const auto rest = bytes.subspan(sizeof name_bytes);
  std::string name(rest.begin(), rest.begin() + name_bytes);
  Tensor tensor = PLANISH_TRY(npy_decode(rest.subspan(name_bytes), fmt::format("{}, array '{}'", where, name)));
  return std::pair{std::move(name), std::move(tensor)};
}

std::string indented(const std::string& text) {
  std::string out = "\n  ";
  for (const char c : text) out += c == '\n' ? std::string("\n  ") : std::string(1, c);
  return out;
}

}  // namespace

std::pair<std::string, std::string> split_script(const std::string& script, const std::string& default_function) {
  const size_t colon = script.rfind(':');
  std::error_code ignored;
  if (colon == std::string::npos || fs::exists(script, ignored) || !is_identifier(script.substr(colon + 1)))
    return {script, default_function};
  return {script.substr(0, colon), script.substr(colon + 1)};
}

std::string ScriptLoader::name() const { return fmt::format("{}:{}", path_, function_); }

Result<std::unique_ptr<ScriptLoader>> ScriptLoader::open(ScriptLoaderOptions options) {
  std::unique_ptr<ScriptLoader> loader(new ScriptLoader);
  loader->options_ = std::move(options);
  std::tie(loader->path_, loader->function_) = split_script(loader->options_.script, loader->options_.default_function);
  std::error_code ignored;
  if (!fs::is_regular_file(loader->path_, ignored))
    return Error{.code = Code::not_found,
                 .file = loader->path_,
                 .what = "this data-loader script does not exist",
                 .fix = "check its path; it is a Python file with a function load_data()"};
  PLANISH_TRY(loader->start());
  return loader;
}

Error ScriptLoader::fatal_error(Code code, std::string what, std::string fix) {
  fatal_ = ended_ = true;
  return Error{.code = code, .file = path_, .what = std::move(what), .fix = std::move(fix)};
}

/// The next frame; anything but a frame ends the walk.
Result<ChildFrame> ScriptLoader::frame() {
  auto received = child_->next(options_.item_timeout_s);
  if (!received.ok() && received.error().code == Code::cancelled) {
    child_->stop();
    return fatal_error(
        Code::cancelled,
        fmt::format("{}() gave nothing for {:g} seconds after {} batches", function_, options_.item_timeout_s, items_),
        "make the loader end, or allow it more time (trtexec: --calibScriptTimeout=SECONDS, planish: "
        "--script-timeout=SECONDS)");
  }
  if (!received.ok())
    return fatal_error(received.error().code, received.error().what, "run the script alone to see why");
  if (*received) return *std::move(*received);
  return fatal_error(Code::io, fmt::format("Python ended with {} after {} batches", child_->end_text(), items_),
                     "run the script alone to see why");
}

/// What an 'E' frame says.
Error ScriptLoader::failure(const ChildFrame& frame) {
  const std::string text = text_of(frame);
  const size_t line_end = std::min(text.find('\n'), text.size());
  const std::string word = text.substr(0, line_end);
  const std::string rest = text.substr(std::min(line_end + 1, text.size()));
  if (word == "numpy")
    return fatal_error(Code::not_found, fmt::format("your Python cannot import numpy ({})", rest),
                       fmt::format("{} -m pip install numpy", options_.python));
  if (word == "function")
    return fatal_error(Code::not_found, fmt::format("it has no function {}()", function_),
                       rest.empty() ? fmt::format("define {}() that yields {{input name: array}}", function_)
                                    : fmt::format("rename yours, or name it: {}:FUNCTION; it has {}", path_, rest));
  if (word == "iterable")
    return fatal_error(Code::invalid_argument, fmt::format("{}() returned {}, which gives no batches", function_, rest),
                       "yield dictionaries {input name: array} from it, or return a list of them");
  const std::string when = word == "import" ? std::string("it failed while Python read it")
                                            : fmt::format("{}() raised after {} batches", function_, items_);
  return fatal_error(Code::invalid_argument, fmt::format("{}:{}\n ", when, indented(rest)),
                     fmt::format("correct the script; {} must yield {{input name: array}}", name()));
}

Status ScriptLoader::start() {
  items_ = 0;
  ended_ = fatal_ = false;
  child_ = PLANISH_TRY(
      PythonChild::start(options_.python, script_child_source(), {path_, function_, inputs_json(options_.inputs)}));
  const ChildFrame first = PLANISH_TRY(frame());
  if (first.kind == 'E') return failure(first);
  if (first.kind != 'R') return fatal_error(Code::internal, "Python said something unexpected", "try again");
  return {};
}

Status ScriptLoader::rewind() {
  if (child_ != nullptr && items_ == 0 && !ended_) return {};
  child_.reset();
  return start();
}

Result<std::optional<NamedTensors>> ScriptLoader::next() {
  NamedTensors item;
  Status broken;
  while (!ended_) {
    const ChildFrame received = PLANISH_TRY(frame());
    switch (received.kind) {
      case 'A': {
        auto array = array_of(received, fmt::format("{}, batch {}", path_, items_ + 1));
        if (array.ok()) {
          item.push_back(std::move(array).take_value());
        } else if (broken.ok()) {
          broken = std::move(array).take_error();
        }
        break;
      }
      case 'N':
        ++items_;
        if (!broken.ok()) return std::move(broken).take_error();
        return std::optional<NamedTensors>(std::move(item));
      case 'B':
        ++items_;
        return Error{.code = Code::invalid_argument,
                     .file = path_,
                     .what = fmt::format("batch {} {}", items_, text_of(received)),
                     .fix = "yield {input name: array}"};
      case 'Z': ended_ = true; break;
      case 'E': return failure(received);
      default: return fatal_error(Code::internal, "Python said something unexpected", "try again");
    }
  }
  return std::optional<NamedTensors>();
}

}  // namespace planish::tools
