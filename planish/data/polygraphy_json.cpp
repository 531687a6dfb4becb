#include "planish/data/polygraphy_json.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "planish/base/atomic_file.h"
#include "planish/data/base64.h"
#include "planish/data/npy.h"

namespace planish {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kOldMarker = "__polygraphy_encoded_";
constexpr const char* kClassKey = "polygraphy_class";

Error bad_json(const std::string& file, std::string what) {
  return Error{.code = Code::corrupt,
               .file = file,
               .what = std::move(what),
               .fix = "write it with polygraphy run --save-inputs or --save-outputs"};
}

/// Type that a dict says it encodes, by the new or the old key; empty for a plain dict.
std::string class_of(const Json& json) {
  if (!json.is_object()) return {};
  const auto it = json.find(kClassKey);
  if (it != json.end() && it->is_string()) return it->get<std::string>();
  for (const auto& [key, value] : json.items())
    if (key.starts_with(kOldMarker)) return key.substr(kOldMarker.size());
  return {};
}

/// Bytes of UTF-8 text whose code points are all below 256; nullopt when one is not.
std::optional<std::vector<uint8_t>> latin1_bytes(const std::string& text) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<uint8_t>(text[i]);
    if (c < 0x80) {
      bytes.push_back(c);
    } else if ((c == 0xC2 || c == 0xC3) && i + 1 < text.size()) {
      bytes.push_back(static_cast<uint8_t>((c & 3) << 6 | (static_cast<uint8_t>(text[++i]) & 63)));
    } else {
      return std::nullopt;
    }
  }
  return bytes;
}

bool is_npy(std::span<const uint8_t> b) { return b.size() > 6 && b[0] == 0x93 && b[1] == 'N' && b[2] == 'U'; }
bool is_zip(std::span<const uint8_t> b) { return b.size() > 4 && b[0] == 'P' && b[1] == 'K'; }

Result<Tensor> decode_payload(std::vector<uint8_t> bytes, const std::string& name) {
  if (!is_zip(bytes)) return npy_decode(bytes, name);
  const NpzFile archive = PLANISH_TRY(NpzFile::from_bytes(std::move(bytes), name));
  const auto names = archive.names();
  if (names.size() != 1) return bad_json(name, "the embedded .npz does not hold exactly one array");
  return archive.load(names[0]);
}

Result<Tensor> decode_ndarray(const Json& json, const std::string& name) {
  const auto it = json.find("array");
  if (it == json.end() || !it->is_string()) return bad_json(name, "an ndarray without the text \"array\"");
  const auto& text = it->get_ref<const std::string&>();
  if (auto bytes = latin1_bytes(text); bytes && (is_npy(*bytes) || is_zip(*bytes)))
    return decode_payload(std::move(*bytes), name);
  auto bytes = base64_decode(text);
  if (!bytes.ok()) return bad_json(name, "\"array\" is neither Base64 nor the text of a .npy file");
  return decode_payload(std::move(bytes).take_value(), name);
}

/// A tensor in any of its wrappings. Each wrapping is one level of the file, so `depth` bounds the recursion.
Result<Tensor> decode_tensor(const Json& json, const std::string& name, int depth = 0) {
  const std::string type = class_of(json);
  if (type == "ndarray") return decode_ndarray(json, name);
  const char* inner = type == "LazyArray" ? "values" : type == "FormattedArray" ? "array" : nullptr;
  if (inner != nullptr && json.contains(inner) && depth < 8) return decode_tensor(json[inner], name, depth + 1);
  if (type == "Tensor")
    return Error{.code = Code::unsupported,
                 .file = name,
                 .what = "the array is a serialised torch tensor",
                 .fix = "save the inputs as NumPy arrays"};
  return bad_json(
      name, type.empty() ? "this is not an encoded array" : fmt::format("an array of the unknown class \"{}\"", type));
}

Result<NamedTensors> decode_feed(const Json& json, const std::string& where) {
  if (!json.is_object()) return bad_json(where, "an iteration is not an object of arrays by name");
  NamedTensors tensors;
  for (const auto& [key, value] : json.items()) {
    if (key == kClassKey || key.starts_with(kOldMarker) || key == "__custom_types_encoded__") continue;
    tensors.emplace_back(key, PLANISH_TRY(decode_tensor(value, fmt::format("{}[\"{}\"]", where, key))));
  }
  return tensors;
}

Result<SavedIteration> decode_iteration(const Json& json, const std::string& where) {
  if (!json.is_object() || !json.contains("outputs")) return bad_json(where, "an IterationResult without \"outputs\"");
  SavedIteration iteration{PLANISH_TRY(decode_feed(json["outputs"], where))};
  if (json.contains("runtime") && json["runtime"].is_number()) iteration.runtime_s = json["runtime"].get<double>();
  if (json.contains("runner_name") && json["runner_name"].is_string())
    iteration.runner_name = json["runner_name"].get<std::string>();
  return iteration;
}

