#include "planish/tools/polygraphy/numpy_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <vector>

namespace planish::tools {
namespace {

constexpr int64_t kThreshold = 1000;  // more elements than this are summarised
constexpr int kPrecision = 8;

/// `value` as an element of `dtype` holds it.
double rounded_to(DType dtype, double value) {
  unsigned char storage[8] = {};
  store_element(dtype, storage, 0, value);
  return load_element(dtype, storage, 0);
}

/// Fewest significant digits that read back as the same element, in the form "d.ddde+xx".
std::string shortest_scientific(DType dtype, double value) {
  constexpr int kDigitsOfDouble = 17;
  for (int digits = 1; digits < kDigitsOfDouble; ++digits) {
    std::string text = fmt::format("{:.{}e}", value, digits - 1);
    if (rounded_to(dtype, std::strtod(text.c_str(), nullptr)) == value) return text;
  }
  return fmt::format("{:.{}e}", value, kDigitsOfDouble - 1);
}

/// A number cut at its point and exponent.
struct Parts {
  std::string whole;  ///< with the sign
  std::string fraction;
  std::string exponent;  ///< digits without sign; empty in positional notation
  bool negative_exponent = false;
};

void trim_zeros(std::string& fraction) { fraction.erase(fraction.find_last_not_of('0') + 1); }

Parts scientific_parts(DType dtype, double value) {
  std::string text = shortest_scientific(dtype, value);
  const size_t at = text.find('e');
  if (at > static_cast<size_t>(kPrecision) + 2 + (value < 0 ? 1 : 0)) text = fmt::format("{:.{}e}", value, kPrecision);
  const size_t e = text.find('e');
  const size_t point = std::min(text.find('.'), e);
  Parts parts{text.substr(0, point), point < e ? text.substr(point + 1, e - point - 1) : "", text.substr(e + 2),
              text[e + 1] == '-'};
  trim_zeros(parts.fraction);
  return parts;
}

Parts positional_parts(DType dtype, double value) {
  const std::string shortest = shortest_scientific(dtype, value);
  const size_t e = shortest.find('e');
  const int exponent = std::atoi(shortest.c_str() + e + 1);
  const auto digits =
      static_cast<int>(std::count_if(shortest.begin(), shortest.begin() + static_cast<std::ptrdiff_t>(e),
                                     [](char c) { return c >= '0' && c <= '9'; }));
  const int decimals = std::clamp(digits - 1 - exponent, 0, kPrecision);
  const std::string text = fmt::format("{:.{}f}", value, decimals);
  const size_t point = text.find('.');
  Parts parts{text.substr(0, point), point == std::string::npos ? "" : text.substr(point + 1), "", false};
  trim_zeros(parts.fraction);
  return parts;
}

std::string blanks(size_t count) { return std::string(count, ' '); }

/// One width for all elements, so that columns align.
class FloatFormat {
 public:
  FloatFormat(DType dtype, const std::vector<double>& values) : dtype_(dtype) {
    choose_notation(values);
    bool has_nan = false, has_infinity = false, has_negative_infinity = false, finite = true;
    for (const double v : values) {
      if (std::isfinite(v)) {
        measure(scientific_ ? scientific_parts(dtype_, v) : positional_parts(dtype_, v));
        continue;
      }
      finite = false;
      has_nan = has_nan || std::isnan(v);
      has_infinity = has_infinity || std::isinf(v);
      has_negative_infinity = has_negative_infinity || (std::isinf(v) && v < 0);
    }
    if (finite) return;
    const size_t word = std::max<size_t>(has_nan ? 3 : 0, has_infinity ? 3 + (has_negative_infinity ? 1 : 0) : 0);
    const size_t behind = right_width() + 1;
    left_ = std::max(left_, word > behind ? word - behind : 0);
  }

  [[nodiscard]] std::string text(double value) const {
    if (!std::isfinite(value)) {
      const std::string word = std::isnan(value) ? "nan" : value < 0 ? "-inf" : "inf";
      return blanks(left_ + right_width() + 1 - std::min(word.size(), left_ + right_width() + 1)) + word;
    }
    Parts p = scientific_ ? scientific_parts(dtype_, value) : positional_parts(dtype_, value);
    const size_t missing = fraction_ - std::min(fraction_, p.fraction.size());
    if (scientific_ && missing > 0) {
      // Digits beyond the shortest are those of the exact value, not zeros.
      const std::string exact = fmt::format("{:.{}e}", value, fraction_);
      const size_t point = exact.find('.');
      if (point != std::string::npos) {
        p.whole = exact.substr(0, point);
        p.fraction = exact.substr(point + 1, fraction_);
      }
    }
    const std::string out = blanks(left_ - std::min(left_, p.whole.size())) + p.whole + '.' + p.fraction;
    if (!scientific_) return out + blanks(missing);
    return out + (p.negative_exponent ? "e-" : "e+") +
           std::string(exponent_ - std::min(exponent_, p.exponent.size()), '0') + p.exponent;
  }

 private:
  void choose_notation(const std::vector<double>& values) {
    double low = INFINITY, high = 0;
    for (const double v : values)
      if (std::isfinite(v) && v != 0) {
        low = std::min(low, std::abs(v));
        high = std::max(high, std::abs(v));
      }
    scientific_ = high > 0 && (high >= 1e8 || low < 1e-4 || high / low > 1000);
  }
  void measure(const Parts& p) {
    left_ = std::max(left_, p.whole.size());
    fraction_ = std::max(fraction_, p.fraction.size());
    exponent_ = std::max(exponent_, p.exponent.size());
  }
  [[nodiscard]] size_t right_width() const { return fraction_ + (scientific_ ? exponent_ + 2 : 0); }

