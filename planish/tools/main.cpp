#include "planish/tools/commands.h"

int main(int argc, char** argv) { return planish::tools::dispatch(argc, argv); }
