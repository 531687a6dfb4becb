#include "planish/tools/trtexec/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>

namespace planish::tools {
namespace {

Error bad_value(std::string_view flag, std::string what, std::string fix) {
  return Error{
      .code = Code::invalid_argument, .file = std::string(flag), .what = std::move(what), .fix = std::move(fix)};
}

std::string without_quotes(std::string_view name) {
  if (name.size() >= 2 && name.front() == '\'' && name.back() == '\'') name = name.substr(1, name.size() - 2);
  return std::string(name);
}

Result<Dims> parse_dims(std::string_view text, std::string_view flag) {
  Dims dims;
  if (text.empty() || text == "scalar") return dims;
  for (const std::string& part : split_list(text, 'x')) {
    auto dim = parse_integer(part, 0, std::numeric_limits<int64_t>::max(), flag);
    if (!dim) {
      return bad_value(flag, fmt::format("'{}' is not a shape", text),
                       "write dimensions joined by x, for example input:1x3x224x224");
    }
    dims.push_back(*dim);
  }
  return dims;
}

}  // namespace

std::string number_text(double value) { return fmt::format("{:g}", value); }

std::string dims_text(const Dims& dims) { return dims.empty() ? "scalar" : fmt::format("{}", fmt::join(dims, "x")); }

std::vector<std::string> split_list(std::string_view text, char separator) {
  std::vector<std::string> parts;
  if (text.empty()) return parts;
  std::string part;
  bool quoted = false;
  for (char c : text) {
    if (c == '\'') quoted = !quoted;
    if (c == separator && !quoted) {
      parts.push_back(std::move(part));
      part.clear();
    } else {
      part += c;
    }
  }
  parts.push_back(std::move(part));
  return parts;
}

Result<std::pair<std::string, std::string>> parse_pair(std::string_view text, std::string_view flag) {
  const size_t last_quote = text.rfind('\'');
  const size_t colon = text.rfind(':');
  const bool inside_quotes = last_quote != std::string_view::npos && colon != std::string_view::npos &&
                             colon < last_quote && text.front() == '\'';
  if (colon == std::string_view::npos || colon == 0 || inside_quotes) {
    return bad_value(flag, fmt::format("'{}' is not a name:value pair", text),
                     fmt::format("write {}=name:value[,name:value]; quote names that hold a comma: 'a,b':value", flag));
  }
  return std::pair{without_quotes(text.substr(0, colon)), std::string(text.substr(colon + 1))};
}

Result<PairList> parse_pairs(std::string_view text, std::string_view flag) {
  PairList pairs;
  for (const std::string& part : split_list(text, ',')) pairs.push_back(PLANISH_TRY(parse_pair(part, flag)));
  return pairs;
}

Result<ShapeList> parse_shapes(std::string_view text, std::string_view flag) {
  ShapeList shapes;
  for (auto& [name, value] : PLANISH_TRY(parse_pairs(text, flag))) {
    if (std::count(name.begin(), name.end(), '*') > 1) {
      return bad_value(flag, fmt::format("'{}' holds more than one *", name), "use at most one wildcard in a name");
    }
    Dims dims = PLANISH_TRY(parse_dims(value, flag));
    for (const auto& [known, unused] : shapes) {
      if (known == name) {
        return bad_value(flag, fmt::format("input '{}' is given two shapes", name), "keep one shape per input");
      }
    }
    shapes.emplace_back(std::move(name), std::move(dims));
  }
  return shapes;
}

Result<int64_t> parse_size_bytes(std::string_view text, int64_t default_unit_bytes, std::string_view flag) {
  double unit = static_cast<double>(default_unit_bytes);
  std::string_view digits = text;
  if (!text.empty()) {
    const size_t suffix = std::string_view("BKMG").find(text.back());
    if (suffix != std::string_view::npos) {
      unit = std::ldexp(1.0, 10 * static_cast<int>(suffix));
      digits.remove_suffix(1);
    }
  }
  auto count = parse_number(digits, 0, std::ldexp(1.0, 62) / unit, flag);
  if (!count) {
    return bad_value(flag, fmt::format("'{}' is not a size", text),
                     "write a decimal number of 0 or more with an optional B, K, M or G, for example 512M or 1.5G");
  }
  return static_cast<int64_t>(*count * unit);
}

Result<int64_t> parse_integer(std::string_view text, int64_t low, int64_t high, std::string_view flag) {
  int64_t value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc() || end != text.data() + text.size()) {
    return bad_value(flag, fmt::format("'{}' is not a whole number", text),
                     fmt::format("for example {}={}", flag, low));
  }
  if (value < low || value > high) {
    const std::string range = high >= std::numeric_limits<int>::max() && value < low
                                  ? fmt::format("{} or more", low)
                                  : fmt::format("{} to {}", low, high);
    return bad_value(flag, fmt::format("{} is out of range", value), "allowed: " + range);
  }
  return value;
}

Result<double> parse_number(std::string_view text, double low, double high, std::string_view flag) {
  // strtod, not from_chars: it takes what TensorRT's stream extraction takes, such as 1e3 and +2.
  const std::string copy(text);
  char* end = nullptr;
  const double value = std::strtod(copy.c_str(), &end);
  if (copy.empty() || *end != '\0' || !std::isfinite(value)) {
    return bad_value(flag, fmt::format("'{}' is not a number", text), fmt::format("for example {}=1.5", flag));
  }
  if (value < low || value > high) {
    return bad_value(flag, fmt::format("{} is out of range", number_text(value)),
                     high >= 1e15 ? fmt::format("allowed: {} or more", number_text(low))
                                  : fmt::format("allowed: {} to {}", number_text(low), number_text(high)));
  }
  return value;
}

bool wildcard_matches(std::string_view pattern, std::string_view name) {
  const size_t star = pattern.find('*');
  if (star == std::string_view::npos) return pattern == name;
  const std::string_view head = pattern.substr(0, star);
  const std::string_view tail = pattern.substr(star + 1);
  return name.size() >= head.size() + tail.size() && name.substr(0, head.size()) == head &&
         name.substr(name.size() - tail.size()) == tail;
}

const Dims* find_shape(const ShapeList& shapes, std::string_view name) {
  const Dims* found = nullptr;
  for (const auto& [pattern, dims] : shapes) {
    if (pattern == name) return &dims;
    if (wildcard_matches(pattern, name)) found = &dims;
  }
  return found;
}

std::string nearest_word(std::string_view word, const std::vector<std::string>& candidates) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  std::string best;
  size_t best_distance = 2 + word.size() / 4;
  for (const std::string& candidate : candidates) {
    // Levenshtein distance, one row at a time; case counts for nothing.
    std::vector<size_t> row(candidate.size() + 1);
    for (size_t j = 0; j < row.size(); ++j) row[j] = j;
    for (size_t i = 1; i <= word.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i;
      for (size_t j = 1; j < row.size(); ++j) {
        const size_t replace = diagonal + (lower(word[i - 1]) == lower(candidate[j - 1]) ? 0 : 1);
        diagonal = row[j];
        row[j] = std::min({replace, row[j] + 1, row[j - 1] + 1});
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

std::string wrap(const std::string& text, size_t indent, size_t width) {
  std::string out;
  size_t column = indent;
  for (const std::string& word : split_list(text, ' ')) {
    if (column > indent && column + 1 + word.size() > width) {
      out += '\n' + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
  }
  return out;
}

}  // namespace planish::tools