  DType dtype_;
  bool scientific_ = false;
  size_t left_ = 0;
  size_t fraction_ = 0;
  size_t exponent_ = 0;
};

/// Lays out nested brackets. Elements are texts of one width.
class ArrayPrinter {
 public:
  ArrayPrinter(const Tensor& tensor, const NumpyTextOptions& options)
      : tensor_(tensor), options_(options), summarised_(tensor.size() > kThreshold) {
    std::vector<int64_t> shown;
    collect(0, 0, shown);
    if (dtype_is_float(tensor.dtype())) {
      std::vector<double> values;
      for (const int64_t i : shown) values.push_back(tensor.at(i));
      floats_.emplace(tensor.dtype(), values);
    } else if (tensor.dtype() == DType::boolean) {
      width_ = 5;
    } else {
      for (const int64_t i : shown) width_ = std::max(width_, integer(i).size());
    }
  }

  std::string print() { return nested(0, 0, 1, options_.line_width); }

 private:
  [[nodiscard]] std::string integer(int64_t i) const {
    if (tensor_.dtype() == DType::u64) return fmt::format("{}", static_cast<uint64_t>(tensor_.int_at(i)));
    return fmt::format("{}", tensor_.int_at(i));
  }
  [[nodiscard]] std::string element(int64_t i) const {
    if (floats_) return floats_->text(tensor_.at(i));
    if (tensor_.dtype() == DType::boolean) return tensor_.at(i) != 0 ? " True" : "False";
    const std::string text = integer(i);
    return blanks(width_ - std::min(width_, text.size())) + text;
  }

  /// Positions along an axis that are shown; -1 stands for the dots.
  [[nodiscard]] std::vector<int64_t> shown_along(int64_t axis) const {
    const int64_t length = tensor_.dim(axis);
    std::vector<int64_t> out;
    for (int64_t i = 0; i < length; ++i) {
      const int64_t edge = options_.edge_items;
      const bool hidden = summarised_ && edge < length - edge && i >= edge && i < length - edge;
      if (!hidden) out.push_back(i);
      if (hidden && i == edge) out.push_back(-1);
    }
    return out;
  }
  void collect(int64_t axis, int64_t offset, std::vector<int64_t>& out) const {
    if (axis == tensor_.rank()) return out.push_back(offset);
    for (const int64_t i : shown_along(axis))
      if (i >= 0) collect(axis + 1, offset * tensor_.dim(axis) + i, out);
  }

  std::string nested(int64_t axis, int64_t offset, size_t indent, size_t width) const {
    if (axis == tensor_.rank() - 1) return row(offset, indent, width);
    const std::string separator(static_cast<size_t>(tensor_.rank() - 1 - axis), '\n');
    std::string out;
    for (const int64_t i : shown_along(axis)) {
      if (!out.empty()) out += separator + blanks(indent);
      out += i < 0 ? "..." : nested(axis + 1, offset * tensor_.dim(axis) + i, indent + 1, width - 1);
    }
    return '[' + out + ']';
  }

  std::string row(int64_t offset, size_t indent, size_t width) const {
    std::string out;
    std::string line = blanks(indent);
    for (const int64_t i : shown_along(tensor_.rank() - 1)) {
      const std::string word = i < 0 ? "..." : element(offset * tensor_.dim(-1) + i);
      if (line.size() > indent && line.size() + word.size() > width - 1) {
        out += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
        line = blanks(indent);
      }
      line += word + ' ';
    }
    line.pop_back();
    return '[' + (out + line).substr(indent) + ']';
  }

  const Tensor& tensor_;
  NumpyTextOptions options_;
  bool summarised_;
  std::optional<FloatFormat> floats_;
  size_t width_ = 0;
};

}  // namespace

std::string python_float(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string python_string(const std::string& text) {
  const bool has_single = text.find('\'') != std::string::npos;
  const char quote = has_single && text.find('"') == std::string::npos ? '"' : '\'';
  std::string out(1, quote);
  for (const char c : text) {
    if (c == quote || c == '\\') out += '\\';
    if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else
      out += c;
  }
  return out + quote;
}

std::string python_tuple(const std::vector<int64_t>& dims) {
  return fmt::format("({}{})", fmt::join(dims, ", "), dims.size() == 1 ? "," : "");
}

std::string python_dims(const std::vector<int64_t>& dims) { return fmt::format("[{}]", fmt::join(dims, ", ")); }

std::string python_list(const std::vector<std::string>& items) {
  std::vector<std::string> quoted;
  for (const std::string& item : items) quoted.push_back(python_string(item));
  return fmt::format("[{}]", fmt::join(quoted, ", "));
}

std::string numpy_text(const Tensor& tensor, const NumpyTextOptions& options) {
  if (tensor.size() == 0) return "[]";
  if (tensor.rank() > 0) return ArrayPrinter(tensor, options).print();
  if (tensor.dtype() == DType::boolean) return tensor.at(0) != 0 ? "True" : "False";
  if (!dtype_is_float(tensor.dtype())) return fmt::format("{}", tensor.int_at(0));
  const double value = tensor.at(0);
  if (!std::isfinite(value)) return python_float(value);
  // The shortest digits of the type, in the notation of a double.
  return python_float(std::strtod(shortest_scientific(tensor.dtype(), value).c_str(), nullptr));
}

}  // namespace planish::tools
