#include "planish/api/sample_walk.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "planish/api/name_list.h"
#include "planish/base/finite.h"

namespace planish::api {
namespace {

/// What the error says but for its remedy: a message about the data as a whole has one of its own.
std::string without_fix(Error error) {
  error.fix.clear();
  return error.message();
}

constexpr size_t kNamedSkips = 10;
/// So many bad samples and no good one: the rest will not be better, and there may be no end to it.
constexpr int64_t kHopeless = 10;

Error missing_input(const Graph& graph, const Value& input, const CalibrationBatch& batch) {
  std::string names;
  for (const ValueId v : graph.inputs) names += fmt::format("{}'{}'", names.empty() ? "" : ", ", graph.name_of(v));
  return Error{.code = Code::not_found,
               .tensor = input.name,
               .file = batch.origin,
               .what = "the sample has no data for this input",
               .fix = fmt::format("the network's inputs are {}", names)};
}

std::optional<Error> check_tensor(const Value& input, const HostTensor& t, const CalibrationBatch& batch) {
  const auto bad = [&](std::string what, std::string fix) {
    return Error{.code = Code::shape_mismatch,
                 .tensor = input.name,
                 .file = batch.origin,
                 .what = std::move(what),
                 .fix = std::move(fix)};
  };
  if (t.dtype != input.dtype)
    return bad(
        fmt::format("the data is {}, the network wants {}", dtype_numpy_name(t.dtype), dtype_numpy_name(input.dtype)),
        "convert it");
  bool fits = !input.shape || input.shape->size() == t.dims.size();
  for (size_t d = 0; fits && input.shape && d < t.dims.size(); ++d)
    fits = t.dims[d] >= 0 && (d == 0 || (*input.shape)[d] < 0 || (*input.shape)[d] == t.dims[d]);
  if (!fits)
    return bad(
        fmt::format("the data has the shape {}, the network wants {}", to_string(t.dims), to_string(*input.shape)),
        "give data of the network's shape");
  if (t.data.size() != dtype_bytes(t.dtype, element_count(t.dims)) || t.data.empty())
    return bad(fmt::format("{} bytes do not fill the shape {}", t.data.size(), to_string(t.dims)), "check the file");
  if (t.dtype != DType::f32 || batch.finite) return std::nullopt;
  const auto* x = reinterpret_cast<const float*>(t.data.data());
  const auto n = t.data.size() / sizeof(float);
  if (all_finite({x, n})) return std::nullopt;
  const auto wrong = std::find_if(x, x + n, [](float f) { return !std::isfinite(f); });
  return bad(fmt::format("the data holds {} at element {}", *wrong, wrong - x), "remove NaN and infinity");
}

std::optional<Error> check_batch(const Graph& graph, const CalibrationBatch& batch) {
  for (const ValueId v : graph.inputs) {
    const Value& input = graph.value(v);
    const auto it = std::ranges::find_if(batch.inputs, [&](const auto& p) { return p.first == input.name; });
    if (it == batch.inputs.end()) return missing_input(graph, input, batch);
    if (auto bad = check_tensor(input, it->second, batch)) return bad;
  }
  return std::nullopt;
}

}  // namespace

std::deque<CalibrationBatch> samples_of(const CalibrationBatch& batch) {
  std::deque<CalibrationBatch> samples;
  if (batch.samples < 2 || batch.inputs.empty()) return samples;
  for (const auto& [name, tensor] : batch.inputs) {
    if (tensor.dims.empty() || tensor.dims[0] < batch.samples || tensor.dims[0] != batch.inputs[0].second.dims[0])
      return samples;
    if (tensor.data.size() % static_cast<size_t>(tensor.dims[0]) != 0) return samples;
  }
  for (int64_t r = 0; r < batch.samples; ++r) {
    CalibrationBatch& sample = samples.emplace_back();
    sample.samples = 1;
    sample.owner = batch.owner;
    sample.finite = batch.finite;
    const auto row = static_cast<size_t>(r);
    sample.origin = row < batch.sample_origins.size() ? batch.sample_origins[row]
                                                      : fmt::format("{}, sample {} of it", batch.origin, r);
    for (const auto& [name, tensor] : batch.inputs) {
      const size_t bytes = tensor.data.size() / static_cast<size_t>(tensor.dims[0]);
      HostTensor part{tensor.dtype, tensor.dims, tensor.data.subspan(row * bytes, bytes)};
      part.dims[0] = 1;
      sample.inputs.emplace_back(name, std::move(part));
    }
  }
  return samples;
}

Result<std::optional<CalibrationBatch>> SampleWalk::next(const Graph& graph) {
  while (options_.max_samples < 0 || stats_.samples + pending_ < options_.max_samples) {
    auto batch = next_or_part();
    if (!batch.ok()) {
      if (source_.fatal()) return std::move(batch).take_error();
      skip(std::move(batch).take_error(), 1);
      PLANISH_TRY(check_share(false));
      continue;
    }
    if (!batch->has_value()) return std::optional<CalibrationBatch>();
    if (const auto bad = check_batch(graph, **batch)) {
      PLANISH_TRY(refused(**batch, *bad));
      continue;
    }
    pending_ += std::max<int64_t>((*batch)->samples, 0);
    return batch;
  }
  return std::optional<CalibrationBatch>();
}

void SampleWalk::used(const CalibrationBatch& batch) {
  pending_ -= std::max<int64_t>(batch.samples, 0);
  stats_.samples += std::max<int64_t>(batch.samples, 0);
  if (options_.progress) {
    int64_t total = source_.size().value_or(0);
    if (options_.max_samples >= 0 && total > 0) total = std::min(total, options_.max_samples);
    options_.progress("calibration", static_cast<size_t>(stats_.samples), static_cast<size_t>(total));
  }
}

Status SampleWalk::failed(const CalibrationBatch& batch, const Error& error) {
  pending_ -= std::max<int64_t>(batch.samples, 0);
  return refused(batch, {.what = fmt::format("{}: the network fails on it: {}", batch.origin, without_fix(error)),
                         .fix = error.fix});
}

Status SampleWalk::check_share(bool at_end) const {
  const int64_t seen = stats_.samples + stats_.skipped;
  const int64_t total = at_end ? seen : std::max(seen, source_.size().value_or(INT64_MAX / 2));
  const bool none_good = stats_.samples == 0 && (at_end || (pending_ == 0 && stats_.skipped >= kHopeless));
  if (none_good && stats_.skipped == 0)
    return Error{.code = Code::invalid_argument,
                 .file = source_.description(),
                 .what = "the calibration data is empty: it yields no sample",
                 .fix =
                     "check that there is data; a loader must begin anew each time it is called, since a "
                     "generator cannot be used twice"};
  if (none_good) {
    const std::string& fix = skipped_.front().fix;
    return Error{.code = Code::invalid_argument,
                 .file = source_.description(),
                 .what = fmt::format("none of the {}{} calibration samples can be used; the first: {}",
                                     at_end ? "" : "first ", stats_.skipped, without_fix(skipped_.front())),
                 .fix = fix.empty() ? "give images or arrays that fit the network's inputs" : fix};
  }
  if (static_cast<double>(stats_.skipped) <= options_.max_bad_share * static_cast<double>(total)) return {};
  std::vector<std::string> causes;
  for (const Error& error : skipped_) causes.push_back(without_fix(error));
  return Error{
      .code = Code::invalid_argument,
      .file = source_.description(),
      .what = fmt::format("{} of {} calibration samples cannot be used, more than the allowed {:.0f} %: {}",
                          stats_.skipped, total, options_.max_bad_share * 100, first_names(causes)),
      .fix = "repair the data, or allow a larger share of bad samples (planish --max-bad, trtexec --calibMaxBad)"};
}

Result<std::optional<CalibrationBatch>> SampleWalk::next_or_part() {
  if (parts_.empty()) return source_.next();
  std::optional<CalibrationBatch> part = std::move(parts_.front());
  parts_.pop_front();
  return part;
}

Status SampleWalk::refused(const CalibrationBatch& batch, Error why) {
  // A sample is whole: parts have no parts.
  if (auto parts = samples_of(batch); !parts.empty()) {
    parts_.insert(parts_.end(), std::make_move_iterator(parts.begin()), std::make_move_iterator(parts.end()));
    return {};
  }
  skip(std::move(why), std::max<int64_t>(batch.samples, 1));
  return check_share(false);
}

void SampleWalk::skip(Error why, int64_t samples) {
  stats_.skipped += samples;
  if (stats_.skipped_names.size() == kNamedSkips) return;
  if (options_.warn) options_.warn(fmt::format("Calibration sample skipped: {}", why.message()));
  stats_.skipped_names.push_back(why.message());
  skipped_.push_back(std::move(why));
  if (options_.warn && stats_.skipped_names.size() == kNamedSkips)
    options_.warn("More calibration samples that are skipped will be counted and not named");
}

}  // namespace planish::api
