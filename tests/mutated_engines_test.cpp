// Built engines with damaged bytes and right checksums: whatever still loads must become an executable, a plan and a
// run or be refused at one of these steps. Under AddressSanitizer this shows reads outside of the file.

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <random>

#include "planish/base/atomic_file.h"
#include "planish/builder/builder.h"
#include "planish/engine/file_header.h"
#include "planish/engine/test/repair_checksums.h"
#include "planish/ir/text.h"
#include "planish/runtime/context.h"
#include "planish/runtime/executable.h"
#include "planish/tactics/cpu/cpu_tactics.h"

namespace planish {
namespace {

struct Net {
  const char* label;
  const char* text;
};

const Net kNets[] = {
    {"residual",
     "graph \"g\" (x: f32[N,3,8,8]) -> (y) {\n const w1: f32[16,3,3,3] = seed(1)\n const w2: f32[16,16,3,3] = "
     "seed(2)\n "
     "const w3: f32[16,10] = seed(4)\n c = Conv(x, w1) {pads = [1,1,1,1]} @c1\n r = Relu(c) @r1\n d = Conv(r, w2) "
     "{pads = [1,1,1,1]} @c2\n s = Add(d, r) @add\n p = MaxPool(s) {kernel_shape = [2,2], strides = [2,2]} @p\n g = "
     "GlobalAveragePool(p) @gap\n f = Flatten(g) @f\n m = MatMul(f, w3) @fc\n y = Softmax(m) @sm\n}"},
    {"branches",
     "graph \"g\" (x: f32[1,8,6,6]) -> (y, i) {\n const w1: f32[8,8,1,1] = seed(1)\n const w3: f32[16,1,3,3] = "
     "seed(3)\n a "
     "= Conv(x, w1) @a\n c = Concat(a, x) {axis = 1} @cat\n s = Sigmoid(c) @s\n m = Mul(c, s) @m\n d = Conv(m, w3) "
     "{group "
     "= 16, pads = [1,1,1,1]} @dw\n u, v = Split(d) {axis = 1, num_outputs = 2} @sp\n y = Add(u, v) @add\n i = "
     "NonZero(y) "
     "@nz\n}"},
    {"integer_weights",
     "graph \"g\" (x: f32[3,64]) -> (y) {\n const w: i8[64,48] = seed(1, -128, 128)\n const s: f32[48] = seed(2, 0.01, "
     "0.02)\n const v: u4[48,32] = seed(3, 0, 15)\n const t: f32[3,32] = seed(4, 0.01, 0.02)\n const z: u4[3,32] = "
     "seed(5, 0, 15)\n d = DequantizeLinear(w, s) {axis = 1} @d\n a = MatMul(x, d) @a\n e = DequantizeLinear(v, t, z) "
     "{axis = 0, block_size = 16} @e\n y = MatMul(a, e) @b\n}"},
    {"fork",
     "graph \"g\" (x: u8[1,4,5,5]) -> (y) {\n const w: i8[6,4,1,1] = seed(1)\n const v: i8[3,4,3,3] = seed(2)\n const "
     "s: f32[1] = [0.02]\n const b: f32[6] = seed(3)\n a = planish.QuantizedConv(x, w, s, b) {activation = \"Relu\", "
     "x_scale = 0.05, x_zero = 3, y_scale = 0.1, y_type = \"u8\"} @one\n c = planish.QuantizedConv(x, v, s) {pads = "
     "[1,1,1,1], x_scale = 0.05, x_zero = 3, y_scale = 0.1, y_type = \"u8\"} @nine\n y = Concat(a, c) {axis = 1} "
     "@join\n}"},
    {"gates",
     "graph \"g\" (x: f32[1,16,12,12]) -> (y) {\n const w: f32[16,1,3,3] = seed(1)\n const q: f32[4,16,1,1] = "
     "seed(2)\n const e: f32[16,4,1,1] = seed(3)\n const p: f32[8,16,1,1] = seed(4)\n d = Conv(x, w) {group = 16, pads "
     "= [1,1,1,1]} @dw\n r = Relu(d) @r\n m = GlobalAveragePool(r) @m\n s = Conv(m, q) @squeeze\n t = Relu(s) @t\n u = "
     "Conv(t, e) @excite\n g = Sigmoid(u) @g\n v = Mul(r, g) @v\n y = Conv(v, p) @project\n}"},
};

Engine engine_of(const Net& net) {
  auto graph = parse_text(net.text, net.label);
  EXPECT_TRUE(graph.ok()) << (graph.ok() ? "" : graph.error().message());
  BuildOptions options;
  options.optimization_level = 0;
  options.threads = 1;
  options.use_timing_cache = false;
  auto engine = build_engine(std::move(*graph), options, host_device(), cpu_tactics());
  EXPECT_TRUE(engine.ok()) << (engine.ok() ? "" : engine.error().message());
  return engine.ok() ? std::move(*engine) : Engine();
}

std::vector<uint8_t> engine_bytes(const Net& net) {
  const Engine engine = engine_of(net);
  const auto path = std::filesystem::temp_directory_path() / (std::string("planish_mutated_") + net.label);
  EXPECT_TRUE(save_engine(engine, path).ok());
  const std::string text = read_file(path).value();
  std::filesystem::remove(path);
  return {text.begin(), text.end()};
}

/// How far an engine got: 1 loaded, 2 executable, 3 planned, 4 run.
int drive(Engine engine) {
  constexpr size_t kMemoryLimit = size_t{64} << 20;
  auto executable =
      Executable::create(std::make_shared<const Engine>(std::move(engine)), host_device(), cpu_tactics(), 1);
  if (!executable.ok()) return 1;
  auto context = Context::create(*executable, {.profile = 0, .memory_limit_bytes = kMemoryLimit});
  if (!context.ok()) return 1;
  if (!(*context)->plan().ok()) return 2;
  const Graph& graph = (*executable)->graph();
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const Value& value = graph.value(graph.inputs[i]);
    const Shape& shape = (*executable)->engine().profiles[0].inputs[i].opt;
    if (dtype_bits(value.dtype) == 0 || element_count(shape) > 100'000) return 3;
    inputs.emplace_back(value.dtype, shape);
    for (int64_t e = 0; e < inputs.back().size(); ++e) inputs.back().set(e, 0.5);
  }
  return (*context)->run_host(inputs).ok() ? 4 : 3;
}

/// The same for a file; 0: refused.
int drive(std::span<const uint8_t> bytes) {
  auto engine = load_engine(bytes, "mutant");
  return engine.ok() ? drive(std::move(*engine)) : 0;
}

class MutatedEngines : public testing::TestWithParam<Net> {};

TEST_P(MutatedEngines, RunOrAreRefused) {
  constexpr uint32_t kSeed = 17;
  std::mt19937 random(kSeed);
  const std::vector<uint8_t> whole = engine_bytes(GetParam());
  FileHeader header;
  std::memcpy(&header, whole.data(), sizeof(header));
  ASSERT_EQ(drive(whole), 4);
  std::array<int, 5> reached{};
  for (int i = 0; i < 400; ++i) {
    std::vector<uint8_t> bytes = whole;
    const int changes = 1 + static_cast<int>(random() % 3);
    for (int c = 0; c < changes; ++c) {
      // The metadata decides what happens; weights are only numbers.
      const size_t at = sizeof(FileHeader) + random() % header.meta_bytes;
      const std::array<uint8_t, 4> values{0xff, 0x00, 0x01, static_cast<uint8_t>(bytes[at] ^ (1U << (random() % 8)))};
      bytes[at] = values[random() % values.size()];
    }
    test::repair_checksums(bytes);
    SCOPED_TRACE("seed " + std::to_string(kSeed) + ", round " + std::to_string(i));
    ++reached[static_cast<size_t>(drive(bytes))];
  }
  EXPECT_GT(reached[0] + reached[1] + reached[2], 20) << "the mutations hit nothing that matters";
  EXPECT_GT(reached[4], 20) << "no mutant gets far enough to show anything";
}

/// What no change of single bytes finds: packed weights that belong together otherwise than the file says. Each engine
/// is refused, or runs as if nothing had happened.
TEST_P(MutatedEngines, WithPackedWeightsOfAnotherKindRunOrAreRefused) {
  const Engine whole = engine_of(GetParam());
  const std::vector<Tensor> others{Tensor(DType::f32, {}), Tensor(DType::f32, {1}), Tensor(DType::bf16, {3, 5}),
                                   Tensor(DType::f64, {64, 24}), Tensor(DType::u8, {1})};
  for (size_t n = 0; n < whole.layers.size(); ++n)
    for (size_t i = 0; i < whole.layers[n].packed.size(); ++i) {
      SCOPED_TRACE(whole.graph.nodes[n].name + ", packed " + std::to_string(i));
      const auto with = [&](auto change) {
        Engine engine = whole;
        change(engine.layers[n], engine.layers[n].packed[i]);
        return drive(std::move(engine));
      };
      const auto twice = [](LayerPlan& layer, const PackedConstant& p) { layer.packed.push_back(p); };
      EXPECT_EQ(with(twice), 1);
      for (const Tensor& other : others)
        for (const bool keeps_tactic : {true, false})
          for (const std::string_view format : {"", "bf16_pairs:32", "panels:16", "widened:columns:48", "columns:48"})
            with([&](LayerPlan& layer, PackedConstant& p) {
              if (!keeps_tactic) layer.tactic.clear();
              p.format = format;
              p.data = other;
            });
      for (const int32_t input : {0, 1, 2, 3, 4, 5, 6, 7, 40})
        for (const bool keeps_tactic : {true, false})
          with([&](LayerPlan& layer, PackedConstant& p) {
            if (!keeps_tactic) layer.tactic.clear();
            p.input = input;
          });
    }
}

INSTANTIATE_TEST_SUITE_P(All, MutatedEngines, testing::ValuesIn(kNets),
                         [](const auto& row) { return std::string(row.param.label); });

}  // namespace
}  // namespace planish
