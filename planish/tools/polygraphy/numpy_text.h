#pragma once

#include <string>
#include <vector>

#include "planish/api/data.h"

namespace planish::tools {

/// numpy.set_printoptions(edgeitems, linewidth).
struct NumpyTextOptions {
  int64_t edge_items = 3;
  size_t line_width = 75;
};

/// A tensor as NumPy's str() prints it: 8 digits, arrays of more than 1000 elements by their edges. A scalar is its
/// shortest number.
std::string numpy_text(const Tensor& tensor, const NumpyTextOptions& options = {});

/// A double as Python's repr() prints it: 0.5, 2.0, 1e-07.
std::string python_float(double value);

/// A text as Python's repr() prints it, in quotes.
std::string python_string(const std::string& text);

/// "(1, 3)", "(5,)", "()".
std::string python_tuple(const std::vector<int64_t>& dims);
/// "[1, 3]"
std::string python_dims(const std::vector<int64_t>& dims);
/// "['a', 'b']"
std::string python_list(const std::vector<std::string>& items);

}  // namespace planish::tools
