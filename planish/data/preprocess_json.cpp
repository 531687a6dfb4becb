#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "planish/base/atomic_file.h"
#include "planish/data/preprocess.h"

namespace planish {
namespace {

using Json = nlohmann::ordered_json;

template <typename E>
struct Spelling {
  E value;
  std::string_view text;
};
constexpr std::array kResizeModes{
    Spelling<ResizeMode>{ResizeMode::none, "none"}, Spelling<ResizeMode>{ResizeMode::shorter_side, "shorter_side"},
    Spelling<ResizeMode>{ResizeMode::stretch, "stretch"}, Spelling<ResizeMode>{ResizeMode::letterbox, "letterbox"}};
constexpr std::array kFilters{Spelling<Filter>{Filter::bilinear_antialias, "bilinear_antialias"},
                              Spelling<Filter>{Filter::bilinear, "bilinear"}};
constexpr std::array kCropModes{Spelling<CropMode>{CropMode::none, "none"},
                                Spelling<CropMode>{CropMode::centre, "centre"},
                                Spelling<CropMode>{CropMode::centre_even, "centre_even"}};
constexpr std::array kOrders{Spelling<ChannelOrder>{ChannelOrder::rgb, "rgb"},
                             Spelling<ChannelOrder>{ChannelOrder::bgr, "bgr"}};
constexpr std::array kLayouts{Spelling<PixelLayout>{PixelLayout::nchw, "nchw"},
                              Spelling<PixelLayout>{PixelLayout::nhwc, "nhwc"}};
constexpr std::array<std::string_view, 12> kKeys{"preset",    "name",  "resize", "resize_size", "filter", "crop",
                                                 "pad_value", "order", "scale",  "mean",        "std",    "layout"};

const std::vector<Preprocess>& presets() {
  static const std::vector<Preprocess> table{
      {.name = "imagenet",
       .resize = ResizeMode::shorter_side,
       .crop = CropMode::centre_even,
       .scale = 1.0 / 255,
       .mean = {0.485, 0.456, 0.406},
       .std = {0.229, 0.224, 0.225}},
      {.name = "yolo", .resize = ResizeMode::letterbox, .filter = Filter::bilinear, .scale = 1.0 / 255},
      {.name = "caffe",
       .resize = ResizeMode::shorter_side,
       .resize_size = 256,
       .crop = CropMode::centre,
       .order = ChannelOrder::bgr,
       .mean = {104, 117, 123}},
      {.name = "cifar10",
       .resize = ResizeMode::stretch,
       .scale = 1.0 / 255,
       .mean = {0.4914, 0.4822, 0.4465},
       .std = {0.2470, 0.2435, 0.2616}},
      {.name = "raw", .resize = ResizeMode::stretch},
  };
  return table;
}

template <typename E, size_t N>
std::string_view spell(const std::array<Spelling<E>, N>& table, E value) {
  for (const auto& row : table)
    if (row.value == value) return row.text;
  return "?";
}

/// Reads the keys of one object; remembers nothing but the file's name for the errors.
class Reader {
 public:
  Reader(const Json& json, const std::string& file) : json_(json), file_(file) {}

  [[nodiscard]] Error bad(std::string_view key, std::string_view allowed) const {
    return Error{.code = Code::invalid_argument,
                 .file = file_,
                 .what = fmt::format("key \"{}\" has the value {}", key, json_[std::string(key)].dump()),
                 .fix = fmt::format("use {}", allowed)};
  }

  template <typename E, size_t N>
  Status read_enum(std::string_view key, const std::array<Spelling<E>, N>& table, E& value) const {
    const auto it = json_.find(std::string(key));
    if (it == json_.end()) return ok_status();
    std::vector<std::string_view> allowed;
    for (const auto& row : table) {
      if (it->is_string() && it->template get_ref<const std::string&>() == row.text) {
        value = row.value;
        return ok_status();
      }
      allowed.push_back(row.text);
    }
    return bad(key, fmt::format("one of: {}", fmt::join(allowed, ", ")));
  }

  Status read_integer(std::string_view key, int64_t low, int64_t high, int64_t& value) const {
    const auto it = json_.find(std::string(key));
    if (it == json_.end()) return ok_status();
    if (it->is_number_integer() && it->get<double>() >= static_cast<double>(low) &&
        it->get<double>() <= static_cast<double>(high)) {
      value = it->get<int64_t>();
      return ok_status();
    }
    return bad(key, fmt::format("a whole number from {} to {}", low, high));
  }

  Status read_scale(double& value) const {
    const auto it = json_.find("scale");
    if (it == json_.end()) return ok_status();
    if (!it->is_number()) return bad("scale", "a number, such as 0.00392156862745098 for 1/255");
    value = it->get<double>();
    return ok_status();
  }

