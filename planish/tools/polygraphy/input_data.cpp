#include "planish/tools/polygraphy/input_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "planish/tools/polygraphy/array_stats.h"
#include "planish/tools/polygraphy/model_text.h"
#include "planish/tools/polygraphy/numpy_random.h"
#include "planish/tools/polygraphy/numpy_text.h"
#include "planish/tools/polygraphy/saved_data.h"
#include "planish/tools/polygraphy/tool.h"
#include "planish/tools/script_loader.h"
#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

using Shapes = std::vector<std::pair<std::string, std::vector<int64_t>>>;

class SavedData : public InputData {
 public:
  SavedData(std::vector<std::string> paths, PolygraphyLog& log) : saved_(std::move(paths)), log_(log) {}
  Status prepare(const std::vector<RunnerInput>&) override { return {}; }
  Result<std::optional<NamedTensors>> next() override { return saved_.next(log_); }

 private:
  SavedInputs saved_;
  PolygraphyLog& log_;
};

class ScriptData : public InputData {
 public:
  explicit ScriptData(std::string script) : script_(std::move(script)) {}

  Status prepare(const std::vector<RunnerInput>& inputs) override {
    ScriptLoaderOptions options;
    options.script = script_;
    for (const RunnerInput& input : inputs) options.inputs.push_back(input.info);
    loader_ = PLANISH_TRY(ScriptLoader::open(std::move(options)));
    return {};
  }
  Result<std::optional<NamedTensors>> next() override { return loader_->next(); }

 private:
  std::string script_;
  std::unique_ptr<ScriptLoader> loader_;
};

Result<std::pair<std::string, ValueRange>> parse_range(const std::string& text) {
  const Error bad{.code = Code::invalid_argument,
                  .file = "--val-range",
                  .what = fmt::format("'{}' is not a range", text),
                  .fix = "write [0,1] or ids:[0,30000]"};
  const size_t open = text.rfind('[');
  const size_t comma = text.find(',', open == std::string::npos ? 0 : open);
  const bool named = open != std::string::npos && open > 0;
  if (open == std::string::npos || comma == std::string::npos || text.back() != ']' || (named && text[open - 1] != ':'))
    return bad;
  const auto low = parse_number(text.substr(open + 1, comma - open - 1), -INFINITY, INFINITY, "--val-range");
  std::string end = text.substr(comma + 1, text.size() - comma - 2);
  end.erase(0, end.find_first_not_of(' '));
  const auto high = parse_number(end, -INFINITY, INFINITY, "--val-range");
  if (!low.ok() || !high.ok() || *high < *low) return bad;
  return std::pair{named ? text.substr(0, open - 1) : std::string(), ValueRange{*low, *high}};
}

class RandomData : public InputData {
 public:
  static Result<std::unique_ptr<InputData>> make(const ParsedOptions& options, PolygraphyLog& log) {
    auto data = std::make_unique<RandomData>(log);
    data->seed_ = static_cast<uint32_t>(PLANISH_TRY(options.integer("--seed", 1, 0, UINT32_MAX)));
    data->iterations_ = PLANISH_TRY(options.integer("--iterations", 1, 0, int64_t{1} << 40));
    data->shapes_ = PLANISH_TRY(parse_shape_options(options.values("--input-shapes"), "--input-shapes"));
    for (const std::string& text : options.values("--val-range"))
      data->ranges_.push_back(PLANISH_TRY(parse_range(text)));
    if (!data->shapes_.empty()) {
      std::vector<TensorLine> lines;
      for (const auto& [name, shape] : data->shapes_)
        lines.push_back({name, fmt::format("[shape={}]", python_tuple(shape))});
      log.print(PolygraphyLog::info,
                "Will generate inference input data according to provided TensorMetadata: " + tensor_set(lines));
    }
    return std::unique_ptr<InputData>(std::move(data));
  }

  explicit RandomData(PolygraphyLog& log) : log_(log) {}

  Status prepare(const std::vector<RunnerInput>& inputs) override {
    inputs_ = inputs;
    std::vector<std::string> names;
    for (const RunnerInput& input : inputs) names.push_back(input.info.name);
    for (const auto& [pattern, shape] : shapes_)
      if (std::none_of(names.begin(), names.end(), [&](const std::string& n) { return fnmatches(pattern, n); })) {
        const std::string near = nearest_word(pattern, names);
        log_.print(PolygraphyLog::warning,
                   fmt::format("Input tensor: {} | Metadata was provided, but the input does not exist in one or more "
                               "runners.{}",
                               pattern, near.empty() ? "" : fmt::format("\nMaybe you meant to set: {}?", near)));
      }
    return {};
  }

  Result<std::optional<NamedTensors>> next() override {
    if (index_ == iterations_) return std::optional<NamedTensors>();
    // One generator for all inputs of an iteration, in their order: what each gets depends on those before it.
    RandomState random(static_cast<uint32_t>(seed_ + index_++));
    NamedTensors feed;
    for (const RunnerInput& input : inputs_) {
      const Shape shape = PLANISH_TRY(shape_of(input));
      feed.emplace_back(input.info.name, PLANISH_TRY(values_of(random, input, shape)));
    }
    return std::optional<NamedTensors>(std::move(feed));
  }

