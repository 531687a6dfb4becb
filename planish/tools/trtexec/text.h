#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "planish/base/status.h"
#include "planish/tools/trtexec/options.h"

namespace planish::tools {

/// Six significant digits without padding, as a default C++ stream prints a double: 0.5, 12.3457, 1e-05.
std::string number_text(double value);

/// "1x3x224x224"; "scalar" for rank 0.
std::string dims_text(const Dims& dims);

/// Cuts `text` at `separator`, not inside single quotes. An empty text gives an empty list.
std::vector<std::string> split_list(std::string_view text, char separator);

/// `name:value`, split at the last colon that is not inside quotes; `'a:b':value` loses its quotes.
Result<std::pair<std::string, std::string>> parse_pair(std::string_view text, std::string_view flag);

/// `name:value,name:value`.
Result<PairList> parse_pairs(std::string_view text, std::string_view flag);

/// `name:1x3x224x224,other:scalar`. Dimensions must be 0 or more. Names may hold one `*`.
Result<ShapeList> parse_shapes(std::string_view text, std::string_view flag);

/// "512", "1.5G", "64K", "100B" in bytes; a bare number counts in `default_unit_bytes`. Negative is an error.
Result<int64_t> parse_size_bytes(std::string_view text, int64_t default_unit_bytes, std::string_view flag);

Result<int64_t> parse_integer(std::string_view text, int64_t low, int64_t high, std::string_view flag);
Result<double> parse_number(std::string_view text, double low, double high, std::string_view flag);

/// True when `pattern` (at most one `*`) names `name`.
bool wildcard_matches(std::string_view pattern, std::string_view name);

/// The value whose name equals `name`, else the last wildcard that matches, else nullptr.
const Dims* find_shape(const ShapeList& shapes, std::string_view name);

/// The candidate nearest to `word` by edit distance; "" when none is close enough to be meant.
std::string nearest_word(std::string_view word, const std::vector<std::string>& candidates);

/// Greedy line breaking at blanks to lines of `width` columns; continuation lines start with `indent` spaces.
std::string wrap(const std::string& text, size_t indent, size_t width);

}  // namespace planish::tools
