#include "planish/tools/trtexec/tuning.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "planish/tools/trtexec/json_text.h"
#include "planish/tools/trtexec/parse.h"
#include "planish/tools/trtexec/run.h"
#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

Error tuning_error(std::string file, Code code, std::string what, std::string fix) {
  Error error;
  error.code = code;
  error.file = std::move(file);
  error.what = std::move(what);
  error.fix = std::move(fix);
  return error;
}

/// Finished routes on disk: a header with the command line, then one record per route.
class TuningCache {
 public:
  explicit TuningCache(std::string path) : path_(std::move(path)) {}

  /// Reads header and records; a broken last line (the process was killed) is ignored.
  Status read() {
    std::ifstream file(path_);
    if (!file) return tuning_error(path_, Code::not_found, "cannot be read", "give the file of the interrupted run");
    for (std::string line; std::getline(file, line);) {
      const auto record = nlohmann::json::parse(line, nullptr, false);
      if (!record.is_object()) continue;
      if (record.contains("command") && record["command"].is_array()) {
        for (const auto& word : record["command"]) command_.push_back(word.is_string() ? word.get<std::string>() : "");
      }
      if (record.contains("route") && record["route"].is_string() && record.contains("medianMs")) {
        const auto& time = record["medianMs"];
        finished_[record["route"].get<std::string>()] = time.is_number() ? time.get<double>() : -1;
      }
    }
    if (!command_.empty()) return {};
    return tuning_error(path_, Code::corrupt, "holds no command line", "start the tuning again without --continue");
  }

  Status start(const std::vector<std::string>& argv) {
    if (path_.empty()) return {};
    std::ofstream file(path_, std::ios::trunc);
    file << nlohmann::ordered_json{{"planishTuning", 1}, {"command", argv}}.dump(
                -1, ' ', false, nlohmann::json::error_handler_t::replace)
         << '\n';
    if (file.flush()) return {};
    return tuning_error(path_, Code::io, "cannot be written", "give a path in a folder that may be written");
  }

  /// `median_ms` below 0: the route failed.
  void add(const std::string& route, double median_ms) {
    if (path_.empty()) return;
    nlohmann::ordered_json record{{"route", route}};
    record["medianMs"] =
        median_ms < 0 ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(to_nanoseconds(median_ms));
    std::ofstream(path_, std::ios::app) << record.dump() << '\n' << std::flush;
  }

  [[nodiscard]] const std::vector<std::string>& command() const { return command_; }
  [[nodiscard]] const std::map<std::string, double>& finished() const { return finished_; }

 private:
  std::string path_;
  std::vector<std::string> command_;
  std::map<std::string, double> finished_;
};

struct Outcome {
  Route route;
  double median_ms = -1;  ///< below 0: failed
};

class Sweep {
 public:
  Sweep(const Options& options, Session& session, Log& log, const Clock& clock, TuningCache& cache)
      : options_(options), session_(session), log_(log), clock_(clock), cache_(cache), start_ms_(clock.now_ms()) {}

  void run(const std::vector<Route>& routes) {
    for (const Route& route : routes) {
      const bool done =
          std::any_of(outcomes_.begin(), outcomes_.end(), [&](const Outcome& o) { return o.route == route; });
      if (!done && !out_of_time()) outcomes_.push_back({route, time_route(route)});
    }
  }

  [[nodiscard]] bool out_of_time() const {
    const double limit_s = options_.tuning.timeout_s;
    return limit_s >= 0 && clock_.now_ms() - start_ms_ > limit_s * 1000;
  }

  [[nodiscard]] const std::vector<Outcome>& outcomes() const { return outcomes_; }

 private:
  /// Median compute time in ms, or -1.
  double time_route(const Route& route) {
    const std::string text = route_text(route);
    const auto known = cache_.finished().find(text);
    if (known != cache_.finished().end()) return known->second;
    const size_t number = iteration_++;
    log_.plain(fmt::format("&&&& TASK_BEGIN [iter={}] BuildRoute = '{}'", number, text));
    Options options = options_;
    const std::string target = options_.build.engine.save_path;
    options.build.engine.save_path =
        options_.tuning.save_all_engines && !target.empty() ? fmt::format("{}.iter{}", target, number) : "";
    double median_ms = -1;
    Status status = apply_route(route, options);
    if (status) {
      Run run(session_, options, log_, clock_);
      status = run.obtain_engine();
      if (status) status = run.infer();
      if (status) median_ms = run.median_ms();
    }
    if (!status) log_.error(status.error());
    log_.plain(fmt::format("&&&& {} [iter={}] BuildRoute = '{}'", status ? "TASK_END" : "TASK_ABORT", number, text));
    cache_.add(text, median_ms);
    return median_ms;
  }

