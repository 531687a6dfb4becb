#include "planish/api/gram.h"

#include <fmt/format.h>

#include <array>
#include <map>

#include "planish/base/isa.h"
#include "planish/builder/builder.h"
#include "planish/ir/text.h"
#include "planish/runtime/context.h"
#include "planish/tactics/cpu/cpu_tactics.h"

namespace planish::api {
namespace {

/// Fewer multiplications than this are not worth an engine.
constexpr int64_t kSmall = int64_t{1} << 20;

class EngineGram {
 public:
  explicit EngineGram(int threads) : threads_(threads > 0 ? threads : cpu_features().physical_cores) {}

  Status run(int64_t n, int64_t a, int64_t b, const float* x, const float* y, float* out) {
    auto& context = contexts_[{n, a, b}];
    if (context == nullptr) context = PLANISH_TRY(make(n, a, b));
    PLANISH_TRY(context->bind("x", DevicePtr{reinterpret_cast<uintptr_t>(x)}));
    PLANISH_TRY(context->bind("y", DevicePtr{reinterpret_cast<uintptr_t>(y)}));
    PLANISH_TRY(context->bind("z", DevicePtr{reinterpret_cast<uintptr_t>(out)}));
    set_num_threads(threads_);
    return context->run();
  }

 private:
  Result<std::unique_ptr<Context>> make(int64_t n, int64_t a, int64_t b) const {
    auto graph = PLANISH_TRY(
        parse_text(fmt::format("graph \"gram\" (x: f32[{0},{1}], y: f32[{0},{2}]) -> (z) {{\n"
                               "  t = Transpose(x) {{perm = [1, 0]}} @transpose\n  z = MatMul(t, y) @product\n}}\n",
                               n, a, b)));
    BuildOptions options;
    options.threads = threads_;
    options.optimization_level = 0;
    auto engine = std::make_shared<planish::Engine>(
        PLANISH_TRY(build_engine(std::move(graph), options, host_device(), cpu_tactics())));
    const auto executable = PLANISH_TRY(Executable::create(std::move(engine), host_device(), cpu_tactics(), threads_));
    return Context::create(executable);
  }

  int threads_;
  std::map<std::array<int64_t, 3>, std::unique_ptr<Context>> contexts_;
};

}  // namespace

GramFunction engine_gram(int threads) {
  const auto engine = std::make_shared<EngineGram>(threads);
  return [engine](int64_t n, int64_t a, int64_t b, const float* x, const float* y, float* out) {
    if (n * a * b < kSmall || !engine->run(n, a, b, x, y, out).ok()) gram_by_loops(n, a, b, x, y, out);
  };
}

}  // namespace planish::api
