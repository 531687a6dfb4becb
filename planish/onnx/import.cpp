#include "planish/onnx/import.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <new>

#include "onnx.pb.h"
#include "planish/onnx/external_data.h"
#include "planish/onnx/file_kind.h"
#include "planish/onnx/graph_builder.h"
#include "planish/onnx/parse.h"
#include "planish/ops/infer_graph.h"

namespace planish {
namespace {

/// Oldest opset whose operators the adapters know in full; older ones are read with a warning.
constexpr int64_t kOldestOpset = 6;
constexpr size_t kMaxListed = 20;

template <typename Entries>
OpsetMap read_opsets(const Entries& entries) {
  OpsetMap out;
  for (const auto& entry : entries) out[canonical_domain(entry.domain())] = entry.version();
  return out;
}

Status check_versions(ImportedModel& model) {
  if (model.ir_version > kNewestIrVersion)
    model.warnings.push_back(fmt::format("the model's IR version {} is newer than {}, the newest that planish knows",
                                         model.ir_version, kNewestIrVersion));
  // Before IR version 3 there were no opsets; what there was is opset 1.
  if (model.opset_imports.empty()) model.opset_imports[""] = 1;
  const auto it = model.opset_imports.find("");
  if (it == model.opset_imports.end()) return {};
  const int64_t opset = it->second;
  if (opset < 1)
    return Error{.code = Code::invalid_model,
                 .what = fmt::format("the model imports opset {}, which does not exist", opset),
                 .fix = "export the model again"};
  if (opset < kOldestOpset)
    model.warnings.push_back(
        fmt::format("opset {} is older than {}; operators that changed in between may be read wrongly: convert the "
                    "model with onnx.version_converter",
                    opset, kOldestOpset));
  if (opset > kNewestOpset)
    model.warnings.push_back(fmt::format(
        "opset {} is newer than {}, the newest that planish knows; operators keep their meaning of opset {}", opset,
        kNewestOpset, kNewestOpset));
  return {};
}

void add_functions(const onnx::ModelProto& proto, const OpsetMap& model_opsets, ImportState& state) {
  for (const auto& function : proto.functions()) {
    state.functions.emplace(function_key(function.domain(), function.name(), function.overload()), &function);
    OpsetMap opsets = model_opsets;
    for (const auto& [domain, version] : read_opsets(function.opset_import())) opsets[domain] = version;
    state.function_opsets.emplace(&function, std::move(opsets));
  }
}

Error unsupported_error(const std::vector<std::string>& lines) {
  std::string what = fmt::format("planish has no operator for {} node{}:", lines.size(), lines.size() == 1 ? "" : "s");
  for (size_t i = 0; i < std::min(lines.size(), kMaxListed); ++i) what += "\n  " + lines[i];
  if (lines.size() > kMaxListed) what += fmt::format("\n  ... and {} more", lines.size() - kMaxListed);
  return Error{.code = Code::unsupported,
               .what = std::move(what),
               .fix =
                   "replace these operators, or cut the model before them (sequences, strings, maps, optionals and "
                   "training are outside planish's scope)"};
}

void describe(const onnx::ModelProto& proto, ImportedModel& model) {
  model.ir_version = proto.ir_version();
  model.opset_imports = read_opsets(proto.opset_import());
  model.producer_name = proto.producer_name();
  model.producer_version = proto.producer_version();
  model.domain = proto.domain();
  model.model_version = proto.model_version();
  model.doc = proto.doc_string();
  for (const auto& entry : proto.metadata_props()) model.metadata[entry.key()] = entry.value();
}

Result<ImportedModel> import_model(onnx::ModelProto& proto, const std::filesystem::path& folder) {
  ImportedModel model;
  describe(proto, model);
  PLANISH_TRY(check_versions(model));
  ImportState state(folder);
  add_functions(proto, model.opset_imports, state);
  GraphBuilder builder(state);
  Frame frame;
  frame.opsets = &model.opset_imports;
  PLANISH_TRY(builder.build(proto.graph(), frame, proto.mutable_graph()));
  if (!state.unsupported.empty()) return unsupported_error(state.unsupported);
  model.graph = std::move(builder).take();
  PLANISH_TRY(verify(model.graph));
  PLANISH_TRY(check_operand_types(model.graph));
  model.external_files = state.reader.external_files();
  return model;
}

}  // namespace

Result<ImportedModel> import_onnx(std::span<const std::byte> bytes, const std::filesystem::path& folder) {
  try {
    auto proto = PLANISH_TRY(parse_model(bytes));
    return import_model(*proto, folder);
  } catch (const std::bad_alloc&) {
    return Error{.code = Code::out_of_memory, .what = "not enough memory to import the model"};
  } catch (const std::exception& e) {
    return Error{.code = Code::internal, .what = fmt::format("importing failed: {}", e.what())};
  }
}

Result<ImportedModel> import_onnx(const std::filesystem::path& file) {
  const auto with_file = [&file](Error e) {
    if (e.file.empty()) e.file = file.string();
    return e;
  };
  auto mapped = MappedFile::open(file);
  if (!mapped.ok()) return std::move(mapped).take_error();
  const auto parent = file.parent_path();
  auto model = import_onnx((*mapped)->bytes(), parent.empty() ? std::filesystem::path(".") : parent);
  if (!model.ok()) return with_file(std::move(model).take_error());
  return model;
}

}  // namespace planish
