#include "planish/tactics/timing_cache.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>
#include <vector>

#include "planish/base/atomic_file.h"

namespace planish {
namespace {

class TimingCacheFile : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("planish_timing_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::remove_all(folder_);
    path_ = folder_ / "sub" / "timing.cache";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  TimingCache load() {
    auto cache = TimingCache::load(path_);
    EXPECT_TRUE(cache.ok());
    return cache.ok() ? *cache : TimingCache();
  }
  void rewrite(const std::string& text) { std::ofstream(path_, std::ios::binary) << text; }
  std::string text() { return read_file(path_).value(); }

  std::filesystem::path folder_;
  std::filesystem::path path_;
};

TEST_F(TimingCacheFile, AMissingFileIsAnEmptyCache) { EXPECT_EQ(load().size(), 0U); }

TEST_F(TimingCacheFile, KeepsWhatWasAddedAndMerges) {
  TimingCache a;
  a.add("one", 1.25);
  ASSERT_TRUE(a.save(path_).ok());
  TimingCache b;
  b.add("two", 2.5);
  b.add("tab\tin key", 1);
  ASSERT_TRUE(b.save(path_).ok());
  const TimingCache c = load();
  EXPECT_EQ(c.size(), 2U);
  EXPECT_EQ(c.find("one"), 1.25);
  EXPECT_EQ(c.find("two"), 2.5);
  EXPECT_EQ(c.find("three"), std::nullopt);
  EXPECT_EQ(c.skipped_lines(), 0U);
}

TEST_F(TimingCacheFile, FindsWhatFollowsAPrefixWithTheLeastTime) {
  TimingCache a;
  a.add("network 1|slow", 2);
  a.add("network 1|fast", 1);
  a.add("network 2|other", 0.5);
  ASSERT_TRUE(a.save(path_).ok());
  EXPECT_EQ(load().best_after("network 1|"), "fast");
  EXPECT_EQ(load().best_after("network 2|"), "other");
  EXPECT_EQ(load().best_after("network 3|"), std::nullopt);
}

TEST_F(TimingCacheFile, SkipsDamagedLinesAndKeepsTheOthers) {
  TimingCache a;
  for (int i = 0; i < 20; ++i) a.add("key" + std::to_string(i), i + 0.5);
  ASSERT_TRUE(a.save(path_).ok());
  const std::string whole = text();
  std::string damaged = whole;
  damaged[damaged.find("key7") + 3] = '8';
  rewrite(damaged);
  EXPECT_EQ(load().size(), 19U);
  EXPECT_EQ(load().skipped_lines(), 1U);
  for (size_t cut = 0; cut < whole.size(); cut += 7) {
    rewrite(whole.substr(0, cut));
    const TimingCache c = load();
    EXPECT_LE(c.size(), 20U);
    for (int i = 0; i < 20; ++i)
      EXPECT_EQ(c.find("key" + std::to_string(i)).value_or(i + 0.5), i + 0.5) << "cut at " << cut;
  }
  for (const std::string& foreign : {std::string("\0\1\2\n\n\n\t\t", 8), std::string("planish timing cache 2\nx")}) {
    rewrite(foreign);
    EXPECT_EQ(load().size(), 0U);
    EXPECT_GE(load().skipped_lines(), 1U);
  }
}

TEST_F(TimingCacheFile, SavesOverADamagedFile) {
  std::filesystem::create_directories(path_.parent_path());
  rewrite("nonsense");
  TimingCache a;
  a.add("one", 1);
  ASSERT_TRUE(a.save(path_).ok());
  EXPECT_EQ(load().find("one"), 1.0);
}

TEST_F(TimingCacheFile, ConcurrentWritersLoseNothing) {
  constexpr int kWriters = 8;
  std::vector<std::thread> threads;
  for (int t = 0; t < kWriters; ++t)
    threads.emplace_back([this, t] {
      for (int i = 0; i < 5; ++i) {
        TimingCache mine;
        mine.add("writer" + std::to_string(t) + "." + std::to_string(i), 1.0);
        EXPECT_TRUE(mine.save(path_).ok());
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(load().size(), static_cast<size_t>(kWriters * 5));
  EXPECT_EQ(load().skipped_lines(), 0U);
}

/// Runs `work` in a process of its own, which never returns to the test.
template <typename Work>
pid_t in_process(Work work) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  work();
  ::_exit(0);
}

TEST_F(TimingCacheFile, ConcurrentProcessesLoseNothing) {
  constexpr int kWriters = 4;
  constexpr int kEach = 10;
  std::vector<pid_t> children;
  for (int t = 0; t < kWriters; ++t)
    children.push_back(in_process([this, t] {
      for (int i = 0; i < kEach; ++i) {
        TimingCache mine;
        mine.add("process" + std::to_string(t) + "." + std::to_string(i), 1.0);
        if (!mine.save(path_).ok()) ::_exit(1);
      }
    }));
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  EXPECT_EQ(load().size(), static_cast<size_t>(kWriters * kEach));
  EXPECT_EQ(load().skipped_lines(), 0U);
}

TEST_F(TimingCacheFile, AKillInTheMiddleOfAWriteDamagesNothing) {
  TimingCache first;
  for (int i = 0; i < 2000; ++i) first.add("kept " + std::to_string(i), i + 0.5);
  ASSERT_TRUE(first.save(path_).ok());
  std::mt19937 random(7);
  for (int round = 0; round < 25; ++round) {
    const pid_t child = in_process([this, round] {
      for (int i = 0;; ++i) {
        TimingCache mine;
        mine.add("round " + std::to_string(round) + "." + std::to_string(i % 50), 1.0);
        (void)mine.save(path_).ok();
      }
    });
    ASSERT_GT(child, 0);
    ::usleep(random() % 8000);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const TimingCache after = load();
    ASSERT_EQ(after.skipped_lines(), 0U) << "round " << round;
    for (int i = 0; i < 2000; i += 97) ASSERT_EQ(after.find("kept " + std::to_string(i)), i + 0.5) << "round " << round;
  }
  // The lock went with its owner: the next writer is not held up.
  TimingCache last;
  last.add("last", 3);
  ASSERT_TRUE(last.save(path_).ok());
  EXPECT_EQ(load().find("last"), 3.0);
}

TEST_F(TimingCacheFile, WhatAKilledWriterLeftDoesNotMatter) {
  TimingCache a;
  a.add("one", 1);
  ASSERT_TRUE(a.save(path_).ok());
  std::ofstream(path_.string() + ".tmp") << "half a li";
  std::ofstream(path_.string() + ".tmp.12345") << "half a li";
  std::ofstream(path_.string() + ".lock") << "";
  TimingCache b;
  b.add("two", 2);
  ASSERT_TRUE(b.save(path_).ok());
  EXPECT_EQ(load().size(), 2U);
}

TEST_F(TimingCacheFile, AFolderInItsPlaceIsAnError) {
  std::filesystem::create_directories(path_);
  EXPECT_FALSE(TimingCache::load(path_).ok());
  TimingCache a;
  a.add("one", 1);
  EXPECT_FALSE(a.save(path_).ok());
}

}  // namespace
}  // namespace planish
