#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace planish {

/// Splits comma-separated text (RFC 4180: quotes, doubled quotes, line breaks in quotes; LF or CRLF) into rows of
/// trimmed fields. Empty lines are skipped; `line` is the 1-based line that a row starts on.
struct CsvRow {
  size_t line = 0;
  std::vector<std::string> fields;
};
std::vector<CsvRow> parse_csv(std::string_view text);

/// Text without blanks at both ends.
std::string_view trimmed(std::string_view text);
/// Lines of a text without line ends, trimmed; trailing empty lines dropped.
std::vector<std::string> split_lines(std::string_view text);

}  // namespace planish
