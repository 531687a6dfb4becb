#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>

#include "planish/ir/text.h"

namespace planish {
namespace {

bool is_bare(std::string_view name) {
  return !name.empty() && name != "_" && std::ranges::all_of(name, [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.' || c == '/' || c == ':';
  });
}

std::string quoted(std::string_view s) {
  std::string out = "\"";
  for (const char c : s) {
    if (c == '"' || c == '\\')
      out.append(1, '\\').append(1, c);
    else if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out + '"';
}

// A name that ends in a colon would swallow the colon in front of a type.
std::string word(std::string_view name) {
  return is_bare(name) && name.back() != ':' ? std::string(name) : quoted(name);
}

std::string number(float value) {
  std::string s = fmt::format("{}", value);
  if (s.find_first_of(".en") == std::string::npos) s += ".0";  // "inf" and "nan" hold an n
  return s;
}

template <typename T, typename F>
std::string joined(const std::vector<T>& items, F&& print) {
  std::string out;
  for (const auto& item : items) out.append(out.empty() ? "" : ", ").append(print(item));
  return out;
}

std::string type_text(const Value& v) {
  std::string out(dtype_name(v.dtype));
  if (!v.shape) return out;
  out += '[';
  for (size_t i = 0; i < v.shape->size(); ++i) {
    if (i != 0) out += ',';
    const int64_t d = (*v.shape)[i];
    if (d >= 0)
      out += std::to_string(d);
    else
      out += i < v.dim_names.size() && is_bare(v.dim_names[i]) ? v.dim_names[i] : "?";
  }
  return out + ']';
}

uint64_t fnv1a(const void* data, size_t bytes) {
  uint64_t h = 0xcbf29ce484222325U;
  for (size_t i = 0; i < bytes; ++i) h = (h ^ static_cast<const uint8_t*>(data)[i]) * 0x100000001b3U;
  return h;
}

bool is_printable(DType t) { return t != DType::string && t != DType::c64 && t != DType::c128 && dtype_bits(t) > 0; }

std::string element(const Tensor& t, int64_t i) {
  if (dtype_is_integer(t.dtype()) || t.dtype() == DType::boolean) return std::to_string(t.int_at(i));
  return t.dtype() == DType::f64 ? fmt::format("{}", t.at(i)) : fmt::format("{}", static_cast<float>(t.at(i)));
}

std::string content(const Tensor& t, const TextOptions& options) {
  const int64_t n = t.size();
  if (is_printable(t.dtype()) && n <= options.max_literal_elements) {
    std::string out = "[";
    for (int64_t i = 0; i < n; ++i) out.append(i == 0 ? "" : ", ").append(element(t, i));
    return out + ']';
  }
  if (is_printable(t.dtype())) {
    int64_t equal = 1;
    while (equal < n && t.at(equal) == t.at(0)) ++equal;
    if (equal == n) return fmt::format("fill({})", element(t, 0));
  }
  return fmt::format("...  # {:016x}", t.dtype() == DType::string ? 0 : fnv1a(t.raw(), t.bytes()));
}

class Printer {
 public:
  explicit Printer(const TextOptions& options) : options_(options) {}

  std::string graph(const Graph& g, int depth) {
    const std::string indent(static_cast<size_t>(depth) * 2, ' ');
    const auto typed = [&g](ValueId v) { return word(g.value(v).name) + ": " + type_text(g.value(v)); };
    std::string out = fmt::format("graph {} ({})", quoted(g.name), joined(g.inputs, typed));
    if (!g.captures.empty())
      out += fmt::format(" captures ({})", joined(g.captures, [&](const auto& c) {
                           return std::to_string(c.first) + " " + typed(c.second);
                         }));
    out += fmt::format(" -> ({}) {{\n", joined(g.outputs, [&g](ValueId v) { return word(g.value(v).name); }));
    for (const Value& v : g.values)
      if (v.is_constant())
        out += fmt::format("{}  const {}: {} = {}\n", indent, word(v.name), tensor_type(*v.constant),
                           content(*v.constant, options_));
    for (const Node& n : g.nodes) out += indent + "  " + node(g, n, depth + 1) + "\n";
    return out + indent + "}";
  }

 private:
  static std::string tensor_type(const Tensor& t) {
    Value v;
    v.dtype = t.dtype();
    v.shape = t.shape();
    return type_text(v);
  }

  std::string node(const Graph& g, const Node& n, int depth) {
    const auto name = [&g](ValueId v) { return v == kNoValue ? std::string("_") : word(g.value(v).name); };
    std::string out = joined(n.outputs, name) + " = ";
    out += word(n.domain.empty() ? n.op : n.domain + "." + n.op);
    out += "(" + joined(n.inputs, name) + ")";
    if (!n.attrs.empty()) {
      std::string list;
      for (const auto& [key, attr] : n.attrs)
        list.append(list.empty() ? "" : ", ").append(word(key)).append(" = ").append(attribute(attr, depth));
      out += " {" + list + "}";
    }
    if (!n.name.empty()) out += " @" + word(n.name);
    const bool same = n.origins.size() == 1 && n.origins[0] == n.name;
    if (!n.origins.empty() && !same)
      out += " from [" + joined(n.origins, [](const std::string& s) { return word(s); }) + "]";
    if (options_.shapes)
      out += "  # " +
             joined(n.outputs, [&g](ValueId v) { return v == kNoValue ? std::string("_") : type_text(g.value(v)); });
    return out;
  }

  std::string attribute(const Attr& attr, int depth) {
    if (const auto* i = std::get_if<int64_t>(&attr)) return std::to_string(*i);
    if (const auto* f = std::get_if<float>(&attr)) return number(*f);
    if (const auto* s = std::get_if<std::string>(&attr)) return quoted(*s);
    if (const auto* is = std::get_if<std::vector<int64_t>>(&attr))
      return is->empty() ? "ints[]" : "[" + joined(*is, [](int64_t v) { return std::to_string(v); }) + "]";
    if (const auto* fs = std::get_if<std::vector<float>>(&attr))
      return fs->empty() ? "floats[]" : "[" + joined(*fs, number) + "]";
    if (const auto* ss = std::get_if<std::vector<std::string>>(&attr))
      return ss->empty() ? "strings[]" : "[" + joined(*ss, [](const std::string& s) { return quoted(s); }) + "]";
    if (const auto* t = std::get_if<Tensor>(&attr)) {
      std::string text = content(*t, options_);
      if (const size_t hash = text.find("  #"); hash != std::string::npos) text.resize(hash);
      return "const " + tensor_type(*t) + " = " + text;
    }
    const auto* sub = std::get_if<std::shared_ptr<const Graph>>(&attr);
    return sub != nullptr && *sub != nullptr ? graph(**sub, depth) : "graph \"\" () -> () {}";
  }

  const TextOptions& options_;
};

}  // namespace

std::string to_text(const Graph& graph, const TextOptions& options) { return Printer(options).graph(graph, 0) + "\n"; }

}  // namespace planish
