#include "planish/engine/engine.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "planish/base/atomic_file.h"
#include "planish/engine/file_header.h"
#include "planish/engine/test/repair_checksums.h"
#include "planish/ir/text.h"
#include "planish/ops/op.h"

namespace planish {
namespace {

Engine sample() {
  auto graph = parse_text(
      "graph \"net\" (x: f32[N,3]) -> (y, z) {\n const w: f32[3,8] = seed(1)\n const h: f16[8] = seed(2)\n const i: "
      "i64[1] = [-1]\n a = MatMul(x, w) @mm from [m1, m2]\n b = planish.Pointwise(a) {steps = [\"Relu 0\", \"Mul 0 "
      "1\"]} @pw\n c = Cast(h) {to = 1} @cast\n y = Add(b, c) @add\n z = Reshape(y, i) {allowzero = 0} @r\n}");
  EXPECT_TRUE(graph.ok()) << (graph.ok() ? "" : graph.error().message());
  Engine e;
  e.graph = std::move(*graph);
  e.graph.nodes[0].attrs["t"] = Tensor::from_f32(std::vector<float>{1, 2, 3});
  e.graph.nodes[0].attrs["f"] = 0.5F;
  e.graph.nodes[0].attrs["fs"] = std::vector<float>{1, 2};
  e.layers.resize(e.graph.nodes.size());
  e.layers[0] = {.tactic = "cpu.matmul",
                 .packed = {{1, "some:format", Tensor::from_f32(std::vector<float>(24, 0.25F))}},
                 .detail = "gemm",
                 .time_ms = 1.5F,
                 .candidates = {{"cpu.matmul", 1.5F}, {"cpu.reference", 9.0F}},
                 .precision = "fp32",
                 .note = "why"};
  e.profiles = {{{ShapeRange{{1, 3}, {2, 3}, {8, 3}}}}};
  e.info.name = "net";
  e.info.build_options = "{}";
  e.info.threads = 2;
  return e;
}

class EngineFile : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("planish_engine_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    path_ = folder_ / "net.engine";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string saved() {
    auto size = save_engine(sample(), path_);
    EXPECT_TRUE(size.ok());
    auto text = read_file(path_);
    EXPECT_TRUE(text.ok());
    EXPECT_EQ(*size, text->size());
    return *text;
  }
  Error refusal(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
    auto engine = load_engine(path_);
    EXPECT_FALSE(engine.ok());
    return engine.ok() ? Error{} : engine.error();
  }
  std::filesystem::path folder_;
  std::filesystem::path path_;
};

TEST_F(EngineFile, LoadingGivesBackEverything) {
  saved();
  const Engine e = sample();
  auto loaded = load_engine(path_);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  const TextOptions all{.max_literal_elements = 1000};
  EXPECT_EQ(to_text(loaded->graph, all), to_text(e.graph, all));
  EXPECT_EQ(loaded->profiles, e.profiles);
  EXPECT_EQ(loaded->info.threads, 2);
  ASSERT_EQ(loaded->layers.size(), e.layers.size());
  EXPECT_EQ(loaded->layers[0].tactic, "cpu.matmul");
  EXPECT_EQ(loaded->layers[0].candidates.size(), 2U);
  EXPECT_EQ(loaded->layers[0].note, "why");
  ASSERT_EQ(loaded->layers[0].packed.size(), 1U);
  EXPECT_EQ(loaded->layers[0].packed[0].format, "some:format");
  EXPECT_TRUE(bitwise_equal(loaded->layers[0].packed[0].data, e.layers[0].packed[0].data));
  for (const Value& v : loaded->graph.values) {
    if (!v.constant) continue;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(v.constant->raw()) % 64, 0U) << v.name << " is not aligned";
  }
  const Tensor x = seeded_tensor(DType::f32, {2, 3}, 1, -1, 1);
  auto a = interpret(e.graph, std::vector<Tensor>{x});
  auto b = interpret(loaded->graph, std::vector<Tensor>{x});
  ASSERT_TRUE(a.ok() && b.ok());
  for (size_t i = 0; i < a->size(); ++i) EXPECT_TRUE(bitwise_equal((*a)[i], (*b)[i]));
}

TEST_F(EngineFile, EveryTruncationIsRefused) {
  const std::string whole = saved();
  for (size_t n = 0; n < whole.size(); n += n < 200 ? 1 : 37) {
    const Error e = refusal(whole.substr(0, n));
    EXPECT_EQ(e.code, Code::corrupt) << n;
    EXPECT_NE(e.what.find(n == 0  ? "empty"
                          : n < 8 ? "no planish engine"
                                  : "truncated"),
              std::string::npos)
        << n << ": " << e.what;
    EXPECT_FALSE(e.fix.empty());
  }
}

