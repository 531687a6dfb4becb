#include "planish/tools/trtexec/shapes.h"

#include <fmt/format.h>

#include <algorithm>

#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

Error shape_error(const std::string& tensor, std::string what, std::string fix) {
  Error error;
  error.code = Code::shape_mismatch;
  error.tensor = tensor;
  error.what = std::move(what);
  error.fix = std::move(fix);
  return error;
}

bool is_dynamic(const TensorRecord& input) {
  return std::any_of(input.dims.begin(), input.dims.end(), [](int64_t dim) { return dim < 0; });
}

/// Every given name must match an input.
Status check_names(const ShapeList& shapes, const std::vector<TensorRecord>& inputs) {
  for (const auto& [pattern, unused] : shapes) {
    const bool found = std::any_of(inputs.begin(), inputs.end(), [&, name = pattern](const TensorRecord& t) {
      return wildcard_matches(name, t.name);
    });
    if (found) continue;
    std::vector<std::string> names;
    for (const TensorRecord& input : inputs) names.push_back(input.name);
    const std::string near = nearest_word(pattern, names);
    return shape_error(pattern, "the model has no input of that name",
                       near.empty()
                           ? fmt::format("its inputs are {}", fmt::join(names, ", "))
                           : fmt::format("did you mean '{}'? Its inputs are {}", near, fmt::join(names, ", ")));
  }
  return {};
}

/// Who fixes a shape decides what the user can do about it.
enum class Owner { model, engine };

/// A given shape must agree with every dimension that the owner fixes.
Status check_fixed_dims(const TensorRecord& input, const Dims& given, Owner owner) {
  const bool same_rank = given.size() == input.dims.size();
  bool fits = same_rank;
  for (size_t i = 0; same_rank && i < given.size(); ++i) {
    fits = fits && (input.dims[i] < 0 || input.dims[i] == given[i]);
  }
  if (fits) return {};
  std::string fix =
      "drop the shape, or export the model again with that axis dynamic (torch.onnx.export: dynamic_axes or "
      "dynamic_shapes)";
  if (is_dynamic(input)) fix = "keep the dimensions that are not -1";
  if (owner == Owner::engine) {
    fix = fmt::format(
        "drop the shape, or build the engine with --minShapes={0}:{1} --maxShapes={0}:{2}, if the model leaves "
        "that axis open",
        input.name, dims_text(input.dims), dims_text(given));
  }
  return shape_error(input.name,
                     fmt::format("shape {} was asked for, but the {} fixes {}", dims_text(given),
                                 owner == Owner::model ? "model" : "engine", dims_text(input.dims)),
                     std::move(fix));
}

Dims with_batch(const TensorRecord& input, int64_t batch) {
  Dims dims = input.dims;
  if (!dims.empty() && dims[0] < 0) dims[0] = std::max<int64_t>(batch, 1);
  for (int64_t& dim : dims) dim = dim < 0 ? 1 : dim;
  return dims;
}

/// Legacy --batch on a static model: harmless when equal, an error otherwise.
Status check_batch(const Options& options, const TensorRecord& input, ShapeLog& log) {
  const int64_t batch = options.build.batch_size;
  if (batch == 0 || input.dims.empty() || input.dims[0] < 0) return {};
  if (input.dims[0] == batch) {
    log.notes.push_back(fmt::format("--batch={} is what input '{}' has anyway", batch, input.name));
    return {};
  }
  return shape_error(input.name,
                     fmt::format("--batch={} was asked for, but the model fixes {}", batch, dims_text(input.dims)),
                     "drop --batch, or export the model with a dynamic leading axis and use --shapes");
}

struct Bounds {
  Dims min, opt, max;
};

Result<Bounds> bounds_without_shapes(const Options& options, const TensorRecord& input, ShapeLog& log) {
  PLANISH_TRY(check_batch(options, input, log));
  const int64_t batch = options.build.batch_size;
  const int64_t max_batch = std::max(batch, options.build.max_batch_size);
  Bounds bounds{with_batch(input, 1), with_batch(input, std::max(batch, max_batch)), with_batch(input, max_batch)};
  if (batch > 0) bounds.opt = with_batch(input, batch);
  if (is_dynamic(input)) {
    log.warnings.push_back(
        fmt::format("input '{}' has the dynamic shape {} and no shape was given: {} is used; --minShapes, --optShapes "
                    "and --maxShapes "
                    "set others",
                    input.name, dims_text(input.dims), dims_text(bounds.opt)));
  }
  return bounds;
}

