#include <dlfcn.h>
#include <gtest/gtest.h>

#include <string>

#include "planish/base/parallel.h"

// What oneDNN was compiled against; the linker gives it the definitions of base/gomp.cpp, or else those of libgomp.
extern "C" {
int omp_get_max_threads();
int omp_get_num_threads();
int omp_get_thread_num();
int omp_in_parallel();
void GOMP_parallel_start(void (*body)(void*), void* data, unsigned threads);
void GOMP_parallel_end();
void GOMP_barrier();
bool GOMP_loop_static_start(long start, long end, long step, long chunk, long* first, long* last);
bool GOMP_loop_static_next(long* first, long* last);
void GOMP_loop_end_nowait();
}

namespace planish {
namespace {

TEST(Threads, OneDnnRunsOnOurWorkers) {
  const struct {
    const char* name;
    void* ours;
  } functions[] = {
#define PLANISH_ENTRY(name) {#name, reinterpret_cast<void*>(&name)}
      PLANISH_ENTRY(omp_get_max_threads),  PLANISH_ENTRY(omp_get_num_threads),    PLANISH_ENTRY(omp_get_thread_num),
      PLANISH_ENTRY(omp_in_parallel),      PLANISH_ENTRY(GOMP_parallel_start),    PLANISH_ENTRY(GOMP_parallel_end),
      PLANISH_ENTRY(GOMP_barrier),         PLANISH_ENTRY(GOMP_loop_static_start), PLANISH_ENTRY(GOMP_loop_static_next),
      PLANISH_ENTRY(GOMP_loop_end_nowait),
#undef PLANISH_ENTRY
  };
  for (const auto& f : functions) {
    Dl_info where{};
    ASSERT_NE(dladdr(f.ours, &where), 0);
    EXPECT_EQ(std::string(where.dli_fname).find(".so"), std::string::npos)
        << f.name << " comes from " << where.dli_fname;
    EXPECT_EQ(dlsym(RTLD_DEFAULT, f.name), f.ours) << f.name;
  }
  set_num_threads(3);
  EXPECT_EQ(omp_get_max_threads(), 3);
}

}  // namespace
}  // namespace planish
