// What this machine can do at most, as JSON: the denominators of every "share of the machine's limit".
//
//   machine [threads] [seconds for each figure]
//
// Arithmetic: independent multiply-adds on registers, the widest that the processor has (PLANISH_MAX_ISA lowers it);
// with AMX, whose tiles are no registers of the compiler's, oneDNN's product of two large matrices. bf16_gflops is null
// where there is no instruction for it; AVX2's int8 form is the product of bytes that adds pairs in 16 bits and then
// widens them. Memory: reading an array of eight times the last cache. region_us: what it takes to hand work to all
// threads and wait for them, which every layer pays.

#include <fmt/format.h>
#include <immintrin.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <vector>

#include "planish/base/isa.h"
#include "planish/base/parallel.h"
#include "planish/base/thread_team.h"

namespace {

using planish::Isa;
using Clock = std::chrono::steady_clock;

constexpr int kChains = 12;  // multiply-adds in flight: latency 4 times 2 units, and some to spare
constexpr int64_t kSteps = 20000;

// Makes a value needed, and what comes out unknown to the optimiser.
#define PLANISH_KEEP(x) asm volatile("" : "+v"(x))

__attribute__((target("avx2,fma"))) void fp32_avx2() {
  __m256 sum[kChains], a = _mm256_set1_ps(1e-9f), b = _mm256_set1_ps(1e-9f);
  for (auto& s : sum) s = _mm256_setzero_ps();
  for (int64_t i = 0; i < kSteps; ++i)
#pragma GCC unroll 12
    for (auto& s : sum) {
      s = _mm256_fmadd_ps(a, b, s);
    }
  for (auto& s : sum) PLANISH_KEEP(s);
}
__attribute__((target("avx512f"))) void fp32_avx512() {
  __m512 sum[kChains], a = _mm512_set1_ps(1e-9f), b = _mm512_set1_ps(1e-9f);
  for (auto& s : sum) s = _mm512_setzero_ps();
  for (int64_t i = 0; i < kSteps; ++i)
#pragma GCC unroll 12
    for (auto& s : sum) {
      s = _mm512_fmadd_ps(a, b, s);
    }
  for (auto& s : sum) PLANISH_KEEP(s);
}
__attribute__((target("avx512f,avx512bf16"))) void bf16_avx512() {
  __m512 sum[kChains];
  const __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(1e-9f), _mm512_set1_ps(1e-9f));
  for (auto& s : sum) s = _mm512_setzero_ps();
  for (int64_t i = 0; i < kSteps; ++i)
#pragma GCC unroll 12
    for (auto& s : sum) {
      s = _mm512_dpbf16_ps(s, a, a);
    }
  for (auto& s : sum) PLANISH_KEEP(s);
}
__attribute__((target("avx512f,avx512vnni"))) void int8_avx512() {
  __m512i sum[kChains], a = _mm512_set1_epi8(1);
  for (auto& s : sum) s = _mm512_setzero_si512();
  for (int64_t i = 0; i < kSteps; ++i)
#pragma GCC unroll 12
    for (auto& s : sum) {
      s = _mm512_dpbusd_epi32(s, a, a);
    }
  for (auto& s : sum) PLANISH_KEEP(s);
}
__attribute__((target("avx2"))) void int8_avx2() {
  __m256i sum[kChains], a = _mm256_set1_epi8(1), ones = _mm256_set1_epi16(1);
  for (auto& s : sum) s = _mm256_setzero_si256();
  for (int64_t i = 0; i < kSteps; ++i)
#pragma GCC unroll 12
    for (auto& s : sum) {
      __m256i pairs = a;
      PLANISH_KEEP(pairs);
      s = _mm256_add_epi32(s, _mm256_madd_epi16(_mm256_maddubs_epi16(pairs, a), ones));
    }
  for (auto& s : sum) PLANISH_KEEP(s);
}

// Operations in a second over all threads, the best of the rounds; `operations` those of one call.
double rate(double operations, double seconds, int threads, void (*work)()) {
  double best = 0;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  do {
    const auto begin = Clock::now();
    planish::parallel_for(threads, 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) work();
    });
    const std::chrono::duration<double> took = Clock::now() - begin;
    best = std::max(best, operations * threads / took.count());
  } while (Clock::now() < end);
  return best;
}

