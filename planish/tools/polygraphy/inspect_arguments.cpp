#include "planish/tools/polygraphy/inspect_arguments.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <span>
#include <string_view>

#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

using Values = std::span<const std::string>;

enum class Takes { nothing, one, several };

struct OptionRow {
  std::string_view name;
  Takes takes;
  std::string_view value_name;
  std::string_view help;  ///< "" for options that are accepted without effect
  Status (*set)(InspectArguments&, Values);
};

Error usage(std::string text) { return Error{.code = Code::invalid_argument, .what = std::move(text)}; }

Error invalid_choice(std::string_view option, const std::string& value, const std::vector<std::string>& choices) {
  std::vector<std::string> quoted;
  for (const std::string& c : choices) quoted.push_back("'" + c + "'");
  return usage(
      fmt::format("argument {}: invalid choice: '{}' (choose from {})", option, value, fmt::join(quoted, ", ")));
}

Status set_show(InspectArguments& a, Values values) {
  for (const std::string& v : values) {
    if (v == "layers")
      a.shown.layers = true;
    else if (v == "attrs")
      a.shown.attributes = true;
    else if (v == "weights")
      a.shown.weights = true;
    else
      return invalid_choice("--show", v, {"layers", "attrs", "weights"});
  }
  return {};
}

/// The spelling of releases before 0.30.
Status set_mode(InspectArguments& a, Values values) {
  const std::vector<std::string> modes{"none", "basic", "attrs", "full"};
  const auto at = std::find(modes.begin(), modes.end(), values[0]) - modes.begin();
  if (at == 4) return invalid_choice("--mode", values[0], modes);
  a.shown.layers = at >= 1;
  a.shown.attributes = at >= 2;
  a.shown.weights = at >= 3;
  return {};
}

Status set_layer_info(InspectArguments& a, Values) {
  a.shown.layers = true;
  return {};
}

Status set_convert(InspectArguments& a, Values values) {
  if (values[0] != "trt") return invalid_choice("--convert-to/--display-as", values[0], {"trt"});
  a.as_network = true;
  return {};
}

Status set_model_type(InspectArguments& a, Values values) {
  const std::vector<std::string> types{"frozen", "keras", "ckpt", "onnx", "engine", "uff", "trt-network-script",
                                       "caffe"};
  if (std::find(types.begin(), types.end(), values[0]) == types.end())
    return invalid_choice("--model-type", values[0], types);
  a.model_type = values[0];
  return {};
}

Status set_unbounded(InspectArguments& a, Values) {
  a.list_unbounded_dds = true;
  return {};
}

Status set_verbose(InspectArguments& a, Values) {
  ++a.verbosity;
  return {};
}

Status set_quiet(InspectArguments& a, Values) {
  --a.verbosity;
  return {};
}

Status set_silent(InspectArguments& a, Values) {
  a.silent = true;
  return {};
}

Status set_verbosity(InspectArguments& a, Values values) {
  for (const std::string& v : values)
    if (v.find(':') == std::string::npos) a.named_verbosity = v;
  return {};
}

Status set_log_format(InspectArguments& a, Values values) {
  for (const std::string& v : values) {
    if (v != "timestamp" && v != "line-info" && v != "no-colors")
      return invalid_choice("--log-format", v, {"timestamp", "line-info", "no-colors"});
    a.timestamps = a.timestamps || v == "timestamp";
  }
  return {};
}

Status set_log_file(InspectArguments& a, Values values) {
  a.log_file = values[0];
  return {};
}

Status set_help(InspectArguments& a, Values) {
  a.help = true;
  return {};
}

Status set_nothing_here(InspectArguments&, Values) { return {}; }

