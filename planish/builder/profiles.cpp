#include "planish/builder/profiles.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace planish {
namespace {

std::string input_names(const Graph& graph) {
  std::string names;
  for (const ValueId v : graph.inputs) names += fmt::format("{}'{}'", names.empty() ? "" : ", ", graph.name_of(v));
  return names;
}

Error bad_shape(const Value& input, std::string what, std::string fix) {
  return Error{.code = Code::shape_mismatch, .tensor = input.name, .what = std::move(what), .fix = std::move(fix)};
}

Status check_range(const Value& input, const ShapeRange& range) {
  const Shape& declared = *input.shape;
  for (const auto& [label, shape] : {std::pair{"min", &range.min}, {"opt", &range.opt}, {"max", &range.max}}) {
    if (shape->size() != declared.size())
      return bad_shape(input,
                       fmt::format("{} shape {} has {} dimensions, the model's input is {}", label, to_string(*shape),
                                   shape->size(), to_string(declared)),
                       fmt::format("give {} dimensions", declared.size()));
    for (size_t d = 0; d < declared.size(); ++d) {
      if ((*shape)[d] < 0)
        return bad_shape(input, fmt::format("{} shape {} has a negative dimension", label, to_string(*shape)),
                         "give sizes");
      if (declared[d] >= 0 && declared[d] != (*shape)[d])
        return bad_shape(input,
                         fmt::format("the model fixes the shape to {}, {} asks for {}", to_string(declared), label,
                                     to_string(*shape)),
                         "leave the shape out, or export the model again with this dimension dynamic");
    }
  }
  for (size_t d = 0; d < declared.size(); ++d)
    if (range.min[d] > range.opt[d] || range.opt[d] > range.max[d])
      return bad_shape(
          input,
          fmt::format("dimension {} breaks min <= opt <= max: {}, {}, {}", d, range.min[d], range.opt[d], range.max[d]),
          "order the three shapes");
  return {};
}

ShapeRange default_range(const Value& input, const BuildOptions& options) {
  Shape shape = *input.shape;
  bool changed = false;
  for (int64_t& d : shape) {
    if (d >= 0) continue;
    d = 1;
    changed = true;
  }
  if (changed && options.warn)
    options.warn(fmt::format(
        "Input '{}' has dynamic dimensions and no shape was given: using {}. Set it with --shapes={}:DIMS or "
        "--minShapes/--optShapes/--maxShapes",
        input.name, to_string(shape), input.name));
  return {shape, shape, shape};
}

}  // namespace

Result<std::vector<Profile>> resolve_profiles(const Graph& graph, const BuildOptions& options) {
  std::set<std::string> known;
  for (const ValueId v : graph.inputs) {
    const Value& input = graph.value(v);
    known.insert(input.name);
    if (!input.shape)
      return Error{.code = Code::invalid_model,
                   .tensor = input.name,
                   .what = "the input declares no rank",
                   .fix = "export the model with a shape for every input (symbolic dimensions are fine)"};
  }
  for (const auto& profile : options.profiles)
    for (const auto& [name, range] : profile)
      if (!known.contains(name))
        return Error{.code = Code::not_found,
                     .tensor = name,
                     .file = "--shapes",
                     .what = "the model has no input of this name",
                     .fix = fmt::format("its inputs are {}", input_names(graph))};
  std::vector<Profile> out;
  const size_t count = std::max<size_t>(options.profiles.size(), 1);
  for (size_t p = 0; p < count; ++p) {
    Profile profile;
    for (const ValueId v : graph.inputs) {
      const Value& input = graph.value(v);
      const auto* given = p < options.profiles.size() ? &options.profiles[p] : nullptr;
      const auto it = given != nullptr ? given->find(input.name) : std::map<std::string, ShapeRange>::const_iterator{};
      if (given == nullptr || it == given->end()) {
        profile.inputs.push_back(default_range(input, options));
        continue;
      }
      PLANISH_TRY(check_range(input, it->second));
      profile.inputs.push_back(it->second);
    }
    out.push_back(std::move(profile));
  }
  return out;
}

void bind_profile_shapes(Graph& graph, const std::vector<Profile>& profiles) {
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    Value& input = graph.value(graph.inputs[i]);
    for (size_t d = 0; d < input.shape->size(); ++d) {
      const int64_t size = profiles[0].inputs[i].opt[d];
      const bool fixed = std::ranges::all_of(
          profiles, [&](const Profile& p) { return p.inputs[i].min[d] == size && p.inputs[i].max[d] == size; });
      if (fixed) (*input.shape)[d] = size;
    }
  }
}

}  // namespace planish
