#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "planish/api/quantize.h"
#include "planish/base/atomic_file.h"
#include "planish/data/base64.h"
#include "planish/quant/calibration_cache.h"

namespace planish::api {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array kMethods{std::pair{CalibrationMethod::automatic, std::string_view("auto")},
                              std::pair{CalibrationMethod::entropy, std::string_view("entropy")},
                              std::pair{CalibrationMethod::minmax, std::string_view("minmax")},
                              std::pair{CalibrationMethod::percentile, std::string_view("percentile")},
                              std::pair{CalibrationMethod::mse, std::string_view("mse")}};

std::filesystem::path side_file(const std::filesystem::path& file) { return file.string() + ".json"; }

std::vector<std::string> names_in_order(const CalibrationTable& table) {
  std::vector<std::string> names;
  for (const std::string& name : table.order)
    if (table.ranges.contains(name)) names.push_back(name);
  std::vector<std::string> sorted = names;
  std::ranges::sort(sorted);
  for (const auto& [name, range] : table.ranges)
    if (!std::ranges::binary_search(sorted, name)) names.push_back(name);
  return names;
}

Error bad_json(std::string_view file, std::string what) {
  return Error{.code = Code::corrupt,
               .file = std::string(file),
               .what = std::move(what),
               .fix = "delete the file, or write it again with planish cache convert"};
}

Status read_json(const Json& json, CalibrationTable& table, std::string_view file, bool nested = false) {
  table.header = json.value("header", std::string(kCalibrationCacheHeader));
  table.description = json.value("description", std::string());
  table.random = json.value("random", false);
  table.samples = json.value("samples", int64_t{0});
  const auto hash = [&json](const char* key) {
    return std::strtoull(json.value(key, std::string("0")).c_str(), nullptr, 16);
  };
  table.model_hash = hash("model_hash");
  table.data_hash = hash("data_hash");
  if (!json.contains("tensors") || !json["tensors"].is_object()) return bad_json(file, "it has no object 'tensors'");
  for (const auto& [name, entry] : json["tensors"].items()) {
    TensorRange range;
    if (entry.is_number()) {
      range.scale = entry.get<float>();
    } else {
      range = {entry.value("scale", 0.0F), entry.value("min", 0.0F), entry.value("max", 0.0F),
               entry.value("unsigned_scale", 0.0F), entry.value("unsigned_zero", 0)};
      if (entry.contains("channel_means")) table.channel_means[name] = entry["channel_means"].get<std::vector<float>>();
      if (entry.contains("channel_maxima"))
        table.channel_maxima[name] = entry["channel_maxima"].get<std::vector<float>>();
    }
    if (!(range.scale > 0)) return bad_json(file, fmt::format("the scale of '{}' is not positive", name));
    table.ranges[name] = range;
    table.order.push_back(name);
  }
  if (json.contains("equalised") && !nested) {
    CalibrationTable equalised;
    PLANISH_TRY(read_json(json["equalised"], equalised, file, true));
    table.equalised = std::make_shared<const CalibrationTable>(std::move(equalised));
  }
  if (!json.contains("adapted_weights")) return {};
  for (const auto& [name, entry] : json["adapted_weights"].items()) {
    AdaptedWeights& w = table.adapted_weights[name];
    const auto bytes = PLANISH_TRY(base64_decode(entry.at("q").get_ref<const std::string&>()));
    w.q.resize(bytes.size());
    std::ranges::transform(bytes, w.q.begin(), [](uint8_t b) { return static_cast<int8_t>(b); });
    w.bias = entry.value("bias", std::vector<float>());
    w.input_scale = entry.value("input_scale", 0.0F);
    w.input_zero = entry.value("input_zero", 0);
    w.input_unsigned = entry.value("input_unsigned", false);
    w.largest = entry.value("largest", 127);
    w.pair = entry.value("pair", 0);
  }
  return {};
}

Json adapted_json(const std::map<std::string, AdaptedWeights>& adapted) {
  Json json = Json::object();
  for (const auto& [name, w] : adapted) {
    Json entry{{"input_scale", w.input_scale},
               {"input_zero", w.input_zero},
               {"input_unsigned", w.input_unsigned},
               {"largest", w.largest},
               {"pair", w.pair}};
    if (!w.bias.empty()) entry["bias"] = w.bias;
    entry["q"] = base64_encode({reinterpret_cast<const uint8_t*>(w.q.data()), w.q.size()});
    json[name] = std::move(entry);
  }
  return json;
}

Json table_json(const CalibrationTable& table) {
  Json json;
  json["header"] = table.header.empty() ? std::string(kCalibrationCacheHeader) : table.header;
  json["description"] = table.description;
  json["random"] = table.random;
  json["samples"] = table.samples;
  json["model_hash"] = fmt::format("{:016x}", table.model_hash);
  json["data_hash"] = fmt::format("{:016x}", table.data_hash);
  Json& tensors = json["tensors"] = Json::object();
  for (const std::string& name : names_in_order(table)) {
    const TensorRange& r = table.ranges.at(name);
    Json entry{{"scale", r.scale}, {"min", r.min}, {"max", r.max}};
    if (r.unsigned_scale > 0) entry["unsigned_scale"] = r.unsigned_scale;
    if (r.unsigned_scale > 0 && r.unsigned_zero != 0) entry["unsigned_zero"] = r.unsigned_zero;
    const auto add = [&entry, &name](const char* key, const std::map<std::string, std::vector<float>>& of) {
      if (const auto it = of.find(name); it != of.end()) entry[key] = it->second;
    };
    add("channel_means", table.channel_means);
    add("channel_maxima", table.channel_maxima);
    tensors[name] = std::move(entry);
  }
  if (!table.adapted_weights.empty()) json["adapted_weights"] = adapted_json(table.adapted_weights);
  if (table.equalised != nullptr) json["equalised"] = table_json(*table.equalised);
  return json;
}

}  // namespace

