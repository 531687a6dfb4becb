#include "planish/tools/trial.h"

#include <algorithm>
#include <utility>

#include "planish/tools/calibration/batch_source.h"

namespace planish::tools {

int64_t trial_batch(const api::Model& model) {
  constexpr int64_t kMost = 8;
  return std::min(kMost, usual_calibration_batch(model.inputs()));
}

Result<Trials> Trials::open(std::string command, api::Model model, const BuildArguments& arguments) {
  BuildArguments plain = arguments;
  plain.fp16 = plain.bf16 = plain.best = false;
  std::vector<std::string> warnings = model.warnings();
  Trials trials;
  trials.config_ = PLANISH_TRY(build_config(plain, model, warnings));
  trials.command_ = std::move(command);
  for (const std::string& text : warnings) warn(trials.command_, text);
  trials.model_ = std::make_shared<api::Model>(std::move(model));
  return trials;
}

Result<api::Engine> Trials::build_model(api::Model model, api::BuildConfig config, const std::string& what,
                                        api::BuildStats* stats) {
  std::vector<std::string> warnings;
  config.warn = [&warnings](const std::string& text) { warnings.push_back(text); };
  Progress progress("Building " + what);
  config.progress = [&progress](std::string_view stage, size_t done, size_t total) {
    // The long stage; with several engines to build, a line for each stage of each would bury the report.
    if (stage == "tactics") progress.update(stage, static_cast<int64_t>(done), static_cast<int64_t>(total));
  };
  auto engine = api::Engine::build(std::move(model), config, stats);
  progress.finish();
  if (!warned_)
    for (const std::string& text : warnings) warn(command_, text);
  warned_ = true;
  return engine;
}

}  // namespace planish::tools
