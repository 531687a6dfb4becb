// arena_report MODEL.onnx... [--dims N]
//
// Plans each model on the CPU at level 0 (unknown dimensions are N, 1 by default) and prints the bytes of its arena
// beside the most bytes that are alive at once, below which no arena can be. Exit status 1 when one is more than 1.15
// times as large.

#include <fmt/format.h>

#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "planish/builder/builder.h"
#include "planish/onnx/import.h"
#include "planish/runtime/context.h"
#include "planish/runtime/executable.h"
#include "planish/tactics/cpu/cpu_tactics.h"

namespace {

struct Arena {
  size_t bytes = 0;
  size_t live_bytes = 0;
};

planish::Result<Arena> arena_of(const std::string& file, int64_t unknown) {
  auto model = PLANISH_TRY(planish::import_onnx(std::filesystem::path(file)));
  planish::BuildOptions options;
  options.optimization_level = 0;
  options.use_timing_cache = false;
  auto& profile = options.profiles.emplace_back();
  for (const planish::ValueId v : model.graph.inputs) {
    planish::Shape shape = model.graph.value(v).shape.value_or(planish::Shape{});
    for (int64_t& d : shape) d = d < 0 ? unknown : d;
    profile[model.graph.value(v).name] = {shape, shape, shape};
  }
  auto engine = PLANISH_TRY(
      planish::build_engine(std::move(model.graph), options, planish::host_device(), planish::cpu_tactics()));
  auto executable = PLANISH_TRY(planish::Executable::create(std::make_shared<const planish::Engine>(std::move(engine)),
                                                            planish::host_device(), planish::cpu_tactics(), 1));
  auto context = PLANISH_TRY(planish::Context::create(executable));
  PLANISH_TRY(context->plan());
  return Arena{context->arena_bytes(), context->largest_live_bytes()};
}

}  // namespace

int main(int argc, char** argv) {
  int64_t unknown = 1;
  std::vector<std::string> files;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--dims" && i + 1 < argc)
      unknown = std::atoll(argv[++i]);
    else
      files.emplace_back(argv[i]);
  }
  constexpr double kBound = 1.15;
  int status = 0;
  for (const std::string& file : files) {
    auto arena = arena_of(file, unknown);
    if (!arena.ok()) {
      fmt::print("{}: {}\n", file, arena.error().message());
      status = 1;
      continue;
    }
    const double ratio =
        static_cast<double>(arena->bytes) / static_cast<double>(std::max<size_t>(arena->live_bytes, 1));
    fmt::print("{}: arena {:.2f} MiB, alive at most {:.2f} MiB, ratio {:.3f}\n", file,
               static_cast<double>(arena->bytes) / (1 << 20), static_cast<double>(arena->live_bytes) / (1 << 20),
               ratio);
    if (ratio > kBound) status = 1;
  }
  return status;
}