// Rows without help prepare or convert the model for TensorRT before it is shown; planish shows the file as it is.
constexpr OptionRow kOptions[] = {
    {"-h", Takes::nothing, "", "", set_help},
    {"--help", Takes::nothing, "", "show this help message and exit", set_help},
    {"-v", Takes::nothing, "", "", set_verbose},
    {"--verbose", Takes::nothing, "", "log more; may be repeated (-v)", set_verbose},
    {"-q", Takes::nothing, "", "", set_quiet},
    {"--quiet", Takes::nothing, "", "log less; may be repeated (-q)", set_quiet},
    {"--verbosity", Takes::several, "LEVEL", "log from this level on: verbose, info, warning, error, critical",
     set_verbosity},
    {"--silent", Takes::nothing, "", "log nothing", set_silent},
    {"--log-format", Takes::several, "FORMAT", "timestamp, line-info, no-colors", set_log_format},
    {"--log-file", Takes::one, "FILE", "write the log to a file too", set_log_file},
    {"--model-type", Takes::one, "TYPE", "onnx or engine, where the file's name does not tell", set_model_type},
    {"--show", Takes::several, "WHAT", "layers: names, operators, inputs, outputs; attrs: attributes; weights: values",
     set_show},
    {"--convert-to", Takes::one, "trt", "show an ONNX model as the network that a build starts from", set_convert},
    {"--display-as", Takes::one, "trt", "the same", set_convert},
    {"--list-unbounded-dds", Takes::nothing, "", "list tensors whose size only the data decides", set_unbounded},
    {"--mode", Takes::one, "MODE", "none, basic, attrs or full: the older spelling of --show", set_mode},
    {"--layer-info", Takes::nothing, "", "the older spelling of --show layers", set_layer_info},
    {"--combine-tensor-info", Takes::one, "FILE", "", set_nothing_here},
    {"--visual", Takes::nothing, "", "", set_nothing_here},
    {"--visual-port", Takes::one, "PORT", "", set_nothing_here},
    {"--save-visual", Takes::one, "FILE", "", set_nothing_here},
    {"--ckpt", Takes::one, "CKPT", "", set_nothing_here},
    {"--freeze-graph", Takes::nothing, "", "", set_nothing_here},
    {"--shape-inference", Takes::nothing, "", "", set_nothing_here},
    {"--no-onnxruntime-shape-inference", Takes::nothing, "", "", set_nothing_here},
    {"--external-data-dir", Takes::one, "DIR", "", set_nothing_here},
    {"--ignore-external-data", Takes::nothing, "", "", set_nothing_here},
    {"--fp-to-fp16", Takes::nothing, "", "", set_nothing_here},
    {"--plugins", Takes::several, "FILE", "", set_nothing_here},
    {"--layer-precisions", Takes::several, "PRECISION", "", set_nothing_here},
    {"--decomposable-attentions", Takes::nothing, "", "", set_nothing_here},
    {"--tensor-dtypes", Takes::several, "TYPE", "", set_nothing_here},
    {"--all-tensor-dtypes", Takes::one, "TYPE", "", set_nothing_here},
    {"--tensor-formats", Takes::several, "FORMAT", "", set_nothing_here},
    {"--all-tensor-formats", Takes::several, "FORMAT", "", set_nothing_here},
    {"--trt-network-postprocess-script", Takes::several, "FILE", "", set_nothing_here},
    {"--strongly-typed", Takes::nothing, "", "", set_nothing_here},
    {"--mark-debug", Takes::several, "TENSOR", "", set_nothing_here},
    {"--mark-unfused-tensors-as-debug-tensors", Takes::nothing, "", "", set_nothing_here},
    {"--save-timing-cache", Takes::one, "FILE", "", set_nothing_here},
    {"--load-runtime", Takes::one, "FILE", "", set_nothing_here},
    {"--dla-workspace-allocation-strategy", Takes::one, "STRATEGY", "", set_nothing_here},
    {"--onnx-flags", Takes::several, "FLAG", "", set_nothing_here},
    {"--plugin-instancenorm", Takes::nothing, "", "", set_nothing_here},
    {"--enable-uint8-asymmetric-quantization-dla", Takes::nothing, "", "", set_nothing_here},
};

/// The row that `name` is or begins; an error when it begins several.
Result<const OptionRow*> find_option(const std::string& name) {
  std::vector<const OptionRow*> found;
  for (const OptionRow& row : kOptions) {
    if (row.name == name) return &row;
    if (name.size() > 2 && row.name.substr(0, name.size()) == name) found.push_back(&row);
  }
  if (found.size() == 1) return found[0];
  std::vector<std::string> names;
  for (const OptionRow* row : found) names.emplace_back(row->name);
  if (found.size() > 1) return usage(fmt::format("ambiguous option: {} could match {}", name, fmt::join(names, ", ")));
  for (const OptionRow& row : kOptions) names.emplace_back(row.name);
  const std::string near = nearest_word(name, names);
  return usage(
      fmt::format("unrecognized arguments: {}{}", name, near.empty() ? "" : fmt::format(" (did you mean {}?)", near)));
}

