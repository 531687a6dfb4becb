#include <fmt/format.h>

#include "planish/tools/trtexec/flags.h"
#include "planish/tools/trtexec/parse.h"
#include "planish/tools/trtexec/run.h"
#include "planish/tools/trtexec/trtexec.h"
#include "planish/tools/trtexec/tuning.h"

namespace planish::tools {
namespace {

constexpr int kPassed = 0;
constexpr int kFailed = 1;

Status print_plan_version(Session& session, const Options& options, Log& log) {
  const std::string version = PLANISH_TRY(session.engine_version(options.build.engine.load_path));
  log.info(fmt::format("Engine version: {}", version));
  return {};
}

Status execute(const ParsedCommandLine& line, const std::vector<std::string>& argv, Session& session, Log& log,
               const Clock& clock) {
  const Options& options = line.options;
  if (options.tuning.help) {
    const std::string knobs = PLANISH_TRY(knob_database_json(options.tuning.help_knob));
    log.plain(knobs);
    return {};
  }
  if (options.build.engine.plan_version_only) return print_plan_version(session, options, log);
  if (is_tuning(options.tuning)) return run_tuning(options, argv, session, log, clock);
  Options run_options = options;
  if (!options.tuning.fixed_route.empty()) {
    const Route route = PLANISH_TRY(parse_route(options.tuning.fixed_route));
    PLANISH_TRY(apply_route(route, run_options));
  }
  return Run(session, std::move(run_options), log, clock).all();
}

}  // namespace

int run_trtexec(const std::vector<std::string>& argv, Session& session, Log& log, const Clock& clock) {
  const std::string command = fmt::format("{}", fmt::join(argv, " "));
  log.banner("RUNNING", command);
  const ParsedCommandLine line = parse_command_line({argv.begin() + (argv.empty() ? 0 : 1), argv.end()});
  log.verbose = line.options.reporting.verbose;
  if (argv.size() <= 1) {
    log.plain(help_listing());
    log.banner("PASSED", command);
    return kPassed;
  }
  if (line.options.model.help) {
    log.plain(help_listing());
    return kPassed;
  }
  for (const std::string& note : line.notes) log.info(note);
  for (const std::string& warning : line.warnings) log.warn(warning);
  if (!line.unknown.empty()) log.plain(help_listing());
  for (const std::string& unknown : line.unknown) log.error(unknown);
  for (const Error& error : line.errors) log.error(error);
  if (!line.unknown.empty() || !line.errors.empty()) {
    log.banner("FAILED", command);
    return kFailed;
  }
  const Status status = execute(line, argv, session, log, clock);
  if (status) {
    log.banner("PASSED", command);
    return kPassed;
  }
  log.error(status.error());
  // Scripts tell a missing device from a failed run by the missing banner.
  if (status.error().file != "--device") log.banner("FAILED", command);
  return kFailed;
}

}  // namespace planish::tools
