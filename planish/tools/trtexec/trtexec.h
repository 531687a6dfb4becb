#pragma once

#include <memory>
#include <string>
#include <vector>

#include "planish/tools/trtexec/inference.h"
#include "planish/tools/trtexec/log.h"
#include "planish/tools/trtexec/session.h"

namespace planish::tools {

/// Runs a trtexec command line (`argv` with the program's name) over a session; returns the exit code, 0 or 1.
int run_trtexec(const std::vector<std::string>& argv, Session& session, Log& log, const Clock& clock);

/// The session over the public API.
std::unique_ptr<Session> make_planish_session();

/// Entry point of the `trtexec` command.
int trtexec_main(int argc, char** argv);

}  // namespace planish::tools
