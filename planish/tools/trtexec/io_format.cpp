#include "planish/tools/trtexec/io_format.h"

#include "planish/tools/trtexec/text.h"

namespace planish::tools {

IoFormatEntry parse_io_format(const std::string& entry) {
  IoFormatEntry out;
  const size_t colon = entry.find(':');
  if (colon != std::string::npos) out.type = entry.substr(0, colon);
  out.layout_word = entry.substr(colon == std::string::npos ? 0 : colon + 1);
  out.layout.clear();
  for (const std::string& word : split_list(out.layout_word, '+')) {
    if (!out.layout.empty()) break;
    if (word == "chw" || word == "cdhw") out.layout = "row_major";
    if (word == "hwc" || word == "dhwc") out.layout = "channels_last";
    if (word == "chw16") out.layout = "blocked16";
  }
  return out;
}

}  // namespace planish::tools
