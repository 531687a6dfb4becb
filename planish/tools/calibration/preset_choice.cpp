#include "planish/tools/calibration/preset_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace planish::tools {
namespace {

using Rows = std::vector<std::vector<float>>;

/// The likelier a preset is where the evidence is alike, the earlier it comes: networks for raw values are rare.
constexpr std::array kCandidates{"imagenet", "caffe", "cifar10", "yolo", "raw"};
constexpr int64_t kPictures = 16;
constexpr size_t kFewest = 4;
/// Nats below which answers are noise: networks without training stay below a tenth of it.
constexpr double kTelling = 0.7;
/// How many times the guess's score another preset must reach. The right preset is never beaten so: what it tells is
/// more than half of what can be told.
constexpr double kClearlyBetter = 2;
/// How many times the score of an earlier preset a later one must reach.
constexpr double kTie = 1.25;

/// Probabilities of a row that may hold logits.
std::vector<double> probabilities(const std::vector<float>& row) {
  std::vector<double> p(row.begin(), row.end());
  double sum = 0;
  for (const double v : p) sum += v;
  const bool are_probabilities = std::fabs(sum - 1) < 0.01 && *std::min_element(p.begin(), p.end()) >= 0;
  if (are_probabilities) return p;
  const double largest = *std::max_element(p.begin(), p.end());
  sum = 0;
  for (double& v : p) sum += v = std::exp(v - largest);
  for (double& v : p) v /= sum;
  return p;
}

double entropy(const std::vector<double>& p) {
  double h = 0;
  for (const double v : p)
    if (v > 0) h -= v * std::log(v);
  return h;
}

bool usable(const Rows& rows) {
  return !rows.empty() && std::all_of(rows.begin(), rows.end(), [&](const std::vector<float>& row) {
    return row.size() == rows[0].size() && row.size() >= 2 &&
           std::all_of(row.begin(), row.end(), [](float v) { return std::isfinite(v); });
  });
}

/// Pictures as the network wants them, decoded anew for every preset.
class Classifier {
 public:
  Classifier(const api::Model& model, const PictureList& pictures, const api::ProfileRanges& shapes, int threads)
      : model_(model), pictures_(pictures), shapes_(shapes), threads_(threads) {
    order_ = spread(static_cast<int64_t>(pictures.names.size()),
                    std::min(kPictures, static_cast<int64_t>(pictures.names.size())));
  }

  /// False where the network takes no colour pictures or gives no classes.
  [[nodiscard]] bool open() {
    if (order_.size() < kFewest || model_.inputs().size() != 1) return false;
    input_ = model_.inputs()[0];
    if (const auto it = shapes_.find(input_.name); it != shapes_.end() && it->second.opt.size() == input_.dims.size())
      for (size_t d = 0; d < input_.dims.size(); ++d)
        if (input_.dims[d] < 0) input_.dims[d] = it->second.opt[d];
    if (input_.dims.size() != 4 || input_.dtype != DType::f32) return false;
    if (model_.inputs()[0].dims[0] < 0) input_.dims[0] = 1;
    const auto size = input_size_of(input_.dims, PixelLayout::nchw);
    if (!size.ok() || size->channels != 3 || input_.dims[0] < 1) return false;
    size_ = *size;
    if (!std::any_of(model_.outputs().begin(), model_.outputs().end(),
                     [](const api::TensorInfo& o) { return o.dims.size() >= 2 && holds_classes(o.dims); }))
      return false;
    api::BuildConfig config;
    config.profiles.push_back({{input_.name, {input_.dims, input_.dims, input_.dims}}});
    config.optimization_level = 0;  // nothing is timed: the same network every time
    config.threads = threads_;
    auto engine = api::Engine::build(model_.clone(), config);
    if (!engine.ok()) return false;
    engine_.emplace(std::move(*engine));
    auto context = engine_->create_context(0, threads_);
    if (!context.ok()) return false;
    context_ = std::move(*context);
    return true;
  }

  /// Answers to the pictures that can be read; empty where something else fails.
  Rows answers(const std::string& preset, bool mirrored) {
    const auto preprocess = preprocess_preset(preset);
    if (!preprocess.ok()) return {};
    Rows rows;
    const auto batch = static_cast<size_t>(input_.dims[0]);
    const auto each = static_cast<size_t>(size_.element_count());
    std::vector<float> values;
    for (size_t i = 0; i < order_.size(); ++i) {
      const auto picture = pictures_.load(order_[i]);
      std::vector<float> one(each);
      if (picture.ok() && preprocess_image(*preprocess, *picture, size_, one).ok()) {
        if (mirrored)
          for (size_t y = 0; y < each; y += static_cast<size_t>(size_.width))
            std::reverse(one.begin() + static_cast<ptrdiff_t>(y),
                         one.begin() + static_cast<ptrdiff_t>(y) + size_.width);
        values.insert(values.end(), one.begin(), one.end());
      }
      const size_t count = values.size() / each;
      if (count == 0 || (count < batch && i + 1 < order_.size())) continue;
      values.resize(batch * each);
      if (!run(values, count, rows)) return {};
      values.clear();
    }
    return rows;
  }

