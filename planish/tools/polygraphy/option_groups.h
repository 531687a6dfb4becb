#pragma once

#include "planish/tools/polygraphy/options.h"

namespace planish::tools {

// Groups of options that several tools share; spelled as in polygraphy.

OptionGroup logging_options();      ///< -h -v -q --verbosity --silent --log-format --log-file
OptionGroup model_options();        ///< --model-type --input-shapes
OptionGroup onnx_options();         ///< --onnx-outputs and what loads ONNX files
OptionGroup build_options();        ///< precisions, shapes, calibration, caches
OptionGroup data_loader_options();  ///< --load-inputs, --data-loader-script, random data
OptionGroup runner_options();       ///< --trt --onnxrt and how they run
OptionGroup comparator_options();   ///< --iterations ... --save-outputs
OptionGroup comparison_options();   ///< --atol --rtol --compare ...
OptionGroup tensorflow_options();   ///< accepted only

}  // namespace planish::tools
