#pragma once

#include "planish/base/status.h"
#include "planish/tools/trtexec/inference.h"
#include "planish/tools/trtexec/log.h"
#include "planish/tools/trtexec/options.h"
#include "planish/tools/trtexec/session.h"

namespace planish::tools {

/// One pass of trtexec over parsed options: get an engine, run it, report. Each step logs what it does.
class Run {
 public:
  Run(Session& session, Options options, Log& log, Clock clock)
      : session_(session), options_(std::move(options)), log_(log), clock_(std::move(clock)) {}

  /// Option and device sections, then what the machine cannot do.
  Status introduce();
  /// Builds (and saves) or loads the engine.
  Status obtain_engine();
  /// Layer information, optimisation profiles, refittable weights.
  Status describe_engine();
  /// Timing, outputs, accuracy and the per-layer profile.
  Status infer();
  /// All of the above.
  Status all();
  /// Median compute time in ms of the last infer().
  [[nodiscard]] double median_ms() const { return median_ms_; }

 private:
  /// Files to read and to write: asked before work of minutes, not behind it.
  [[nodiscard]] Status check_files() const;
  Status build();
  Status load();
  Status save(const std::string& path);
  /// The device of every layer, when a DLA or --layerDeviceTypes was asked for.
  Status partition();
  Status time_deserialize();
  Status time_refit();
  Status report_results(Inference& inference);
  Status report_layers_profile(Inference& inference);
  void show(const std::vector<std::string>& notes, const std::vector<std::string>& warnings);
  [[nodiscard]] std::string verbosity() const;

  Session& session_;
  Options options_;
  Log& log_;
  Clock clock_;
  EngineRecord engine_;  ///< the session's, with the devices that this command line simulates
  double median_ms_ = 0;
};

}  // namespace planish::tools
