#pragma once
// Setters that the rows of the flag table name. `Path` is the chain of members from Options to the field.

#include <limits>
#include <string>

#include "planish/base/macros.h"
#include "planish/tools/trtexec/flags.h"
#include "planish/tools/trtexec/text.h"

namespace planish::tools {

inline constexpr int64_t kNoLimit = std::numeric_limits<int>::max();

template <auto... Path>
auto& field(const FlagUse& use) {
  return (use.options.*....*Path);
}

inline Status set_nothing(const FlagUse&) { return {}; }

template <auto... Path>
Status turn_on(const FlagUse& use) {
  field<Path...>(use) = true;
  return {};
}

template <auto... Path>
Status turn_off(const FlagUse& use) {
  field<Path...>(use) = false;
  return {};
}

template <auto... Path>
Status set_text(const FlagUse& use) {
  field<Path...>(use) = std::string(use.value);
  return {};
}

template <int64_t Low, int64_t High, auto... Path>
Status set_integer(const FlagUse& use) {
  const int64_t value = PLANISH_TRY(parse_integer(use.value, Low, High, use.flag.name));
  field<Path...>(use) = static_cast<std::remove_reference_t<decltype(field<Path...>(use))>>(value);
  return {};
}

template <int64_t Low, int64_t High, auto... Path>
Status set_number(const FlagUse& use) {
  field<Path...>(use) =
      PLANISH_TRY(parse_number(use.value, static_cast<double>(Low), static_cast<double>(High), use.flag.name));
  return {};
}

template <auto... Path>
Status append_names(const FlagUse& use) {
  for (std::string& name : split_list(use.value, ',')) field<Path...>(use).push_back(std::move(name));
  return {};
}

template <auto... Path>
Status append_pairs(const FlagUse& use) {
  for (auto& pair : PLANISH_TRY(parse_pairs(use.value, use.flag.name))) field<Path...>(use).push_back(std::move(pair));
  return {};
}

template <auto... Path>
Status set_shapes(const FlagUse& use) {
  field<Path...>(use) = PLANISH_TRY(parse_shapes(use.value, use.flag.name));
  return {};
}

// Setters with rules of their own; the rule is told where each is defined (flag_setters.cpp).
Status set_onnx_path(const FlagUse& use);
Status open_profile(const FlagUse& use);
Status set_min_shapes(const FlagUse& use);
Status set_opt_shapes(const FlagUse& use);
Status set_max_shapes(const FlagUse& use);
Status set_mem_pool_sizes(const FlagUse& use);
Status set_workspace_mib(const FlagUse& use);
Status set_verbosity(const FlagUse& use);
Status set_strip_all_weights(const FlagUse& use);
Status set_weightless(const FlagUse& use);
Status set_layer_types(const FlagUse& use);
Status set_calibration(const FlagUse& use);
Status set_layer_output_types(const FlagUse& use);
Status set_layer_devices(const FlagUse& use);
Status set_tactic_sources(const FlagUse& use);
Status set_device(const FlagUse& use);
Status set_streams_old(const FlagUse& use);
Status set_io_formats(const FlagUse& use);
Status set_percentiles(const FlagUse& use);
Status set_load_inputs(const FlagUse& use);
Status set_reference_outputs(const FlagUse& use);
Status open_reference_pair(const FlagUse& use);
Status set_threshold(const FlagUse& use);
Status set_debug_formats(const FlagUse& use);
Status set_min_timing(const FlagUse& use);
Status set_help_route(const FlagUse& use);
Status set_random_seed(const FlagUse& use);

}  // namespace planish::tools
