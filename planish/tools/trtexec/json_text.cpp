#include "planish/tools/trtexec/json_text.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace planish::tools {
namespace {

/// End of the JSON string that starts at `start` (one past its closing quote).
size_t string_end(std::string_view text, size_t start) {
  size_t i = start + 1;
  while (i < text.size() && text[i] != '"') i += text[i] == '\\' ? 2 : 1;
  return std::min(i + 1, text.size());
}

/// End of a flat array starting at `start`, or npos when it holds objects or arrays.
size_t flat_array_end(std::string_view text, size_t start) {
  for (size_t i = start + 1; i < text.size();) {
    if (text[i] == '"') {
      i = string_end(text, i);
      continue;
    }
    if (text[i] == '[' || text[i] == '{') return std::string_view::npos;
    if (text[i] == ']') return i + 1;
    ++i;
  }
  return std::string_view::npos;
}

void append_flat(std::string& out, std::string_view array) {
  for (size_t i = 0; i < array.size();) {
    const size_t end = array[i] == '"' ? string_end(array, i) : i + 1;
    out += array.substr(i, end - i);
    if (array[i] == ',') out += ' ';
    i = end;
  }
}

}  // namespace

double to_nanoseconds(double value_ms) { return std::round(value_ms * 1e6) / 1e6; }

std::string json_array_of_lines(const std::vector<std::string>& objects) {
  std::string out = "[";
  for (size_t i = 0; i < objects.size(); ++i) out += (i == 0 ? "\n  " : ",\n  ") + objects[i];
  return out + "\n]\n";
}

std::string indent_json(std::string_view compact) {
  std::string out;
  size_t depth = 0;
  const auto newline = [&] { out += '\n' + std::string(2 * depth, ' '); };
  for (size_t i = 0; i < compact.size();) {
    const char c = compact[i];
    if (c == '"') {
      const size_t end = string_end(compact, i);
      out += compact.substr(i, end - i);
      i = end;
      continue;
    }
    const bool opens = c == '[' || c == '{';
    const size_t flat = c == '[' ? flat_array_end(compact, i) : std::string_view::npos;
    if (flat != std::string_view::npos) {
      append_flat(out, compact.substr(i, flat - i));
      i = flat;
      continue;
    }
    const bool is_empty = opens && i + 1 < compact.size() && (compact[i + 1] == ']' || compact[i + 1] == '}');
    if (is_empty) {
      out += compact.substr(i, 2);
      i += 2;
      continue;
    }
    if (c == ']' || c == '}') {
      --depth;
      newline();
    }
    out += c;
    if (opens) ++depth;
    if (opens || c == ',') newline();
    if (c == ':') out += ' ';
    ++i;
  }
  return out + '\n';
}

std::string json_string(std::string_view text) {
  return nlohmann::json(std::string(text)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace planish::tools