std::string_view calibration_method_name(CalibrationMethod method) {
  const auto* it = std::ranges::find(kMethods, method, &std::pair<CalibrationMethod, std::string_view>::first);
  return it == kMethods.end() ? std::string_view("auto") : it->second;
}

std::optional<CalibrationMethod> find_calibration_method(std::string_view name) {
  const auto* it = std::ranges::find(kMethods, name, &std::pair<CalibrationMethod, std::string_view>::second);
  if (it == kMethods.end()) return std::nullopt;
  return it->first;
}

CalibrationTable CalibrationTable::invented() {
  CalibrationTable table;
  table.header = "invented";
  table.description = "none";
  table.random = true;
  return table;
}

std::string CalibrationTable::cache_text() const {
  CalibrationCache cache{header.empty() ? std::string(kCalibrationCacheHeader) : header, {}};
  for (const std::string& name : names_in_order(*this)) cache.scales.emplace_back(name, ranges.at(name).scale);
  return calibration_cache_text(cache);
}

Result<CalibrationTable> CalibrationTable::parse(std::string_view text, std::string_view file_name,
                                                 std::vector<std::string>* warnings) {
  const CalibrationCache cache = PLANISH_TRY(parse_calibration_cache(text, file_name, warnings));
  CalibrationTable table;
  table.header = cache.header;
  table.description = fmt::format("cache {}", file_name);
  for (const auto& [name, scale] : cache.scales) {
    if (!table.ranges.emplace(name, TensorRange{.scale = scale}).second && warnings != nullptr)
      warnings->push_back(fmt::format("'{}' names '{}' twice; the first scale counts", file_name, name));
    else
      table.order.push_back(name);
  }
  return table;
}

std::string CalibrationTable::to_json() const { return table_json(*this).dump(1) + "\n"; }

Result<CalibrationTable> CalibrationTable::from_json(std::string_view json, std::string_view file_name) {
  CalibrationTable table;
  try {
    PLANISH_TRY(read_json(Json::parse(json), table, file_name));
  } catch (const Json::exception& e) {
    return bad_json(file_name, fmt::format("the JSON cannot be read: {}", e.what()));
  }
  if (table.description.empty()) table.description = fmt::format("cache {}", file_name);
  return table;
}

Result<CalibrationTable> CalibrationTable::read(const std::filesystem::path& file, std::vector<std::string>* warnings) {
  const std::string text = PLANISH_TRY(read_file(file, uint64_t{1} << 28));
  const std::string name = file.filename().string();
  if (text.starts_with("{")) return from_json(text, file.string());
  CalibrationTable table = PLANISH_TRY(parse(text, file.string(), warnings));
  table.description = fmt::format("cache {}", name);
  std::error_code ec;
  if (!std::filesystem::exists(side_file(file), ec)) return table;
  auto side_text = read_file(side_file(file), uint64_t{1} << 28);
  auto side = side_text.ok() ? from_json(*side_text, side_file(file).string())
                             : Result<CalibrationTable>(std::move(side_text).take_error());
  if (!side.ok()) {
    if (warnings != nullptr)
      warnings->push_back(fmt::format("the side file is ignored: {}", std::move(side).take_error().message()));
    return table;
  }
  table.random = side->random;
  table.model_hash = side->model_hash;
  table.data_hash = side->data_hash;
  table.samples = side->samples;
  table.adapted_weights = std::move(side->adapted_weights);
  if (!side->description.empty()) table.description = fmt::format("cache {} from {}", name, side->description);
  table.equalised = std::move(side->equalised);
  for (auto& [tensor, range] : table.ranges) {
    const auto it = side->ranges.find(tensor);
    if (it == side->ranges.end() || it->second.scale != range.scale) {  // the cache was edited since
      table.equalised.reset();
      continue;
    }
    range = it->second;
    if (const auto means = side->channel_means.find(tensor); means != side->channel_means.end())
      table.channel_means[tensor] = means->second;
    if (const auto maxima = side->channel_maxima.find(tensor); maxima != side->channel_maxima.end())
      table.channel_maxima[tensor] = maxima->second;
  }
  return table;
}

Status CalibrationTable::write(const std::filesystem::path& file) const {
  PLANISH_TRY(write_file_atomically(file, cache_text()));
  return write_file_atomically(side_file(file), to_json());
}

}  // namespace planish::api
