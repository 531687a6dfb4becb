#include "planish/base/isa.h"

#include <cpuid.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace planish {
namespace {

constexpr std::array<std::string_view, 7> kNames{"baseline",   "avx2",       "avxvnni", "avx512",
                                                 "avx512vnni", "avx512bf16", "amx"};

uint64_t enabled_state() {
  uint32_t low = 0;
  uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

bool bit(uint32_t word, int index) { return ((word >> index) & 1U) != 0; }

std::string brand_string() {
  std::array<uint32_t, 12> words{};
  uint32_t a = 0;
  uint32_t b = 0;
  uint32_t c = 0;
  uint32_t d = 0;
  if (__get_cpuid(0x80000000U, &a, &b, &c, &d) == 0 || a < 0x80000004U) return "x86-64";
  for (uint32_t leaf = 0; leaf < 3; ++leaf)
    __get_cpuid(0x80000002U + leaf, &words[leaf * 4], &words[leaf * 4 + 1], &words[leaf * 4 + 2], &words[leaf * 4 + 3]);
  std::array<char, 49> text{};
  std::memcpy(text.data(), words.data(), 48);
  std::string brand(text.data());
  brand.erase(0, brand.find_first_not_of(' '));
  while (!brand.empty() && brand.back() == ' ') brand.pop_back();
  return brand;
}

int64_t cache_bytes(int name, int64_t fallback) {
  const long v = sysconf(name);
  return v > 0 ? v : fallback;
}

int allowed_cores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)));
}

/// Arch request that lets a process use AMX tile data (Linux 5.16); without it the first tile instruction traps.
bool request_amx() {
  constexpr long kArchPrctl = 158;
  constexpr long kArchReqXcompPerm = 0x1023;
  constexpr long kXfeatureTileData = 18;
  return syscall(kArchPrctl, kArchReqXcompPerm, kXfeatureTileData) == 0;
}

void lower_to(CpuFeatures& f, Isa limit) {
  if (limit < Isa::amx) f.amx_bf16 = f.amx_int8 = f.avx512_fp16 = false;
  if (limit < Isa::avx512bf16) f.avx512_bf16 = false;
  if (limit < Isa::avx512vnni) f.avx512_vnni = false;
  if (limit < Isa::avx512) f.avx512 = false;
  if (limit < Isa::avxvnni) f.avx_vnni = false;
  if (limit < Isa::avx2) f.avx2 = false;
}

/// The last-level cache that the first processor reads through, in Linux's words ("32768K"); `fallback`, which on some
/// processors is the sum over all such caches of the machine, where it says nothing or more.
int64_t shared_cache_bytes(int64_t fallback) {
  std::FILE* file = std::fopen("/sys/devices/system/cpu/cpu0/cache/index3/size", "r");
  if (file == nullptr) return fallback;
  long long kib = 0;
  char unit = 0;
  const bool read = std::fscanf(file, "%lld%c", &kib, &unit) == 2;
  std::fclose(file);
  if (!read || unit != 'K' || kib <= 0) return fallback;
  const int64_t bytes = int64_t{kib} * 1024;
  return fallback == 0 ? bytes : std::min(fallback, bytes);
}

CpuFeatures detect() {
  CpuFeatures f;
  f.brand = brand_string();
  f.physical_cores = allowed_cores();
  f.l1d_bytes = cache_bytes(_SC_LEVEL1_DCACHE_SIZE, f.l1d_bytes);
  f.l2_bytes = cache_bytes(_SC_LEVEL2_CACHE_SIZE, f.l2_bytes);
  f.l3_bytes = shared_cache_bytes(cache_bytes(_SC_LEVEL3_CACHE_SIZE, f.l3_bytes));
  uint32_t a = 0;
  uint32_t b = 0;
  uint32_t c = 0;
  uint32_t d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0) return f;
  const bool fma_f16c = bit(c, 12) && bit(c, 29);
  if (!bit(c, 27)) return f;  // no XGETBV: the system saves no vector state beyond SSE
  const uint64_t state = enabled_state();
  const bool ymm = (state & 0x6) == 0x6;
  const bool zmm = (state & 0xe6) == 0xe6;
  const bool tiles = (state & 0x60000) == 0x60000;
  uint32_t a1 = 0;
  uint32_t b1 = 0;
  uint32_t c1 = 0;
  uint32_t d1 = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return f;
  __get_cpuid_count(7, 1, &a1, &b1, &c1, &d1);
  f.avx2 = ymm && fma_f16c && bit(b, 5);
  f.avx512 = f.avx2 && zmm && bit(b, 16) && bit(b, 30) && bit(b, 17) && bit(b, 31);
  f.avx512_vnni = f.avx512 && bit(c, 11);
  f.avx512_fp16 = f.avx512 && bit(d, 23);
  f.avx_vnni = f.avx2 && bit(a1, 4);
  f.avx512_bf16 = f.avx512 && bit(a1, 5);
  if (f.avx512 && tiles && (bit(d, 22) || bit(d, 25)) && request_amx()) {
    f.amx_bf16 = bit(d, 22);
    f.amx_int8 = bit(d, 25);
  }
  if (const char* limit = std::getenv("PLANISH_MAX_ISA")) {
    const auto it = std::ranges::find(kNames, std::string_view(limit));
    if (it != kNames.end()) lower_to(f, static_cast<Isa>(it - kNames.begin()));
  }
  return f;
}

}  // namespace

std::string_view isa_name(Isa isa) { return kNames[static_cast<size_t>(isa)]; }

bool CpuFeatures::has(Isa isa) const {
  switch (isa) {
    case Isa::baseline: return true;
    case Isa::avx2: return avx2;
    case Isa::avxvnni: return avx_vnni;
    case Isa::avx512: return avx512;
    case Isa::avx512vnni: return avx512_vnni;
    case Isa::avx512bf16: return avx512_bf16;
    case Isa::amx: return amx_bf16 && amx_int8;
  }
  return false;
}

Isa CpuFeatures::best() const {
  for (const Isa isa : {Isa::amx, Isa::avx512bf16, Isa::avx512vnni, Isa::avx512, Isa::avxvnni, Isa::avx2})
    if (has(isa)) return isa;
  return Isa::baseline;
}

std::string CpuFeatures::fingerprint() const {
  std::string out = brand + ";";
  const auto flag = [&out](bool on, std::string_view name) {
    if (on) out.append(name).append("+");
  };
  flag(avx2, "avx2");
  flag(avx512, "avx512");
  flag(avx512_vnni, "vnni");
  flag(avx_vnni, "avxvnni");
  flag(avx512_bf16, "bf16");
  flag(avx512_fp16, "fp16");
  flag(amx_bf16 || amx_int8, "amx");
  if (out.back() == '+') out.pop_back();
  return out;
}

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

int threads_or_all(int threads) { return threads > 0 ? threads : cpu_features().physical_cores; }

}  // namespace planish
