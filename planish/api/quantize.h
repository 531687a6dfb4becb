#pragma once

// Calibration and quantisation of models: what trtexec --int8 --calib, polygraphy convert --int8 and planish quantize
// share.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "planish/api/engine.h"
#include "planish/base/status.h"

namespace planish::api {

/// One batch of network inputs by name.
struct CalibrationBatch {
  std::vector<std::pair<std::string, HostTensor>> inputs;
  int64_t samples = 1;                      ///< real samples among the rows; the rest is padding and is not counted
  std::string origin;                       ///< file or index, for messages
  std::vector<std::string> sample_origins;  ///< the same of every real sample; may be empty
  /// Keeps the data of the inputs for whoever holds the batch; null: it is valid until the source is asked for the
  /// next.
  std::shared_ptr<const void> owner;
  bool finite = false;  ///< the source has seen that no value is NaN or infinite
};

/// Where calibration data comes from: a folder, arrays, a script. Batches may differ in size.
class CalibrationSource {
 public:
  virtual ~CalibrationSource() = default;
  /// The next batch, valid until the next call; nullopt at the end. An error names the sample and costs only it; the
  /// walk goes on unless `fatal()`.
  virtual Result<std::optional<CalibrationBatch>> next() = 0;
  /// Does a part of the work of the next calls of next() ahead (a picture); false when nothing is left to do for now.
  /// Several threads may call it side by side, while nobody calls anything else.
  virtual bool prepare() { return false; }
  /// Starts again from the first batch.
  virtual Status rewind() = 0;
  /// True when an error ended the walk (a script that raised).
  [[nodiscard]] virtual bool fatal() const { return false; }
  /// Samples in all; nullopt when unknown.
  [[nodiscard]] virtual std::optional<int64_t> size() const { return std::nullopt; }
  /// Text that changes when the data changes (files, sizes, times); goes into the cache's side file.
  [[nodiscard]] virtual std::string identity() const = 0;
  /// "folder (125 images)", "random": stored in engines as their calibration state.
  [[nodiscard]] virtual std::string description() const = 0;
};

enum class CalibrationMethod : uint8_t { automatic, entropy, minmax, percentile, mse };
std::string_view calibration_method_name(CalibrationMethod method);
std::optional<CalibrationMethod> find_calibration_method(std::string_view name);

/// What calibration learned of one tensor.
struct TensorRange {
  float scale = 0;  ///< symmetric: real = scale * q, |q| <= 127
  float min = 0;    ///< smallest and largest value seen; both 0 when only the scale is known (a cache)
  float max = 0;
  /// The same as UINT8, real = unsigned_scale * (q - unsigned_zero), for tensors that reach much further to one side of
  /// zero than to the other; 0: none.
  float unsigned_scale = 0;
  int32_t unsigned_zero = 0;
};

/// Weights of a layer that calibrate() made while it had the data.
struct AdaptedWeights {
  std::vector<int8_t> q;    ///< in the order of the layer's own weights; scales are those of rounding to nearest
  std::vector<float> bias;  ///< empty: the layer's own
  /// What they were made for: the quantiser of the layer's input, the largest |q| and the largest sum of neighbours (0:
  /// any). Another one makes them void.
  float input_scale = 0;
  int32_t input_zero = 0;
  bool input_unsigned = false;
  int32_t largest = 127;
  int32_t pair = 0;
};

/// Histogram of |x| of one tensor, for reports.
struct RangeHistogram {
  std::string tensor;
  double bin_width = 0;
  std::vector<int64_t> counts;
};

/// Ranges by ONNX tensor name. Text form: TensorRT's calibration cache.
struct CalibrationTable {
  std::string header;  ///< "TRT-101300-EntropyCalibration2"
  std::map<std::string, TensorRange> ranges;
  std::string description;  ///< where the data came from; "cache <file>" when read
  bool random = false;      ///< made from random data
  uint64_t model_hash = 0;  ///< 0: unknown
  uint64_t data_hash = 0;
  std::vector<RangeHistogram> histograms;  ///< only after calibrate(); not in the cache
  int64_t samples = 0;
  std::vector<std::string> order;  ///< names as they stand in the text; names in `ranges` only follow
  /// Mean of every channel of the tensors that INT8 layers read, for bias correction; in the side file.
  std::map<std::string, std::vector<float>> channel_means;
  /// Largest magnitude of every channel of the same tensors, for equalisation; in the side file.
  std::map<std::string, std::vector<float>> channel_maxima;
  /// By the name of the layer's result; in the side file. For the weights that `model_hash` names alone.
  std::map<std::string, AdaptedWeights> adapted_weights;
  /// The table of the network whose channels were evened out by `channel_maxima` (CalibrationOptions::equalization); in
  /// the side file. Everything else here is of the network as it is.
  std::shared_ptr<const CalibrationTable> equalised;

  /// Ranges for every tensor, none of them measured: for timing alone.
  static CalibrationTable invented();
  [[nodiscard]] bool is_invented() const { return header == "invented"; }

