#include "planish/base/thread_team.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "planish/base/parallel.h"
#include "planish/base/subnormals.h"

extern "C" {
bool GOMP_loop_static_start(long start, long end, long step, long chunk, long* first, long* last);
bool GOMP_loop_static_next(long* first, long* last);
}

namespace planish {
namespace {

template <typename Body>
void region(int threads, Body body) {
  auto call = [](void* b) { (*static_cast<Body*>(b))(); };
  team_start(call, &body, threads);
  body();
  team_end();
}

struct WithThreads : testing::TestWithParam<int> {
  void SetUp() override { set_num_threads(GetParam()); }
};

TEST_P(WithThreads, ParallelForCoversEveryIndexOnceInRangesOfTheGrain) {
  for (int64_t n : {1, 2, 3, 7, 64, 100, 1001}) {
    for (int64_t grain : {1, 2, 5, 64, 2000}) {
      std::vector<std::atomic<int>> seen(n);
      std::atomic<bool> ragged{false};
      parallel_for(n, grain, [&](int64_t begin, int64_t end) {
        if (begin % grain != 0 || (end % grain != 0 && end != n)) ragged = true;
        for (int64_t i = begin; i < end; ++i) ++seen[i];
      });
      EXPECT_FALSE(ragged) << n << " " << grain;
      for (int64_t i = 0; i < n; ++i) ASSERT_EQ(seen[i], 1) << n << " " << grain << " " << i;
    }
  }
}

TEST_P(WithThreads, AllPlacesComputeInTheFloatModeOfTheCaller) {
  const volatile float small = 1e-30F;  // 1e-10 of it is subnormal
  const auto squares_that_are_zero = [&] {
    std::vector<int> zero(GetParam(), -1);
    region(0, [&] { zero[team_place().id] = small * 1e-10F == 0; });
    return zero;
  };
  const uint32_t before = float_mode();
  EXPECT_EQ(squares_that_are_zero(), std::vector<int>(GetParam(), 0));
  {
    const FlushSubnormals flush;
    EXPECT_EQ(squares_that_are_zero(), std::vector<int>(GetParam(), 1));
    const FlushSubnormals not_asked_for(false);
    EXPECT_EQ(squares_that_are_zero(), std::vector<int>(GetParam(), 1));
  }
  EXPECT_EQ(float_mode(), before);
  EXPECT_EQ(squares_that_are_zero(), std::vector<int>(GetParam(), 0));
}

TEST_P(WithThreads, EveryPlaceRunsOnceAndItsWritesAreSeen) {
  for (int round = 0; round < 2000; ++round) {
    std::vector<int> ran(GetParam(), 0);  // not atomic on purpose: the end of the region must order it
    region(0, [&] {
      ASSERT_EQ(team_place().size, GetParam());
      ++ran[team_place().id];
    });
    ASSERT_EQ(ran, std::vector<int>(GetParam(), 1));
  }
  EXPECT_FALSE(in_team());
  EXPECT_EQ(team_place().size, 1);
}

TEST_P(WithThreads, ARegionInARegionHasOneThread) {
  std::atomic<int> inner{0};
  region(0, [&] {
    const TeamPlace here = team_place();
    EXPECT_EQ(num_threads(), 1);
    region(4, [&] {
      EXPECT_EQ(team_place().size, 1);
      EXPECT_EQ(team_place().id, 0);
      region(4, [&] { ++inner; });
    });
    EXPECT_EQ(team_place().id, here.id);
    EXPECT_EQ(team_place().size, here.size);
  });
  EXPECT_EQ(inner, GetParam());
}

TEST_P(WithThreads, NobodyPassesABarrierBeforeAllHaveCome) {
  std::vector<int> step(GetParam(), 0);
  std::atomic<int> early{0};
  region(0, [&] {
    const int me = team_place().id;
    for (int round = 1; round <= 200; ++round) {
      step[me] = round;
      team_barrier();
      for (int other : step) early += other < round;
      team_barrier();
    }
  });
  EXPECT_EQ(early, 0);
}

TEST_P(WithThreads, StaticLoopsOfOpenMpCoverEveryIteration) {
  struct Case {
    long start, end, step, chunk;
  };
  for (Case c : {Case{0, 10, 1, 0}, Case{0, 1, 1, 0}, Case{5, 5, 1, 0}, Case{3, 40, 3, 0}, Case{40, 3, -4, 0},
                 Case{0, 10, 1, 3}, Case{0, 100, 7, 2}, Case{9, -1, -1, 4}}) {
    std::vector<long> wanted;
    for (long i = c.start; c.step > 0 ? i < c.end : i > c.end; i += c.step) wanted.push_back(i);
    std::vector<std::vector<long>> parts(GetParam());
    region(0, [&] {
      long first = 0, last = 0;
      std::vector<long>& mine = parts[team_place().id];
      if (!GOMP_loop_static_start(c.start, c.end, c.step, c.chunk, &first, &last)) return;
      do {
        for (long i = first; c.step > 0 ? i < last : i > last; i += c.step) mine.push_back(i);
      } while (GOMP_loop_static_next(&first, &last));
    });
    std::vector<long> got;
    for (const auto& part : parts) got.insert(got.end(), part.begin(), part.end());
    std::sort(got.begin(), got.end());
    std::sort(wanted.begin(), wanted.end());
    EXPECT_EQ(got, wanted) << c.start << " " << c.end << " " << c.step << " " << c.chunk;
  }
}

TEST_P(WithThreads, ThreadsThatStartRegionsDoNotDisturbEachOther) {
  std::vector<std::thread> callers;
  std::vector<int64_t> sums(4, 0);
  for (int64_t& sum : sums) {
    callers.emplace_back([&sum, threads = GetParam()] {
      set_num_threads(threads);
      for (int round = 0; round < 200; ++round) {
        std::atomic<int64_t> part{0};
        parallel_for(1000, 10, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) part += i;
        });
        sum += part;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  for (int64_t sum : sums) EXPECT_EQ(sum, 200 * 999 * 500);
}

TEST_P(WithThreads, RegionsOfChangingSizesRunEveryPlaceOnce) {
  for (int round = 0; round < 2000; ++round) {
    const int size = 1 + round * 7 % GetParam();
    std::vector<int> ran(size, 0);
    region(size, [&] { ++ran[team_place().id]; });
    ASSERT_EQ(ran, std::vector<int>(size, 1)) << round;
  }
}

TEST_P(WithThreads, PinnedTeamsStayOnOneCoreEach) {
  std::thread caller([] {  // so that the other tests' thread stays free
    set_num_threads(GetParam());
    region(0, [] {});
    pin_team(1);
    for (int round = 0; round < 2; ++round) {
      region(GetParam() + round, [] {  // the second region has a worker that is made after the call
        cpu_set_t set;
        ASSERT_EQ(pthread_getaffinity_np(pthread_self(), sizeof(set), &set), 0);
        EXPECT_EQ(CPU_COUNT(&set), 1);
        team_barrier();  // so that every place needs a thread of its own
      });
    }
  });
  caller.join();
}

INSTANTIATE_TEST_SUITE_P(Threads, WithThreads, testing::Values(1, 2, 3, 8));

TEST(ThreadTeam, SleepingWorkersAreWoken) {
  set_num_threads(3);
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // far longer than workers spin
    std::atomic<int> ran{0};
    region(0, [&] {
      ++ran;
      team_barrier();  // so that every place needs a thread of its own
    });
    ASSERT_EQ(ran, 3);
  }
}

}  // namespace
}  // namespace planish
