#include <fmt/format.h>

#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <unordered_map>

#include "planish/ir/text.h"

namespace planish {
namespace {

/// Nested subgraphs beyond this are refused, so that hostile text cannot exhaust the stack.
constexpr int kMaxDepth = 32;
constexpr int64_t kMaxConstantElements = int64_t{1} << 28;

bool is_word_char(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.' || c == '/' || c == ':';
}

struct Type {
  DType dtype = DType::undefined;
  std::optional<Shape> shape;
  std::vector<std::string> dim_names;
};

class Parser {
 public:
  Parser(std::string_view text, std::string_view file) : text_(text), file_(file) {}

  Result<Graph> whole() {
    Graph g = PLANISH_TRY(graph(0));
    skip();
    if (pos_ != text_.size()) return error("text behind the end of the graph");
    PLANISH_TRY(verify(g));
    return g;
  }

 private:
  using Names = std::unordered_map<std::string, ValueId>;

  [[nodiscard]] Error error(std::string what) const {
    int64_t line = 1;
    for (size_t i = 0; i < pos_ && i < text_.size(); ++i) line += text_[i] == '\n' ? 1 : 0;
    return Error{.code = Code::invalid_model, .file = fmt::format("{}:{}", file_, line), .what = std::move(what)};
  }

  void skip() {
    while (pos_ < text_.size()) {
      if (std::isspace(static_cast<unsigned char>(text_[pos_])) != 0)
        ++pos_;
      else if (text_[pos_] == '#')
        while (pos_ < text_.size() && text_[pos_] != '\n') ++pos_;
      else
        return;
    }
  }
  char peek() {
    skip();
    return pos_ < text_.size() ? text_[pos_] : '\0';
  }
  bool accept(std::string_view token) {
    skip();
    if (!text_.substr(pos_).starts_with(token)) return false;
    if (is_word_char(token.back()) && pos_ + token.size() < text_.size() && is_word_char(text_[pos_ + token.size()]))
      return false;
    pos_ += token.size();
    return true;
  }
  Status expect(std::string_view token) {
    if (accept(token)) return {};
    return error(fmt::format("expected '{}' before '{}'", token, text_.substr(pos_, 20)));
  }

  Result<std::string> quoted_string() {
    PLANISH_TRY(expect("\""));
    std::string out;
    for (; pos_ < text_.size() && text_[pos_] != '"'; ++pos_) {
      if (text_[pos_] == '\\' && pos_ + 1 < text_.size()) {
        ++pos_;
        out += text_[pos_] == 'n' ? '\n' : text_[pos_];
      } else {
        out += text_[pos_];
      }
    }
    if (pos_ == text_.size()) return error("a string has no end");
    ++pos_;
    return out;
  }

  /// A bare or quoted name. A colon at the end of a bare one belongs to a type behind it.
  Result<std::string> word() {
    if (peek() == '"') return quoted_string();
    const size_t begin = pos_;
    while (pos_ < text_.size() && is_word_char(text_[pos_])) ++pos_;
    while (pos_ > begin && text_[pos_ - 1] == ':') --pos_;
    if (pos_ == begin) return error(fmt::format("expected a name before '{}'", text_.substr(pos_, 20)));
    return std::string(text_.substr(begin, pos_ - begin));
  }

  /// The characters of a number; `is_float` tells whether it has a point, an exponent, or is inf or nan.
  Result<std::string> number_text(bool* is_float) {
    skip();
    const size_t begin = pos_;
    if (pos_ < text_.size() && (text_[pos_] == '-' || text_[pos_] == '+')) ++pos_;
    while (pos_ < text_.size()) {
      const char c = text_[pos_];
      const bool sign = (c == '-' || c == '+') && (text_[pos_ - 1] == 'e' || text_[pos_ - 1] == 'E');
      if (!sign && c != '.' && std::isalnum(static_cast<unsigned char>(c)) == 0) break;
      ++pos_;
    }
    std::string s(text_.substr(begin, pos_ - begin));
    char* end = nullptr;
    static_cast<void>(std::strtod(s.c_str(), &end));
    if (s.empty() || *end != '\0') return error(fmt::format("'{}' is not a number", s));
    *is_float = s.find_first_of(".eEn") != std::string::npos;
    return s;
  }
  Result<int64_t> integer() {
    bool is_float = false;
    const std::string s = PLANISH_TRY(number_text(&is_float));
    int64_t v = 0;
    const auto [end, problem] = std::from_chars(s.data(), s.data() + s.size(), v);
    if (problem != std::errc{} || *end != '\0') return error(fmt::format("'{}' is not a 64-bit integer", s));
    return v;
  }
  Result<double> real() {
    bool is_float = false;
    return std::strtod(PLANISH_TRY(number_text(&is_float)).c_str(), nullptr);
  }

