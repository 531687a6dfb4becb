// What a run costs besides its results: the profile agrees with the clock, memory is not allocated anew, streams do not
// take more threads than they were given.

#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <thread>

#include "planish/api/engine.h"
#include "planish/runtime/test/allocation_count.h"

namespace planish {
namespace {

constexpr const char* kModel = "demo/digits.onnx";
constexpr int64_t kBatch = 32;

api::Engine engine_with(int level) {
  auto model = api::Model::read(kModel);
  EXPECT_TRUE(model.ok()) << (model.ok() ? "" : model.error().message());
  api::BuildConfig config;
  const std::vector<int64_t> dims{kBatch, 1, 32, 32};
  config.profiles = {{{"image", {dims, dims, dims}}}};
  config.optimization_level = level;
  config.avg_timing = 1;
  config.use_timing_cache = false;
  auto engine = api::Engine::build(std::move(*model), config);
  EXPECT_TRUE(engine.ok()) << (engine.ok() ? "" : engine.error().message());
  return std::move(*engine);
}

class Running : public testing::Test {
 protected:
  static void SetUpTestSuite() { engine_ = new api::Engine(engine_with(1)); }
  static void TearDownTestSuite() {
    delete engine_;
    engine_ = nullptr;
  }
  static std::unique_ptr<api::ExecutionContext> context(int threads) {
    auto made = engine_->create_context(0, threads);
    EXPECT_TRUE(made.ok());
    const std::vector<int64_t> dims{kBatch, 1, 32, 32};
    EXPECT_TRUE((*made)->set_input("image", dims, std::as_bytes(std::span(image_))).ok());
    return std::move(*made);
  }
  static api::Engine* engine_;
  static inline const std::vector<float> image_ = std::vector<float>(kBatch * 32 * 32, 0.5F);
};
api::Engine* Running::engine_ = nullptr;

double elapsed_ms(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - since).count();
}

double median(std::vector<double> v) {
  std::ranges::sort(v);
  return v[v.size() / 2];
}

TEST_F(Running, LayerTimesAddUpToTheWholeRun) {
  auto c = context(1);
  std::vector<double> layer_ms;
  ASSERT_TRUE(c->run_profiled(layer_ms).ok());
  std::vector<double> shares;
  // A run that is interrupted between two layers says nothing: there are more of them until they are few.
  for (int round = 0; round < 20 && (round == 0 || median(shares) <= 0.95); ++round)
    for (int i = 0; i < 31; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      ASSERT_TRUE(c->run_profiled(layer_ms).ok());
      const double whole = elapsed_ms(begin);
      double sum = 0;
      for (const double ms : layer_ms) sum += ms;
      shares.push_back(sum / whole);
    }
  EXPECT_GT(median(shares), 0.95);
  EXPECT_LE(median(shares), 1.0 + 1e-6) << "layers cannot take longer than the run that they are part of";
}

TEST_F(Running, ProfilingDoesNotSlowTheRunDown) {
  auto c = context(1);
  std::vector<double> layer_ms;
  double ratio = 0;
  // Other work on the machine only ever adds time: the shortest of many interleaved runs count, and there are more of
  // them until both have had an undisturbed one.
  double plain = 1e9;
  double profiled = 1e9;
  for (int round = 0; round < 100 && (round == 0 || std::abs(ratio - 1) > 0.05); ++round) {
    for (int i = 0; i < 40; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      ASSERT_TRUE(c->run().ok());
      plain = std::min(plain, elapsed_ms(begin));
      ASSERT_TRUE(c->run_profiled(layer_ms).ok());
      double sum = 0;
      for (const double ms : layer_ms) sum += ms;
      profiled = std::min(profiled, sum);
    }
    ratio = profiled / plain;
  }
  EXPECT_NEAR(ratio, 1, 0.05);
}

TEST_F(Running, ARepeatedRunAllocatesNothingThatStaysAndNeverMore) {
  auto c = context(1);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(c->run().ok());
  const auto per_run = [&c] {
    const int64_t before = test::allocation_count();
    EXPECT_TRUE(c->run().ok());
    return test::allocation_count() - before;
  };
  const int64_t first = per_run();
  auto layers = c->layers();
  ASSERT_TRUE(layers.ok());
  // Our own steps allocate nothing (see the runtime's tests); oneDNN builds a list of arguments for each primitive.
  int64_t library_layers = 0;
  for (const api::LayerInfo& layer : *layers) library_layers += layer.tactic.starts_with("cpu.onednn") ? 1 : 0;
  constexpr int64_t kPerPrimitive = 24;
  EXPECT_LE(first, library_layers * kPerPrimitive);
  const size_t in_use = ::mallinfo2().uordblks;
  for (int i = 0; i < 50; ++i) EXPECT_EQ(per_run(), first) << "run " << i;
  EXPECT_LE(::mallinfo2().uordblks, in_use + 4096) << "memory grows from run to run";
}

int64_t thread_count() {
  int64_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) ++count;
  return count;
}

/// Most threads of this process while `streams` contexts of `threads` threads each run at the same time.
int64_t most_threads(const std::function<std::unique_ptr<api::ExecutionContext>()>& make, int streams) {
  std::atomic<bool> stop{false};
  std::atomic<int> running{0};
  std::vector<std::thread> workers;
  for (int s = 0; s < streams; ++s)
    workers.emplace_back([&] {
      auto c = make();
      for (int i = 0; i < 3 || !stop; ++i) {
        EXPECT_TRUE(c->run().ok());
        if (i == 2) ++running;
      }
    });
  while (running < streams) std::this_thread::yield();
  int64_t most = 0;
  for (int i = 0; i < 20; ++i) {
    most = std::max(most, thread_count());
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  stop = true;
  for (std::thread& t : workers) t.join();
  return most;
}

TEST_F(Running, StreamsTakeTheThreadsThatTheyWereGiven) {
  // ThreadSanitizer adds a thread of its own when a program starts its first.
  std::thread([] {}).join();
  const int64_t before = thread_count();
  for (const int streams : {1, 2, 4})
    EXPECT_LE(most_threads([] { return context(1); }, streams), before + streams) << streams << " streams of 1 thread";
  // Each stream's own thread works too, so a stream of 2 threads adds one worker.
  const int64_t after = thread_count();
  EXPECT_LE(most_threads([] { return context(2); }, 2), after + 2 + 2);
}

}  // namespace
}  // namespace planish
