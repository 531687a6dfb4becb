#include "planish/tools/polygraphy/option_groups.h"

#include <array>

namespace planish::tools {
namespace {

using enum Takes;

constexpr std::array kLogging{
    OptionDecl{"-h,--help", nothing, "", "show this help message and exit", ""},
    OptionDecl{"-v,--verbose", nothing, "", "log more; may be repeated", ""},
    OptionDecl{"-q,--quiet", nothing, "", "log less; may be repeated", ""},
    OptionDecl{"--verbosity", several, "LEVEL", "log from this level on: verbose, info, warning, error, critical", ""},
    OptionDecl{"--silent", nothing, "", "log nothing", ""},
    OptionDecl{"--log-format", several, "FORMAT", "timestamp, line-info, no-colors", "timestamp,line-info,no-colors"},
    OptionDecl{"--log-file", one, "FILE", "write the log to a file too", ""},
};

constexpr std::array kModel{
    OptionDecl{"--model-type", one, "TYPE", "onnx or engine, where the file's name does not tell",
               "frozen,keras,ckpt,onnx,engine,uff,trt-network-script,caffe"},
    OptionDecl{"--input-shapes,--inputs", several, "NAME:[DIMS]",
               "shapes of generated inputs: --input-shapes image:[1,3,224,224] ids:[1,128]; wildcards allowed in names",
               ""},
};

constexpr std::array kOnnx{
    OptionDecl{"--onnx-outputs", several, "NAME",
               "tensors to make outputs of the ONNX model; wildcards allowed, '*' (or: mark all) is every tensor", ""},
    OptionDecl{"--onnx-exclude-outputs", several, "NAME", "tensors that are no outputs after all", ""},
    OptionDecl{"--onnx-outputs-by-type", several, "OP", "outputs of every node of these operators", ""},
    OptionDecl{"--shape-inference", nothing, "", "", ""},
    OptionDecl{"--no-onnxruntime-shape-inference", nothing, "", "", ""},
    OptionDecl{"--external-data-dir,--load-external-data,--ext", one, "DIR", "", ""},
    OptionDecl{"--ignore-external-data", nothing, "", "", ""},
    OptionDecl{"--fp-to-fp16", nothing, "", "", ""},
    OptionDecl{"--save-onnx", one, "FILE", "", ""},
    OptionDecl{"--save-external-data,--external-data-path", optional_one, "FILE", "", ""},
    OptionDecl{"--external-data-size-threshold", one, "SIZE", "", ""},
    OptionDecl{"--no-save-all-tensors-to-one-file", nothing, "", "", ""},
};

constexpr std::array kBuild{
    OptionDecl{"--trt-min-shapes", several, "NAME:[DIMS]", "smallest shapes of a profile; repeat for more profiles",
               ""},
    OptionDecl{"--trt-opt-shapes", several, "NAME:[DIMS]", "shapes that tactics are tuned for", ""},
    OptionDecl{"--trt-max-shapes", several, "NAME:[DIMS]", "largest shapes", ""},
    OptionDecl{"--tf32", nothing, "", "accepted; a CPU computes FP32 in full", ""},
    OptionDecl{"--fp16", nothing, "", "let FP16 compete", ""},
    OptionDecl{"--bf16", nothing, "", "let BF16 compete", ""},
    OptionDecl{"--int8", nothing, "", "let INT8 compete; needs a calibration cache, data, or Q/DQ in the model", ""},
    OptionDecl{"--precision-constraints", one, "HOW", "how far --layer-precisions binds", "prefer,obey,none"},
    OptionDecl{"--layer-precisions", several, "LAYER:TYPE",
               "types of layers, by name or ONNX node: conv1:float32 head*:float16", ""},
    OptionDecl{"--calibration-cache", one, "FILE",
               "cache to read scales from; when it does not exist, calibration writes it", ""},
    OptionDecl{"--calib-base-cls,--calibration-base-class", one, "CLASS",
               "IInt8EntropyCalibrator2 (entropy), IInt8MinMaxCalibrator, IInt8EntropyCalibrator, "
               "IInt8LegacyCalibrator (percentile); without it the best is chosen per tensor",
               "IInt8EntropyCalibrator2,IInt8EntropyCalibrator,IInt8MinMaxCalibrator,IInt8LegacyCalibrator"},
    OptionDecl{"--quantile", one, "Q", "percentile of the legacy calibrator, in (0, 1]", ""},
    OptionDecl{"--load-timing-cache", one, "FILE", "times of tactics from an earlier build", ""},
    OptionDecl{"--save-timing-cache", one, "FILE", "write the times of tactics, added to those in the file", ""},
    OptionDecl{"--error-on-timing-cache-miss", nothing, "", "fail where a time is missing", ""},
    OptionDecl{"--pool-limit,--memory-pool-limit", several, "workspace:SIZE",
               "cap on workspace and activations together: workspace:1G", ""},
    OptionDecl{"--builder-optimization-level", one, "N", "0: rules, no timing; 5: everything is timed", ""},
    OptionDecl{"--profiling-verbosity", one, "LEVEL", "none, layer_names_only or detailed (default)", ""},
    OptionDecl{"--refittable", nothing, "", "mark the engine as refittable", ""},
    OptionDecl{"--trt-outputs", several, "NAME", "tensors to make outputs of the engine; '*' is every tensor", ""},
    OptionDecl{"--trt-exclude-outputs", several, "NAME", "tensors that are no outputs after all", ""},
    OptionDecl{"--trt-outputs-by-type", several, "OP", "outputs of every node of these operators", ""},
    OptionDecl{"--use-dla", nothing, "", "refused: this machine has no DLA; with --allow-gpu-fallback a warning", ""},
    OptionDecl{"--allow-gpu-fallback", nothing, "", "let layers run elsewhere when there is no DLA", ""},
    OptionDecl{"--trt-config-script", one, "FILE", "refused: needs TensorRT's Python package", ""},
    OptionDecl{"--trt-config-postprocess-script", one, "FILE", "refused likewise", ""},
    OptionDecl{"--trt-network-postprocess-script,--trt-npps", several, "FILE", "refused likewise", ""},
    OptionDecl{"--fp8", nothing, "", "", ""},
    OptionDecl{"--regression-cutoff", one, "X", "", ""},
    OptionDecl{"--workspace", one, "SIZE", "", ""},
    OptionDecl{"--disable-compilation-cache", nothing, "", "", ""},
    OptionDecl{"--save-tactics", one, "FILE", "", ""},
    OptionDecl{"--load-tactics", one, "FILE", "", ""},
    OptionDecl{"--tactic-sources", any_number, "SOURCE", "", ""},
    OptionDecl{"--strip-plan", nothing, "", "", ""},
    OptionDecl{"--sparse-weights", nothing, "", "", ""},
    OptionDecl{"--version-compatible", nothing, "", "", ""},
    OptionDecl{"--exclude-lean-runtime", nothing, "", "", ""},
    OptionDecl{"--hardware-compatibility-level", one, "LEVEL", "", ""},
    OptionDecl{"--trt-safety-restricted", nothing, "", "", ""},
    OptionDecl{"--preview-features", any_number, "FEATURE", "", ""},
    OptionDecl{"--max-aux-streams", one, "N", "", ""},
    OptionDecl{"--quantization-flags", any_number, "FLAG", "", ""},
    OptionDecl{"--weight-streaming", nothing, "", "", ""},
    OptionDecl{"--runtime-platform", one, "PLATFORM", "", ""},
    OptionDecl{"--engine-capability", one, "CAPABILITY", "", ""},
    OptionDecl{"--direct-io", nothing, "", "", ""},
    OptionDecl{"--tiling-optimization-level", one, "LEVEL", "", ""},
    OptionDecl{"--plugins", several, "FILE", "", ""},
    OptionDecl{"--onnx-flags", several, "FLAG", "", ""},
    OptionDecl{"--plugin-instancenorm", nothing, "", "", ""},
    OptionDecl{"--enable-uint8-asymmetric-quantization-dla", nothing, "", "", ""},
    OptionDecl{"--decomposable-attentions", nothing, "", "", ""},
    OptionDecl{"--tensor-dtypes,--tensor-datatypes", several, "NAME:TYPE", "", ""},
    OptionDecl{"--all-tensor-dtypes,--all-tensor-datatypes", one, "TYPE", "", ""},
    OptionDecl{"--tensor-formats", several, "NAME:[FORMATS]", "", ""},
    OptionDecl{"--all-tensor-formats", several, "FORMAT", "", ""},
    OptionDecl{"--strongly-typed", nothing, "", "", ""},
    OptionDecl{"--mark-debug", several, "TENSOR", "", ""},
    OptionDecl{"--mark-unfused-tensors-as-debug-tensors", nothing, "", "", ""},
    OptionDecl{"--load-runtime", one, "FILE", "", ""},
    OptionDecl{"--dla-workspace-allocation-strategy", one, "STRATEGY", "", ""},
};

constexpr std::array kDataLoader{
    OptionDecl{"--load-inputs,--load-input-data", several, "PATH",
               "saved inputs: JSON files, or folders with one per iteration", ""},
    OptionDecl{"--data-loader-script", one, "FILE[:FUNCTION]",
               "Python script whose load_data() yields {input name: array}; runs in your own python3", ""},
    OptionDecl{"--seed", one, "N", "seed of generated inputs (default 1)", ""},
    OptionDecl{"--val-range", several, "[LOW,HIGH]", "values of generated inputs: [0,1] ids:[0,30000] (default [0,1])",
               ""},
    OptionDecl{"--iterations,--iters", one, "N", "how many inputs to generate (default 1)", ""},
    OptionDecl{"--data-loader-backend-module", one, "MODULE", "numpy; torch is not generated here", "numpy,torch"},
};

constexpr std::array kRunners{
    OptionDecl{"--trt", nothing, "", "run with planish", ""},
    OptionDecl{"--onnxrt", nothing, "", "run with ONNX Runtime, in your own python3", ""},
    OptionDecl{"--tf", nothing, "", "refused: needs TensorFlow", ""},
    OptionDecl{"--pluginref", nothing, "", "refused: needs TensorRT's plugins", ""},
    OptionDecl{"--providers,--execution-providers", several, "PROVIDER",
               "execution providers of ONNX Runtime (default cpu)", ""},
    OptionDecl{"--graph-optimization-level", one, "LEVEL", "of ONNX Runtime: ORT_DISABLE_ALL ... ORT_ENABLE_ALL", ""},
    OptionDecl{"--save-engine", one, "FILE", "write the engine that was built", ""},
    OptionDecl{"--optimization-profile", one, "N", "profile to run with (default 0)", ""},
    OptionDecl{"--allocation-strategy", one, "HOW", "", "static,profile,runtime"},
    OptionDecl{"--weight-streaming-budget", one, "SIZE", "", ""},
    OptionDecl{"--gen,--gen-script", one, "FILE", "refused: the script would need the polygraphy Python package", ""},
};

constexpr std::array kComparator{
    OptionDecl{"--warm-up", one, "N", "runs before timing; needs --sequential-runners", ""},
    OptionDecl{"--sequential-runners", nothing, "", "let one runner do all iterations before the next one starts", ""},
    OptionDecl{"--use-subprocess", nothing, "", "", ""},
    OptionDecl{"--save-inputs,--save-input-data", one, "PATH",
               "write the inputs: one JSON file, or a folder when the path has no extension", ""},
    OptionDecl{"--save-input-blob", optional_one, "DIR", "write each input as raw bytes (default input_blob)", ""},
    OptionDecl{"--save-outputs,--save-results", one, "PATH", "write all runners' outputs, file or folder", ""},
    OptionDecl{"--load-outputs,--load-results", several, "PATH", "saved outputs to compare with", ""},
    OptionDecl{"--postprocess,--postprocess-func", several, "[OUT:]top-K[,axis=A]",
               "replace outputs by the indices of their K largest values", ""},
    OptionDecl{"--postprocess-func-script", one, "FILE", "refused: needs the polygraphy Python package", ""},
    OptionDecl{"--validate", nothing, "", "fail on NaN or infinity in an output", ""},
};

constexpr std::array kComparison{
    OptionDecl{"--compare", several, "HOW", "how outputs are compared; all must pass (default simple)",
               "simple,indices,l2,cosine_similarity,distance_metrics,psnr,snr,quality_metrics,perceptual_metrics"},
    OptionDecl{"--atol,--abs-tol", several, "[OUT:]X", "absolute tolerance (default 1e-5)", ""},
    OptionDecl{"--rtol,--rel-tol", several, "[OUT:]X",
               "relative tolerance; a value fails only if it exceeds both (default 1e-5)", ""},
    OptionDecl{"--check-error-stat", several, "[OUT:]STAT",
               "elemwise (default), max, mean, median or quantile of the error", ""},
    OptionDecl{"--error-quantile", several, "[OUT:]Q", "quantile for --check-error-stat quantile (default 0.99)", ""},
    OptionDecl{"--infinities-compare-equal", nothing, "", "equal infinities are no difference", ""},
    OptionDecl{"--index-tolerance", several, "[OUT:]N", "places that an index may be off (indices)", ""},
    OptionDecl{"--l2-threshold,--l2-tolerance", several, "[OUT:]X", "largest L2 norm (default 1e-5)", ""},
    OptionDecl{"--cosine-similarity-threshold", several, "[OUT:]X", "smallest cosine (default 0.997)", ""},
    OptionDecl{"--psnr-threshold,--psnr-tolerance", several, "[OUT:]DB", "smallest PSNR (default 30)", ""},
    OptionDecl{"--snr-threshold,--snr-tolerance", several, "[OUT:]DB", "smallest SNR (default 20)", ""},
    OptionDecl{"--no-shape-check", nothing, "", "compare outputs of as many elements whatever their shapes", ""},
    OptionDecl{"--fail-fast", nothing, "", "stop at the first failure", ""},
    OptionDecl{"--check-average", nothing, "", "judge the average over all iterations", ""},
    OptionDecl{"--save-accuracy-results", one, "FILE", "write figures and verdicts as JSON", ""},
    OptionDecl{"--compare-func-script", one, "FILE", "refused: needs the polygraphy Python package", ""},
    OptionDecl{"--lpips-threshold,--lpips-tolerance", several, "X", "", ""},
    OptionDecl{"--save-heatmaps", one, "DIR", "", ""},
    OptionDecl{"--show-heatmaps", nothing, "", "", ""},
    OptionDecl{"--save-error-metrics-plot", one, "DIR", "", ""},
    OptionDecl{"--show-error-metrics-plot", nothing, "", "", ""},
};

constexpr std::array kTensorFlow{
    OptionDecl{"--tftrt,--use-tftrt", nothing, "", "", ""},
    OptionDecl{"--minimum-segment-size", one, "N", "", ""},
    OptionDecl{"--dynamic-op", nothing, "", "", ""},
    OptionDecl{"--ckpt", one, "NAME", "", ""},
    OptionDecl{"--tf-outputs", several, "NAME", "", ""},
    OptionDecl{"--save-pb", one, "FILE", "", ""},
    OptionDecl{"--save-tensorboard", one, "DIR", "", ""},
    OptionDecl{"--freeze-graph", nothing, "", "", ""},
    OptionDecl{"--gpu-memory-fraction", one, "X", "", ""},
    OptionDecl{"--allow-growth", nothing, "", "", ""},
    OptionDecl{"--xla", nothing, "", "", ""},
    OptionDecl{"--save-timeline", one, "DIR", "", ""},
    OptionDecl{"--opset", one, "N", "", ""},
};

}  // namespace

OptionGroup logging_options() { return {"logging", kLogging}; }
OptionGroup model_options() { return {"model", kModel}; }
OptionGroup onnx_options() { return {"ONNX", kOnnx}; }
OptionGroup build_options() { return {"engine build", kBuild}; }
OptionGroup data_loader_options() { return {"input data", kDataLoader}; }
OptionGroup runner_options() { return {"runners", kRunners}; }
OptionGroup comparator_options() { return {"inference", kComparator}; }
OptionGroup comparison_options() { return {"comparison", kComparison}; }
OptionGroup tensorflow_options() { return {"TensorFlow", kTensorFlow}; }

}  // namespace planish::tools
