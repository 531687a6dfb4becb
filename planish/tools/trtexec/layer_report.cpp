#include "planish/tools/trtexec/layer_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "planish/tools/trtexec/json_text.h"
#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kNodeSeparator = "\x1e";  // between `[ONNX Layer: x]` groups, as readers of Metadata expect

std::string block_word(int channel_block) {
  switch (channel_block) {
    case 2: return "Two";
    case 4: return "Four";
    case 8: return "Eight";
    case 16: return "Sixteen";
    case 32: return "Thirty-two";
    default: return fmt::format("{}", channel_block);
  }
}

std::string metadata_text(const LayerRecord& layer, std::string_view separator) {
  std::string text;
  for (const std::string& node : layer.onnx_nodes) {
    if (!text.empty()) text += separator;
    text += fmt::format("[ONNX Layer: {}]", node);
  }
  return text;
}

Json tensor_json(const TensorRecord& tensor) {
  const std::string phrase = format_phrase(tensor);
  return Json{{"Name", tensor.name},       {"Location", "Device"}, {"Dimensions", tensor.dims},
              {"Format/Datatype", phrase}, {"Format", phrase},     {"Datatype", phrase_type(tensor.dtype)}};
}

Json attribute_json(const AttributeValue& value) {
  if (const auto* weights = std::get_if<WeightsRecord>(&value)) {
    return Json{{"Type", phrase_type(weights->dtype)}, {"Count", weights->count}};
  }
  return std::visit(
      [](const auto& plain) -> Json {
        if constexpr (std::is_same_v<std::decay_t<decltype(plain)>, WeightsRecord>) {
          return nullptr;
        } else {
          return plain;
        }
      },
      value);
}

Json layer_json(const LayerRecord& layer) {
  Json out{{"Name", layer.name}, {"LayerType", layer.type}, {"Inputs", Json::array()}, {"Outputs", Json::array()}};
  for (const TensorRecord& tensor : layer.inputs) out["Inputs"].push_back(tensor_json(tensor));
  for (const TensorRecord& tensor : layer.outputs) out["Outputs"].push_back(tensor_json(tensor));
  out["ParameterType"] = layer.parameter_type.empty() ? layer.type : layer.parameter_type;
  for (const auto& [key, value] : layer.attributes) out[key] = attribute_json(value);
  if (!layer.tactic.empty()) out["TacticName"] = layer.tactic;
  out["TacticValue"] = fmt::format("0x{:016x}", layer.tactic_hash);
  out["StreamId"] = layer.stream;
  out["Metadata"] = metadata_text(layer, kNodeSeparator);
  out["Device"] = layer.device;
  out["Precision"] = layer.precision;
  out["WeightBytes"] = layer.weight_bytes;
  out["OutputBytes"] = layer.output_bytes;
  out["WorkspaceBytes"] = layer.workspace_bytes;
  out["TunedTimeMs"] = to_nanoseconds(layer.tuned_time_ms);
  out["OnnxNodes"] = layer.onnx_nodes;
  if (!layer.remark.empty()) out["Remark"] = layer.remark;
  return out;
}

/// `key: value` text of a JSON value in the inspector's one-line style: strings bare, objects in `{ }`.
std::string one_line(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_array() && (value.empty() || !value.front().is_object())) {
    std::vector<std::string> parts;
    for (const Json& item : value) parts.push_back(one_line(item));
    return fmt::format("[{}]", fmt::join(parts, ","));
  }
  if (value.is_array()) {
    std::vector<std::string> parts;
    for (const Json& item : value) parts.push_back(one_line(item));
    return fmt::format("[ {}]", fmt::join(parts, ", "));
  }
  if (value.is_object()) {
    std::vector<std::string> parts;
    for (const auto& [key, item] : value.items()) parts.push_back(fmt::format("{}: {}", key, one_line(item)));
    return fmt::format("{{ {} }}", fmt::join(parts, ", "));
  }
  return value.dump();
}

std::string layer_line(const LayerRecord& layer) {
  const auto tensors = [](const std::vector<TensorRecord>& records) {
    std::vector<std::string> parts;
    for (const TensorRecord& t : records) {
      parts.push_back(fmt::format("{{ Name: {}, Location: Device, Dimensions: [{}], Format/Datatype: {} }}", t.name,
                                  fmt::join(t.dims, ","), format_phrase(t)));
    }
    return parts.empty() ? std::string("[]") : fmt::format("[ {}]", fmt::join(parts, ", "));
  };
  std::string line = fmt::format("Name: {}, LayerType: {}, Inputs: {}, Outputs: {}", layer.name, layer.type,
                                 tensors(layer.inputs), tensors(layer.outputs));
  const Json object = layer_json(layer);
  for (const auto& [key, value] : object.items()) {
    if (key == "Name" || key == "LayerType" || key == "Inputs" || key == "Outputs" || key == "OnnxNodes") continue;
    line += fmt::format(", {}: {}", key, key == "Metadata" ? metadata_text(layer, " ") : one_line(value));
  }
  return line;
}