double product_rate(dnnl::memory::data_type a, dnnl::memory::data_type b, double seconds) {
  using dnnl::memory;
  constexpr int64_t kSize = 2048;
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const auto any = [&](memory::data_type type) { return memory::desc({kSize, kSize}, type, memory::format_tag::any); };
  const auto sum = a == memory::data_type::bf16 ? memory::data_type::f32 : memory::data_type::s32;
  const dnnl::matmul::primitive_desc choice(engine, any(a), any(b), any(sum));
  memory x(choice.src_desc(), engine), w(choice.weights_desc(), engine), y(choice.dst_desc(), engine);
  const dnnl::matmul product(choice);
  double best = 0;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  do {
    const auto begin = Clock::now();
    product.execute(stream, {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, w}, {DNNL_ARG_DST, y}});
    stream.wait();
    const std::chrono::duration<double> took = Clock::now() - begin;
    best = std::max(best, 2.0 * kSize * kSize * kSize / took.count());
  } while (Clock::now() < end);
  return best;
}

double read_bytes_per_second(double seconds) {
  const int64_t bytes = std::max<int64_t>(256 << 20, 8 * planish::cpu_features().l3_bytes);
  std::vector<uint64_t> data(bytes / sizeof(uint64_t), 1);
  std::atomic<uint64_t> total{0};
  double best = 0;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  do {
    const auto begin = Clock::now();
    planish::parallel_for(static_cast<int64_t>(data.size()), 1 << 16, [&](int64_t first, int64_t last) {
      uint64_t sums[8] = {};
      for (int64_t i = first; i + 8 <= last; i += 8)
        for (int k = 0; k < 8; ++k) sums[k] += data[i + k];
      for (uint64_t sum : sums) total += sum;
    });
    const std::chrono::duration<double> took = Clock::now() - begin;
    best = std::max(best, static_cast<double>(bytes) / took.count());
  } while (Clock::now() < end);
  if (total == 0) fmt::print(stderr, "nothing was read\n");  // so that the reading stays
  return best;
}

// Microseconds of an empty parallel region, the median.
double region_us() {
  std::vector<double> times(2001);
  for (double& us : times) {
    const auto begin = Clock::now();
    planish::team_start([](void*) {}, nullptr, 0);
    planish::team_end();
    us = std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
  }
  std::nth_element(times.begin(), times.begin() + 1000, times.end());
  return times[1000];
}

std::string giga(double rate) { return rate > 0 ? fmt::format("{:.1f}", rate / 1e9) : "null"; }

}  // namespace

int main(int argc, char** argv) {
  const auto& cpu = planish::cpu_features();
  const int threads = argc > 1 ? std::max(1, std::atoi(argv[1])) : cpu.physical_cores;
  const double seconds = argc > 2 ? std::atof(argv[2]) : 0.5;
  planish::set_num_threads(threads);
  constexpr double kCalls = static_cast<double>(kSteps) * kChains;
  double fp32 = 0, bf16 = 0, int8 = 0;
  if (cpu.has(Isa::avx2)) {
    fp32 = rate(kCalls * 8 * 2, seconds, threads, fp32_avx2);
    int8 = rate(kCalls * 32 * 2, seconds, threads, int8_avx2);
  }
  if (cpu.has(Isa::avx512)) fp32 = std::max(fp32, rate(kCalls * 16 * 2, seconds, threads, fp32_avx512));
  if (cpu.has(Isa::avx512bf16)) bf16 = rate(kCalls * 32 * 2, seconds, threads, bf16_avx512);
  if (cpu.has(Isa::avx512vnni)) int8 = std::max(int8, rate(kCalls * 64 * 2, seconds, threads, int8_avx512));
  using Type = dnnl::memory::data_type;
  if (cpu.amx_bf16) bf16 = std::max(bf16, product_rate(Type::bf16, Type::bf16, seconds));
  if (cpu.amx_int8) int8 = std::max(int8, product_rate(Type::u8, Type::s8, seconds));
  fmt::print(
      "{{\"cpu\": \"{}\", \"threads\": {}, \"fp32_gflops\": {}, \"bf16_gflops\": {}, \"int8_gops\": {}, "
      "\"read_gb_s\": {}, \"region_us\": {:.2f}}}\n",
      cpu.fingerprint(), threads, giga(fp32), giga(bf16), giga(int8), giga(read_bytes_per_second(seconds)),
      region_us());
  return 0;
}
