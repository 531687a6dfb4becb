#include "planish/tools/trtexec/trtexec.h"

#include <iostream>

namespace planish::tools {

int trtexec_main(int argc, char** argv) {
  Log log(std::cout, std::cerr);
  const std::unique_ptr<Session> session = make_planish_session();
  return run_trtexec({argv, argv + argc}, *session, log, Clock::monotonic());
}

}  // namespace planish::tools