  Result<Type> type() {
    Type t;
    const std::string name = PLANISH_TRY(word());
    const auto dtype = dtype_from_name(name);
    if (!dtype && name != "undefined") return error(fmt::format("'{}' is not an element type", name));
    t.dtype = dtype.value_or(DType::undefined);
    if (!accept("[")) return t;
    t.shape.emplace();
    bool named = false;
    while (!accept("]")) {
      if (!t.shape->empty()) PLANISH_TRY(expect(","));
      t.dim_names.emplace_back();
      if (std::isdigit(static_cast<unsigned char>(peek())) != 0) {
        t.shape->push_back(PLANISH_TRY(integer()));
        continue;
      }
      t.shape->push_back(kUnknownDim);
      if (accept("?")) continue;
      t.dim_names.back() = PLANISH_TRY(word());
      named = true;
    }
    if (!named) t.dim_names.clear();
    return t;
  }

  Result<Tensor> constant(const Type& t) {
    if (!t.shape || !is_static(*t.shape) || dtype_bits(t.dtype) == 0)
      return error("a constant needs a numeric type and a static shape");
    const int64_t count = element_count(*t.shape);
    if (count > kMaxConstantElements) return error("the constant is too large");
    Tensor out(t.dtype, *t.shape);
    if (accept("zeros")) return out;
    if (accept("fill")) {
      PLANISH_TRY(expect("("));
      const double v = PLANISH_TRY(real());
      for (int64_t i = 0; i < count; ++i) out.set(i, v);
      PLANISH_TRY(expect(")"));
      return out;
    }
    if (accept("seed")) return seeded(t);
    if (accept("...")) return error("the values of this constant were not written out: use seed(n) or a list");
    PLANISH_TRY(expect("["));
    for (int64_t i = 0; i < count; ++i) {
      if (i != 0) PLANISH_TRY(expect(","));
      if (t.dtype == DType::i64)  // a double holds only 53 bits
        out.data<int64_t>()[i] = PLANISH_TRY(integer());
      else
        out.set(i, PLANISH_TRY(real()));
    }
    PLANISH_TRY(expect("]"));
    return out;
  }

  Result<Tensor> seeded(const Type& t) {
    const bool is_float = dtype_is_float(t.dtype);
    double low = is_float ? -1 : -4;
    double high = is_float ? 1 : 4;
    PLANISH_TRY(expect("("));
    const int64_t seed = PLANISH_TRY(integer());
    if (accept(",")) {
      low = PLANISH_TRY(real());
      PLANISH_TRY(expect(","));
      high = PLANISH_TRY(real());
    }
    PLANISH_TRY(expect(")"));
    return seeded_tensor(t.dtype, *t.shape, static_cast<uint64_t>(seed), low, high);
  }

  static ValueId value_of(Graph& g, Names& names, const std::string& name) {
    const auto [it, fresh] = names.try_emplace(name, static_cast<ValueId>(g.values.size()));
    if (fresh) {
      Value v;
      v.name = name;
      g.add_value(std::move(v));
    }
    return it->second;
  }

  Result<ValueId> typed_value(Graph& g, Names& names) {
    const ValueId v = value_of(g, names, PLANISH_TRY(word()));
    PLANISH_TRY(expect(":"));
    Type t = PLANISH_TRY(type());
    g.value(v).dtype = t.dtype;
    g.value(v).shape = std::move(t.shape);
    g.value(v).dim_names = std::move(t.dim_names);
    return v;
  }

  Result<Graph> graph(int depth) {
    if (depth > kMaxDepth) return error("subgraphs are nested too deeply");
    PLANISH_TRY(expect("graph"));
    Graph g;
    Names names;
    g.name = PLANISH_TRY(quoted_string());
    PLANISH_TRY(expect("("));
    while (!accept(")")) {
      if (!g.inputs.empty()) PLANISH_TRY(expect(","));
      g.inputs.push_back(PLANISH_TRY(typed_value(g, names)));
    }
    if (accept("captures")) {
      PLANISH_TRY(expect("("));
      while (!accept(")")) {
        if (!g.captures.empty()) PLANISH_TRY(expect(","));
        const int64_t index = PLANISH_TRY(integer());
        g.captures.emplace_back(static_cast<int32_t>(index), PLANISH_TRY(typed_value(g, names)));
      }
    }
    PLANISH_TRY(expect("->"));
    PLANISH_TRY(expect("("));
    while (!accept(")")) {
      if (!g.outputs.empty()) PLANISH_TRY(expect(","));
      g.outputs.push_back(value_of(g, names, PLANISH_TRY(word())));
    }
    PLANISH_TRY(expect("{"));
    while (!accept("}")) PLANISH_TRY(statement(g, names, depth));
    return g;
  }

