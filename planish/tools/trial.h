#pragma once

#include <memory>
#include <string>

#include "planish/api/engine.h"
#include "planish/api/quantize.h"
#include "planish/base/status.h"
#include "planish/tools/console.h"
#include "planish/tools/open_engine.h"

namespace planish::tools {

/// Batch for engines of a model whose batch is free, when many samples go through it and none says how many at a time:
/// at most 8, fewer where samples are large.
int64_t trial_batch(const api::Model& model);

/// Builds engines of one model with different precisions, quietly: warnings of the first build are shown, those of the
/// others would repeat them.
class Trials {
 public:
  /// `arguments`: shapes and effort; its precisions do not count.
  static Result<Trials> open(std::string command, api::Model model, const BuildArguments& arguments);

  [[nodiscard]] const api::Model& model() const { return *model_; }
  [[nodiscard]] const api::BuildConfig& config() const { return config_; }
  /// The model itself with the precisions that `set` switches on in a copy of the configuration.
  template <typename Set>
  Result<api::Engine> build(const Set& set, const std::string& what, api::BuildStats* stats = nullptr) {
    api::BuildConfig config = config_;
    set(config);
    return build_model(model_->clone(), std::move(config), what, stats);
  }
  /// Another form of the model (quantised), as it is.
  Result<api::Engine> build_model(api::Model model, api::BuildConfig config, const std::string& what,
                                  api::BuildStats* stats = nullptr);

 private:
  std::string command_;
  std::shared_ptr<api::Model> model_;
  api::BuildConfig config_;
  bool warned_ = false;
};

}  // namespace planish::tools
