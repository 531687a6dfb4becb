#pragma once

#include <span>
#include <string>
#include <vector>

#include "planish/tools/trtexec/log.h"
#include "planish/tools/trtexec/session.h"

namespace planish::tools {

/// Times of one layer over all profiled runs.
struct ProfileRecord {
  std::string name;
  std::vector<double> run_ms;  ///< one entry per run
  std::string remark;          ///< appended to the row by --profileColumns

  [[nodiscard]] double total_ms() const;
  [[nodiscard]] double average_ms() const;
  [[nodiscard]] double median_ms() const;
};

/// One record per layer; `runs[r][i]` is the time in ms of layer i in run r.
std::vector<ProfileRecord> profile_records(std::span<const LayerRecord> layers,
                                           std::span<const std::vector<double>> runs, bool extra_columns);

/// The --dumpProfile table. Layers without any time are left out; the last row is the total.
void report_profile(Log& log, std::span<const ProfileRecord> records);

/// JSON array for --exportProfile: `{"count": runs}`, then one object per layer.
std::string profile_json(std::span<const ProfileRecord> records);

}  // namespace planish::tools
