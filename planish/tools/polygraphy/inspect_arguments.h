#pragma once

#include <string>
#include <vector>

#include "planish/base/status.h"
#include "planish/tools/polygraphy/model_text.h"

namespace planish::tools {

/// The command line of `polygraphy inspect model`.
struct InspectArguments {
  std::string model_path;
  std::string model_type;  ///< "onnx", "engine" or "" (by the file)
  Shown shown;
  bool as_network = false;          ///< --convert-to trt
  bool list_unbounded_dds = false;  ///< tensors whose size only the data decides
  bool help = false;
  int verbosity = 0;  ///< -v counts up, -q down
  bool silent = false;
  std::string named_verbosity;  ///< --verbosity INFO
  bool timestamps = false;
  std::string log_file;
  std::vector<std::string> without_effect;  ///< accepted options that do nothing here
};

/// Reads the arguments after "inspect model" as polygraphy's parser does: `--option value ...`, `--option=value`,
/// options cut short where that is unambiguous. The error's text is what follows "polygraphy inspect model: error: ".
Result<InspectArguments> parse_inspect_arguments(const std::vector<std::string>& arguments);

/// All options, for completion and --help.
std::vector<std::string> inspect_option_words();
std::string inspect_model_help();

}  // namespace planish::tools