 private:
  [[nodiscard]] const std::vector<int64_t>* given_shape(const std::string& name) const {
    const std::vector<int64_t>* found = nullptr;
    for (const auto& [pattern, shape] : shapes_) {
      if (pattern == name) return &shape;
      if (fnmatches(pattern, name)) found = &shape;
    }
    return found;
  }

  Result<Shape> shape_of(const RunnerInput& input) {
    const std::vector<int64_t>* given = given_shape(input.info.name);
    const std::vector<int64_t>& dims = given != nullptr && !input.info.holds_shape ? *given : input.info.dims;
    if (std::none_of(dims.begin(), dims.end(), [](int64_t d) { return d < 0; })) return Shape(dims.begin(), dims.end());
    Shape shape(dims.begin(), dims.end());
    for (size_t i = 0; i < shape.size(); ++i)
      if (shape[i] < 0) shape[i] = input.range && i < input.range->min.size() ? input.range->min[i] : 1;
    std::vector<std::string> texts;
    for (size_t i = 0; i < dims.size(); ++i) {
      const bool named = dims[i] < 0 && i < input.info.dim_names.size() && !input.info.dim_names[i].empty();
      texts.push_back(named ? python_string(input.info.dim_names[i]) : fmt::format("{}", dims[i]));
    }
    const std::string low = input.range ? python_dims(input.range->min) : "None";
    const std::string high = input.range ? python_dims(input.range->max) : "None";
    log_.print_once(PolygraphyLog::warning,
                    fmt::format("Input tensor: {} [shape=BoundedShape([{}], min={}, max={})] | Will generate data of "
                                "shape: {}.\nIf this is incorrect, please provide a custom data loader.",
                                input.info.name, fmt::join(texts, ", "), low, high, python_dims(shape)));
    return shape;
  }

  Result<Tensor> values_of(RandomState& random, const RunnerInput& input, const Shape& shape) {
    const std::string& name = input.info.name;
    const DType dtype = input.info.dtype;
    // The shape of an input that holds a shape is fixed: what was given for it is its value.
    const std::vector<int64_t>* given = given_shape(name);
    if (given != nullptr && dtype_is_integer(dtype) && shape.size() == 1 && input.info.dims.size() == 1 &&
        input.info.dims[0] == static_cast<int64_t>(given->size()) && input.info.holds_shape) {
      log_.print_once(PolygraphyLog::info, fmt::format("Assuming {} is a shape tensor. Setting input values to: {}.",
                                                       name, python_dims(*given)));
      return Tensor::from_i64(*given).cast(dtype);
    }
    ValueRange range;
    for (const auto& [key, value] : ranges_)
      if (key.empty()) range = value;
    for (const auto& [key, value] : ranges_)
      if (key == name) range = value;
    if (dtype_is_float(dtype)) return random.floats(dtype, shape, range.low, range.high);
    if (dtype == DType::boolean) return random.integers(dtype, shape, range.low != 0, range.high != 0);
    if (!dtype_is_integer(dtype))
      return Error{.code = Code::unsupported,
                   .tensor = name,
                   .what = fmt::format("no values of type {} can be generated", dtype_numpy_name(dtype)),
                   .fix = "give data with --load-inputs or --data-loader-script"};
    if (!std::isfinite(range.low) || !std::isfinite(range.high))
      return Error{.code = Code::invalid_argument,
                   .tensor = name,
                   .file = "--val-range",
                   .what = "an integer input needs finite ends",
                   .fix = fmt::format("write {}:[0,100]", name)};
    return random.integers(dtype, shape, static_cast<int64_t>(range.low), static_cast<int64_t>(range.high));
  }

  PolygraphyLog& log_;
  uint32_t seed_ = 1;
  int64_t iterations_ = 1;
  int64_t index_ = 0;
  Shapes shapes_;
  std::vector<std::pair<std::string, ValueRange>> ranges_;
  std::vector<RunnerInput> inputs_;
};

}  // namespace

Result<std::unique_ptr<InputData>> make_input_data(const ParsedOptions& options, PolygraphyLog& log) {
  const bool loads = options.has("--load-inputs");
  const bool scripted = options.has("--data-loader-script");
  if (loads && scripted)
    return Error{.code = Code::invalid_argument,
                 .file = "--data-loader-script",
                 .what = "not allowed with argument --load-inputs",
                 .fix = "give one of them"};
  if (loads || scripted) {
    for (const std::string_view option : {"--seed", "--val-range", "--iterations"})
      if (options.has(option))
        log.print(PolygraphyLog::warning,
                  fmt::format("Argument: '{}' will be ignored since a custom data loader was provided.", option));
  }
  if (loads) return std::unique_ptr<InputData>(std::make_unique<SavedData>(options.values("--load-inputs"), log));
  if (scripted) return std::unique_ptr<InputData>(std::make_unique<ScriptData>(options.text("--data-loader-script")));
  return RandomData::make(options, log);
}

}  // namespace planish::tools
