#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "planish/api/data.h"
#include "planish/api/engine.h"
#include "planish/base/status.h"
#include "planish/tools/command_line.h"
#include "planish/tools/evaluation.h"

namespace planish::tools {

/// How well a network does on labelled data, in one number.
struct Score {
  double value = 0;    ///< 0 to 1
  std::string metric;  ///< "top-1", "mAP@0.5:0.95"
  int64_t pictures = 0;
  std::vector<int64_t> answers;  ///< best class per picture; empty for detectors
};

/// Labelled data, opened once, to judge several engines of one network by.
class Judge {
 public:
  /// `limit` 0: all pictures, else that many, spread over the data. Errors: no labels, nothing there.
  static Result<Judge> open(const std::string& data, const std::string& preprocess, int64_t limit, int64_t threads);
  Result<Score> score(const api::Engine& engine, const std::function<void(int64_t, int64_t)>& progress = {}) const;
  [[nodiscard]] int64_t pictures() const { return data_->size(); }
  /// Batch to build engines for where the network's is free.
  static constexpr int64_t kBatch = 8;

 private:
  std::shared_ptr<Dataset> data_;
  std::string preprocess_;
  int64_t threads_ = 0;
};

/// Share of pictures that two networks give the same class; nullopt for detectors.
std::optional<double> agreement(const Score& a, const Score& b);

/// "71.25 %"
std::string percent_text(double share);
/// Signed difference in points: "-0.40 points".
std::string points_text(double difference);

/// --eval and what belongs to it.
struct JudgeArguments {
  std::string data;
  int64_t limit = 0;
  void declare(CommandLine& line, const std::string& purpose);
};

}  // namespace planish::tools
