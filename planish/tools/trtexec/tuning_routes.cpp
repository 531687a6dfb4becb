#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "planish/tools/trtexec/flags.h"
#include "planish/tools/trtexec/json_text.h"
#include "planish/tools/trtexec/text.h"
#include "planish/tools/trtexec/tuning.h"

namespace planish::tools {
namespace {

/// A knob is a build flag without its dashes; flags without a value become on/off knobs.
constexpr std::string_view kKnobs[] = {"builderOptimizationLevel",
                                       "avgTiming",
                                       "maxTactics",
                                       "tacticSources",
                                       "disablePasses",
                                       "cpuThreads",
                                       "memPoolSize",
                                       "fp16",
                                       "bf16",
                                       "best",
                                       "sparsity"};

Error route_error(std::string what, std::string fix) {
  Error error;
  error.code = Code::invalid_argument;
  error.file = "--tuneBuildRoutes";
  error.what = std::move(what);
  error.fix = std::move(fix);
  return error;
}

Status check_knob(const std::string& knob) {
  if (std::find(std::begin(kKnobs), std::end(kKnobs), knob) != std::end(kKnobs)) return {};
  const std::string near = nearest_word(knob, {std::begin(kKnobs), std::end(kKnobs)});
  return route_error(fmt::format("'{}' is not a knob", knob),
                     near.empty() ? "--helpBuildRoute lists them" : fmt::format("did you mean '{}'?", near));
}

}  // namespace

Result<RouteSpace> parse_route_space(const std::string& expression) {
  RouteSpace space;
  for (const std::string& word : split_list(expression, ' ')) {
    if (word.empty()) continue;
    const size_t equals = word.find('=');
    if (word[0] != '-' || equals == std::string::npos || equals + 1 == word.size()) {
      return route_error(fmt::format("'{}' is not -knob=value", word), "write -knob=[a|b] to vary, -knob=v to pin");
    }
    const std::string knob = word.substr(1, equals - 1);
    PLANISH_TRY(check_knob(knob));
    std::string value = word.substr(equals + 1);
    std::vector<std::string> values{value};
    if (value.front() == '[') {
      if (value.back() != ']' || value.size() < 3) {
        return route_error(fmt::format("'{}' lacks its alternatives or a closing bracket", word), "write -knob=[a|b]");
      }
      values = split_list(value.substr(1, value.size() - 2), '|');
    }
    space.emplace_back(knob, std::move(values));
  }
  if (space.empty()) return route_error("names no knob", "write -knob=[a|b]; --helpBuildRoute lists the knobs");
  return space;
}

Result<Route> parse_route(const std::string& expression) {
  Route route;
  for (auto& [knob, values] : PLANISH_TRY(parse_route_space(expression))) {
    if (values.size() != 1) return route_error(fmt::format("knob '{}' has alternatives", knob), "give one value");
    route.emplace_back(knob, values.front());
  }
  return route;
}

std::string route_text(const Route& route) {
  std::string text;
  for (const auto& [knob, value] : route) text += fmt::format("{}-{}={}", text.empty() ? "" : " ", knob, value);
  return text;
}

std::vector<Route> fast_routes(const RouteSpace& space) {
  Route base;
  for (const auto& [knob, values] : space) base.emplace_back(knob, values.front());
  std::vector<Route> routes{base};
  for (size_t i = 0; i < space.size(); ++i) {
    for (size_t v = 1; v < space[i].second.size(); ++v) {
      Route route = base;
      route[i].second = space[i].second[v];
      routes.push_back(std::move(route));
    }
  }
  return routes;
}

std::vector<Route> full_routes(const RouteSpace& space) {
  constexpr size_t kMost = 100000;  // a sweep beyond this could never finish
  std::vector<Route> routes{{}};
  for (const auto& [knob, values] : space) {
    std::vector<Route> longer;
    for (const Route& route : routes) {
      for (const std::string& value : values) {
        if (longer.size() == kMost) break;
        longer.push_back(route);
        longer.back().emplace_back(knob, value);
      }
    }
    routes = std::move(longer);
  }
  return routes;
}

Status apply_route(const Route& route, Options& options) {
  ParseState state;
  for (const auto& [knob, value] : route) {
    const FlagSpec* flag = find_flag("--" + knob);
    if (flag == nullptr) return route_error(fmt::format("'{}' is not a knob", knob), "--helpBuildRoute lists them");
    if (flag->argument == Arg::none) {
      if (value == "off" || value == "0") continue;
      if (value != "on" && value != "1") {
        return route_error(fmt::format("knob '{}' cannot be '{}'", knob, value), "use on or off");
      }
    }
    PLANISH_TRY(flag->set({*flag, value, options, state}));
  }
  return {};
}

Result<std::string> knob_database_json(const std::string& knob) {
  if (!knob.empty()) PLANISH_TRY(check_knob(knob));
  nlohmann::ordered_json knobs = nlohmann::ordered_json::array();
  for (std::string_view name : kKnobs) {
    if (!knob.empty() && name != knob) continue;
    const FlagSpec* flag = find_flag("--" + std::string(name));
    if (flag == nullptr) continue;
    const bool is_switch = flag->argument == Arg::none;
    knobs.push_back({{"knob", std::string(name)},
                     {"values", is_switch ? "on|off" : std::string(flag->value_name)},
                     {"default", std::string(flag->default_text)},
                     {"meaning", std::string(flag->help)}});
  }
  return indent_json(nlohmann::ordered_json{{"knobs", knobs}}.dump());
}

bool is_tuning(const TuningOptions& tuning) {
  return !tuning.routes.empty() || !tuning.routes_path.empty() || tuning.resume;
}

}  // namespace planish::tools