  /// Reads the cache text, and its side file `<file>.json` when there is one. `warnings` gets one sentence per thing
  /// worth knowing (other version, lines skipped). Errors: not_found, corrupt with the line.
  static Result<CalibrationTable> read(const std::filesystem::path& file, std::vector<std::string>* warnings = nullptr);
  /// Writes cache and side file, atomically.
  Status write(const std::filesystem::path& file) const;
  [[nodiscard]] std::string cache_text() const;
  static Result<CalibrationTable> parse(std::string_view text, std::string_view file_name,
                                        std::vector<std::string>* warnings = nullptr);
  [[nodiscard]] std::string to_json() const;
  static Result<CalibrationTable> from_json(std::string_view json, std::string_view file_name);
};

/// Which weights there may be. Processors without VNNI add two products in 16 bits, and must neither saturate nor
/// lose speed: there neighbours may not be large together (`pairs`, as our kernels read them), or no weight that meets
/// UINT8 may (`seven_bits`, in whatever order they are read).
enum class WeightRange : uint8_t { full, pairs, seven_bits };

struct CalibrationOptions {
  CalibrationMethod method = CalibrationMethod::automatic;
  double percentile = 99.99;
  int64_t max_samples = -1;           ///< -1: all
  double max_bad_share = 0.1;         ///< more unreadable samples than this share of all is an error
  int threads = 0;                    ///< 0: all cores
  ProfileRanges calibration_profile;  ///< shapes to calibrate at; empty: the data's own
  /// Weights are adapted to the numbers that will be used: those of an INT8 build on this machine (nullopt), or as
  /// QuantizeOptions says. `adapt_weights` false leaves it out.
  bool adapt_weights = true;
  double adapt_work = 1e11;  ///< multiplications that adapting may take; the cheapest layers come first
  std::optional<bool> full_range;
  std::optional<WeightRange> weight_range;
  /// Also evens out the ranges of channels between convolutions and calibrates the result
  /// (CalibrationTable::equalised).
  bool equalization = false;
  /// Also ranges of tensors inside fused layers, over a few samples: a TensorRT that reads the cache wants one for
  /// every tensor, an engine of planish does not.
  bool inner_tensors = true;
  std::function<void(std::string_view stage, size_t done, size_t total)> progress;
  std::function<void(const std::string&)> warn;
};

struct CalibrationStats {
  int64_t samples = 0;
  int64_t skipped = 0;                     ///< samples: a batch that fails is tried again sample by sample
  std::vector<std::string> skipped_names;  ///< the first few, each with its reason
  double seconds = 0;
};

/// Runs the FP32 network over the data and finds a range for every tensor that INT8 layers would quantise.
Result<CalibrationTable> calibrate(const Model& model, CalibrationSource& source, const CalibrationOptions& options,
                                   CalibrationStats* stats = nullptr);

/// For which runtime Q/DQ is placed; all three take every style, but each fuses its own best.
enum class QuantizeStyle : uint8_t { tensorrt, onnxruntime, openvino };
enum class RoundingMethod : uint8_t { nearest, adaptive };

struct QuantizeOptions {
  QuantizeStyle style = QuantizeStyle::tensorrt;
  bool per_channel = true;
  bool bias_correction = true;
  /// Tensors that reach much further to one side of zero than to the other get 255 steps (UINT8) instead of 127, which
  /// up to halves their rounding error. TensorRT reads INT8 only. nullopt: an INT8 build does it, quantize() does not.
  std::optional<bool> full_range;
  /// nullopt: `pairs` for an INT8 build on a processor without VNNI, else `full`.
  std::optional<WeightRange> weight_range;
  /// Evens out the ranges of channels between convolutions first: as the table's calibration did, else by its
  /// channel_maxima (from calibrate(), or a cache with its side file), with ranges scaled along.
  bool equalization = false;
  RoundingMethod rounding = RoundingMethod::nearest;
  /// Nodes to keep in float: name or pattern with one '*', by ONNX node name.
  std::vector<std::string> keep_float;
  /// Nodes to quantise even where it is not thought worth it; keep_float wins.
  std::vector<std::string> force_int8;
  /// Data for adaptive rounding; nullptr leaves it out. Not owned.
  CalibrationSource* data = nullptr;
  std::function<void(std::string_view stage, size_t done, size_t total)> progress;
  std::function<void(const std::string&)> warn;
};

/// Why a node was not quantised.
struct FloatNode {
  std::string node;
  std::string reason;
};

struct QuantizeReport {
  int64_t quantised_nodes = 0;
  std::vector<std::string> int8_nodes;  ///< their ONNX names, in the order of the network
  std::vector<FloatNode> float_nodes;
};

/// The model with Q/DQ around what is quantised: ONNX semantics, symmetric INT8, weights stored as INT8.
Result<Model> quantize(const Model& model, const CalibrationTable& table, const QuantizeOptions& options,
                       QuantizeReport* report = nullptr);

/// Options with the numbers that an INT8 build on this machine uses (UINT8 where it is finer, limited weights
/// without VNNI).
QuantizeOptions int8_build_options();

/// Whether QuantizeOptions::equalization would change the model.
Result<bool> can_equalise(const Model& model);

/// What dynamic_to_static() did.
struct DynamicReport {
  int64_t products = 0;  ///< MatMulInteger and ConvInteger nodes that became MatMul and Conv
  int64_t left = 0;      ///< those in a form that is not known
};

/// The model with dynamic quantisation (DynamicQuantizeLinear, MatMulInteger, ConvInteger) taken back: float layers
/// with the dequantised weights, ready for calibrate() and quantize(). A model without any comes back as it is.
Result<Model> dynamic_to_static(const Model& model, DynamicReport* report = nullptr);

}  // namespace planish::api
