#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "planish/api/data.h"
#include "planish/api/engine.h"
#include "planish/base/status.h"

namespace planish::tools {

struct EvaluationOptions {
  std::string output;     ///< name of the output to judge; "" finds it by its shape
  int64_t batch = 0;      ///< 0: what the engine is tuned for
  int64_t threads = 0;    ///< 0: all cores
  YoloOptions detection;  ///< how boxes are read
};

/// What the network said about one picture.
struct Verdict {
  int64_t sample = 0;
  int64_t best_class = -1;
  double score = 0;
  int64_t rank_of_label = 0;  ///< 0: right
  std::vector<Detection> boxes;
};

struct Evaluation {
  DatasetKind kind = DatasetKind::classification;
  std::string output;
  int64_t pictures = 0;
  int64_t batch = 0;
  int64_t top1_hits = 0;
  int64_t top5_hits = 0;
  CocoMap map;
  std::vector<Verdict> verdicts;
  double seconds = 0;  ///< everything: decoding, preprocessing, inference, metrics
  double inference_seconds = 0;
};

/// Runs the engine over a labelled data set. Batches are as large as the engine allows; a last batch smaller than the
/// engine's smallest is filled up with zeros whose results are ignored. `progress(done, total)` is called after each.
/// Errors: no labels, no output that fits the labels, pictures that cannot be read (all name the culprit).
Result<Evaluation> evaluate(const api::Engine& engine, const Dataset& data, const Preprocess& preprocess,
                            const EvaluationOptions& options, const std::function<void(int64_t, int64_t)>& progress);

}  // namespace planish::tools
