#pragma once

#include <string_view>

namespace planish {

/// Who wrote the code behind a tactic, by its id: "onednn", "reference", or "planish" for kernels of our own.
std::string_view tactic_source(std::string_view id);

/// True for the three names that tactic_source() returns.
bool is_tactic_source(std::string_view name);

/// True when `pattern` is the tactic's source or the beginning of its id ("cpu.onednn", "cpu.winograd").
bool tactic_matches(std::string_view id, std::string_view pattern);

}  // namespace planish
