#pragma once

#include <string>

#include "planish/api/data.h"

namespace planish::tools {

/// A tensor as NumPy's str() prints it with default options: 8 digits, lines of 75 characters, arrays of more than 1000
/// elements by their edges. A scalar is its shortest number.
std::string numpy_text(const Tensor& tensor);

/// A double as Python's repr() prints it: 0.5, 2.0, 1e-07.
std::string python_float(double value);

/// A text as Python's repr() prints it, in quotes.
std::string python_string(const std::string& text);

}  // namespace planish::tools