 private:
  static bool holds_classes(const std::vector<int64_t>& dims) {
    return (dims[1] < 0 || dims[1] >= 2) && std::all_of(dims.begin() + 2, dims.end(), [](int64_t d) { return d == 1; });
  }

  bool run(const std::vector<float>& values, size_t count, Rows& rows) {
    if (!context_->set_input(input_.name, input_.dims, std::as_bytes(std::span(values))).ok()) return false;
    if (!context_->run().ok()) return false;
    for (const api::TensorInfo& info : engine_->outputs()) {
      const auto output = context_->output(info.name);
      if (!output.ok() || output->dims.size() < 2 || output->dims[0] != input_.dims[0] || !holds_classes(output->dims))
        continue;
      const Tensor scores =
          Tensor::borrow(output->dtype, output->dims, const_cast<std::byte*>(output->data.data())).cast(DType::f32);
      const auto classes = static_cast<size_t>(scores.dim(1));
      const auto all = scores.span<float>();
      for (size_t i = 0; i < count; ++i) {
        const auto row = all.subspan(i * classes, classes);
        rows.emplace_back(row.begin(), row.end());
      }
      return true;
    }
    return false;
  }

  const api::Model& model_;
  const PictureList& pictures_;
  const api::ProfileRanges& shapes_;
  int threads_;
  std::vector<int64_t> order_;
  api::TensorInfo input_;
  InputSize size_;
  std::optional<api::Engine> engine_;
  std::unique_ptr<api::ExecutionContext> context_;
};

std::string numbers_of(const PresetEvidence& e) {
  return fmt::format("{:.2f} nats, mean confidence {:.2f}", e.information, e.confidence);
}

}  // namespace

PresetEvidence weigh_answers(std::string preset, const Rows& answers, const Rows& mirrored) {
  PresetEvidence evidence{.preset = std::move(preset)};
  if (!usable(answers)) return evidence;
  const auto count = static_cast<double>(answers.size());
  std::vector<double> mean(answers[0].size());
  double own = 0;
  for (const auto& row : answers) {
    const std::vector<double> p = probabilities(row);
    for (size_t c = 0; c < p.size(); ++c) mean[c] += p[c] / count;
    own += entropy(p) / count;
    evidence.confidence += *std::max_element(p.begin(), p.end()) / count;
  }
  evidence.information = std::max(0.0, entropy(mean) - own);
  if (!usable(mirrored) || mirrored.size() != answers.size() || mirrored[0].size() != mean.size()) return evidence;
  for (size_t i = 0; i < answers.size(); ++i) {
    const std::vector<double> a = probabilities(answers[i]);
    const std::vector<double> b = probabilities(mirrored[i]);
    for (size_t c = 0; c < a.size(); ++c) evidence.steadiness += std::min(a[c], b[c]) / count;
  }
  return evidence;
}

size_t prefer_preset(const std::vector<PresetEvidence>& evidence, size_t guess) {
  size_t best = 0;
  for (size_t i = 1; i < evidence.size(); ++i)
    if (evidence[i].score() > kTie * evidence[best].score()) best = i;
  const bool clear =
      evidence[best].information >= kTelling && evidence[best].score() >= kClearlyBetter * evidence[guess].score();
  return clear ? best : guess;
}

PresetChoice choose_preset(const api::Model& model, const PictureList& pictures, const std::string& guess,
                           const api::ProfileRanges& shapes, int threads) {
  PresetChoice choice{.preset = guess};
  Classifier classifier(model, pictures, shapes, threads);
  const auto guessed = std::find(kCandidates.begin(), kCandidates.end(), guess);
  if (guessed == kCandidates.end() || !classifier.open()) return choice;
  std::vector<Rows> answers;
  std::vector<PresetEvidence> evidence;
  double most = 0;
  for (const char* preset : kCandidates) {
    answers.push_back(classifier.answers(preset, false));
    evidence.push_back(weigh_answers(preset, answers.back(), {}));
    most = std::max(most, evidence.back().information);
  }
  const auto at = static_cast<size_t>(guessed - kCandidates.begin());
  if (most < kTelling) {
    choice.evidence =
        fmt::format("the network's answers to {} of the pictures tell them apart with no preset", answers[at].size());
    return choice;
  }
  if (evidence[at].information * kClearlyBetter > most) return choice;
  for (size_t i = 0; i < evidence.size(); ++i)
    if (evidence[i].information * kClearlyBetter > most || i == at)
      evidence[i] = weigh_answers(evidence[i].preset, answers[i], classifier.answers(evidence[i].preset, true));
  const PresetEvidence& taken = evidence[prefer_preset(evidence, at)];
  if (taken.preset == guess) return choice;
  choice.preset = taken.preset;
  choice.evidence =
      fmt::format("the network in FP32 tells {} of the pictures apart with it ({}) but hardly with '{}' ({})",
                  answers[at].size(), numbers_of(taken), guess, numbers_of(evidence[at]));
  return choice;
}

}  // namespace planish::tools