  Status statement(Graph& g, Names& names, int depth) {
    if (accept("const")) {
      const ValueId v = value_of(g, names, PLANISH_TRY(word()));
      PLANISH_TRY(expect(":"));
      const Type t = PLANISH_TRY(type());
      PLANISH_TRY(expect("="));
      Tensor data = PLANISH_TRY(constant(t));
      g.value(v).dtype = data.dtype();
      g.value(v).shape = data.shape();
      g.value(v).constant = std::move(data);
      return {};
    }
    Node n;
    do {
      n.outputs.push_back(PLANISH_TRY(output(g, names)));
    } while (accept(","));
    PLANISH_TRY(expect("="));
    const std::string op = PLANISH_TRY(word());
    const size_t dot = op.rfind('.');
    n.op = dot == std::string::npos ? op : op.substr(dot + 1);
    if (dot != std::string::npos) n.domain = op.substr(0, dot);
    PLANISH_TRY(expect("("));
    while (!accept(")")) {
      if (!n.inputs.empty()) PLANISH_TRY(expect(","));
      n.inputs.push_back(accept("_") ? kNoValue : value_of(g, names, PLANISH_TRY(word())));
    }
    PLANISH_TRY(decorations(n, depth));
    g.nodes.push_back(std::move(n));
    return {};
  }

  Result<ValueId> output(Graph& g, Names& names) {
    if (accept("_")) return kNoValue;
    const std::string name = PLANISH_TRY(word());
    const ValueId v = value_of(g, names, name);
    if (!accept(":")) return v;
    Type t = PLANISH_TRY(type());
    g.value(v).dtype = t.dtype;
    g.value(v).shape = std::move(t.shape);
    return v;
  }

  /// Attributes, name and origins.
  Status decorations(Node& n, int depth) {
    if (accept("{")) {
      while (!accept("}")) {
        if (!n.attrs.empty()) PLANISH_TRY(expect(","));
        const std::string key = PLANISH_TRY(word());
        PLANISH_TRY(expect("="));
        n.attrs[key] = PLANISH_TRY(attribute(depth));
      }
    }
    if (accept("@")) n.name = PLANISH_TRY(word());
    if (!accept("from")) {
      if (!n.name.empty()) n.origins = {n.name};
      return {};
    }
    PLANISH_TRY(expect("["));
    while (!accept("]")) {
      if (!n.origins.empty()) PLANISH_TRY(expect(","));
      n.origins.push_back(PLANISH_TRY(word()));
    }
    return {};
  }

  Result<Attr> attribute(int depth) {
    const char c = peek();
    if (c == '"') return Attr(PLANISH_TRY(quoted_string()));
    if (c == '[') return list();
    if (accept("ints")) return empty_list(Attr(std::vector<int64_t>{}));
    if (accept("floats")) return empty_list(Attr(std::vector<float>{}));
    if (accept("strings")) return empty_list(Attr(std::vector<std::string>{}));
    if (accept("const")) {
      const Type t = PLANISH_TRY(type());
      PLANISH_TRY(expect("="));
      return Attr(PLANISH_TRY(constant(t)));
    }
    if (c == 'g') return Attr(std::shared_ptr<const Graph>(std::make_shared<Graph>(PLANISH_TRY(graph(depth + 1)))));
    const size_t begin = pos_;
    bool is_float = false;
    const std::string s = PLANISH_TRY(number_text(&is_float));
    if (is_float) return Attr(std::strtof(s.c_str(), nullptr));
    pos_ = begin;
    return Attr(PLANISH_TRY(integer()));
  }

  Result<Attr> empty_list(Attr attr) {
    PLANISH_TRY(expect("["));
    PLANISH_TRY(expect("]"));
    return attr;
  }

  Result<Attr> list() {
    PLANISH_TRY(expect("["));
    std::vector<std::string> strings;
    std::vector<float> floats;
    std::vector<int64_t> ints;
    bool any_float = false;
    if (accept("]")) return Attr(ints);
    do {
      if (peek() == '"') {
        strings.push_back(PLANISH_TRY(quoted_string()));
        continue;
      }
      bool is_float = false;
      const std::string s = PLANISH_TRY(number_text(&is_float));
      any_float = any_float || is_float;
      floats.push_back(std::strtof(s.c_str(), nullptr));
      ints.push_back(std::strtoll(s.c_str(), nullptr, 10));
    } while (accept(","));
    PLANISH_TRY(expect("]"));
    if (!strings.empty() && !ints.empty()) return error("a list mixes strings and numbers");
    if (!strings.empty()) return Attr(strings);
    return any_float ? Attr(floats) : Attr(ints);
  }

  std::string_view text_;
  std::string_view file_;
  size_t pos_ = 0;
};

}  // namespace

Tensor seeded_tensor(DType dtype, const Shape& shape, uint64_t seed, double low, double high) {
  Tensor out(dtype, shape);
  uint64_t state = seed;
  for (int64_t i = 0; i < out.size(); ++i) {
    // Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014): splitmix64.
    state += 0x9e3779b97f4a7c15U;
    uint64_t z = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    z ^= z >> 31;
    const double v = low + (high - low) * (static_cast<double>(z >> 11) * 0x1p-53);
    if (dtype == DType::boolean)
      out.set(i, (z & 1U) != 0 ? 1 : 0);
    else
      out.set(i, dtype_is_float(dtype) ? v : std::floor(v));
  }
  return out;
}

Result<Graph> parse_text(std::string_view text, std::string_view file) { return Parser(text, file).whole(); }

}  // namespace planish
