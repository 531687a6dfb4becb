#include "planish/tools/commands.h"
#include "planish/tools/standard_streams.h"

int main(int argc, char** argv) {
  planish::tools::guard_standard_streams();
  return planish::tools::close_standard_streams("planish", planish::tools::dispatch(argc, argv));
}