Json profile_info(const EngineRecord& engine, const TensorRecord& tensor) {
  Json out = Json::array();
  for (const ProfileShapes& profile : engine.profiles) {
    const auto dims = [&](const ShapeList& list) {
      const Dims* found = find_shape(list, tensor.name);
      return found == nullptr ? tensor.dims : *found;
    };
    out.push_back(Json{{"MinShape", dims(profile.min)},
                       {"OptShape", dims(profile.opt)},
                       {"MaxShape", dims(profile.max)},
                       {"Format", format_phrase(tensor)}});
  }
  return out;
}

Json io_tensor_json(const EngineRecord& engine, const TensorRecord& tensor, bool is_input) {
  return Json{{"Name", tensor.name},
              {"IOMode", is_input ? "INPUT" : "OUTPUT"},
              {"DataType", phrase_type(tensor.dtype)},
              {"Dimensions", tensor.dims},
              {"Location", tensor.holds_shape ? "Host" : "Device"},
              {"IsShapeInferenceIO", tensor.holds_shape},
              {"ProfileInfo", is_input ? profile_info(engine, tensor) : Json::array()}};
}

}  // namespace

std::string phrase_type(DType dtype) {
  switch (dtype) {
    case DType::f32: return "FP32";
    case DType::f16: return "FP16";
    case DType::bf16: return "BFloat16";
    case DType::f64: return "FP64";
    case DType::i8: return "Int8";
    case DType::u8: return "UInt8";
    case DType::i4: return "Int4";
    case DType::u4: return "UInt4";
    case DType::i16: return "Int16";
    case DType::u16: return "UInt16";
    case DType::i32: return "Int32";
    case DType::u32: return "UInt32";
    case DType::i64: return "Int64";
    case DType::u64: return "UInt64";
    case DType::boolean: return "Bool";
    case DType::f8e4m3fn: return "Float8E4M3";
    default: return std::string(dtype_numpy_name(dtype));
  }
}

std::string format_phrase(const TensorRecord& tensor) {
  const std::string type = phrase_type(tensor.dtype);
  if (tensor.channel_block > 1) {
    return fmt::format("{} wide channel vectorized row major {} format", block_word(tensor.channel_block), type);
  }
  if (tensor.channels_last) return fmt::format("Channel major {} format", type);
  if (tensor.dtype == DType::f32) return "Row major linear FP32";
  if (tensor.dtype == DType::i8) return "Row major Int8 format";
  return fmt::format("Row major linear {} format", type);
}

std::string layer_info_text(const EngineRecord& engine, const std::string& verbosity) {
  std::string text = "Layers:\n";
  if (verbosity != "none") {
    for (const LayerRecord& layer : engine.layers) {
      text += (verbosity == "detailed" ? layer_line(layer) : layer.name) + '\n';
    }
  }
  text += "\nBindings:";
  for (const auto* list : {&engine.inputs, &engine.outputs}) {
    for (const TensorRecord& tensor : *list) text += '\n' + tensor.name;
  }
  return text;
}

std::string layer_info_json(const EngineRecord& engine, const std::string& verbosity) {
  Json out{{"Layers", Json::array()}, {"Bindings", Json::array()}, {"I/O Tensors", Json::array()}};
  if (verbosity != "none") {
    for (const LayerRecord& layer : engine.layers) {
      out["Layers"].push_back(verbosity == "detailed" ? layer_json(layer) : Json(layer.name));
    }
  }
  for (const auto* list : {&engine.inputs, &engine.outputs}) {
    for (const TensorRecord& tensor : *list) {
      out["Bindings"].push_back(tensor.name);
      out["I/O Tensors"].push_back(io_tensor_json(engine, tensor, list == &engine.inputs));
    }
  }
  return indent_json(out.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void report_optimization_profiles(Log& log, const EngineRecord& engine) {
  log.info("Optimization Profiles:");
  for (size_t i = 0; i < engine.profiles.size(); ++i) {
    log.info(fmt::format("Optimization Profile {}:", i));
    for (const TensorRecord& input : engine.inputs) {
      const auto dims = [&](const ShapeList& list) {
        const Dims* found = find_shape(list, input.name);
        return dims_text(found == nullptr ? input.dims : *found);
      };
      const ProfileShapes& profile = engine.profiles[i];
      log.info(fmt::format("  {}: min = {}, opt = {}, max = {}", input.name, dims(profile.min), dims(profile.opt),
                           dims(profile.max)));
    }
  }
}

}  // namespace planish::tools
