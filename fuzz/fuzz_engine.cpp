// libFuzzer target: any bytes must load as an engine or be refused, and what loads must become an executable and a plan
// or be refused. The checksums are made right first, so that the parser behind them is reached.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "planish/engine/engine.h"
#include "planish/engine/test/repair_checksums.h"
#include "planish/runtime/context.h"
#include "planish/runtime/executable.h"
#include "planish/tactics/cpu/cpu_tactics.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kMemoryLimit = size_t{64} << 20;
  std::vector<uint8_t> bytes(data, data + size);
  planish::test::repair_checksums(bytes);
  auto engine = planish::load_engine(std::span<const uint8_t>(bytes), "fuzz");
  if (!engine.ok()) return 0;
  auto shared = std::make_shared<const planish::Engine>(std::move(*engine));
  auto executable = planish::Executable::create(shared, planish::host_device(), planish::cpu_tactics(), 1);
  if (!executable.ok()) return 0;
  auto context = planish::Context::create(*executable, {.profile = 0, .memory_limit_bytes = kMemoryLimit});
  if (context.ok()) (void)(*context)->plan().ok();
  return 0;
}
