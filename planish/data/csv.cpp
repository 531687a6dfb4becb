#include "planish/data/csv.h"

#include <algorithm>

namespace planish {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  const size_t first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

std::vector<std::string> split_lines(std::string_view text) {
  std::vector<std::string> lines;
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find('\n', start), text.size());
    lines.emplace_back(trimmed(text.substr(start, end - start)));
    start = end + 1;
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

std::vector<CsvRow> parse_csv(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // byte order mark
  std::vector<CsvRow> rows;
  CsvRow row;
  std::string field;
  size_t line = 1;
  bool quoted = false, any = false;
  const auto end_field = [&] {
    row.fields.emplace_back(trimmed(field));
    field.clear();
  };
  const auto end_row = [&] {
    if (any) {
      end_field();
      rows.push_back(std::move(row));
    }
    row = {};
    any = false;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') ++line;
    if (quoted) {
      if (c != '"') {
        field += c;
      } else if (i + 1 < text.size() && text[i + 1] == '"') {
        field += text[++i];
      } else {
        quoted = false;
      }
      continue;
    }
    if (c == '\n') {
      end_row();
      continue;
    }
    if (c != '\r' && c != ' ' && c != '\t' && !any) {
      any = true;
      row.line = line;
    }
    if (c == '"' && trimmed(field).empty()) {
      quoted = true;
      field.clear();
    } else if (c == ',') {
      end_field();
    } else {
      field += c;
    }
  }
  end_row();
  return rows;
}

}  // namespace planish