  /// A number for all channels, or three numbers.
  Status read_triple(std::string_view key, bool nonzero, std::array<double, 3>& value) const {
    const auto it = json_.find(std::string(key));
    if (it == json_.end()) return ok_status();
    std::array<double, 3> read{};
    bool good = it->is_number() || (it->is_array() && it->size() == 3);
    for (size_t c = 0; c < 3 && good; ++c) {
      const Json& item = it->is_number() ? *it : (*it)[c];
      good = item.is_number() && !(nonzero && item.get<double>() == 0);
      if (good) read[c] = item.get<double>();
    }
    if (!good) return bad(key, nonzero ? "three numbers other than 0" : "three numbers");
    value = read;
    return ok_status();
  }

 private:
  const Json& json_;
  const std::string& file_;
};

Status check_keys(const Json& json, const std::string& file) {
  for (const auto& [key, value] : json.items())
    if (std::find(kKeys.begin(), kKeys.end(), key) == kKeys.end())
      return Error{.code = Code::invalid_argument,
                   .file = file,
                   .what = fmt::format("unknown key \"{}\"", key),
                   .fix = fmt::format("use these keys: {}", fmt::join(kKeys, ", "))};
  return ok_status();
}

}  // namespace

std::vector<std::string> preprocess_preset_names() {
  std::vector<std::string> names;
  for (const Preprocess& p : presets()) names.push_back(p.name);
  return names;
}

Result<Preprocess> preprocess_preset(const std::string& name) {
  for (const Preprocess& p : presets())
    if (p.name == name) return p;
  return Error{
      .code = Code::invalid_argument,
      .what = fmt::format("there is no preprocessing preset \"{}\"", name),
      .fix = fmt::format("use one of: {}; or the path of a JSON file", fmt::join(preprocess_preset_names(), ", "))};
}

std::string preprocess_to_json(const Preprocess& p) {
  Json json;
  json["name"] = p.name;
  json["resize"] = spell(kResizeModes, p.resize);
  json["resize_size"] = p.resize_size;
  json["filter"] = spell(kFilters, p.filter);
  json["crop"] = spell(kCropModes, p.crop);
  json["pad_value"] = p.pad_value;
  json["order"] = spell(kOrders, p.order);
  json["scale"] = p.scale;
  json["mean"] = p.mean;
  json["std"] = p.std;
  json["layout"] = spell(kLayouts, p.layout);
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<Preprocess> preprocess_from_json(const std::string& text, const std::string& file_name) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object())
    return Error{.code = Code::invalid_argument,
                 .file = file_name,
                 .what = "this is not a JSON object",
                 .fix = "start from a preset, for instance {\"preset\": \"imagenet\", \"resize_size\": 232}"};
  PLANISH_TRY(check_keys(json, file_name));
  Preprocess p;
  const Reader reader(json, file_name);
  if (json.contains("preset")) {
    const auto preset =
        json["preset"].is_string() ? preprocess_preset(json["preset"].get<std::string>()) : Result<Preprocess>(Error{});
    if (!preset.ok())
      return reader.bad("preset", fmt::format("one of: {}", fmt::join(preprocess_preset_names(), ", ")));
    p = preset.value();
    p.name = "custom";
  }
  if (json.contains("name")) {
    if (!json["name"].is_string()) return reader.bad("name", "a text");
    p.name = json["name"].get<std::string>();
  }
  int64_t pad = p.pad_value;
  PLANISH_TRY(reader.read_enum("resize", kResizeModes, p.resize));
  PLANISH_TRY(reader.read_integer("resize_size", 0, 65536, p.resize_size));
  PLANISH_TRY(reader.read_enum("filter", kFilters, p.filter));
  PLANISH_TRY(reader.read_enum("crop", kCropModes, p.crop));
  PLANISH_TRY(reader.read_integer("pad_value", 0, 255, pad));
  PLANISH_TRY(reader.read_enum("order", kOrders, p.order));
  PLANISH_TRY(reader.read_scale(p.scale));
  PLANISH_TRY(reader.read_triple("mean", false, p.mean));
  PLANISH_TRY(reader.read_triple("std", true, p.std));
  PLANISH_TRY(reader.read_enum("layout", kLayouts, p.layout));
  p.pad_value = static_cast<uint8_t>(pad);
  return p;
}

Result<Preprocess> load_preprocess(const std::string& name_or_path) {
  if (name_or_path.find_first_of("./") == std::string::npos) return preprocess_preset(name_or_path);
  return preprocess_from_json(PLANISH_TRY(read_file(name_or_path, uint64_t{1} << 20)), name_or_path);
}

Status save_preprocess(const std::string& path, const Preprocess& preprocess) {
  return write_file_atomically(path, preprocess_to_json(preprocess));
}

}  // namespace planish