Result<Bounds> bounds_of(const Options& options, const TensorRecord& input, const ProfileShapes* profile,
                         ShapeLog& log) {
  const Dims* opt = profile == nullptr ? nullptr : find_shape(profile->opt, input.name);
  if (opt == nullptr) return bounds_without_shapes(options, input, log);
  Bounds bounds{*find_shape(profile->min, input.name), *opt, *find_shape(profile->max, input.name)};
  for (const Dims* dims : {&bounds.min, &bounds.opt, &bounds.max})
    PLANISH_TRY(check_fixed_dims(input, *dims, Owner::model));
  if (!is_dynamic(input)) {
    log.notes.push_back(
        fmt::format("input '{}' is static: the given shape {} is the model's own", input.name, dims_text(*opt)));
  }
  return bounds;
}

}  // namespace

Result<std::vector<ProfileShapes>> resolve_build_profiles(const Options& options, const ModelRecord& model,
                                                          ShapeLog& log) {
  const size_t count = std::max<size_t>(options.build.profiles.size(), 1);
  std::vector<ProfileShapes> profiles(count);
  for (size_t i = 0; i < count; ++i) {
    const ProfileShapes* given = options.build.profiles.empty() ? nullptr : &options.build.profiles[i];
    if (given != nullptr) PLANISH_TRY(check_names(given->opt, model.inputs));
    for (const TensorRecord& input : model.inputs) {
      Bounds bounds = PLANISH_TRY(bounds_of(options, input, given, log));
      profiles[i].min.emplace_back(input.name, std::move(bounds.min));
      profiles[i].opt.emplace_back(input.name, std::move(bounds.opt));
      profiles[i].max.emplace_back(input.name, std::move(bounds.max));
    }
  }
  return profiles;
}

Result<ShapeList> resolve_run_shapes(const Options& options, const EngineRecord& engine, ShapeLog& log) {
  PLANISH_TRY(check_names(options.inference.shapes, engine.inputs));
  const auto index = static_cast<size_t>(options.inference.profile_index);
  if (index >= std::max<size_t>(engine.profiles.size(), 1)) {
    Error error =
        shape_error("", fmt::format("profile {} does not exist, the engine has {}", index, engine.profiles.size()),
                    fmt::format("use 0 to {}", std::max<size_t>(engine.profiles.size(), 1) - 1));
    error.file = "--useProfile";
    return error;
  }
  const ProfileShapes* profile = engine.profiles.empty() ? nullptr : &engine.profiles[index];
  ShapeList shapes;
  for (const TensorRecord& input : engine.inputs) {
    const Dims* opt = profile == nullptr ? nullptr : find_shape(profile->opt, input.name);
    const Dims* given = find_shape(options.inference.shapes, input.name);
    Dims dims = given != nullptr ? *given : opt != nullptr ? *opt : with_batch(input, 1);
    const int64_t batch = options.build.batch_size;
    if (given == nullptr && batch > 0) {
      PLANISH_TRY(check_batch(options, input, log));
      if (!input.dims.empty() && input.dims[0] < 0) dims[0] = batch;
    }
    PLANISH_TRY(check_fixed_dims(input, dims, Owner::engine));
    const Dims* low = profile == nullptr ? nullptr : find_shape(profile->min, input.name);
    const Dims* high = profile == nullptr ? nullptr : find_shape(profile->max, input.name);
    for (size_t axis = 0; low != nullptr && high != nullptr && axis < dims.size(); ++axis) {
      if (dims[axis] >= (*low)[axis] && dims[axis] <= (*high)[axis]) continue;
      return shape_error(input.name,
                         fmt::format("axis {}: {} was asked for, profile {} allows {} to {}", axis, dims[axis], index,
                                     (*low)[axis], (*high)[axis]),
                         fmt::format("rebuild with --minShapes={0}:{1} --maxShapes={0}:{2} that span it", input.name,
                                     dims_text(*low), dims_text(*high)));
    }
    shapes.emplace_back(input.name, std::move(dims));
  }
  return shapes;
}

}  // namespace planish::tools
