#include "planish/tools/trtexec/profile_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "planish/tools/trtexec/json_text.h"
#include "planish/tools/trtexec/timing_report.h"

namespace planish::tools {
namespace {

double sum_ms(std::span<const ProfileRecord> records) {
  double sum = 0;
  for (const ProfileRecord& record : records) sum += record.total_ms();
  return sum;
}

size_t run_count(std::span<const ProfileRecord> records) { return records.empty() ? 0 : records.front().run_ms.size(); }

/// Median over runs of the whole network's time.
double whole_median_ms(std::span<const ProfileRecord> records) {
  std::vector<double> runs(run_count(records));
  for (const ProfileRecord& record : records) {
    for (size_t run = 0; run < runs.size(); ++run) runs[run] += record.run_ms[run];
  }
  std::sort(runs.begin(), runs.end());
  return median(runs);
}

std::string row_text(double total_ms, double average_ms, double median_ms, double percent, const std::string& name) {
  return fmt::format("{:11.2f}{:13.4f}{:13.4f}{:10.1f}   {}", total_ms, average_ms, median_ms, percent, name);
}

}  // namespace

double ProfileRecord::total_ms() const { return std::accumulate(run_ms.begin(), run_ms.end(), 0.0); }

double ProfileRecord::average_ms() const {
  return run_ms.empty() ? 0 : total_ms() / static_cast<double>(run_ms.size());
}

double ProfileRecord::median_ms() const {
  std::vector<double> sorted = run_ms;
  std::sort(sorted.begin(), sorted.end());
  return median(sorted);
}

std::vector<ProfileRecord> profile_records(std::span<const LayerRecord> layers,
                                           std::span<const std::vector<double>> runs, bool extra_columns) {
  std::vector<ProfileRecord> records;
  for (size_t i = 0; i < layers.size(); ++i) {
    const LayerRecord& layer = layers[i];
    ProfileRecord record;
    record.name = layer.name;
    for (const auto& run : runs) record.run_ms.push_back(i < run.size() ? run[i] : 0);
    if (extra_columns) {
      record.remark = fmt::format("{}, {} KiB weights, {} KiB output, {}", layer.precision,
                                  (layer.weight_bytes + 1023) / 1024, (layer.output_bytes + 1023) / 1024, layer.tactic);
    }
    records.push_back(std::move(record));
  }
  return records;
}

void report_profile(Log& log, std::span<const ProfileRecord> records) {
  const double sum = sum_ms(records);
  const size_t runs = run_count(records);
  log.info("");
  log.info(fmt::format("=== Profile ({} iterations ) ===", runs));
  log.info("   Time(ms)     Avg.(ms)   Median(ms)   Time(%)   Layer");
  for (const ProfileRecord& record : records) {
    const double total = record.total_ms();
    if (total <= 0) continue;
    const std::string name = record.remark.empty() ? record.name : fmt::format("{}   [{}]", record.name, record.remark);
    log.info(row_text(total, record.average_ms(), record.median_ms(), total / sum * 100, name));
  }
  const double average = runs == 0 ? 0 : sum / static_cast<double>(runs);
  log.info(row_text(sum, average, whole_median_ms(records), 100, "Total"));
  log.info("");
}

std::string profile_json(std::span<const ProfileRecord> records) {
  const double sum = sum_ms(records);
  std::vector<std::string> objects{fmt::format("{{\"count\": {}}}", run_count(records))};
  for (const ProfileRecord& record : records) {
    const double total = record.total_ms();
    objects.push_back(
        fmt::format("{{\"name\": {}, \"timeMs\": {}, \"averageMs\": {}, \"medianMs\": {}, \"percentage\": {:g}}}",
                    json_string(record.name), to_nanoseconds(total), to_nanoseconds(record.average_ms()),
                    to_nanoseconds(record.median_ms()), sum > 0 ? total / sum * 100 : 0));
  }
  return json_array_of_lines(objects);
}

}  // namespace planish::tools
