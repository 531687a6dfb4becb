#include "planish/tools/trtexec/flag_setters.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>

namespace planish::tools {
namespace {

Error bad_value(const FlagUse& use, std::string what, std::string fix) {
  Error error;
  error.code = Code::invalid_argument;
  error.file = std::string(use.flag.name);
  error.what = std::move(what);
  error.fix = std::move(fix);
  return error;
}

/// The profile that shape flags belong to: the open one, else number 0.
ProfileShapes& open_shapes(const FlagUse& use) {
  auto& profiles = use.options.build.profiles;
  const size_t index = static_cast<size_t>(std::max(use.state.profile, 0));
  if (profiles.size() <= index) profiles.resize(index + 1);
  return profiles[index];
}

Status set_profile_shapes(const FlagUse& use, ShapeList ProfileShapes::*list) {
  ShapeList& target = open_shapes(use).*list;
  if (!target.empty()) {
    return bad_value(
        use, "given more than once",
        use.state.profile < 0 ? "start each further profile with --profile=N" : "give it once per --profile");
  }
  target = PLANISH_TRY(parse_shapes(use.value, use.flag.name));
  return {};
}

Status check_types(const FlagUse& use, const PairList& pairs) {
  static constexpr std::array kTypes{"fp32", "fp16", "bf16", "int32", "int8"};
  for (const auto& [layer, types] : pairs) {
    for (const std::string& type : split_list(types, '+')) {
      if (std::find(kTypes.begin(), kTypes.end(), type) == kTypes.end()) {
        return bad_value(use, fmt::format("'{}' is not a type (layer '{}')", type, layer),
                         fmt::format("use one of {}", fmt::join(kTypes, ", ")));
      }
    }
  }
  return {};
}

ReferencePair& open_pair(const FlagUse& use) {
  auto& pairs = use.options.accuracy.pairs;
  if (pairs.empty())
    pairs.push_back(ReferencePair{.index = std::max(use.state.ref_pair, 0), .inputs = {}, .outputs = {}});
  return pairs.back();
}

}  // namespace

/// A leading `~/` is the home directory: shells do not expand it after `=`.
Status set_onnx_path(const FlagUse& use) {
  std::string path(use.value);
  const char* home = std::getenv("HOME");
  if (home != nullptr && path.rfind("~/", 0) == 0) path.replace(0, 1, home);
  use.options.model.onnx_path = path;
  return {};
}

Status open_profile(const FlagUse& use) {
  use.state.profile = static_cast<int>(PLANISH_TRY(parse_integer(use.value, 0, 1023, use.flag.name)));
  const auto& order = use.state.profile_order;
  if (std::find(order.begin(), order.end(), use.state.profile) != order.end()) {
    return bad_value(use, fmt::format("profile {} is opened twice", use.state.profile), "number profiles 0, 1, 2, ...");
  }
  use.state.profile_order.push_back(use.state.profile);
  open_shapes(use);
  return {};
}

Status set_min_shapes(const FlagUse& use) { return set_profile_shapes(use, &ProfileShapes::min); }
Status set_opt_shapes(const FlagUse& use) { return set_profile_shapes(use, &ProfileShapes::opt); }
Status set_max_shapes(const FlagUse& use) { return set_profile_shapes(use, &ProfileShapes::max); }

Status set_mem_pool_sizes(const FlagUse& use) {
  struct Pool {
    std::string_view name;
    std::optional<int64_t> MemoryPools::*limit_bytes;
  };
  static constexpr std::array kPools{Pool{"workspace", &MemoryPools::workspace_bytes},
                                     Pool{"dlaSRAM", &MemoryPools::dla_sram_bytes},
                                     Pool{"dlaLocalDRAM", &MemoryPools::dla_local_dram_bytes},
                                     Pool{"dlaGlobalDRAM", &MemoryPools::dla_global_dram_bytes},
                                     Pool{"tacticSharedMem", &MemoryPools::tactic_shared_mem_bytes}};
  for (const auto& [name, size] : PLANISH_TRY(parse_pairs(use.value, use.flag.name))) {
    const auto* pool = std::find_if(kPools.begin(), kPools.end(), [&](const Pool& p) { return p.name == name; });
    if (pool == kPools.end()) {
      std::vector<std::string_view> known;
      for (const Pool& p : kPools) known.push_back(p.name);
      return bad_value(use, fmt::format("'{}' is not a memory pool", name),
                       fmt::format("use one of {}", fmt::join(known, ", ")));
    }
    use.options.build.pools.*(pool->limit_bytes) = PLANISH_TRY(parse_size_bytes(size, int64_t{1} << 20, use.flag.name));
  }
  return {};
}

Status set_workspace_mib(const FlagUse& use) {
  use.options.build.pools.workspace_bytes = PLANISH_TRY(parse_size_bytes(use.value, int64_t{1} << 20, use.flag.name));
  use.state.warnings.push_back(
      fmt::format("--workspace is deprecated; it is read as --memPoolSize=workspace:{}", use.value));
  return {};
}

Status set_verbosity(const FlagUse& use) {
  std::string mode(use.value);
  const std::string modern = mode == "default" ? "layer_names_only" : mode == "verbose" ? "detailed" : mode;
  if (modern != "layer_names_only" && modern != "detailed" && modern != "none") {
    return bad_value(use, fmt::format("'{}' is not a verbosity", mode), "use layer_names_only, detailed or none");
  }
  if (modern != mode) {
    use.state.warnings.push_back(fmt::format("{}={} is an old spelling of {}", use.flag.name, mode, modern));
  }
  use.options.build.profiling_verbosity = modern;
  return {};
}

Status set_strip_all_weights(const FlagUse& use) {
  use.options.build.engine.refit = true;
  use.options.build.engine.strip_weights = true;
  return {};
}

Status set_weightless(const FlagUse& use) {
  use.options.build.engine.strip_weights = true;
  return {};
}

Status set_layer_types(const FlagUse& use) {
  PairList pairs = PLANISH_TRY(parse_pairs(use.value, use.flag.name));
  PLANISH_TRY(check_types(use, pairs));
  use.options.build.precision.layer_precisions = std::move(pairs);
  return {};
}

Status set_calibration(const FlagUse& use) {
  use.options.build.precision.calibration.path = std::string(use.value);
  use.options.build.precision.calibration.given = true;
  return {};
}

Status set_layer_output_types(const FlagUse& use) {
  PairList pairs = PLANISH_TRY(parse_pairs(use.value, use.flag.name));
  PLANISH_TRY(check_types(use, pairs));
  use.options.build.precision.layer_output_types = std::move(pairs);
  return {};
}

Status set_layer_devices(const FlagUse& use) {
  PairList pairs = PLANISH_TRY(parse_pairs(use.value, use.flag.name));
  for (const auto& [layer, device] : pairs) {
    if (device != "CPU" && device != "GPU" && device != "DLA") {
      return bad_value(use, fmt::format("'{}' is not a device (layer '{}')", device, layer), "use CPU, GPU or DLA");
    }
  }
  use.options.build.precision.layer_device_types = std::move(pairs);
  return {};
}

Status set_tactic_sources(const FlagUse& use) {
  static constexpr std::array kSources{"CUBLAS",           "CUBLAS_LT", "CUDNN",   "EDGE_MASK_CONVOLUTIONS",
                                       "JIT_CONVOLUTIONS", "ONEDNN",    "PLANISH", "REFERENCE",
                                       "STRASSEN",         "WINOGRAD"};
  for (const std::string& source : split_list(use.value, ',')) {
    const bool is_signed = !source.empty() && (source[0] == '+' || source[0] == '-');
    if (!is_signed || std::find(kSources.begin(), kSources.end(), source.substr(1)) == kSources.end()) {
      return bad_value(use, fmt::format("'{}' is not a signed tactic source", source),
                       fmt::format("write + or - and one of {}", fmt::join(kSources, ", ")));
    }
  }
  use.options.build.tactics.sources = std::string(use.value);
  return {};
}

Status set_device(const FlagUse& use) {
  if (use.value != "cpu") {
    auto index = parse_integer(use.value, 0, kNoLimit, use.flag.name);
    if (!index) return bad_value(use, fmt::format("'{}' is not a device", use.value), "give a device index or cpu");
  }
  use.options.system.device = std::string(use.value);
  use.options.system.device_given = true;
  return {};
}

Status set_streams_old(const FlagUse& use) {
  use.options.inference.streams = static_cast<int>(PLANISH_TRY(parse_integer(use.value, 1, 1024, use.flag.name)));
  use.state.warnings.push_back("--streams is the old name of --infStreams");
  return {};
}

/// `fp32:chw+chw16` up to TensorRT 10, `chw` alone from 11 on. Layouts inside the engine are the builder's choice; only
/// row-major IO exists at the boundary, so anything else is said to be converted.
Status set_io_formats(const FlagUse& use) {
  const bool is_input = use.flag.name == "--inputIOFormats";
  auto& formats = is_input ? use.options.build.input_formats : use.options.build.output_formats;
  for (const std::string& entry : split_list(use.value, ',')) {
    const size_t colon = entry.find(':');
    const std::string type = colon == std::string::npos ? "" : entry.substr(0, colon);
    static constexpr std::array kTypes{"", "fp32", "fp16", "bf16", "int32", "int64", "int8", "uint8", "bool", "fp8"};
    if (std::find(kTypes.begin(), kTypes.end(), type) == kTypes.end()) {
      return bad_value(use, fmt::format("'{}' is not a type", type), "write type:layout, for example fp16:chw");
    }
    formats.push_back(entry);
  }
  return {};
}

Status set_percentiles(const FlagUse& use) {
  std::vector<double> percentiles;
  for (const std::string& part : split_list(use.value, ',')) {
    percentiles.push_back(PLANISH_TRY(parse_number(part, 0, 100, use.flag.name)));
  }
  use.options.reporting.percentiles = std::move(percentiles);
  return {};
}

/// Inside a `--refPair` the inputs belong to that pair, else to every run.
Status set_load_inputs(const FlagUse& use) {
  PairList pairs = PLANISH_TRY(parse_pairs(use.value, use.flag.name));
  PairList& target = use.state.ref_pair >= 0 ? open_pair(use).inputs : use.options.inference.input_files;
  for (auto& pair : pairs) target.push_back(std::move(pair));
  return {};
}

Status set_reference_outputs(const FlagUse& use) {
  for (auto& pair : PLANISH_TRY(parse_pairs(use.value, use.flag.name)))
    open_pair(use).outputs.push_back(std::move(pair));
  return {};
}

Status open_reference_pair(const FlagUse& use) {
  use.state.ref_pair = static_cast<int>(PLANISH_TRY(parse_integer(use.value, 0, kNoLimit, use.flag.name)));
  use.options.accuracy.pairs.push_back(ReferencePair{.index = use.state.ref_pair, .inputs = {}, .outputs = {}});
  return {};
}

Status set_threshold(const FlagUse& use) {
  use.options.accuracy.threshold = PLANISH_TRY(parse_number(use.value, 0, 1e18, use.flag.name));
  return {};
}

Status set_debug_formats(const FlagUse& use) {
  static constexpr std::array kFormats{"summary", "numpy", "string", "raw"};
  for (std::string& format : split_list(use.value, ',')) {
    if (std::find(kFormats.begin(), kFormats.end(), format) == kFormats.end()) {
      return bad_value(use, fmt::format("'{}' is not a format", format),
                       fmt::format("use one of {}", fmt::join(kFormats, ", ")));
    }
    use.options.inference.all_debug_tensor_formats.push_back(std::move(format));
  }
  return {};
}

Status set_min_timing(const FlagUse& use) {
  const int runs = static_cast<int>(PLANISH_TRY(parse_integer(use.value, 1, kNoLimit, use.flag.name)));
  int& average = use.options.build.tactics.avg_timing_runs;
  average = std::max(average, runs);
  return {};
}

Status set_help_route(const FlagUse& use) {
  use.options.tuning.help = true;
  use.options.tuning.help_knob = std::string(use.value);
  return {};
}

Status set_random_seed(const FlagUse& use) {
  use.options.inference.random_seed =
      static_cast<uint64_t>(PLANISH_TRY(parse_integer(use.value, 0, kNoLimit, use.flag.name)));
  return {};
}

}  // namespace planish::tools