  const Options& options_;
  Session& session_;
  Log& log_;
  const Clock& clock_;
  TuningCache& cache_;
  double start_ms_;
  size_t iteration_ = 0;
  std::vector<Outcome> outcomes_;
};

/// The space narrowed to the values that were not slower than the base route.
RouteSpace winners(const RouteSpace& space, const std::vector<Outcome>& outcomes) {
  RouteSpace narrow = space;
  const double base_ms = outcomes.empty() ? -1 : outcomes.front().median_ms;
  for (size_t i = 0; i < narrow.size(); ++i) {
    auto& values = narrow[i].second;
    const std::string first = values.front();
    std::erase_if(values, [&](const std::string& value) {
      return value != first && std::none_of(outcomes.begin(), outcomes.end(), [&](const Outcome& o) {
               return o.route[i].second == value && o.median_ms >= 0 && (base_ms < 0 || o.median_ms <= base_ms);
             });
    });
  }
  return narrow;
}

Result<std::string> route_expression(const TuningOptions& tuning) {
  if (tuning.routes_path.empty()) return tuning.routes;
  std::ifstream file(tuning.routes_path);
  if (!file)
    return tuning_error(tuning.routes_path, Code::not_found, "cannot be read", "give a file with an expression");
  std::ostringstream text;
  text << file.rdbuf();
  std::string expression = text.str();
  std::replace_if(
      expression.begin(), expression.end(), [](char c) { return c == '\n' || c == '\r' || c == '\t'; }, ' ');
  return expression;
}

Status report_ranking(std::vector<Outcome> outcomes, const Options& options, Session& session, Log& log,
                      const Clock& clock) {
  std::erase_if(outcomes, [](const Outcome& o) { return o.median_ms < 0; });
  if (outcomes.empty()) {
    return tuning_error("--tuneBuildRoutes", Code::unsupported, "no route could be built and run",
                        "see the errors above");
  }
  std::stable_sort(outcomes.begin(), outcomes.end(),
                   [](const Outcome& a, const Outcome& b) { return a.median_ms < b.median_ms; });
  log.info("=== Tuning Results ===");
  for (const Outcome& o : outcomes) log.info(fmt::format("{} ms  {}", number_text(o.median_ms), route_text(o.route)));
  log.info(fmt::format("Best route: --setBuildRoute=\"{}\"", route_text(outcomes.front().route)));
  if (options.build.engine.save_path.empty()) return {};
  Options best = options;
  PLANISH_TRY(apply_route(outcomes.front().route, best));
  return Run(session, best, log, clock).obtain_engine();
}

}  // namespace

Status run_tuning(const Options& given, const std::vector<std::string>& argv, Session& session, Log& log,
                  const Clock& clock) {
  Options options = given;
  TuningCache cache(given.tuning.cache_path);
  if (given.tuning.resume) {
    PLANISH_TRY(cache.read());
    const ParsedCommandLine line = parse_command_line({cache.command().begin() + 1, cache.command().end()});
    if (!line.errors.empty()) return line.errors.front();
    options = line.options;
  } else if (!given.tuning.dry_run) {
    PLANISH_TRY(cache.start(argv));
  }
  const std::string expression = PLANISH_TRY(route_expression(options.tuning));
  const RouteSpace space = PLANISH_TRY(parse_route_space(expression));
  const std::vector<Route> routes = options.tuning.search == "full" ? full_routes(space) : fast_routes(space);
  if (options.tuning.dry_run) {
    log.info(fmt::format("{} routes:", routes.size()));
    for (const Route& route : routes) log.info("  " + route_text(route));
    return {};
  }
  Run introduction(session, options, log, clock);
  PLANISH_TRY(introduction.introduce());
  Sweep sweep(options, session, log, clock, cache);
  sweep.run(routes);
  if (options.tuning.search == "mixed") sweep.run(full_routes(winners(space, sweep.outcomes())));
  if (sweep.out_of_time()) log.warn("--tuningTimeOut was reached: the remaining routes were not tried");
  return report_ranking(sweep.outcomes(), options, session, log, clock);
}

}  // namespace planish::tools