bool is_option(const std::string& argument) { return argument.size() > 1 && argument[0] == '-'; }

/// Values of an option from `arguments[next]` on. One that takes several leaves the last argument of all to the model.
size_t value_count(const std::vector<std::string>& arguments, size_t next, Takes takes, bool has_model) {
  if (takes == Takes::nothing) return 0;
  size_t end = next;
  while (end < arguments.size() && !is_option(arguments[end])) ++end;
  if (takes == Takes::one) return std::min<size_t>(end - next, 1);
  const bool model_follows = !has_model && end == arguments.size() && end - next > 1;
  return end - next - (model_follows ? 1 : 0);
}

bool is_show_word(const std::string& text) { return text == "layers" || text == "attrs" || text == "weights"; }

}  // namespace

Result<InspectArguments> parse_inspect_arguments(const std::vector<std::string>& arguments) {
  InspectArguments out;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--") continue;
    if (!is_option(argument)) {
      if (!out.model_path.empty()) return usage("unrecognized arguments: " + argument);
      out.model_path = argument;
      continue;
    }
    // "-vv" repeats a short option.
    if (argument.size() > 2 && argument[1] != '-' && argument.find_first_not_of(argument[1], 1) == std::string::npos) {
      const OptionRow* repeated = PLANISH_TRY(find_option(argument.substr(0, 2)));
      for (size_t k = 1; k < argument.size(); ++k) PLANISH_TRY(repeated->set(out, {}));
      continue;
    }
    const size_t equals = argument.find('=');
    const OptionRow* row = PLANISH_TRY(find_option(argument.substr(0, equals)));
    std::vector<std::string> values;
    if (equals != std::string::npos) values.push_back(argument.substr(equals + 1));
    size_t count = values.empty() ? value_count(arguments, i + 1, row->takes, !out.model_path.empty()) : 0;
    // The words of --show are known, so a model's path behind them is one even where more options follow.
    if (row->name == "--show" && out.model_path.empty())
      while (count > 1 && !is_show_word(arguments[i + count])) --count;
    for (size_t k = 0; k < count; ++k) values.push_back(arguments[++i]);
    if (row->takes != Takes::nothing && values.empty())
      return usage(fmt::format("argument {}: expected {} argument", row->name,
                               row->takes == Takes::one ? "one" : "at least one"));
    PLANISH_TRY(row->set(out, values));
    if (row->set == set_nothing_here) out.without_effect.emplace_back(row->name);
  }
  if (out.model_path.empty() && !out.help) return usage("the following arguments are required: model_file");
  return out;
}

std::vector<std::string> inspect_option_words() {
  std::vector<std::string> words;
  for (const OptionRow& row : kOptions) words.emplace_back(row.name);
  return words;
}

std::string inspect_model_help() {
  std::string out =
      "usage: polygraphy inspect model [options] model_file\n\n"
      "Shows inputs, outputs, layers, attributes and weights of an ONNX model or an engine.\n\n"
      "  model_file                    ONNX model or planish engine\n\noptions:\n";
  std::vector<std::string> accepted;
  for (const OptionRow& row : kOptions) {
    if (row.set == set_nothing_here) accepted.emplace_back(row.name);
    if (row.help.empty()) continue;
    const std::string several = row.takes == Takes::several ? " ..." : "";
    const std::string head =
        fmt::format("{}{}{}{}", row.name, row.value_name.empty() ? "" : " ", row.value_name, several);
    out += fmt::format("  {:<29} {}\n", head, row.help);
  }
  out += fmt::format("\naccepted without effect: {}\n", fmt::join(accepted, " "));
  return out +
         "\nexample:\n"
         "  polygraphy inspect model resnet50.onnx --show layers attrs\n"
         "  polygraphy inspect model resnet50.engine --show layers\n";
}

}  // namespace planish::tools
