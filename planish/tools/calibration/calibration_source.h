#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "planish/api/engine.h"
#include "planish/api/quantize.h"
#include "planish/base/status.h"
#include "planish/tools/calibration/reader.h"

namespace planish::tools {

/// Where calibration data is and how it is read.
struct CalibrationPlace {
  std::string path;                   ///< what --calib says
  std::string preprocess;             ///< pictures: preset or JSON file; "" guesses and says so
  const api::Model* model = nullptr;  ///< the network, to judge a guess by (choose_preset()); nullptr: it stands
  int64_t max_samples = -1;           ///< -1: all; else that many, spread evenly where the number is known
  int64_t batch = 0;                  ///< rows together; 0: the shapes' own batch, else by the size of a sample
  double script_timeout_s = 120;
  int threads = 0;            ///< to decode pictures with; 0: all cores
  uint64_t seed = 1;          ///< of random data
  api::ProfileRanges shapes;  ///< of inputs with free dimensions, where they are given; opt counts
  WarnFunction note;          ///< what was read and how
  WarnFunction warn;
};

/// Data for calibration by what is there:
/// - a folder: its pictures (flat, in class folders, or images/ beside labels/), else its .npy, .npz, .bin, .raw files;
/// - a picture, a .csv list of pictures, an .npz of `images` as planish eval takes it;
/// - .npy (samples on the first axis), .npz (members named like the inputs), .json (polygraphy run --save-inputs);
/// - .py or .py:function: a data-loader script;
/// - "random" or "random:N": made-up values, N samples (8), only when asked for by this name.
/// Errors name the path and what would do.
Result<std::unique_ptr<api::CalibrationSource>> open_calibration_source(const CalibrationPlace& place,
                                                                        const std::vector<api::TensorInfo>& inputs,
                                                                        const std::vector<api::TensorInfo>& outputs);

/// True for a file that starts like a calibration cache ("TRT-").
bool is_calibration_cache(const std::string& path);
/// True for "random" and "random:N".
bool is_random_calibration(const std::string& path);
/// True for a Python script, with or without ":function".
bool is_script(const std::string& path);

/// The preset that a network's input and outputs look like: yolo for boxes, cifar10 for 32 x 32 colour pictures, raw
/// for grey ones, else imagenet.
std::string guess_preset(const api::TensorInfo& input, const std::vector<api::TensorInfo>& outputs);

}  // namespace planish::tools
