#pragma once

#include <string>
#include <utility>
#include <vector>

#include "planish/base/status.h"
#include "planish/tools/trtexec/inference.h"
#include "planish/tools/trtexec/log.h"
#include "planish/tools/trtexec/options.h"
#include "planish/tools/trtexec/session.h"

namespace planish::tools {

/// One setting per knob, in the order of the expression.
using Route = std::vector<std::pair<std::string, std::string>>;

/// The alternatives of each knob; a pinned knob has one.
using RouteSpace = std::vector<std::pair<std::string, std::vector<std::string>>>;

/// `-knob=[a|b] -knob=v`, separated by spaces. Errors name an unknown knob and the nearest one.
Result<RouteSpace> parse_route_space(const std::string& expression);

/// As above, with no alternatives.
Result<Route> parse_route(const std::string& expression);

/// `-knob=v -knob=v`.
std::string route_text(const Route& route);

/// First all first alternatives, then one knob changed at a time.
std::vector<Route> fast_routes(const RouteSpace& space);

/// Every combination, the last knob changing fastest.
std::vector<Route> full_routes(const RouteSpace& space);

/// Sets the knobs of a route. Errors name the knob and the bad value.
Status apply_route(const Route& route, Options& options);

/// The knobs as JSON; all of them when `knob` is empty.
Result<std::string> knob_database_json(const std::string& knob);

/// True when the command line asks for a sweep.
bool is_tuning(const TuningOptions& tuning);

/// Builds and times every route, prints the ranking and saves the best engine to --saveEngine.
Status run_tuning(const Options& options, const std::vector<std::string>& argv, Session& session, Log& log,
                  const Clock& clock);

}  // namespace planish::tools
