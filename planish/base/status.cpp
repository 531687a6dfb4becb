#include "planish/base/status.h"

namespace planish {

std::string_view code_name(Code code) {
  switch (code) {
    case Code::invalid_argument: return "invalid argument";
    case Code::invalid_model: return "invalid model";
    case Code::shape_mismatch: return "shape mismatch";
    case Code::unsupported: return "unsupported";
    case Code::not_found: return "not found";
    case Code::io: return "input/output error";
    case Code::corrupt: return "corrupt file";
    case Code::version: return "version mismatch";
    case Code::out_of_memory: return "out of memory";
    case Code::cancelled: return "cancelled";
    case Code::internal: return "internal error";
  }
  return "error";
}

Error&& Error::with_context(std::string text) && {
  context.push_back(std::move(text));
  return std::move(*this);
}

std::string Error::message() const {
  std::string out;
  const auto part = [&out](std::string_view label, const std::string& name) {
    if (name.empty()) return;
    if (!out.empty()) out += ", ";
    out.append(label).append(" '").append(name).append("'");
  };
  part(file.rfind("--", 0) == 0 ? "option" : "file", file);
  part("node", node);
  part("tensor", tensor);
  if (!out.empty()) out += ": ";
  out += what.empty() ? std::string(code_name(code)) : what;
  if (!fix.empty()) out.append(". Fix: ").append(fix);
  for (const auto& c : context) out.append(" [while ").append(c).append("]");
  return out;
}

}  // namespace planish