TEST_F(EngineFile, MutationsAreLoadedOrRefused) {
  const std::string whole = saved();
  std::mt19937 random(5);
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string bytes = whole;
    const int changes = 1 + static_cast<int>(random() % 4);
    const size_t first = i % 4 == 0 ? 0 : sizeof(FileHeader);
    for (int c = 0; c < changes; ++c) {
      const size_t at = first + random() % (bytes.size() - first);
      bytes[at] = random() % 3 == 0 ? static_cast<char>(0xff) : static_cast<char>(bytes[at] ^ (1 << (random() % 8)));
    }
    if (i % 2 == 0) test::repair_checksums({reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()});
    auto engine = load_engine({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "mutant");
    if (!engine.ok()) {
      ++refused;
      EXPECT_FALSE(engine.error().what.empty());
      continue;
    }
    EXPECT_TRUE(i % 2 == 0 || bytes == whole) << "a damaged file was loaded, round " << i;
    // What loads must be safe to read as a whole.
    (void)to_text(engine->graph, {.max_literal_elements = 100}).size();
  }
  EXPECT_GE(refused, 1500);
}

TEST_F(EngineFile, ForeignFilesHaveTheirOwnMessages) {
  EXPECT_EQ(refusal("ftrt" + std::string(100, '\1')).code, Code::version);
  EXPECT_NE(refusal("ftrt" + std::string(100, '\1')).what.find("TensorRT"), std::string::npos);
  EXPECT_NE(refusal("").what.find("empty"), std::string::npos);
  EXPECT_NE(refusal("Hello, this is a text file.\n").what.find("no planish engine"), std::string::npos);
  EXPECT_NE(refusal(std::string("\x08\x0a\x12\x07pytorch", 11) + std::string(200, 'x')).what.find("no planish engine"),
            std::string::npos);
  EXPECT_FALSE(load_engine(folder_).ok());
  auto missing = load_engine(folder_ / "missing");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, Code::not_found);
}

TEST_F(EngineFile, NewerFormatsSaySo) {
  std::string bytes = saved();
  const uint32_t next = kEngineFormat + 1;
  std::memcpy(bytes.data() + offsetof(FileHeader, format), &next, sizeof(next));
  const Error e = refusal(bytes);
  EXPECT_EQ(e.code, Code::version);
  EXPECT_NE(e.fix.find("newer planish"), std::string::npos) << e.fix;
}

TEST_F(EngineFile, SavingReplacesTheOldFileAsAWhole) {
  saved();
  auto old = load_engine(path_);  // mapped: must stay readable when its file is replaced
  ASSERT_TRUE(old.ok());
  Engine other = sample();
  other.info.name = "other";
  ASSERT_TRUE(save_engine(other, path_).ok());
  EXPECT_EQ(load_engine(path_)->info.name, "other");
  EXPECT_EQ(old->info.name, "net");
  EXPECT_TRUE(bitwise_equal(old->layers[0].packed[0].data, sample().layers[0].packed[0].data));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1) << "temporary files are left";
  const auto before = read_file(path_).value();
  EXPECT_FALSE(save_engine(other, folder_ / "no" / "such" / "folder" / "x.engine").ok());
  EXPECT_EQ(read_file(path_).value(), before);
}

TEST_F(EngineFile, AKillInTheMiddleOfASaveLeavesAWholeEngine) {
  Engine large = sample();
  large.info.name = "large";
  large.layers[0].packed[0].data = Tensor::from_f32(std::vector<float>(1 << 18, 0.5F));
  ASSERT_TRUE(save_engine(sample(), path_).ok());
  std::mt19937_64 random(11);
  for (int round = 0; round < 25; ++round) {
    std::array<int, 2> done{};
    ASSERT_EQ(::pipe(done.data()), 0);
    const pid_t child = ::fork();
    if (child == 0)
      for (bool is_large = true;; is_large = !is_large) {
        (void)save_engine(is_large ? large : sample(), path_).ok();
        (void)!::write(done[1], "", 1);
      }
    ::close(done[1]);
    ASSERT_GT(child, 0);
    // However fast this machine is and whatever else it does: a whole save has replaced the file before the kill.
    char saved = 0;
    ASSERT_EQ(::read(done[0], &saved, 1), 1);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 5000));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    ::close(done[0]);
    auto loaded = load_engine(path_);
    ASSERT_TRUE(loaded.ok()) << "round " << round << ": " << loaded.error().message();
    ASSERT_TRUE(loaded->info.name == "net" || loaded->info.name == "large");
  }
}

TEST_F(EngineFile, WithoutWeightsItKeepsEverythingElse) {
  Engine engine = sample();
  engine.info.weights_stripped = true;
  engine.info.debug_tensors = {"y"};
  engine.layers[0].packed[0].data = Tensor::share(DType::f32, {24}, nullptr, nullptr);
  ASSERT_TRUE(save_engine(engine, path_).ok());
  auto loaded = load_engine(path_);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  EXPECT_TRUE(loaded->info.weights_stripped);
  EXPECT_EQ(loaded->info.debug_tensors, engine.info.debug_tensors);
  EXPECT_EQ(loaded->layers[0].packed[0].format, "some:format");
  EXPECT_EQ(loaded->layers[0].packed[0].data.shape(), Shape{24});
  engine.info.weights_stripped = false;
  ASSERT_TRUE(save_engine(engine, path_).ok());
  EXPECT_FALSE(load_engine(path_).ok()) << "a weight is missing, and the file does not say so";
}

}  // namespace
}  // namespace planish