Result<SavedRunResults> decode_results(const Json& json, const std::string& file) {
  if (!json.contains("lst") || !json["lst"].is_array()) return bad_json(file, "RunResults without the list \"lst\"");
  SavedRunResults results;
  for (const Json& entry : json["lst"]) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_array())
      return bad_json(file, "an entry of RunResults is not [runner name, iterations]");
    auto& [runner, iterations] = results.emplace_back();
    runner = entry[0].get<std::string>();
    for (const Json& iteration : entry[1])
      iterations.push_back(
          PLANISH_TRY(decode_iteration(iteration, fmt::format("{}[{}][{}]", file, runner, iterations.size()))));
  }
  return results;
}

Result<Json> encode_tensor(const std::string& name, const Tensor& tensor) {
  auto bytes = npy_encode(tensor);
  if (!bytes.ok()) {
    Error error = std::move(bytes).take_error();
    error.tensor = name;
    return error;
  }
  Json json;
  json["array"] = base64_encode(bytes.value());
  json[kClassKey] = "ndarray";
  return json;
}

Result<Json> encode_feed(const NamedTensors& tensors) {
  Json item = Json::object();
  for (const auto& [name, tensor] : tensors) item[name] = PLANISH_TRY(encode_tensor(name, tensor));
  return item;
}

std::string dump(const Json& json) { return json.dump(4, ' ', false, Json::error_handler_t::replace); }

Result<Json> parse(const std::string& text, const std::string& file) {
  Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) return bad_json(file, "this is not JSON");
  return json;
}

}  // namespace

Result<std::vector<NamedTensors>> polygraphy_inputs_from_json(const std::string& text, const std::string& file_name) {
  const Json json = PLANISH_TRY(parse(text, file_name));
  std::vector<NamedTensors> iterations;
  if (class_of(json) == "RunResults") {
    auto results = PLANISH_TRY(decode_results(json, file_name));
    if (!results.empty())
      for (SavedIteration& iteration : results[0].second) iterations.push_back(std::move(iteration.outputs));
  } else if (json.is_array()) {
    for (const Json& item : json)
      iterations.push_back(PLANISH_TRY(decode_feed(item, fmt::format("{}[{}]", file_name, iterations.size()))));
  } else {
    iterations.push_back(PLANISH_TRY(decode_feed(json, file_name)));
  }
  return iterations;
}

Result<std::vector<NamedTensors>> read_polygraphy_inputs(const std::string& path) {
  return polygraphy_inputs_from_json(PLANISH_TRY(read_file(path)), path);
}

Result<std::string> polygraphy_inputs_to_json(const std::vector<NamedTensors>& iterations) {
  Json list = Json::array();
  for (const NamedTensors& tensors : iterations) list.push_back(PLANISH_TRY(encode_feed(tensors)));
  return dump(list);
}

Result<std::string> polygraphy_feed_to_json(const NamedTensors& tensors) {
  return dump(PLANISH_TRY(encode_feed(tensors)));
}

Status write_polygraphy_inputs(const std::string& path, const std::vector<NamedTensors>& iterations) {
  return write_file_atomically(path, PLANISH_TRY(polygraphy_inputs_to_json(iterations)));
}

Result<bool> holds_polygraphy_results(const std::string& path) {
  const std::string text = PLANISH_TRY(read_file(path));
  return class_of(PLANISH_TRY(parse(text, path))) == "RunResults";
}

Result<SavedRunResults> polygraphy_results_from_json(const std::string& text, const std::string& file_name) {
  const Json json = PLANISH_TRY(parse(text, file_name));
  if (class_of(json) != "RunResults") return bad_json(file_name, "this is not a RunResults file");
  return decode_results(json, file_name);
}

Result<SavedRunResults> read_polygraphy_results(const std::string& path) {
  return polygraphy_results_from_json(PLANISH_TRY(read_file(path)), path);
}

Result<std::string> polygraphy_results_to_json(const SavedRunResults& results) {
  Json list = Json::array();
  for (const auto& [runner, iterations] : results) {
    Json encoded = Json::array();
    for (const SavedIteration& iteration : iterations) {
      Json outputs = Json::object();
      for (const auto& [name, tensor] : iteration.outputs) {
        Json lazy;
        lazy["values"] = PLANISH_TRY(encode_tensor(name, tensor));
        lazy[kClassKey] = "LazyArray";
        outputs[name] = std::move(lazy);
      }
      Json item;
      item["outputs"] = std::move(outputs);
      item["runtime"] = iteration.runtime_s;
      item["runner_name"] = iteration.runner_name;
      item[kClassKey] = "IterationResult";
      encoded.push_back(std::move(item));
    }
    list.push_back(Json::array({runner, std::move(encoded)}));
  }
  Json json;
  json["lst"] = std::move(list);
  json[kClassKey] = "RunResults";
  return dump(json);
}

Status write_polygraphy_results(const std::string& path, const SavedRunResults& results) {
  return write_file_atomically(path, PLANISH_TRY(polygraphy_results_to_json(results)));
}

}  // namespace planish
