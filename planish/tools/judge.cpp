#include "planish/tools/judge.h"

#include <fmt/format.h>

#include <cmath>

#include "planish/tools/picture_input.h"

namespace planish::tools {

Result<Judge> Judge::open(const std::string& data, const std::string& preprocess, int64_t limit, int64_t threads) {
  Judge judge;
  judge.data_ = std::make_shared<Dataset>(PLANISH_TRY(Dataset::open(data)));
  if (judge.data_->kind() == DatasetKind::unlabelled)
    return Error{.code = Code::invalid_argument,
                 .file = data,
                 .what = "the pictures have no labels, so that nothing can be judged by them",
                 .fix = "give a labels.csv, class folders, an .npz with labels, or images/ and labels/ (YOLO)"};
  if (limit > 0) judge.data_->limit(limit, true);
  judge.preprocess_ = preprocess;
  judge.threads_ = threads;
  return judge;
}

Result<Score> Judge::score(const api::Engine& engine, const std::function<void(int64_t, int64_t)>& progress) const {
  const bool detection = data_->kind() == DatasetKind::detection;
  const Preprocess preprocess = PLANISH_TRY(choose_preprocess(preprocess_, engine, detection));
  EvaluationOptions options;
  options.threads = threads_;
  const Evaluation e = PLANISH_TRY(evaluate(engine, *data_, preprocess, options, progress));
  Score score;
  score.pictures = e.pictures;
  if (detection) {
    score.metric = "mAP@0.5:0.95";
    score.value = e.map.map50_95;
    return score;
  }
  score.metric = "top-1";
  score.value = e.pictures > 0 ? static_cast<double>(e.top1_hits) / static_cast<double>(e.pictures) : 0;
  for (const Verdict& verdict : e.verdicts) score.answers.push_back(verdict.best_class);
  return score;
}

std::optional<double> agreement(const Score& a, const Score& b) {
  if (a.answers.empty() || a.answers.size() != b.answers.size()) return std::nullopt;
  size_t same = 0;
  for (size_t i = 0; i < a.answers.size(); ++i) same += a.answers[i] == b.answers[i] ? 1 : 0;
  return static_cast<double>(same) / static_cast<double>(a.answers.size());
}

std::string percent_text(double share) { return fmt::format("{:.2f} %", share * 100); }

std::string points_text(double difference) {
  // Adding zero makes of a negative zero a positive one.
  return fmt::format("{:+.2f} points", std::round(difference * 1e4) / 100 + 0.0);
}

void JudgeArguments::declare(CommandLine& line, const std::string& purpose) {
  line.input("--eval", data, "DATA",
             purpose + ": labels.csv, class folders, an .npz of images and labels, or images/ and labels/ (YOLO)");
  line.integer("--eval-samples", limit, 1, int64_t{1} << 40, "Judge by this many pictures, spread over the data");
}

}  // namespace planish::tools
